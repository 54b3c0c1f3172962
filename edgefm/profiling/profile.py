"""Profiles a .tflite file from Python alone: each operator is cut out of the file and timed by itself.

No runtime's Python package gives the time of single operators. Models of one operator do. Their sum is checked against
the whole model, timed beside them. It is too large where the runtime fuses operators that stand together. Then prefixes
of the model are timed instead: differences of prefixes hold fusion, but the noise of two whole times, and add up to the
whole by construction.
"""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np

from edgefm import runtimes
from edgefm.benchmarking import presence
from edgefm.core import artefacts, scratch
from edgefm.core.environment import environment
from edgefm.core.errors import ModelError, RecipeError
from edgefm.core.progress import SILENT, Progress
from edgefm.profiling.cutting import Cutter
from edgefm.profiling.limits import Limits, measure_limits
from edgefm.profiling.operator_times import NotTimedError, OperatorTimer, Times
from edgefm.profiling.result import Disturbed, ProfiledOperator, ProfileResult, SumCheck
from edgefm.profiling.rows import beyond_peak, estimate, kind_of, operator_row
from edgefm.profiling.timing import Turns
from edgefm.runtimes import tflite_ends
from edgefm.tflite.inspection import Inspection, inspect

METHODS = ("auto", "operators", "prefixes")
# All prefixes lie on the disk at once.
_MOST_PREFIX_BYTES = 4_000_000_000


@presence.announced()
def profile(
    model: Path,
    *,
    runtime: str = "litert",
    method: Literal["auto", "operators", "prefixes"] = "auto",
    turns: Turns | None = None,
    progress: Progress = SILENT,
) -> ProfileResult:
    """Return where the time of a model goes, on one thread of this machine.

    An operator whose cut model cannot be made, crashes or hangs is a row with the reason; the others go on.

    Args:
      model: .tflite file.
      runtime: name of a runtime, with its kernel set where one is wanted: 'litert', 'litert:builtin'.
      method: 'operators' times models of one operator; 'prefixes' takes differences of prefixes; 'auto' takes
        operators, and prefixes where the whole interval of the operators' sum is off by more than 10 %, or where
        they cannot be timed in turn.
      turns: how long each cut model is timed.
      progress: receives a step a turn.
    Raises:
      ModelError: the file is damaged, has no operator, or none of its operators can be timed.
      RecipeError: an unknown runtime or method, or a runtime that does not run on this machine's own processor.
      RuntimeUnavailableError: the runtime cannot be used here.
    """
    if method not in METHODS:
        raise RecipeError(f"unknown method '{method}'", hint=f"Known: {', '.join(METHODS)}.")
    runtimes.module_of(runtime)
    if runtimes.split(runtime)[0] in runtimes.OF_TARGETS:
        raise RecipeError(
            f"the runtime '{runtime}' runs on another target; only this machine can be profiled",
            hint="Use a runtime of this machine, e.g. litert:builtin; see: edgefm doctor.",
        )
    model, turns = Path(model), turns or Turns()
    inspection = inspect(model)
    with scratch.folder("profile") as folder, model.open("rb") as file:
        timer = OperatorTimer(
            model,
            # The weights are read from the file when a cut needs them, not before.
            cutter=Cutter(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)),
            inputs=len(inspection.inputs),
            runtime=runtime,
            turns=turns,
            folder=folder,
            progress=progress,
        )
        batch = tflite_ends.file_note(model, name=model.name)
        if batch is not None:
            timer.note(batch)
        times, checks = _times(timer, inspection, method)
        limits, _ = measure_limits(runtime=runtime, turns=turns, folder=folder, progress=progress)
        operators = tuple(
            operator_row(place, times, limits, inspection=inspection, cutter=timer.cutter) for place in timer.places
        )
    return ProfileResult(
        model={"name": model.name, "sha256": artefacts.sha256_file(model), "size_bytes": inspection.size_bytes},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        runtime=runtime,
        version=timer.version,
        environment=environment(),
        turns=turns,
        method=times.method,
        whole=None if times.whole is None else estimate(times.whole),
        whole_reason=times.whole_timed.failure,
        whole_rounds=times.whole_timed.rounds,
        call=estimate(times.call),
        checks=tuple(checks),
        limits=limits,
        operators=operators,
        unpacking=tuple(sorted(set(range(timer.cutter.operators)) - set(timer.places))),
        disturbed=_disturbed(times),
        notes=(*timer.notes, *_notes_beyond_peak(operators, times.method, limits), *limits.notes()),
    )


