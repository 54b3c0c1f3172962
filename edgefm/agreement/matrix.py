"""The agreement matrix: run every cell, judge and compare their outputs, search the first differing layer."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgefm.agreement import arithmetic, asking, verdicts
from edgefm.agreement.arithmetic import ModelTensors
from edgefm.agreement.asking import Answers
from edgefm.agreement.cells import Absent, AgreementCell
from edgefm.agreement.comparison import OutputComparison, Outputs, checked, compare
from edgefm.agreement.inputs import MatrixInputs
from edgefm.agreement.layers import FirstDifferenceSearch, Prefix
from edgefm.agreement.verdicts import Row
from edgefm.benchmarking import presence
from edgefm.benchmarking.scores import quality_json, score
from edgefm.core.errors import EdgefmError, RuntimeUnavailableError
from edgefm.core.progress import SILENT, Progress
from edgefm.data.quality import Quality, predicted_classes
from edgefm.runtimes import tflite_ends
from edgefm.statistics import estimates as statistics
from edgefm.targets.worker_process import WorkerSilentError
from edgefm.tflite.contract import dequantize
from edgefm.tflite.inspection import inspect

# All answers of all cells are held for the comparison of each with each.
_HELD_VALUES = 1 << 27
# A model that never ends takes a minute in each cell: where so many gave no answer the rest are not asked.
_MOST_SILENT = 2
_Ask = Callable[[AgreementCell, Path, NDArray[Any]], Answers]


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


@presence.announced()
def agree(
    model: Path,
    *,
    cells: Sequence[AgreementCell],
    inputs: MatrixInputs,
    quality: Quality | None = None,
    absent: Sequence[Absent] = (),
    first_difference: bool = True,
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
      first_difference: search the first layer that differs, of cells outside their tolerance; at most 40 s.
      ask: gives a model's outputs in a cell, and the version of the runtime there.
      prefix: cuts a model; by default `edgefm.profiling.cutting.prefix`.
      progress: receives progress.
    Raises:
      ModelError: the file is damaged, or cannot be run one sample at a time.
      RuntimeUnavailableError: fewer than two cells gave answers.
    """
    ask, inspection = _safely(ask), inspect(model)
    ends = arithmetic.ends(inspection)
    note = tflite_ends.file_note(model, name=model.name)
    if note is not None:
        progress.note(note)
    inputs = _that_fit(inputs, ends, len(cells), progress)
    rows, outputs = _answers(model, cells, inputs, ends, ask, progress)
    if len(outputs) < 2:
        raise RuntimeUnavailableError(
            f"at least two cells are needed for a comparison; {len(outputs) or 'none'} ran",
            hint="\n  ".join([*(f"{row.cell.name}: {row.reason}" for row in rows if not row.ran)])
            or "Name more runtimes or none, install another one (edgefm doctor), or add a target.",
        )
    rows, references = verdicts.judge(rows, outputs, ends)

    def outputs_alone(cell: AgreementCell, part: Path, values: NDArray[Any]) -> Outputs:
        return ask(cell, part, values).outputs

    search = FirstDifferenceSearch(
        model, inspection=inspection, ends=ends, ask=outputs_alone, prefix=prefix or _cut, progress=progress
    )
    rows = [
        replace(
            _with_layer(row, references, inputs, search) if first_difference and row.verdict == "alarm" else row,
            quality=_quality(outputs[row.cell], ends, inputs, quality) if row.ran else None,
        )
        for row in rows
    ]
    ran = [place for place, row in enumerate(rows) if row.ran]
    return Agreement(
        model=model,
        ends=ends,
        inputs=inputs,
        rows=tuple(rows),
        references=references,
        between={
            (first, other): compare(outputs[references[other]], outputs[references[first]], ends=ends)
            for first, other in itertools.combinations(references, 2)
        },
        pairs={
            (first, other): compare(outputs[rows[other].cell], outputs[rows[first].cell], ends=ends)
            for first, other in itertools.combinations(ran, 2)
        },
        absent=tuple(absent),
    )


def _safely(ask: _Ask) -> _Ask:
    """Let whatever a runtime or a target of another package raises be an EdgefmError: it costs its row alone."""

    def ask_safely(cell: AgreementCell, model: Path, inputs: NDArray[Any]) -> Answers:
        try:
            return ask(cell, model, inputs)
        except EdgefmError:
            raise
        except Exception as error:
            raise RuntimeUnavailableError(f"{type(error).__name__}: {error}") from error

    return ask_safely


def _that_fit(inputs: MatrixInputs, ends: ModelTensors, cells: int, progress: Progress) -> MatrixInputs:
    most = max(1, _HELD_VALUES // max(1, ends.values_a_sample * cells))
    if len(inputs) <= most:
        return inputs
    progress.note(f"{most:,} of {len(inputs):,} samples are used: the outputs of all cells must fit in memory")
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
    silent: list[str] = []
    for place, cell in enumerate(cells):
        progress.step("answers", place, len(cells), {"cell": cell.name})
        started = time.perf_counter()
        if len(silent) >= _MOST_SILENT:
            rows.append(Row(cell=cell, reason=f"not asked: the model gave no answer in {' and '.join(silent)}"))
            continue
        try:
            answer = ask(cell, model, inputs.values)
            outputs[cell] = checked(answer.outputs, ends=ends, samples=len(inputs))
        except EdgefmError as error:
            rows.append(Row(cell=cell, reason=error.message))
            silent += [cell.name] if isinstance(error, WorkerSilentError) else []
        else:
            rows.append(Row(cell=cell, seconds=time.perf_counter() - started, version=answer.version))
        progress.step("answers", place + 1, len(cells), {"cell": cell.name})
    return rows, outputs


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
    real = tuple(dequantize(output, sink) for output, sink in zip(outputs, ends.sinks, strict=True))
    if quality.name == "accuracy":
        hits = int((predicted_classes(real, threshold=inputs.threshold) == inputs.labels).sum())
        return quality_json(quality, statistics.proportion(hits, len(inputs)), n=len(inputs), reason=None)
    try:
        result = score(quality.at(inputs.threshold), real, inputs.labels)
    except EdgefmError as error:
        return quality_json(quality, None, n=len(inputs), reason=error.message)
    estimate = result.estimate
    return {
        **quality_json(quality, estimate, n=len(inputs), reason=None if estimate else "no interval in the time given"),
        "value": result.value,
    }


def _cut(content: bytes, operator: int) -> bytes:
    from edgefm.profiling.cutting import prefix

    return prefix(content, operator)
