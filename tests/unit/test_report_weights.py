"""Weights read back from files: values, zeros, levels, bytes of each layer, names across files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgefm.core.errors import ModelError
from edgefm.report.content import weights
from edgefm.report.content.weights import Weights
from edgefm.report.drawing import histograms, ladder
from tests.fixtures import sample_run, tiny_models
from tests.fixtures.tiny_models import Graph, Operator, Tensor

LAYERS = ["dense1", "probabilities"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Weights]:
    folder = tmp_path_factory.mktemp("files")
    found = {}
    for variant in sample_run.ALL:
        path = folder / f"{variant.name}.tflite"
        path.write_bytes(sample_run.model_file(variant.name))
        found[variant.name] = weights.read(path)
    return weights.named_alike(found, "float32")


def _real(layer: str) -> np.ndarray:  # type: ignore[type-arg]  # float64 [weights]
    generator = np.random.default_rng(5)
    first, second = generator.normal(0, 0.2, (64, 48)), generator.normal(0, 0.2, (10, 64))
    return {"dense1": first, "probabilities": second}[layer].reshape(-1)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(
    ("variant", "levels"),
    [("float32", None), ("float16", None), ("int8_w8a8", 127), ("int8_w8a8_fc4", 7), ("drq_w8", 127)],
)
def test_values_are_the_real_weights_within_half_a_level(
    files: dict[str, Weights], variant: str, levels: int | None, layer: str
) -> None:
    expected = _real(layer)
    found = files[variant].layer(layer)
    assert found is not None
    half = np.abs(expected).max() / levels / 2 if levels else 1e-3
    np.testing.assert_allclose(found.values, expected, atol=half * 1.0001)
    assert found.dtype == {"float32": "float32", "float16": "float16", "int8_w8a8_fc4": "int4"}.get(variant, "int8")


def test_zeros_and_levels_are_counted(files: dict[str, Weights]) -> None:
    pruned, clustered = files["pruned80_qat_int8"], files["clustered16_qat_int8"]
    for layer in pruned.layers:
        assert layer.zeros == int((layer.values == 0).sum())
        assert layer.zeros / layer.values.size == pytest.approx(0.8, abs=0.01)
    for layer in clustered.layers:
        rows = layer.values.reshape(10 if layer.name == "probabilities" else 64, -1)
        assert layer.levels == max(len(np.unique(row)) for row in rows) <= 15
    inside = pruned.inside()
    assert inside is not None
    assert inside.zeros == pytest.approx(0.8, abs=0.01)
    assert (inside.dtype, inside.dense_macs) == ("int8", 1.0)


def test_bytes_of_layers_and_rest_make_the_file(files: dict[str, Weights]) -> None:
    for one in files.values():
        assert sum(layer.size_bytes for layer in one.layers) + one.rest_bytes == one.size_bytes
        assert one.rest_bytes > 0
    raw = {name: sum(layer.size_bytes for layer in one.layers) for name, one in files.items()}
    assert raw["float32"] == 4 * raw["int8_w8a8"] == 8 * raw["int8_w8a8_fc4"] == 2 * raw["float16"]
    assert raw["pruned80_qat_int8"] == raw["qat_int8"]
    packed = {name: sum(layer.packed_bytes for layer in one.layers) for name, one in files.items()}
    assert packed["pruned80_qat_int8"] < 0.6 * packed["qat_int8"]


def test_rungs_add_up_to_each_file(files: dict[str, Weights]) -> None:
    table = ladder.rungs(files, "float32")
    for name, one in files.items():
        assert sum(rung.size_bytes for rung in table[name].values()) == one.size_bytes
    assert list(table["float32"]) == [*LAYERS, ladder.REST]
    few = ladder.rungs(files, "float32", most=1)
    assert list(few["float32"]) == ["dense1", ladder.REST]


def test_float16_kernels_are_found_behind_their_dequantize(tmp_path: Path) -> None:
    kernel = np.arange(-3, 3, dtype=np.float16).reshape(2, 3)
    tensors = [
        Tensor(name="x", shape=(1, 3)),
        Tensor(name="net/dense/MatMul", shape=(2, 3), dtype="float16", data=kernel),
        Tensor(name="unpacked", shape=(2, 3)),
        Tensor(name="net/dense/BiasAdd", shape=(1, 2)),
    ]
    operators = [Operator(name="DEQUANTIZE", inputs=(1,), outputs=(2,)), _dense((0, 2, -1), 3)]
    path = tmp_path / "a.tflite"
    path.write_bytes(tiny_models.build(Graph(tensors=tensors, operators=operators, inputs=[0], outputs=[3])))
    (layer,) = weights.read(path).layers
    assert (layer.name, layer.dtype, layer.size_bytes, layer.zeros) == ("dense", "float16", 12, 1)
    np.testing.assert_array_equal(layer.values, kernel.reshape(-1).astype(np.float32))


def test_scales_by_channel_are_applied_along_their_axis(tmp_path: Path) -> None:
    kernel = np.array([[10, -20, 0], [30, 40, 50]], dtype=np.int8)
    tensors = [
        Tensor(name="x", shape=(1, 3), dtype="int8", scale=[1.0]),
        Tensor(name="kernel", shape=(2, 3), dtype="int8", data=kernel, scale=[0.5, 0.1]),
        Tensor(name="y", shape=(1, 2), dtype="int8", scale=[1.0]),
    ]
    path = tmp_path / "a.tflite"
    path.write_bytes(
        tiny_models.build(Graph(tensors=tensors, operators=[_dense((0, 1, -1), 2)], inputs=[0], outputs=[2]))
    )
    (layer,) = weights.read(path).layers
    np.testing.assert_allclose(layer.values, [5, -10, 0, 3, 4, 5], rtol=1e-6)
    assert (layer.zeros, layer.levels) == (1, 3)


def test_layers_take_the_names_of_the_reference_though_one_was_inserted(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)

    def file(name: str, operators: list[str]) -> Weights:
        tensors = [Tensor(name="x", shape=(1, 4, 4, 1))]
        made = []
        for place, operator in enumerate(operators):
            shape = {"CONV_2D": (1, 1, 1, 1), "DEPTHWISE_CONV_2D": (1, 1, 1, 1), "FULLY_CONNECTED": (3, 16)}[operator]
            last = len(tensors) - 1
            data = generator.normal(size=shape).astype(np.float32)
            tensors.append(Tensor(name=f"{name}/l{place}/op", shape=shape, data=data))
            out = (1, 3) if operator == "FULLY_CONNECTED" else (1, 4, 4, 1)
            tensors.append(Tensor(name=f"{name}/l{place}/out", shape=out))
            made.append(Operator(name=operator, inputs=(last, last + 1), outputs=(last + 2,)))
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(
            tiny_models.build(Graph(tensors=tensors, operators=made, inputs=[0], outputs=[len(tensors) - 1]))
        )
        return weights.read(path)

    found = weights.named_alike(
        {
            "float32": file("a", ["CONV_2D", "CONV_2D", "FULLY_CONNECTED"]),
            "other": file("b", ["CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D", "FULLY_CONNECTED"]),
        },
        "float32",
    )
    assert [layer.name for layer in found["other"].layers] == ["l0", "l1 (only here)", "l1", "l2"]


def test_shown_layers_are_the_heaviest_in_order_and_variants_those_that_differ(files: dict[str, Weights]) -> None:
    assert histograms.shown_layers(files["float32"], most=1) == ["dense1"]
    assert histograms.shown_layers(files["float32"]) == LAYERS
    shown = histograms.shown_variants(files, "float32")
    assert "float16" not in shown and "drq_w8" not in shown
    assert shown == [variant.name for variant in sample_run.ALL if variant.name not in ("float32", "float16", "drq_w8")]


def test_damaged_file_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "a.tflite"
    path.write_bytes(b"nothing")
    with pytest.raises(ModelError):
        weights.read(path)


def _dense(inputs: tuple[int, ...], output: int) -> Operator:
    return Operator(
        name="FULLY_CONNECTED",
        inputs=inputs,
        outputs=(output,),
        options=tiny_models.schema.FullyConnectedOptionsT(),
        options_type=tiny_models.schema.BuiltinOptions.FullyConnectedOptions,
    )
