"""The parts of the agreement matrix: units and comparisons, families, inputs, cells."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgefm import runtimes, targets
from edgefm.agreement import arithmetic, families
from edgefm.agreement.arithmetic import ModelTensors
from edgefm.agreement.cells import AgreementCell, cells
from edgefm.agreement.comparison import NotComparableError, checked, compare
from edgefm.agreement.inputs import from_chance, from_data
from edgefm.agreement.membership import membership
from edgefm.core.errors import DataError, ModelError, RecipeError
from edgefm.data.dataset import Dataset, Split
from edgefm.runtimes.base import Availability, TensorDetails, Unavailable
from edgefm.targets.base import TargetError
from edgefm.tflite.inspection import inspect
from tests.fixtures import agreement_models, tiny_models
from tests.fixtures.app_models import Out, app_model
from tests.fixtures.tiny_models import Graph, Operator, Tensor, build

INT8 = TensorDetails(name="y", dtype="int8", shape=(1, 3), scale=0.5, zero_point=0)
FLOAT = TensorDetails(name="y", dtype="float32", shape=(1, 3), scale=None, zero_point=None)


def _ends(sink: TensorDetails, kind: arithmetic.Arithmetic, level: float | None) -> ModelTensors:
    return ModelTensors(source=sink, sinks=(sink,), level=(level,), arithmetic=kind)


def _written(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    return path


levels = st.lists(st.lists(st.integers(-128, 127), min_size=3, max_size=3), min_size=1, max_size=20)


@given(levels, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_compare_counts_levels_and_samples_as_plain_loops_do(values: list[list[int]], random: Any) -> None:
    first = np.array(values, np.int8)
    second = np.array([[random.choice([v, v, random.randint(-128, 127)]) for v in row] for row in values], np.int8)
    comparison = compare((first,), (second,), ends=_ends(INT8, "integer", 1.0))
    distances = [[abs(int(a) - int(b)) for a, b in zip(*rows, strict=True)] for rows in zip(first, second, strict=True)]
    assert comparison.largest == max(max(row) for row in distances)
    assert comparison.largest_absolute == 0.5 * comparison.largest
    assert comparison.equal_samples == sum(max(row) == 0 for row in distances)
    assert (comparison.values, comparison.equal_values) == (first.size, sum(d == 0 for row in distances for d in row))
    assert max(distances[comparison.sample]) == comparison.largest
    assert comparison.argmax_changes == sum(
        int(np.argmax(a)) != int(np.argmax(b)) for a, b in zip(first, second, strict=True)
    )


def test_compare_takes_large_outputs_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgefm.agreement import comparison

    generator = np.random.default_rng(0)
    first, second = (generator.integers(-128, 128, (50, 7)).astype(np.int8) for _ in range(2))
    sink = TensorDetails(name="y", dtype="int8", shape=(1, 7), scale=1.0, zero_point=0)
    whole = compare((first,), (second,), ends=_ends(sink, "integer", 1.0))
    monkeypatch.setattr(comparison, "_VALUES_AT_ONCE", 20)
    assert compare((first,), (second,), ends=_ends(sink, "integer", 1.0)) == whole


def test_compare_of_float_model_is_relative_to_the_largest_value_of_the_reference() -> None:
    reference = np.array([[1.0, -20.0, 3.0], [0.0, 0.0, 0.0]], np.float32)
    comparison = compare((reference + np.float32(0.5),), (reference,), ends=_ends(FLOAT, "float", None))
    assert comparison.largest == pytest.approx(0.5 / 20)
    assert comparison.largest_absolute == pytest.approx(0.5)
    assert comparison.unit == "relative"


def test_compare_of_float_output_of_an_integer_model_counts_its_levels() -> None:
    reference = np.array([[0.0, 0.25, 0.5]], np.float32)
    dequantised = compare((reference + 0.25,), (reference,), ends=_ends(FLOAT, "integer", 0.125))
    assert dequantised.largest == pytest.approx(2)
    # No level in the file: 1/255 of the reference's spread.
    softmax = compare((reference + np.float32(0.5 / 255),), (reference,), ends=_ends(FLOAT, "integer", None))
    assert softmax.largest == pytest.approx(1, rel=1e-4)
    assert softmax.within(1)


def test_compare_finds_nan_and_infinity_on_one_side_alone() -> None:
    reference = np.array([[np.nan, np.inf, 1.0]], np.float32)
    same = compare((reference.copy(),), (reference,), ends=_ends(FLOAT, "float", None))
    assert same.equal
    assert same.within(0)
    broken = compare(
        (np.array([[np.nan, np.inf, np.nan]], np.float32),), (reference,), ends=_ends(FLOAT, "float", None)
    )
    assert broken.largest is None
    assert not broken.within(1e9)
    assert broken.to_json()["largest_absolute"] is None


def test_share_of_differing_samples_is_bounded_by_the_rule_of_three_where_none_differs() -> None:
    same = np.zeros((1000, 3), np.int8)
    differing = compare((same,), (same,), ends=_ends(INT8, "integer", 1.0)).differing
    assert (differing.value, differing.low) == (0, 0)
    assert differing.high == pytest.approx(3 / 1000, rel=0.01)
    other = same.copy()
    other[:30] = 1
    differing = compare((other,), (same,), ends=_ends(INT8, "integer", 1.0)).differing
    assert differing.low < 0.03 < differing.high


@pytest.mark.parametrize("samples", [1, 7, 100, 1000, 3333, 10_000])
def test_equal_answers_are_within_no_tolerance_at_all(samples: int) -> None:
    same = np.zeros((samples, 3), np.int8)
    assert compare((same,), (same,), ends=_ends(INT8, "integer", 1.0)).within(0, share=0)


def test_tolerance_of_a_share_is_broken_by_the_whole_interval_alone() -> None:
    same = np.zeros((100, 3), np.int8)
    other = same.copy()
    other[:12, 0] = 1
    comparison = compare((other,), (same,), ends=_ends(INT8, "integer", 1.0))
    assert comparison.within(1, share=0.025)  # 12 of 300 values may be 2.5 % by chance
    assert not comparison.within(1, share=0.02)
    assert not comparison.within(0, share=1)


@pytest.mark.parametrize(
    ("outputs", "reason"),
    [
        pytest.param((), "0 outputs, the model has 1", id="number"),
        pytest.param((np.zeros((2, 3), np.float32),), "dtype float32; int8 is expected", id="dtype"),
        pytest.param((np.zeros((2, 4), np.int8),), r"the shape \(2, 4\)", id="shape"),
    ],
)
def test_answers_of_another_kind_are_not_compared(outputs: tuple[NDArray[Any], ...], reason: str) -> None:
    with pytest.raises(NotComparableError, match=reason):
        checked(outputs, ends=_ends(INT8, "integer", 1.0), samples=2)


def test_arithmetic_is_told_from_the_tensors(tmp_path: Path) -> None:
    weights = np.ones((2, 16))
    for content, kind in (
        (tiny_models.relu(), "float"),
        (tiny_models.enhanced_cnn(), "float"),
        (tiny_models.quantized_dense(weights.astype(np.int8), output_scale=1.0), "integer"),
        (agreement_models.chain(), "integer"),
        (agreement_models.dynamic(), "dynamic"),
    ):
        assert arithmetic.ends(inspect(_written(tmp_path, content))).arithmetic == kind


def test_ends_say_the_level_behind_a_dequantised_output(tmp_path: Path) -> None:
    ends = arithmetic.ends(inspect(_written(tmp_path, agreement_models.dequantised(scale=0.25))))
    assert ends.sinks[0].dtype == "float32"
    assert ends.level == (0.25,)
    assert ends.unit == "levels"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(tiny_models.dynamic(), "dynamic shape", id="dynamic"),
        pytest.param(tiny_models.relu((2, 4)), "a batch of 2", id="batch"),
        pytest.param(tiny_models.relu()[:60], "cut off or damaged", id="damaged"),
    ],
)
def test_models_that_cannot_be_fed_are_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        arithmetic.ends(inspect(_written(tmp_path, content)))


def test_every_row_of_the_table_names_a_known_family_and_its_evidence() -> None:
    for row in families.MEMBERS:
        assert families.family(row.family).name == row.family
        assert row.evidence
        assert row.runtime in runtimes.RUNTIMES
        assert row.limit >= 0
        assert 0 <= row.share <= 1


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        pytest.param(
            "integer",
            {"xnnpack": "litert:xnnpack", "builtin": "litert:builtin", "reference": "litert:reference"},
            marks=pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="x86 kernels"),
        ),
        ("int16", {"builtin": "litert:builtin"}),
        ("dynamic", {"xnnpack": "litert:xnnpack", "builtin": "litert:builtin"}),
        ("float", {"float": "litert:xnnpack"}),
    ],
)
def test_each_family_has_its_own_reference_among_the_kernel_sets_of_litert(
    kind: arithmetic.Arithmetic, expected: dict[str, str]
) -> None:
    known = [
        AgreementCell(runtime=f"litert:{kernels}", target="host") for kernels in ("reference", "xnnpack", "builtin")
    ]
    members: dict[str, list[AgreementCell]] = {}
    for cell in known:
        name = membership(cell, kind).family
        assert name is not None
        members.setdefault(name, []).append(cell)
    references = {name: families.reference_of(families.family(name), some).name for name, some in members.items()}
    assert references == expected


def test_stranger_belongs_to_no_family() -> None:
    belongs = membership(AgreementCell(runtime="stranger", target="host"), "integer")
    assert belongs.family is None
    assert belongs.limit == 1


@pytest.mark.parametrize(
    ("target", "family"),
    [("qemu-aarch64:cortex-a53", "xnnpack"), ("ssh://pi@board", None)],
    ids=["Arm", "not known"],
)
def test_builtin_kernels_belong_where_their_instruction_set_says(target: str, family: str | None) -> None:
    assert membership(AgreementCell(runtime="litert:builtin", target=target), "integer").family == family


def _dataset(shape: tuple[int, ...], count: int = 40) -> Dataset:
    generator = np.random.default_rng(0)
    labels = tuple("abcd")
    splits = [
        Split(
            name=name,
            images=generator.integers(0, 256, (count, *shape)).astype(np.uint8),
            labels=generator.integers(0, len(labels), count),
        )
        for name in ("train", "validation", "test")
    ]
    return Dataset(name="own", labels=labels, train=splits[0], validation=splits[1], test=splits[2], sha256="0" * 64)


def test_inputs_are_test_samples_in_the_models_own_dtype(tmp_path: Path) -> None:
    path = _written(tmp_path, agreement_models.chain())
    ends = arithmetic.ends(inspect(path))
    dataset = _dataset((4, 4, 1))
    inputs = from_data(path, dataset, ends=ends, samples=10, mean=0.0, std=50.0)
    assert inputs.values.dtype == np.int8
    assert inputs.values.shape == (10, 4, 4, 1)
    assert inputs.labels is not None
    # Drawn without replacement, in the order of the data: real = pixel / 50, q = real / 0.02 - 128 = pixel - 128.
    pixels = inputs.values.astype(np.int64) + 128
    places = [int(np.flatnonzero((dataset.test.images == one).all(axis=(1, 2, 3)))[0]) for one in pixels]
    assert places == sorted(set(places))
    np.testing.assert_array_equal(inputs.labels, dataset.test.labels[places])
    assert len(from_data(path, dataset, ends=ends, samples=1000, mean=0.0, std=50.0)) == 40


def test_data_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = _written(tmp_path, agreement_models.chain())
    ends = arithmetic.ends(inspect(path))
    with pytest.raises(DataError, match="test images are 5 x 5 x 1; its input is 4 x 4 x 1"):
        from_data(path, _dataset((5, 5, 1)), ends=ends, samples=10, mean=0.0, std=50.0)
    with pytest.raises(DataError, match="not a known pixel range"):
        from_data(path, _dataset((4, 4, 1)), ends=ends, samples=10)


def test_random_inputs_repeat_by_seed_and_reach_all_levels(tmp_path: Path) -> None:
    path = _written(tmp_path, agreement_models.chain())
    ends = arithmetic.ends(inspect(path))
    first, again, other = (from_chance(path, ends=ends, samples=500, reason="no data", seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.values, again.values)
    assert first.sha256 == again.sha256 != other.sha256
    assert len(np.unique(first.values)) == 256
    assert first.labels is None
    floats = from_chance(
        _written(tmp_path, tiny_models.relu((1, 4))), ends=_ends(FLOAT, "float", None), samples=9, reason="no data"
    )
    assert floats.values.dtype == np.float32
    assert 0 <= floats.values.min() < floats.values.max() < 1


def test_random_tokens_are_spread_over_the_rows_of_their_table(tmp_path: Path) -> None:
    """As Keras' converter writes an embedding: a token below 0 counts from the end of the table."""
    axis = schema.GatherOptionsT()
    tensors = [
        Tensor(name="token", shape=(1, 6), dtype="int32"),
        Tensor(name="mask", shape=(1, 6), dtype="int32"),
        Tensor(name="zero", shape=(), dtype="int32", data=np.array(0, np.int32)),
        Tensor(name="rows", shape=(), dtype="int32", data=np.array(700, np.int32)),
        Tensor(name="below", shape=(1, 6), dtype="bool"),
        Tensor(name="from_the_end", shape=(1, 6), dtype="int32"),
        Tensor(name="place", shape=(1, 6), dtype="int32"),
        Tensor(name="table", shape=(700, 2), data=np.ones((700, 2), np.float32)),
        Tensor(name="vectors", shape=(1, 6, 2)),
    ]
    operators = [
        Operator(name="LESS", inputs=(0, 2), outputs=(4,)),
        Operator(name="ADD", inputs=(0, 3), outputs=(5,)),
        Operator(name="SELECT", inputs=(4, 5, 0), outputs=(6,)),
        Operator(
            name="GATHER", inputs=(7, 6), outputs=(8,),
            options=axis, options_type=schema.BuiltinOptions.GatherOptions,
        ),
    ]  # fmt: skip
    for names, places in {"both": [0, 1], "one": [0], "other": [1]}.items():
        path = tmp_path / f"{names}.tflite"
        path.write_bytes(build(Graph(tensors=tensors, operators=operators, inputs=places, outputs=[8])))
        drawn = from_chance(path, ends=arithmetic.ends(inspect(path)), samples=500, reason="no data")
        token = drawn.values["token"] if names == "both" else drawn.values
        if names != "other":
            assert (token.min(), token.max()) == (0, 699) and len(np.unique(token)) > 600
            assert "'token' holds whole numbers from 0 to 699, the rows of a table" in str(drawn.reason)
        if names != "one":
            mask = drawn.values["mask"] if names == "both" else drawn.values
            assert sorted(np.unique(mask)) == [0, 1] and "'mask' holds 0 and 1 alone" in str(drawn.reason)


