"""The matrix itself: rows, verdicts, document and picture; what answers is a stand-in."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgefm.agreement import arithmetic, asking, document
from edgefm.agreement.asking import Answers
from edgefm.agreement.cells import Absent, AgreementCell
from edgefm.agreement.comparison import OutputComparison
from edgefm.agreement.inputs import MatrixInputs, from_chance
from edgefm.agreement.matrix import Agreement, agree
from edgefm.agreement.verdicts import Row, pair_verdict
from edgefm.core.errors import RuntimeUnavailableError
from edgefm.data.quality import quality
from edgefm.jobs.agree import AgreementResult
from edgefm.targets.worker_process import WorkerError, WorkerSilentError
from edgefm.tflite.inspection import inspect
from tests.fixtures import agreement_models

XNNPACK, REFERENCE = (
    AgreementCell(runtime="litert:xnnpack", target="host"),
    AgreementCell(runtime="litert:reference", target="host"),
)
BROWSER = AgreementCell(runtime="litertjs", target="browser")
STRANGER = AgreementCell(runtime="stranger", target="host")
LABELS = np.array([0, 1, 2, 3] * 25)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "steps.tflite"
    path.write_bytes(agreement_models.steps(3))
    return path


def _inputs(model: Path, samples: int = 100) -> MatrixInputs:
    ends = arithmetic.ends(inspect(model))
    return from_chance(model, ends=ends, samples=samples, reason="no data were given")


def _agree(model: Path, answers: dict[AgreementCell, Any], **options: Any) -> Agreement:
    """Run the matrix: `answers` gives what is added to the inputs, or the error that is raised."""

    def ask(cell: AgreementCell, path: Path, inputs: NDArray[Any]) -> Answers:
        answer = answers[cell]
        if isinstance(answer, Exception):
            raise answer
        outputs = (np.clip(inputs.astype(np.int64) + answer, -128, 127).astype(np.int8),)
        return Answers(outputs=outputs, version="1.0")

    inputs = options.pop("inputs", None) or _inputs(model)
    return agree(model, cells=list(answers), inputs=inputs, ask=ask, **options)


def test_cells_are_compared_with_the_reference_of_their_family_alone(model: Path) -> None:
    agreement = _agree(model, {REFERENCE: 4, XNNPACK: 0, BROWSER: 0})
    verdicts = {row.cell.name: row.verdict for row in agreement.rows}
    assert verdicts == {"litert:xnnpack": "reference", "litertjs @ browser": "within", "litert:reference": "reference"}
    assert agreement.between[("xnnpack", "reference")].largest == 4
    assert not agreement.alarms
    assert len(agreement.pairs) == 3


def test_stranger_is_compared_with_the_nearest_family(model: Path) -> None:
    agreement = _agree(model, {XNNPACK: 0, REFERENCE: 20, STRANGER: 19})
    row = next(row for row in agreement.rows if row.cell == STRANGER)
    assert (row.family, row.comparison and row.comparison.largest) == ("reference", 1)


def test_small_difference_in_too_many_values_is_an_alarm_too(model: Path) -> None:
    agreement = _agree(model, {XNNPACK: 0, STRANGER: 1})
    (row,) = agreement.alarms
    assert row.comparison is not None
    assert row.comparison.largest == 1 == row.limit
    assert "in at most 25 % of values" in "".join(document.verdict_lines(agreement))


def test_alarm_names_the_first_layer(model: Path) -> None:
    agreement = _agree(model, {XNNPACK: 0, BROWSER: np.array([0, 0, 3, 0])})
    line = next(iter(document.verdict_lines(agreement)))
    assert line.startswith("ALARM litertjs @ browser: differs from litert:xnnpack by 3 levels (limit: 0)")
    assert "operator 0, RELU 'step1'" in line


def test_cells_that_fail_cost_their_row_alone(model: Path) -> None:
    other, last = AgreementCell(runtime="tflm", target="host"), AgreementCell(runtime="openvino", target="host")
    agreement = _agree(
        model,
        {
            other: WorkerError("the runtime crashed with SIGSEGV while loading"),
            last: KeyError("whatever another package raises"),
            XNNPACK: 0,
            BROWSER: 0,
        },
        absent=[Absent(name="cortex-m", reason="no emulator")],
    )
    assert [row.cell for row in agreement.rows if row.ran] == [XNNPACK, BROWSER]
    assert {row.cell: row.reason for row in agreement.rows if not row.ran} == {
        other: "the runtime crashed with SIGSEGV while loading",
        last: "KeyError: 'whatever another package raises'",
    }
    value = document.to_json(agreement)
    assert [cell["status"] for cell in value["cells"]] == ["ran", "ran", "did not run", "did not run"]
    assert value["absent"] == [{"name": "cortex-m", "reason": "no emulator"}]


def test_model_that_never_ends_is_not_waited_for_in_every_cell(model: Path) -> None:
    cells = [AgreementCell(runtime=name, target="host") for name in ("tflm", "openvino", "onnxruntime", "litertjs")]
    silent = WorkerSilentError("no answer for 60 s while running; the process was killed")
    agreement = _agree(model, {XNNPACK: 0, cells[0]: silent, REFERENCE: 0, **dict.fromkeys(cells[1:], silent)})
    assert [row.cell for row in agreement.rows if row.ran] == [XNNPACK, REFERENCE]
    reasons = {row.cell: row.reason for row in agreement.rows if not row.ran}
    assert reasons[cells[0]] == reasons[cells[1]] == silent.message
    names = f"{cells[0].name} and {cells[1].name}"
    assert reasons[cells[2]] == reasons[cells[3]] == f"not asked: the model gave no answer in {names}"


def test_error_of_another_package_in_the_search_for_a_layer_is_told(model: Path) -> None:
    calls = []

    def ask(cell: AgreementCell, path: Path, inputs: NDArray[Any]) -> Answers:
        calls.append(cell)
        if calls.count(cell) > 1:
            raise SystemError("it runs once alone")
        return Answers(outputs=(inputs + np.int8(3) if cell == BROWSER else inputs // 2,))

    agreement = agree(model, cells=[XNNPACK, BROWSER], inputs=_inputs(model), ask=ask)
    assert "it runs once alone" in str(agreement.alarms[0].first_difference)


def test_others_see_that_an_agreement_runs(model: Path) -> None:
    seen = []

    def ask(cell: AgreementCell, path: Path, inputs: NDArray[Any]) -> Answers:
        seen.append(_seen_by_others())
        return Answers(outputs=(inputs,))

    agree(model, cells=[XNNPACK, BROWSER], inputs=_inputs(model, 2), ask=ask)
    assert len(seen) == 2 and all(os.getpid() in pids for pids in seen)
    assert os.getpid() not in _seen_by_others()


def _seen_by_others() -> list[int]:
    look = "from edgefm.benchmarking import presence; print(presence.others())"
    process = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    pids: list[int] = json.loads(process.stdout)
    return pids


def test_version_is_that_which_the_answering_worker_tells(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def raw_outputs(path: Path, inputs: NDArray[Any], *, on_loaded: Any, **_: Any) -> tuple[NDArray[Any], ...]:
        on_loaded({"runtime": "litert", "version": "2.3.0"})
        return (inputs,)

    monkeypatch.setattr("edgefm.targets.raw_outputs.raw_outputs", raw_outputs)
    given = _inputs(model, 3)
    assert asking.ask(XNNPACK, model, given.values).version == "2.3.0"


def test_answers_of_another_shape_are_no_answers(model: Path) -> None:
    def ask(cell: AgreementCell, path: Path, inputs: NDArray[Any]) -> Answers:
        return Answers(outputs=(inputs[:, :3],) if cell == STRANGER else (inputs,))

    cells = [XNNPACK, BROWSER, STRANGER]
    agreement = agree(model, cells=cells, inputs=_inputs(model), ask=ask)
    assert "the shape (100, 3)" in str(agreement.rows[-1].reason)


def test_one_cell_alone_cannot_be_compared(model: Path) -> None:
    with pytest.raises(RuntimeUnavailableError, match="two cells are needed for a comparison; 1 ran") as error:
        _agree(model, {XNNPACK: 0, BROWSER: WorkerError("Chromium is not there")})
    assert "litertjs @ browser: Chromium is not there" in str(error.value)


def test_families_of_one_are_said_to_be_held_to_nothing(model: Path) -> None:
    agreement = _agree(model, {XNNPACK: 0, REFERENCE: 2})
    (line,) = document.verdict_lines(agreement)
    assert line.startswith("no two cells belong to one kernel family")


def test_equal_answers_are_bounded_by_their_number(model: Path) -> None:
    lines = list(document.verdict_lines(_agree(model, {XNNPACK: 0, BROWSER: 0})))
    assert lines == [
        "1 of 1 compared cells are within the tolerance of their kernel family, 1 of them bit-exact",
        "0 differing samples in 100: with 95 % confidence fewer than 3 % of samples like these differ (rule of three)",
    ]


def test_accuracy_has_its_interval_where_labels_are_there(model: Path) -> None:
    values = np.full((100, 4), 5, np.int8)
    values[np.arange(100), LABELS] = 9
    values[:10] = 5  # a tie: the first class, right for three of these
    given = MatrixInputs(
        values=values,
        labels=LABELS,
        task="classification",
        source="data",
        name="own",
        available=100,
        reason=None,
        seed=0,
    )
    agreement = _agree(
        model, {XNNPACK: 0, BROWSER: 0}, inputs=given, quality=quality("accuracy", task="classification")
    )
    for row in agreement.rows:
        assert row.quality is not None
        assert row.quality["value"] == 0.93
        assert row.quality["low"] < 0.93 < row.quality["high"]


def test_too_many_answers_for_the_memory_are_cut_short(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgefm.agreement import matrix

    monkeypatch.setattr(matrix, "_HELD_VALUES", 80)  # two cells, four values a sample
    assert len(_agree(model, {XNNPACK: 0, BROWSER: 0}).inputs) == 10


TFLM = AgreementCell(runtime="tflm", target="host")
BUILTIN = AgreementCell(runtime="tflite-runtime:reference", target="host")
CORTEX = AgreementCell(runtime="cortex-m-firmware", target="cortex-m")


def _row(cell: AgreementCell, verdict: str, *, limit: float, share: float, family: str = "xnnpack") -> Row:
    return Row(cell=cell, family=family, verdict=verdict, limit=limit, share=share)


def _differing(levels: int, values: int) -> OutputComparison:
    """Return a comparison of 400 values of which some differ, by so many levels at most."""
    return OutputComparison(
        unit="levels",
        largest=float(levels),
        largest_absolute=float(levels),
        output=0,
        sample=0,
        samples=100,
        equal_samples=100 - values // 4,
        values=400,
        equal_values=400 - values,
        argmax_changes=0,
    )


REFERENCE_ROW = _row(XNNPACK, "reference", limit=0, share=0)
NEAR = _row(STRANGER, "within", limit=1, share=0.25)
OTHER_NEAR = _row(TFLM, "within", limit=1, share=0.25)
FAR = _row(BROWSER, "alarm", limit=1, share=0.25)
OTHER_FAMILY = _row(REFERENCE, "within", limit=0, share=0, family="reference")


@pytest.mark.parametrize(
    ("first", "second", "comparison", "verdict"),
    [
        pytest.param(NEAR, OTHER_FAMILY, _differing(0, 0), None, id="two families"),
        pytest.param(REFERENCE_ROW, NEAR, _differing(1, 100), "within", id="reference and within"),
        pytest.param(FAR, REFERENCE_ROW, _differing(1, 300), "alarm", id="reference and alarm"),
        # 54 % of the values; more than both may by themselves, as the interval of each reached below 25 %.
        pytest.param(NEAR, OTHER_NEAR, _differing(2, 216), "within", id="both within"),
        pytest.param(NEAR, FAR, _differing(2, 216), "within", id="share within its interval"),
        pytest.param(NEAR, FAR, _differing(2, 260), "alarm", id="share beyond its interval"),
        pytest.param(NEAR, FAR, _differing(3, 1), "alarm", id="too many levels"),
    ],
)
def test_verdict_of_a_pair_follows_from_those_of_its_cells(
    first: Row, second: Row, comparison: OutputComparison, verdict: str | None
) -> None:
    assert pair_verdict(first, second, comparison) == verdict
    assert pair_verdict(second, first, comparison) == verdict


def test_two_cells_within_their_tolerance_are_no_alarm_in_the_picture(tmp_path: Path) -> None:
    """Each differs from the reference in 27 % of the values, by chance within 25 %; from each other in 54 %."""
    from edgefm.report.drawing import style
    from edgefm.report.tools.agreement import agreement_figure

    path = tmp_path / "steps.tflite"
    path.write_bytes(agreement_models.steps(1))
    inputs = _inputs(path)
    up, down = np.zeros((2, 100, 4), np.int64)
    up.flat[:108], down.flat[108:216] = 1, -1
    middle = replace(inputs, values=np.clip(inputs.values, -100, 100).astype(np.int8))
    agreement = _agree(path, {BUILTIN: 0, TFLM: up, CORTEX: down}, inputs=middle)
    assert {row.cell: row.verdict for row in agreement.rows} == {BUILTIN: "reference", TFLM: "within", CORTEX: "within"}
    value = document.to_json(agreement)
    assert [pair["verdict"] for pair in value["pairs"]] == ["within"] * 3
    with style.drawing():
        figure = agreement_figure(value)
    assert not [patch for patch in figure.axes[0].patches if patch.get_facecolor()[:3] == _rgb(style.ORANGE)]


@pytest.fixture
def value(model: Path) -> dict[str, Any]:
    """A document with an alarm, two families and a cell that did not run."""
    cells = {XNNPACK: 0, BROWSER: 3, REFERENCE: 1, AgreementCell(runtime="tflm", target="host"): WorkerError("it hung")}
    return document.to_json(_agree(model, cells))


def test_document_holds_its_schema_and_is_json(value: dict[str, Any], tmp_path: Path) -> None:
    written = AgreementResult(document=value).save(tmp_path / "out")
    assert json.loads(written[0].read_text(encoding="utf-8")) == value
    assert value["verdict"] == {"held": False, "alarms": 1, "lines": value["verdict"]["lines"]}
    assert value["environment"]["versions"]["numpy"] == np.__version__
    assert {cell["version"] for cell in value["cells"]} == {"1.0", None}


@pytest.mark.parametrize("place", ["kind", "unit", "verdict"])
def test_document_that_breaks_its_schema_is_refused(value: dict[str, Any], place: str) -> None:
    broken = copy.deepcopy(value)
    broken[place] = "another"
    with pytest.raises(ValueError, match=place):
        document.check(broken)


def test_picture_shows_every_pair_and_the_alarm_in_its_colour(value: dict[str, Any]) -> None:
    from edgefm.report.drawing import style
    from edgefm.report.tools.agreement import agreement_figure, agreement_pictures

    with style.drawing():
        figure = agreement_figure(value)
    texts = [text.get_text() for text in figure.axes[0].texts]
    ran = [cell for cell in value["cells"] if cell["status"] == "ran"]
    assert sum(text == "3" for text in texts) >= 2  # the alarm on both sides of the diagonal
    for cell in ran:
        assert any(text.startswith(cell["name"]) for text in texts)
    assert "it hung" in texts
    orange = [patch for patch in figure.axes[0].patches if patch.get_facecolor()[:3] == _rgb(style.ORANGE)]
    assert len(orange) == 2
    files = agreement_pictures(value)
    assert files["agreement.png"].startswith(b"\x89PNG")
    assert "litertjs @ browser" in files["agreement.svg"].decode()


def _rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))


OTHER_SET = AgreementCell(runtime="litert:builtin", target="host")


def _shifts(levels: int, values: int) -> NDArray[np.int64]:
    """Return what is added to 400 answers of `steps`: so many levels, to so many values, the first ones."""
    shifts = np.zeros((100, 4), np.int64)
    shifts.flat[:values] = levels
    return shifts


@pytest.mark.parametrize(
    ("levels", "values", "verdict"),
    [
        pytest.param(2, 40, "within", id="as far apart"),
        pytest.param(3, 4, "alarm", id="further apart"),
        pytest.param(2, 400, "alarm", id="in more values"),
    ],
)
def test_cell_is_held_to_the_spread_of_litert_kernel_sets(levels: int, values: int, verdict: str, model: Path) -> None:
    inputs = _inputs(model)
    middle = replace(inputs, values=np.clip(inputs.values, -100, 100).astype(np.int8))
    answers = {XNNPACK: 0, OTHER_SET: _shifts(2, 40), REFERENCE: 0, BROWSER: _shifts(levels, values)}
    agreement = _agree(model, answers, inputs=middle, first_difference=False)
    assert {row.cell.name: row.verdict for row in agreement.rows}["litertjs @ browser"] == verdict
    value = document.to_json(agreement)
    (cell,) = (cell for cell in value["cells"] if cell["name"] == "litertjs @ browser")
    told = [line for line in value["verdict"]["lines"] if "as far apart as LiteRT's own kernel sets: 2 levels" in line]
    if verdict == "within":
        assert cell["spread"] == {"first": "litert:xnnpack", "second": "litert:builtin", "largest": 2, "share": 0.1}
        assert told
    else:
        assert cell["spread"] is None
        assert not told


def test_broken_kernel_set_of_litert_excuses_no_other(model: Path) -> None:
    agreement = _agree(model, {XNNPACK: 0, REFERENCE: 60, BROWSER: 50}, first_difference=False)
    assert [row.cell.name for row in agreement.alarms] == ["litertjs @ browser"]
