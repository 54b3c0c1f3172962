"""Profiles a .tflite file from Python alone: each operator is cut out of the file and timed by itself.

No runtime's Python package tells the time of single operators. Models of one operator do: all are loaded into one
process and invoked one after the other, so that each finds the caches as the others left them; the time of a call is
taken off. Their sum is checked against the whole model, timed beside them. It is too large where the runtime fuses
operators that stand together. Then prefixes of the model are timed instead (the graph up to an operator, each one
operator longer): differences of prefixes hold fusion, but the noise of two whole times, and add up to the whole by
construction.
"""

from __future__ import annotations

import mmap
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgefm import runtimes
from edgefm.benchmarking import presence
from edgefm.core import artefacts
from edgefm.core.environment import environment
from edgefm.core.errors import ModelError, RecipeError, RuntimeUnavailableError
from edgefm.core.progress import SILENT, Progress
from edgefm.profiling import synthetic
from edgefm.profiling.cutting import Cutter
from edgefm.profiling.limits import CHAIN, Limits, measure_limits
from edgefm.profiling.result import Disturbed, Method, ProfileResult, SumCheck
from edgefm.profiling.rows import Times, beyond_peak, estimate, kind_of, operator_row
from edgefm.profiling.timing import Timed, Together, Turns, lower_decile, time_models
from edgefm.tflite.inspection import Inspection, inspect

METHODS = ("auto", "operators", "prefixes")
_RESAMPLES = 1000
_FEWEST_ROUNDS = 3
# The whole, and all operators in turn, have longer turns than one cut model: they are few.
_LONGER = 5
# All prefixes lie on the disk at once.
_MOST_PREFIX_BYTES = 4_000_000_000


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
        operators, and prefixes where the operators' sum is off by more than 10 % with its whole interval, or where
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
            f"the runtime '{runtime}' runs on a target of its own; a profile is made on this machine's processor",
            hint="Take a runtime of this machine, e.g. --runtime litert:builtin; see: edgefm doctor.",
        )
    model, turns = Path(model), turns or Turns()
    inspection = inspect(model)
    with tempfile.TemporaryDirectory(prefix="edgefm-profile-") as name, model.open("rb") as file:
        # The weights are read from the file when a cut needs them, not before.
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        bench = _Profiling(model, content, inspection, runtime, turns, Path(name), progress)
        with presence.announced():
            return bench.profile(method)


class _NotTimedError(ModelError):
    """No operator could be timed.

    Attributes:
      reason: why.
      whole: whether the whole model could be timed.
    """

    def __init__(self, model: Path, *, reason: str | None, whole: str | None, first: str | None) -> None:
        self.reason, self.whole = whole or reason or first, whole is None
        hint = None if first is None or first == self.reason else f"Its first operator: {first}."
        super().__init__(f"no operator of {model} can be timed: {self.reason}", hint=hint)