def test_cells_are_all_kernel_sets_here_and_the_default_ones_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes, "RUNTIMES", {"litert": "edgefm.runtimes.litert", "tflm": "edgefm.runtimes.tflm"})
    known, absent = cells()
    assert [cell.name for cell in known] == ["litert:xnnpack", "litert:builtin", "litert:reference", "tflm"]
    assert not absent
    known, _ = cells(runtime=["litert:builtin", "tflm"])
    assert [cell.name for cell in known] == ["litert:builtin", "tflm"]


def test_runtime_of_a_target_is_no_cell_of_this_machine() -> None:
    assert "litertjs" not in [cell.runtime for cell in cells()[0]]


@pytest.mark.parametrize(
    ("runtime", "reason"),
    [("litrt", "did you mean 'litert'"), ("litert:xnpack", "no kernel set 'xnpack'")],
)
def test_unknown_runtimes_are_named(runtime: str, reason: str) -> None:
    with pytest.raises(RecipeError, match=reason):
        cells(runtime=[runtime])


class _Board:
    """A target of another package."""

    name, mode, runtimes = "board", "measured", ("litert",)

    def __init__(self, usable: Availability | Exception) -> None:
        self._usable = usable

    def availability(self) -> Availability:
        if isinstance(self._usable, Exception):
            raise self._usable
        return self._usable


