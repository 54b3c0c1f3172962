"""The agreement matrix: ask every cell, group by kernel family, compare, and search the first differing layer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.agreement import arithmetic, asking, families
from edgefm.agreement.arithmetic import ModelTensors
from edgefm.agreement.asking import Answers
from edgefm.agreement.cells import Absent, AgreementCell
from edgefm.agreement.comparison import OutputComparison, Outputs, checked, compare
from edgefm.agreement.families import Family
from edgefm.agreement.inputs import MatrixInputs
from edgefm.agreement.layers import FirstDifference, FirstDifferenceSearch, Prefix
from edgefm.benchmarking import presence
from edgefm.benchmarking.scores import quality_json, score
from edgefm.core.errors import EdgefmError, RuntimeUnavailableError
from edgefm.core.progress import SILENT, Progress
from edgefm.data.quality import Quality, predicted_classes
from edgefm.statistics import estimates as statistics
from edgefm.tflite.contract import Tensor, dequantize
from edgefm.tflite.inspection import inspect

# All answers of all cells are held for the comparison of each with each.
_HELD_VALUES = 1 << 27
_Ask = Callable[[AgreementCell, Path, NDArray[Any]], Answers]
_NO_FAMILY = Family(name="unknown", title="runtimes that no row of the table knows", references=())


@dataclass(frozen=True, kw_only=True)
class Row:
    """A cell and what came of it.

    Attributes:
      cell: the cell.
      reason: why it gave no answers; None where it did.
      seconds: that its answers took, process and all.
      version: of the runtime there; None where it is not told.
      family: name of its family; None where it gave no answers.
      limit: largest difference from the family's reference that is allowed.
      share: largest share of the output values that may differ from it.
      evidence: what the limit is known from.
      verdict: 'reference', 'within' or 'alarm'; None where it gave no answers.
      comparison: with the family's reference; None for the reference itself.
      quality: see `edgefm.benchmarking.scores.quality_json`; None without labelled data.
      first_difference: of an alarm: the first layer that leaves the tolerance, or why none can be named.
    """

    cell: AgreementCell
    reason: str | None = None
    seconds: float | None = None
    version: str | None = None
    family: str | None = None
    limit: float | None = None
    share: float | None = None
    evidence: str | None = None
    verdict: str | None = None
    comparison: OutputComparison | None = None
    quality: Mapping[str, Any] | None = None
    first_difference: FirstDifference | str | None = None

    @property
    def ran(self) -> bool:
        """Whether the cell gave answers."""
        return self.reason is None


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """What `agree` found.

    Attributes:
      model: the file.
      ends: of it.
      inputs: that all cells were given.
      rows: the cells, those of a family together, its reference first; then those that gave no answers.
      references: reference of each family by its name.
      between: comparison of families' references, by the two names.
      pairs: comparison of each two cells that ran, by their places in `rows`.
      absent: targets that could not take part.
    """

    model: Path
    ends: ModelTensors
    inputs: MatrixInputs
    rows: tuple[Row, ...]
    references: Mapping[str, AgreementCell]
    between: Mapping[tuple[str, str], OutputComparison]
    pairs: Mapping[tuple[int, int], OutputComparison] = field(repr=False)
    absent: tuple[Absent, ...]

    @property
    def alarms(self) -> tuple[Row, ...]:
        """The cells that left the tolerance of their family."""
        return tuple(row for row in self.rows if row.verdict == "alarm")

    @property
    def judged(self) -> tuple[Row, ...]:
        """The cells that were compared with a reference of their family."""
        return tuple(row for row in self.rows if row.comparison is not None)


def agree(
    model: Path,
    *,
    cells: Sequence[AgreementCell],
    inputs: MatrixInputs,
    quality: Quality | None = None,
    absent: Sequence[Absent] = (),
    ask: _Ask = asking.ask,
    prefix: Prefix | None = None,
    progress: Progress = SILENT,
) -> Agreement:
    """Return how far the answers of some cells to the same inputs lie apart.

    A cell that crashes, hangs, is not installed or refuses the model costs its row, not the run.

    Args:
      model: .tflite file.
      cells: see `edgefm.agreement.cells.cells`.
      inputs: see `edgefm.agreement.inputs`; fewer are taken where the answers would not fit into memory.
      quality: measure of labelled data; by default none.
      absent: targets that cannot take part, passed on.
      ask: gives a model's outputs in a cell, and the version of the runtime there.
      prefix: cuts a model; by default `edgefm.profiling.cutting.prefix`.
      progress: receives progress.
    Raises:
      ModelError: the file is damaged, or has not exactly one input.
      RuntimeUnavailableError: fewer than two cells gave answers.
    """
    with presence.announced():
        return _agree(model, cells, inputs, quality, absent, _safely(ask), prefix or _cut, progress)


def _agree(
    model: Path,
    cells: Sequence[AgreementCell],
    inputs: MatrixInputs,
    quality: Quality | None,
    absent: Sequence[Absent],
    ask: _Ask,
    prefix: Prefix,
    progress: Progress,
) -> Agreement:
    inspection = inspect(model)
    ends = arithmetic.ends(inspection)
    inputs = _that_fit(inputs, ends, len(cells), progress)
    rows, outputs = _answers(model, cells, inputs, ends, ask, progress)
    if len(outputs) < 2:
        raise RuntimeUnavailableError(
            f"two cells are needed for a comparison, {len(outputs) or 'none'} gave answers",
            hint="\n  ".join([*(f"{row.cell.name}: {row.reason}" for row in rows if not row.ran)])
            or "Leave out --runtime, install another runtime (edgefm doctor), or add --target.",
        )
    rows, references = _judged(rows, outputs, ends)

    def outputs_alone(cell: AgreementCell, part: Path, values: NDArray[Any]) -> Outputs:
        return ask(cell, part, values).outputs

    search = FirstDifferenceSearch(
        model, inspection=inspection, ends=ends, ask=outputs_alone, prefix=prefix, progress=progress
    )
    rows = [
        replace(
            _with_layer(row, references, inputs, search) if row.verdict == "alarm" else row,
            quality=_quality(outputs[row.cell], ends, inputs, quality) if row.ran else None,
        )
        for row in rows
    ]
    names = list(references)
    return Agreement(
        model=model,
        ends=ends,
        inputs=inputs,
        rows=tuple(rows),
        references=references,
        between={
            (first, other): compare(outputs[references[other]], outputs[references[first]], ends=ends)
            for place, first in enumerate(names)
            for other in names[place + 1 :]
        },
        pairs={
            (first, other): compare(outputs[rows[other].cell], outputs[rows[first].cell], ends=ends)
            for first in range(len(rows))
            for other in range(first + 1, len(rows))
            if rows[first].ran and rows[other].ran
        },
        absent=tuple(absent),
    )


def _safely(ask: _Ask) -> _Ask:
    """Let whatever a runtime or a target of another package raises be an EdgefmError: it costs its row alone."""

    def asked(cell: AgreementCell, model: Path, inputs: NDArray[Any]) -> Answers:
        try:
            return ask(cell, model, inputs)
        except EdgefmError:
            raise
        except Exception as error:
            raise RuntimeUnavailableError(f"{type(error).__name__}: {error}") from error

    return asked


def _that_fit(inputs: MatrixInputs, ends: ModelTensors, cells: int, progress: Progress) -> MatrixInputs:
    most = max(1, _HELD_VALUES // max(1, ends.values_a_sample * cells))
    if len(inputs) <= most:
        return inputs
    progress.note(f"{most:,} of {len(inputs):,} samples are taken: the answers of all cells must fit into memory")
    return replace(inputs, values=inputs.values[:most], labels=None if inputs.labels is None else inputs.labels[:most])


def _answers(
    model: Path,
    cells: Sequence[AgreementCell],
    inputs: MatrixInputs,
    ends: ModelTensors,
    ask: _Ask,
    progress: Progress,
) -> tuple[list[Row], dict[AgreementCell, Outputs]]:
    rows, outputs = [], {}
    for place, cell in enumerate(cells):
        progress.step("answers", place, len(cells), {"cell": cell.name})
        started = time.perf_counter()
        try:
            answer = ask(cell, model, inputs.values)
            outputs[cell] = checked(answer.outputs, ends=ends, samples=len(inputs))
        except EdgefmError as error:
            rows.append(Row(cell=cell, reason=error.message))
        else:
            rows.append(Row(cell=cell, seconds=time.perf_counter() - started, version=answer.version))
        progress.step("answers", place + 1, len(cells), {"cell": cell.name})
    return rows, outputs


def _judged(
    rows: Sequence[Row], outputs: Mapping[AgreementCell, Outputs], ends: ModelTensors
) -> tuple[list[Row], dict[str, AgreementCell]]:
    """Return the rows with family and verdict, in the order of the families, and the reference of each."""
    placed: dict[str, list[tuple[Row, families.Membership]]] = {}
    strangers = []
    for row in rows:
        if not row.ran:
            continue
        belongs = families.membership(row.cell, ends.arithmetic)
        if belongs.family is None:
            strangers.append((row, belongs))
        else:
            placed.setdefault(belongs.family, []).append((row, belongs))
    order = [family for family in families.FAMILIES if family.name in placed]
    references = {
        family.name: families.reference_of(family, [row.cell for row, _ in placed[family.name]]) for family in order
    }
    if strangers and not references:
        order.append(_NO_FAMILY)
        references[_NO_FAMILY.name] = strangers[0][0].cell
    for row, belongs in strangers:
        nearest = min(references, key=lambda name: _distance(outputs, row.cell, references[name], ends))
        placed.setdefault(nearest, []).append((row, belongs))
    judged = []
    for family in order:
        reference = references[family.name]
        members = sorted(placed[family.name], key=lambda entry: entry[0].cell != reference)
        for row, belongs in members:
            judged.append(_verdict(row, belongs, family, reference, outputs, ends))
    return [*judged, *(row for row in rows if not row.ran)], references


def _verdict(
    row: Row,
    belongs: families.Membership,
    family: Family,
    reference: AgreementCell,
    outputs: Mapping[AgreementCell, Outputs],
    ends: ModelTensors,
) -> Row:
    known = replace(row, family=family.name, limit=belongs.limit, share=belongs.share, evidence=belongs.evidence)
    if row.cell == reference:
        return replace(known, verdict="reference", limit=0.0, share=0.0)
    comparison = compare(outputs[row.cell], outputs[reference], ends=ends)
    verdict = "within" if comparison.within(belongs.limit, share=belongs.share) else "alarm"
    return replace(known, verdict=verdict, comparison=comparison)


def pair_verdict(first: Row, second: Row, comparison: OutputComparison) -> str | None:
    """Return what the difference of two cells means: 'within', 'alarm', or None where they are of two families.

    With the reference of the family it is the verdict of the other. Two members that are within their tolerances are
    within each other's; where one is not, they may be as far apart as both tolerances together allow.
    """
    if first.family is None or first.family != second.family:
        return None
    for reference, other in ((first, second), (second, first)):
        if reference.verdict == "reference":
            return other.verdict
    if first.verdict == second.verdict == "within":
        return "within"
    tolerances = [(row.limit or 0.0, row.share or 0.0) for row in (first, second)]
    return "within" if comparison.within_both(*tolerances) else "alarm"


def _distance(
    outputs: Mapping[AgreementCell, Outputs], cell: AgreementCell, other: AgreementCell, ends: ModelTensors
) -> float:
    largest = compare(outputs[cell], outputs[other], ends=ends).largest
    return np.inf if largest is None else largest


def _with_layer(
    row: Row, references: Mapping[str, AgreementCell], inputs: MatrixInputs, search: FirstDifferenceSearch
) -> Row:
    assert row.family is not None and row.comparison is not None and row.limit is not None
    # Small differences in too many values: the first layer that differs at all.
    limit = 0.0 if row.comparison.within(row.limit) else row.limit
    try:
        layer = search.find(
            row.cell, references[row.family], inputs=inputs.values, sample=row.comparison.sample, limit=limit
        )
    except EdgefmError as error:
        layer = error.message
    return replace(row, first_difference=layer)


def _quality(
    outputs: Outputs, ends: ModelTensors, inputs: MatrixInputs, quality: Quality | None
) -> dict[str, Any] | None:
    if quality is None or inputs.labels is None:
        return None
    real = tuple(_real(output, ends, place) for place, output in enumerate(outputs))
    if quality.name == "accuracy":
        hits = int((predicted_classes(real) == inputs.labels).sum())
        return quality_json(quality, statistics.proportion(hits, len(inputs)), n=len(inputs), reason=None)
    try:
        result = score(quality, real, inputs.labels)
    except EdgefmError as error:
        return quality_json(quality, None, n=len(inputs), reason=error.message)
    estimate = result.estimate
    return {
        **quality_json(quality, estimate, n=len(inputs), reason=None if estimate else "no interval in the time given"),
        "value": result.value,
    }


def _real(output: NDArray[Any], ends: ModelTensors, place: int) -> NDArray[np.float32]:
    sink = ends.sinks[place]
    tensor = Tensor(
        name=sink.name,
        dtype=sink.dtype,
        shape=sink.shape,
        scale=sink.scale,
        zero_point=sink.zero_point,
        value_range=(0.0, 0.0),
    )
    return dequantize(output, tensor)


def _cut(content: bytes, operator: int) -> bytes:
    from edgefm.profiling.cutting import prefix

    return prefix(content, operator)
