from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import flatbuffers
import numpy as np
import pytest

from edgefm.benchmarking import feeding
from edgefm.core.errors import ArgumentError, ModelError
from edgefm.runtimes.base import TensorDetails
from edgefm.tflite.contract import Contract
from edgefm.tflite.metadata_reader import normalization
from tests.fixtures import tiny_models

LABELS = tuple("abcdefghij")
FLOAT = TensorDetails(name="in", dtype="float32", shape=(1, 4, 4, 1), scale=None, zero_point=None)
OUTPUT = TensorDetails(name="out", dtype="float32", shape=(1, 10), scale=None, zero_point=None)


def _int8(scale: float, zero_point: int, dtype: str = "int8") -> TensorDetails:
    return TensorDetails(name="in", dtype=dtype, shape=(1, 4, 4, 1), scale=scale, zero_point=zero_point)


def _metadata(means: list[float], stds: list[float]) -> bytes:
    """Metadata as the TFLite Support library lays them out, built field by field from metadata_schema.fbs."""
    builder = flatbuffers.Builder(256)

    def floats(values: list[float]) -> int:
        builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            builder.PrependFloat32(value)
        return int(builder.EndVector())

    def tables(offset: int) -> int:
        builder.StartVector(4, 1, 4)
        builder.PrependUOffsetTRelative(offset)
        return int(builder.EndVector())

    def table(size: int, field: int, offset: int) -> int:
        builder.StartObject(size)
        builder.PrependUOffsetTRelativeSlot(field, offset, 0)
        return int(builder.EndObject())

    mean, std = floats(means), floats(stds)
    builder.StartObject(2)
    builder.PrependUOffsetTRelativeSlot(0, mean, 0)
    builder.PrependUOffsetTRelativeSlot(1, std, 0)
    options = builder.EndObject()
    builder.StartObject(2)
    builder.PrependUint8Slot(0, 1, 0)
    builder.PrependUOffsetTRelativeSlot(1, options, 0)
    unit = builder.EndObject()
    tensor = table(7, 4, tables(unit))
    graph = table(8, 2, tables(tensor))
    model = table(8, 3, tables(graph))
    builder.Finish(model, b"M001")
    return bytes(builder.Output())


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.tflite"
    path.write_bytes(tiny_models.dense(np.ones((10, 16), np.float32)))
    return path


@pytest.mark.parametrize(
    ("source", "formula"),
    [
        pytest.param(_int8(0.9996, -128), (0.0, 1.0), id="pixels-int8"),
        pytest.param(_int8(1.0, 0, "uint8"), (0.0, 1.0), id="pixels-uint8"),
        pytest.param(_int8(1 / 255, -128), (0.0, 255.0), id="unit"),
        pytest.param(_int8(2 / 255, 0), (127.5, 127.5), id="signed-unit"),
    ],
)
def test_contract_for_quantised_input_is_read_off_its_range(
    model: Path, source: TensorDetails, formula: tuple[float, float]
) -> None:
    found = feeding.contract_for(model, source=source, sinks=(OUTPUT,), labels=LABELS)
    assert isinstance(found, Contract)
    assert (found.mean, found.std) == formula
    ends = found.encode(np.array([[0, 255]] * 8, np.uint8).reshape(1, 4, 4, 1)).reshape(-1)[:2]
    limits = np.iinfo(source.dtype)
    assert abs(int(ends[0]) - limits.min) <= 1 and abs(int(ends[1]) - limits.max) <= 1


def test_contract_for_strange_range_is_refused(model: Path) -> None:
    found = feeding.contract_for(model, source=_int8(0.02, 3), sinks=(OUTPUT,), labels=LABELS)
    assert isinstance(found, str) and "give mean and std" in found


def test_contract_for_float_input_needs_mean_and_std(model: Path) -> None:
    assert isinstance(feeding.contract_for(model, source=FLOAT, sinks=(OUTPUT,), labels=LABELS), str)
    found = feeding.contract_for(model, source=FLOAT, sinks=(OUTPUT,), labels=LABELS, mean=10, std=2)
    assert isinstance(found, Contract)
    assert found.encode(np.full((1, 4, 4, 1), 30, np.uint8)).flat[0] == 10.0


