"""How much rounding a model piles up, told from its graph."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from edgefm.agreement.cells import AgreementCell
from edgefm.agreement.membership import membership
from edgefm.agreement.rounding import MEASURED, Rounding, rounding
from edgefm.tflite.inspection import inspect
from tests.fixtures import agreement_models
from tests.fixtures.tiny_models import Graph, Operator, Tensor, build

MEASURED_FILE = Path(__file__).parent.parent / "fixtures" / "measured_model" / "model.tflite"


def _of(tmp_path: Path, content: bytes) -> Rounding:
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    return rounding(inspect(path))


def test_limits_were_measured_on_the_file_in_fixtures() -> None:
    measured = rounding(inspect(MEASURED_FILE))
    assert measured.depth == MEASURED.depth == 9  # three convolutions, two ADD, three dense layers, a softmax
    assert measured.gain == pytest.approx(MEASURED.gain, rel=0.001)
    assert measured.factor == pytest.approx(1, rel=0.001)
    for runtime, limit in {"tflm": 1, "onnxruntime": 2, "openvino": 4}.items():
        assert membership(AgreementCell(runtime=runtime, target="host"), "integer", measured).limit == limit


def test_operators_that_only_move_values_do_not_count(tmp_path: Path) -> None:
    assert _of(tmp_path, agreement_models.chain()).depth == 3  # RESHAPE and three dense layers


def _two_paths(scale: float) -> bytes:
    """Return a graph of two paths: three ABS, and a RELU whose result has a scale; they are added."""
    ends = [Tensor(name=f"t{place}", shape=(1, 4), dtype="int8", scale=[0.5]) for place in range(4)]
    tensors = [*ends, Tensor(name="relu", shape=(1, 4), dtype="int8", scale=[scale])]
    tensors.append(Tensor(name="sum", shape=(1, 4), dtype="int8", scale=[1.0]))
    operators = [Operator(name="ABS", inputs=(place,), outputs=(place + 1,)) for place in range(3)]
    operators.append(Operator(name="RELU", inputs=(0,), outputs=(4,)))
    return build(Graph(tensors=tensors, operators=operators, inputs=[0], outputs=[4]))


@pytest.mark.parametrize(("scale", "depth"), [(0.5, 0), (0.25, 1)], ids=["same scale", "another scale"])
def test_relu_rounds_where_the_scale_changes_and_other_paths_do_not_count(
    tmp_path: Path, scale: float, depth: int
) -> None:
    assert _of(tmp_path, _two_paths(scale)).depth == depth


@pytest.mark.parametrize("scale", [0.02, 0.1, 0.4])
def test_gain_bounds_what_a_level_of_the_logits_does_to_a_softmax(tmp_path: Path, scale: float) -> None:
    tensors = [
        Tensor(name="logits", shape=(1, 4), dtype="int8", scale=[scale]),
        Tensor(name="y", shape=(1, 4), dtype="int8", scale=[1 / 256], zero_point=-128),
    ]
    operators = [Operator(name="SOFTMAX", inputs=(0,), outputs=(1,))]
    gain = _of(tmp_path, build(Graph(tensors=tensors, operators=operators, inputs=[0], outputs=[1]))).gain

    def softmax(z: np.ndarray) -> np.ndarray:
        powers = np.exp(z - z.max(axis=-1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=-1, keepdims=True))

    random = np.random.default_rng(0)
    logits = random.normal(size=(20_000, 4))
    moved = softmax(logits + scale * random.choice([-1, 1], logits.shape)) - softmax(logits)
    largest = np.abs(moved).max() * 256
    assert 0.7 * gain < max(1.0, largest) <= max(1.0, gain) * 1.01


@pytest.mark.parametrize("depth", [9, 13, 23, 36, 100])
def test_limit_grows_with_the_root_of_the_depth(depth: int) -> None:
    deep = Rounding(depth=depth, gain=1.0)
    grown = membership(AgreementCell(runtime="openvino", target="host"), "integer", deep)
    assert grown.limit == math.ceil(4 * math.sqrt(depth / 9))
    assert (f"{depth} rounding operators in a row" in grown.evidence) == (depth > 9)


def test_kernels_that_are_equal_bit_for_bit_stay_so_at_any_depth() -> None:
    cell = AgreementCell(runtime="litertjs", target="browser")
    assert membership(cell, "integer", Rounding(depth=1000, gain=50)).limit == 0
