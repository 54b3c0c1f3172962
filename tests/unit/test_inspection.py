from __future__ import annotations

import doctest
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edgefm.cli import inspect as inspect_command
from edgefm.core.errors import ModelError
from edgefm.tflite import graph
from edgefm.tflite.graph import macs_of
from edgefm.tflite.inspection import inspect
from tests.fixtures import tiny_models
from tests.fixtures.tiny_models import Graph, Operator, Tensor

# By hand: height * width * filters * 3 * 3 * channels, and inputs * outputs.
CONVOLUTIONS = [28 * 28 * 32 * 9 * 1, 14 * 14 * 64 * 9 * 32, 7 * 7 * 128 * 9 * 64]
DENSE = [1152 * 256, 256 * 128, 128 * 10]


@pytest.fixture
def enhanced_cnn(tmp_path: Path) -> Path:
    path = tmp_path / "enhanced.tflite"
    path.write_bytes(tiny_models.enhanced_cnn())
    return path


def test_inspect_enhanced_cnn_counts_macs_by_layer(enhanced_cnn: Path) -> None:
    inspection = inspect(enhanced_cnn)
    by_name = {
        name: [op.macs for op in inspection.operators if op.name == name] for name in ("CONV_2D", "FULLY_CONNECTED")
    }
    assert by_name == {"CONV_2D": CONVOLUTIONS, "FULLY_CONNECTED": DENSE}
    assert inspection.macs == 7_780_096


def test_inspect_enhanced_cnn_counts_bytes(enhanced_cnn: Path) -> None:
    inspection = inspect(enhanced_cnn)
    # 422,474 parameters less the 2 * 224 of batch normalisation, which is folded away here.
    assert inspection.weight_bytes == 4 * (422_474 - 448)
    first = inspection.operators[0]
    assert first.weight_bytes == 4 * (32 * 9 + 32)
    assert first.activation_bytes == 4 * 28 * 28 * 32
    assert inspection.largest_activation_bytes == 4 * (28 * 28 * 32 + 14 * 14 * 32)
    assert [inspection.tensors[i].shape for i in (*inspection.inputs, *inspection.outputs)] == [(1, 28, 28, 1), (1, 10)]


@pytest.mark.parametrize(
    ("name", "inputs", "output", "adjoint", "wanted"),
    [
        pytest.param(
            "CONV_2D", [(2, 8, 8, 4), (6, 3, 5, 2)], (2, 8, 8, 6), False, 2 * 8 * 8 * 6 * 3 * 5 * 2, id="groups"
        ),
        pytest.param(
            "DEPTHWISE_CONV_2D", [(1, 8, 8, 4), (1, 3, 3, 8)], (1, 4, 4, 8), False, 4 * 4 * 8 * 9, id="depthwise"
        ),
        pytest.param("FULLY_CONNECTED", [(3, 10), (7, 10)], (3, 7), False, 210, id="dense"),
        pytest.param(
            "TRANSPOSE_CONV",
            [(4,), (5, 3, 3, 2), (1, 4, 4, 2)],
            (1, 8, 8, 5),
            False,
            4 * 4 * 2 * 9 * 5,
            id="transposed",
        ),
        pytest.param("BATCH_MATMUL", [(2, 3, 4), (2, 4, 5)], (2, 3, 5), False, 2 * 3 * 5 * 4, id="matmul"),
        pytest.param("BATCH_MATMUL", [(2, 4, 3), (2, 4, 5)], (2, 3, 5), True, 2 * 3 * 5 * 4, id="matmul-adjoint"),
        pytest.param(
            "CONV_3D", [(1, 4, 5, 5, 2), (3, 3, 3, 2, 4)], (1, 2, 3, 3, 4), False, 2 * 3 * 3 * 4 * 27 * 2, id="volume"
        ),
        # Eight kernels, a peephole and biases, which are vectors, the states.
        pytest.param(
            "UNIDIRECTIONAL_SEQUENCE_LSTM",
            [(1, 6, 5), *4 * [(12, 5)], *4 * [(12, 12)], *4 * [(12,)], (1, 12), (1, 12)],
            (1, 6, 12),
            False,
            6 * 4 * 12 * (5 + 12),
            id="lstm",
        ),
        pytest.param(  # input and forget gate coupled: six kernels
            "UNIDIRECTIONAL_SEQUENCE_LSTM",
            [(1, 6, 5), *3 * [(12, 5)], *3 * [(12, 12)], *3 * [(12,)], (1, 12), (1, 12)],
            (1, 6, 12),
            False,
            6 * 3 * 12 * (5 + 12),
            id="lstm-coupled",
        ),
        pytest.param("SOFTMAX", [(1, 10)], (1, 10), False, 0, id="none"),
    ],
)
def test_macs_of_operator_follows_its_formula(
    name: str, inputs: list[tuple[int, ...]], output: tuple[int, ...], adjoint: bool, wanted: int
) -> None:
    assert macs_of(name, inputs, output, adjoint_x=adjoint) == wanted