def test_contract_for_other_number_of_outputs_is_refused(model: Path) -> None:
    found = feeding.contract_for(model, source=FLOAT, sinks=(OUTPUT,), labels=("a", "b"), mean=0, std=1)
    assert found == "it has 10 outputs; there are 2 classes"


def test_contract_for_reads_normalisation_from_metadata(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(
        tiny_models.dense(np.ones((10, 16), np.float32), metadata={"TFLITE_METADATA": _metadata([127.5], [63.75])})
    )
    assert normalization(path) == (127.5, 63.75)
    found = feeding.contract_for(path, source=FLOAT, sinks=(OUTPUT,), labels=LABELS)
    assert isinstance(found, Contract) and (found.mean, found.std) == (127.5, 63.75)


def test_normalization_other_for_each_channel_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    block = _metadata([120.0, 110.0, 100.0], [50.0, 50.0, 50.0])
    path.write_bytes(tiny_models.dense(np.ones((10, 16), np.float32), metadata={"TFLITE_METADATA": block}))
    assert normalization(path) is None


def test_normalization_of_damaged_metadata_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    block = bytearray(_metadata([1.0], [2.0]))
    generator = np.random.default_rng(0)
    for _ in range(50):
        block[int(generator.integers(8, len(block)))] = int(generator.integers(256))
        path.write_bytes(tiny_models.dense(np.ones((10, 16), np.float32), metadata={"TFLITE_METADATA": bytes(block)}))
        assert normalization(path) is None or isinstance(normalization(path), tuple)


def test_contract_for_prefers_the_file_beside_the_model(model: Path) -> None:
    derived = feeding.contract_for(model, source=FLOAT, sinks=(OUTPUT,), labels=LABELS, mean=3, std=1)
    assert isinstance(derived, Contract)
    import hashlib

    written = dataclasses.replace(derived, sha256=hashlib.sha256(model.read_bytes()).hexdigest(), std=7.0)
    written.write(model.parent)
    found = feeding.contract_for(model, source=FLOAT, sinks=(OUTPUT,), labels=LABELS, mean=0, std=1)
    assert isinstance(found, Contract) and (found.mean, found.std) == (3.0, 7.0)
    dataclasses.replace(found, no_pixels="its samples are spectra").write(model.parent)
    real = feeding.contract_for(model, source=FLOAT, sinks=(OUTPUT,), labels=LABELS)
    assert real == "it takes real inputs, no pixels: its samples are spectra"
    floats = feeding.contract_for(model, source=FLOAT, sinks=(OUTPUT,), labels=LABELS, pixels=False)
    assert isinstance(floats, Contract) and floats.no_pixels is not None
    refused = feeding.contract_for(model, source=FLOAT, sinks=(OUTPUT,), labels=tuple("klmnopqrst"))
    assert isinstance(refused, str) and "labels" in refused
    model.write_bytes(model.read_bytes() + b"!")
    with pytest.raises(ModelError, match="sha256"):
        feeding.contract_for(model, source=FLOAT, sinks=(OUTPUT,), labels=LABELS)


def test_misfit_tells_sizes(model: Path) -> None:
    contract = feeding.contract_for(model, source=FLOAT, sinks=(OUTPUT,), labels=LABELS, mean=0, std=1)
    assert isinstance(contract, Contract)
    assert feeding.misfit(contract, FLOAT, np.zeros((2, 4, 4, 1))) is None
    assert (
        feeding.misfit(contract, FLOAT, np.zeros((2, 28, 28, 1)))
        == "the test images are 28 x 28 x 1; its input is 4 x 4 x 1"
    )


@pytest.mark.parametrize(
    ("mean", "std"), [(0, 0), (0, -1), (0, math.nan), (0, math.inf), (math.nan, 1), (-math.inf, 1)]
)
def test_contract_for_mean_and_std_that_make_no_input_is_refused(mean: float, std: float, model: Path) -> None:
    with pytest.raises(ArgumentError, match="std above 0"):
        feeding.contract_for(model, source=FLOAT, sinks=(OUTPUT,), labels=LABELS, mean=mean, std=std)