class _Profiling:
    """One profile in the making."""

    def __init__(
        self,
        model: Path,
        content: mmap.mmap,
        inspection: Inspection,
        runtime: str,
        turns: Turns,
        folder: Path,
        progress: Progress,
    ) -> None:
        self._model, self._inspection, self._runtime = model, inspection, runtime
        self._turns, self._folder, self._progress = turns, folder, progress
        self._cutter = Cutter(content)
        self._places = [place for place in range(self._cutter.operators) if not self._cutter.unpacks(place)]
        self._version = ""
        self._notes: list[str] = []
        self._beside = False
        # The plain estimate takes each round once; the same rounds are drawn for all models.
        drawn = np.random.default_rng(turns.seed).integers(0, turns.rounds, (_RESAMPLES, turns.rounds))
        self._draws = np.vstack([np.arange(turns.rounds), drawn])
        if turns.rounds < _FEWEST_ROUNDS:
            self._notes.append(
                f"{turns.rounds} rounds are too few for intervals: they need {_FEWEST_ROUNDS} at least"
                if turns.rounds > 1
                else f"with one round there are no intervals: they need {_FEWEST_ROUNDS} rounds at least"
            )
        self._whole = model
        if len(inspection.inputs) != 1:
            self._whole = folder / "whole.tflite"
            self._whole.write_bytes(self._cutter.whole())
            self._notes.append(
                f"the model has {len(inspection.inputs)} inputs: one is fed with random numbers, the others hold zeros"
            )

    def profile(self, method: str) -> ProfileResult:
        """Measure, check, and measure anew where the check does not hold and another method may be taken."""
        checks: list[SumCheck] = []
        times: Times | None = None
        failed: _NotTimedError | None = None
        if method != "prefixes":
            try:
                times = self._operators()
                checks += self._check(times)
            except _NotTimedError as error:
                if method == "operators" or not error.whole:
                    raise
                failed = error
                self._note(f"{error.reason}; so differences of prefixes are taken instead")
        if times is None or (method == "auto" and self._anew(times, checks)):
            needed = self._prefix_bytes()
            if needed <= _MOST_PREFIX_BYTES:
                times = self._prefixes()
                checks += self._check(times)
            elif failed is not None:
                raise failed
            elif times is None:
                raise ModelError(
                    f"its prefixes would take {needed / 1e9:,.1f} GB; {_MOST_PREFIX_BYTES / 1e9:g} GB are allowed",
                    hint="Use --method operators.",
                )
            else:
                self._notes.append(f"prefixes were not tried: they would take {needed / 1e9:,.1f} GB on the disk")
        assert times is not None
        limits, _ = measure_limits(
            runtime=self._runtime, turns=self._turns, folder=self._folder, progress=self._progress
        )
        return self._result(times, checks, limits)

    def _anew(self, times: Times, checks: Sequence[SumCheck]) -> bool:
        """Return whether the operators' sum is off for another reason than other load on the machine."""
        if not checks or not checks[-1].off:
            return False
        turns = times.whole_timed.disturbed
        if checks[-1].of_whole.value > 1 or 2 * sum(map(bool, turns)) < len(turns):
            return True
        self._notes.append(
            "other programs interrupted the whole model, as they do with long inferences more than with short ones: "
            "its operators take less than it does; measure again on a quieter machine"
        )
        return False

    def _operators(self) -> Times:
        """Time models of one operator, all in one process and one after the other, beside the whole."""
        timed = {}
        for place in self._places:
            model = timed[place] = Timed(name=self._label(place), path=self._folder / f"operator-{place}.tflite")
            try:
                model.path.write_bytes(self._cutter.one_operator(place, one_input=True))
            except ModelError as error:
                model.failure = error.message
        whole, chains = Timed(name="whole", path=self._whole), self._chains()
        # Each by itself first: one that cannot be run must not take the others with it.
        self._run(
            [*chains, *timed.values()], replace(self._turns, rounds=1, least_invokes=1, turn_seconds=1e-9), "trial"
        )
        _check_chains(chains, self._runtime)
        good = [*chains, *(model for model in timed.values() if model.failure is None)]
        for model in good:
            model.rounds.clear()
            model.disturbed.clear()
        together = Together(name="operators in turn", path=self._folder / "in-turn.json", models=good)
        longer = replace(self._turns, turn_seconds=_LONGER * self._turns.turn_seconds)
        self._run([whole, together], longer, "operators")
        times = {}
        if together.failure is None:
            call = self._call(chains)
            times = {place: self._typical(model) - call for place, model in timed.items() if model.rounds}
        return self._times("operators", times, whole, chains, timed, reason=together.failure)

    def _prefixes(self) -> Times:
        """Time the graph up to each operator, beside the whole."""
        timed = {}
        for place in self._places:
            model = timed[place] = Timed(name=self._label(place), path=self._folder / f"prefix-{place}.tflite")
            try:
                model.path.write_bytes(self._cutter.prefix_in_order(place))
            except ModelError as error:
                model.failure = error.message
        whole, chains = Timed(name="whole", path=self._whole), self._chains()
        self._run([whole, *chains, *timed.values()], self._turns, "prefixes")
        _check_chains(chains, self._runtime)
        times = {}
        before: NDArray[np.float64] | None = self._call(chains)
        for place, model in timed.items():
            until = self._typical(model) if model.rounds else None
            if until is not None and before is not None:
                times[place] = until - before
            elif until is not None:
                model.failure = "the graph up to the operator before it could not be timed"
            before = until
        return self._times("prefixes", times, whole, chains, timed)

    def _chains(self) -> list[Timed]:
        """Return two models whose difference is what an operator takes that has next to nothing to do."""
        chains = []
        for length in (1, CHAIN):
            path = self._folder / f"chain-{length}.tflite"
            path.write_bytes(synthetic.chain(length))
            chains.append(Timed(name=f"{length} least operators", path=path))
        return chains

    def _run(self, models: Sequence[Timed | Together], turns: Turns, label: str) -> None:
        self._note_others()
        version = time_models(
            models, runtime=self._runtime, turns=turns, folder=self._folder, label=label, progress=self._progress
        )
        self._version = version or self._version
        self._note_others()

    def _note(self, note: str) -> None:
        self._notes.append(note)
        self._progress.note(note)

    def _note_others(self) -> None:
        """Say once that another benchmark runs beside this profile."""
        beside = [] if self._beside else presence.others()
        if beside:
            self._beside = True
            self._note(presence.sentence_on(beside))

    def _call(self, chains: Sequence[Timed]) -> NDArray[np.float64]:
        """Return the time of an invoke without operators: one operator less than the least model."""
        least, many = (self._typical(chain) for chain in chains)
        call: NDArray[np.float64] = least - (many - least) / (CHAIN - 1)
        return call

    def _times(
        self,
        method: Method,
        operators: dict[int, NDArray[np.float64]],
        whole: Timed,
        chains: Sequence[Timed],
        timed: dict[int, Timed],
        *,
        reason: str | None = None,
    ) -> Times:
        for model in timed.values():
            model.path.unlink(missing_ok=True)
        if not operators:
            first = next(iter(timed.values())).failure
            raise _NotTimedError(self._model, reason=reason, whole=whole.failure, first=first)
        return Times(
            method=method,
            operators=operators,
            whole=self._typical(whole) if whole.rounds else None,
            call=self._call(chains),
            timed=timed,
            whole_timed=whole,
        )

    def _typical(self, timed: Timed) -> NDArray[np.float64]:
        """Return the median over rounds of each round's lower decile, for the rounds and for each resample."""
        rounds = np.array([lower_decile(samples) for samples in timed.rounds])
        typical: NDArray[np.float64] = np.median(rounds[self._draws], axis=1)
        return typical

    def _check(self, times: Times) -> list[SumCheck]:
        if times.whole is None:
            return []
        total = np.sum([times.call, *times.operators.values()], axis=0)
        return [
            SumCheck(
                method=times.method,
                sum=estimate(total),
                of_whole=estimate(total / times.whole),
                missing=tuple(place for place in self._places if place not in times.operators),
            )
        ]

    def _result(self, times: Times, checks: Sequence[SumCheck], limits: Limits) -> ProfileResult:
        parts = [model for model in times.timed.values() if model.rounds]
        # Operators in turn share their turns.
        parts = parts[:1] if times.method == "operators" else parts
        disturbed = [turn for model in (times.whole_timed, *parts) for turn in model.disturbed]
        operators = tuple(
            operator_row(place, times, limits, inspection=self._inspection, cutter=self._cutter)
            for place in self._places
        )
        for operator in operators:
            if beyond_peak(operator, limits):
                why = "it runs faster than the layers that the peak was measured with"
                if times.method == "prefixes":
                    why = "the runtime joins it with the operator before it; read their times together"
                share = 100 * (operator.peak_share or 0.0)
                self._notes.append(
                    f"operator {operator.index}, {operator.name}, is at {share:.0f} % of the peak: {why}"
                )
        return ProfileResult(
            model={
                "name": self._model.name,
                "sha256": artefacts.sha256_file(self._model),
                "size_bytes": self._inspection.size_bytes,
            },
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            runtime=self._runtime,
            version=self._version,
            environment=environment(),
            turns=self._turns,
            method=times.method,
            whole=None if times.whole is None else estimate(times.whole),
            whole_reason=times.whole_timed.failure,
            whole_rounds=times.whole_timed.rounds,
            call=estimate(times.call),
            checks=tuple(checks),
            limits=limits,
            operators=operators,
            unpacking=tuple(sorted(set(range(self._cutter.operators)) - set(self._places))),
            disturbed=Disturbed(
                turns=sum(bool(reasons) for reasons in disturbed),
                of_turns=len(disturbed),
                kinds=dict(Counter(kind_of(reason) for reasons in disturbed for reason in reasons)),
            ),
            notes=(*self._notes, *limits.notes()),
        )

    def _prefix_bytes(self) -> int:
        """Return about how many bytes all prefixes take: each holds the weights of all operators up to its own."""
        sizes = np.array([self._inspection.operators[place].weight_bytes for place in self._places], dtype=np.float64)
        return int(np.cumsum(sizes).sum())

    def _label(self, place: int) -> str:
        return f"{place} {self._cutter.name(place)}"


def _check_chains(chains: Sequence[Timed], runtime: str) -> None:
    """Raise a RuntimeUnavailableError where a runtime cannot even run operators that do next to nothing."""
    for model in chains:
        if model.failure is not None:
            raise RuntimeUnavailableError(
                f"the runtime '{runtime}' cannot run a model of one operator: {model.failure}",
                hint="See which runtimes work here with: edgefm doctor",
            )