def test_inspect_tells_per_channel_quantisation(tmp_path: Path) -> None:
    weights = np.ones((3, 16), np.int8)
    tensors = [
        Tensor(name="x", shape=(1, 16), dtype="int8", scale=[0.5], zero_point=-3),
        Tensor(name="w", shape=(3, 16), dtype="int8", data=weights, scale=[0.1, 0.2, 0.4], axis=0),
        Tensor(name="y", shape=(1, 3), dtype="int8", scale=[2.0], zero_point=7),
    ]
    operator = Operator(name="FULLY_CONNECTED", inputs=(0, 1, -1), outputs=(2,))
    path = tmp_path / "q.tflite"
    path.write_bytes(tiny_models.build(Graph(tensors=tensors, operators=[operator], inputs=[0], outputs=[2])))
    inspection = inspect(path)
    whole, channels = inspection.tensors[0].quantization, inspection.tensors[1].quantization
    assert whole is not None and channels is not None
    assert (whole.scales, whole.axis, whole.scale_range, whole.zero_point_range) == (1, None, (0.5, 0.5), (-3, -3))
    assert (channels.scales, channels.axis) == (3, 0)
    assert channels.scale_range == pytest.approx((0.1, 0.4))
    assert inspection.operators[0].inputs == (0, 1)  # the absent bias is left out


def test_inspect_gives_weights_behind_dequantize_to_their_user(tmp_path: Path) -> None:
    tensors = [
        Tensor(name="x", shape=(1, 16)),
        Tensor(name="half", shape=(3, 16), dtype="float16", data=np.ones((3, 16), np.float16)),
        Tensor(name="single", shape=(3, 16)),
        Tensor(name="y", shape=(1, 3)),
    ]
    operators = [
        Operator(name="DEQUANTIZE", inputs=(1,), outputs=(2,)),
        Operator(name="FULLY_CONNECTED", inputs=(0, 2, -1), outputs=(3,)),
    ]
    path = tmp_path / "half.tflite"
    path.write_bytes(tiny_models.build(Graph(tensors=tensors, operators=operators, inputs=[0], outputs=[3])))
    inspection = inspect(path)
    assert [operator.weight_bytes for operator in inspection.operators] == [0, 2 * 48]
    assert inspection.weight_bytes == 2 * 48
    assert inspection.largest_activation_bytes == 4 * (16 + 3)


def test_inspect_counts_int4_weights_as_half_bytes(tmp_path: Path) -> None:
    tensors = [
        Tensor(name="x", shape=(1, 16)),
        Tensor(name="w", shape=(3, 16), dtype="int4", data=np.zeros(24, np.uint8), scale=[0.1]),
        Tensor(name="y", shape=(1, 3)),
    ]
    operator = Operator(name="FULLY_CONNECTED", inputs=(0, 1, -1), outputs=(2,))
    path = tmp_path / "int4.tflite"
    path.write_bytes(tiny_models.build(Graph(tensors=tensors, operators=[operator], inputs=[0], outputs=[2])))
    assert inspect(path).tensors[1].size_bytes == 24
    assert inspect(path).tensors[1].dtype == "int4"


def test_inspect_lists_metadata_and_files_of_the_zip(tmp_path: Path) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("labels.txt", "a\nb\nc\n")
    path = tmp_path / "labelled.tflite"
    content = tiny_models.dense(np.ones((3, 16), np.float32), metadata={"TFLITE_METADATA": b"x"})
    path.write_bytes(content + archive.getvalue())
    inspection = inspect(path)
    assert inspection.has_tflite_metadata and inspection.metadata == ("TFLITE_METADATA",)
    assert inspection.associated_files == ("labels.txt",)


def test_inspect_custom_operator_names_it(tmp_path: Path) -> None:
    path = tmp_path / "custom.tflite"
    path.write_bytes(tiny_models.custom("TheirOp"))
    assert [operator.name for operator in inspect(path).operators] == ["CUSTOM:TheirOp"]


@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_inspect_cut_file_says_so(enhanced_cnn: Path, share: float) -> None:
    content = enhanced_cnn.read_bytes()
    enhanced_cnn.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ModelError, match="cut off or damaged"):
        inspect(enhanced_cnn)


def test_inspect_damaged_structure_is_an_error_or_an_answer(tmp_path: Path) -> None:
    content = tiny_models.dense(np.ones((3, 16), np.float32))
    generator = np.random.default_rng(0)
    path = tmp_path / "damaged.tflite"
    refused = 0
    for _ in range(200):
        damaged = bytearray(content)
        damaged[int(generator.integers(8, len(damaged)))] ^= 1 << int(generator.integers(8))
        path.write_bytes(bytes(damaged))
        try:
            inspect(path)
        except ModelError:
            refused += 1
    assert refused > 20  # most of such a small file is structure


def test_inspect_command_prints_tables(enhanced_cnn: Path) -> None:
    result = CliRunner().invoke(inspect_command.command, [str(enhanced_cnn)])
    assert result.exit_code == 0
    assert "7,780,096 MACs" in result.output
    assert "CONV_2D" in result.output and "float32[1,28,28,1]" in result.output


def test_inspect_command_json_is_the_inspection(enhanced_cnn: Path) -> None:
    result = CliRunner().invoke(inspect_command.command, [str(enhanced_cnn), "--json"])
    assert json.loads(result.output)["macs"] == sum(CONVOLUTIONS) + sum(DENSE)


def test_worked_examples_hold() -> None:
    result = doctest.testmod(graph)
    assert result.attempted >= 1 and result.failed == 0