def test_target_that_runs_nothing_is_told() -> None:
    _, absent = cells(target=["vela"])
    assert [one.name for one in absent] == ["vela"]
    assert "only estimates" in absent[0].reason


@pytest.mark.parametrize(
    ("usable", "reason"),
    [
        pytest.param(Unavailable("no board is plugged in"), "no board is plugged in", id="not there"),
        pytest.param(TargetError("its module fails"), "its module fails", id="error of edgefm"),
        pytest.param(OSError("broken pipe"), "OSError: broken pipe", id="another error"),
    ],
)
def test_target_that_is_not_there_is_told(
    monkeypatch: pytest.MonkeyPatch, usable: Availability | Exception, reason: str
) -> None:
    known = targets.target
    monkeypatch.setattr(targets, "target", lambda name: _Board(usable) if name == "board" else known(name))
    usable, absent = cells(target=["board"])
    assert [(one.name, one.reason) for one in absent] == [("board", reason)]
    assert {cell.target for cell in usable} == {"host"}


def test_runtime_whose_module_fails_is_a_cell_that_will_tell_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> Any:
        raise SystemError("its library is broken")

    monkeypatch.setattr(runtimes, "RUNTIMES", {"broken": "their.module"})
    monkeypatch.setattr(runtimes, "runtime", fail)
    assert [cell.name for cell in cells()[0] if cell.runtime == "broken"] == ["broken"]


def test_random_inputs_of_a_model_of_real_inputs_lie_in_its_range(tmp_path: Path) -> None:
    content, contract = app_model(shape=(1, 4, 4, 1), outputs=[Out(shape=(1, 3))], no_pixels="spectra")
    path = _written(tmp_path, content)
    contract.write(tmp_path)
    values = from_chance(path, ends=arithmetic.ends(inspect(path)), samples=200, reason="no data").values
    assert values.dtype == np.float32
    assert -3 <= values.min() < -2.9 and 2.9 < values.max() <= 3