def _times(timer: OperatorTimer, inspection: Inspection, method: str) -> tuple[Times, list[SumCheck]]:
    """Measure, check, and measure again where the check does not hold and another method may be used."""
    checks: list[SumCheck] = []
    times: Times | None = None
    failure: NotTimedError | None = None
    if method != "prefixes":
        try:
            times = timer.time_operators()
            checks += _check(times, timer.places)
        except NotTimedError as error:
            if method == "operators" or not error.whole:
                raise
            failure = error
            timer.note(f"{error.reason}; differences of prefixes are used instead")
    if times is None or (method == "auto" and _is_off(times, checks, timer)):
        # Each prefix holds the weights of all operators up to its own.
        weights = [inspection.operators[place].weight_bytes for place in timer.places]
        size_bytes = int(np.cumsum(np.array(weights, dtype=np.float64)).sum())
        needed = f"{size_bytes / 1e9:,.1f} GB of disk are needed, {_MOST_PREFIX_BYTES / 1e9:g} GB are allowed"
        if size_bytes <= _MOST_PREFIX_BYTES:
            times = timer.time_prefixes()
            checks += _check(times, timer.places)
        elif failure is not None:
            raise failure
        elif times is None:
            raise ModelError(f"the prefixes are too large: {needed}", hint="Use the method operators.")
        else:
            timer.notes.append(f"prefixes were not timed: {needed}")
    return times, checks


def _check(times: Times, places: Sequence[int]) -> list[SumCheck]:
    if times.whole is None:
        return []
    total = np.sum([times.call, *times.operators.values()], axis=0)
    return [
        SumCheck(
            method=times.method,
            sum=estimate(total),
            of_whole=estimate(total / times.whole),
            missing=tuple(place for place in places if place not in times.operators),
        )
    ]


def _is_off(times: Times, checks: Sequence[SumCheck], timer: OperatorTimer) -> bool:
    """Return whether the operators' sum is off for another reason than other load on the machine."""
    if not checks or not checks[-1].off:
        return False
    turns = times.whole_timed.disturbed
    if checks[-1].of_whole.value > 1 or 2 * sum(map(bool, turns)) < len(turns):
        return True
    # Long inferences are interrupted more often than short ones.
    timer.notes.append(
        "other programs interrupted the whole model, so its operators add up to less than its time; "
        "measure again on a quieter machine"
    )
    return False


def _disturbed(times: Times) -> Disturbed:
    parts = [model for model in times.timed.values() if model.rounds]
    # Operators in turn share their turns.
    parts = parts[:1] if times.method == "operators" else parts
    turns = [turn for model in (times.whole_timed, *parts) for turn in model.disturbed]
    return Disturbed(
        turns=sum(bool(reasons) for reasons in turns),
        of_turns=len(turns),
        kinds=dict(Counter(kind_of(reason) for reasons in turns for reason in reasons)),
    )


def _notes_beyond_peak(operators: Sequence[ProfiledOperator], method: str, limits: Limits) -> list[str]:
    why = "it runs faster than the layers that the peak was measured with"
    if method == "prefixes":
        why = "the runtime fuses it with the operator before it; read their times together"
    return [
        f"operator {operator.index}, {operator.name}, is at {100 * (operator.peak_share or 0):.0f} % of the peak: {why}"
        for operator in operators
        if beyond_peak(operator, limits)
    ]
