"""Times the operators of a model beside the whole model: each by itself, or as differences of prefixes.

Models of one operator are all loaded into one process and invoked one after the other, so that each finds the caches
as the others left them; the time of a call is taken off. Prefixes are the graph up to an operator, each one operator
longer: their differences hold what the runtime fuses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgefm.benchmarking import presence
from edgefm.core.errors import ModelError
from edgefm.core.progress import Progress
from edgefm.profiling import synthetic
from edgefm.profiling.cutting import Cutter
from edgefm.profiling.limits import CHAIN, check_runs
from edgefm.profiling.result import Method
from edgefm.profiling.timing import Timed, Together, Turns, lower_decile, time_models

_RESAMPLES = 1000
_FEWEST_ROUNDS = 3
# The whole, and all operators in turn, have longer turns than one cut model: they are few.
_LONGER = 5


@dataclass(frozen=True, kw_only=True)
class Times:
    """The times of one method: float64 [resamples + 1], the plain estimate first, then bootstrap resamples."""

    method: Method
    operators: Mapping[int, NDArray[np.float64]]
    whole: NDArray[np.float64] | None
    call: NDArray[np.float64]
    timed: Mapping[int, Timed]
    whole_timed: Timed


class NotTimedError(ModelError):
    """No operator could be timed.

    Attributes:
      reason: why.
      whole: whether the whole model could be timed.
    """

    def __init__(self, model: Path, *, reason: str | None, whole: str | None, first: str | None) -> None:
        self.reason, self.whole = whole or reason or first, whole is None
        hint = None if first is None or first == self.reason else f"Its first operator: {first}."
        super().__init__(f"no operator of {model} can be timed: {self.reason}", hint=hint)


class OperatorTimer:
    """Times the operators of one model.

    Attributes:
      cutter: cuts the model.
      places: indices of the operators that are timed: all but those on constants alone.
      version: of the runtime, '' before anything was timed.
      notes: what a reader of the times must know.
    """

    def __init__(
        self,
        model: Path,
        *,
        cutter: Cutter,
        inputs: int,
        runtime: str,
        turns: Turns,
        folder: Path,
        progress: Progress,
    ) -> None:
        """Prepare the whole model.

        Args:
          model: the file.
          cutter: of its content.
          inputs: number of its inputs.
          runtime: name of a runtime, with its kernel set where one is wanted.
          turns: how long each model is timed.
          folder: for cut models.
          progress: receives a step a turn.
        """
        self.cutter, self.version = cutter, ""
        self.places = [place for place in range(cutter.operators) if not cutter.unpacks(place)]
        self.notes: list[str] = []
        self._model, self._runtime, self._turns = model, runtime, turns
        self._folder, self._progress = folder, progress
        self._beside = False
        # The plain estimate takes each round once; the same rounds are drawn for all models.
        drawn = np.random.default_rng(turns.seed).integers(0, turns.rounds, (_RESAMPLES, turns.rounds))
        self._draws = np.vstack([np.arange(turns.rounds), drawn])
        if turns.rounds < _FEWEST_ROUNDS:
            self.notes.append(f"too few rounds for intervals: {turns.rounds}; at least {_FEWEST_ROUNDS} are needed")
        self._whole = model
        if inputs != 1:
            self._whole = folder / "whole.tflite"
            self._whole.write_bytes(cutter.whole())
            self.notes.append(f"the model has {inputs} inputs: one gets random numbers, the others zeros")

    def time_operators(self) -> Times:
        """Time models of one operator, all in one process and one after the other, beside the whole.

        Raises:
          NotTimedError: none could be timed.
          RuntimeUnavailableError: the runtime cannot run a minimal model.
        """
        whole, chains, timed = self._models(lambda place: self.cutter.one_operator(place, one_input=True))
        # Each by itself first: one that cannot be run must not take the others with it.
        trial = replace(self._turns, rounds=1, least_invokes=1, turn_seconds=1e-9)
        self._run([*chains, *timed.values()], trial, "trial")
        check_runs(chains, self._runtime)
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

    def time_prefixes(self) -> Times:
        """Time the graph up to each operator, beside the whole.

        Raises:
          NotTimedError: none could be timed.
          RuntimeUnavailableError: the runtime cannot run a minimal model.
        """
        whole, chains, timed = self._models(self.cutter.prefix_in_order)
        self._run([whole, *chains, *timed.values()], self._turns, "prefixes")
        check_runs(chains, self._runtime)
        times = {}
        before: NDArray[np.float64] | None = self._call(chains)
        for place, model in timed.items():
            until = self._typical(model) if model.rounds else None
            if until is not None and before is not None:
                times[place] = until - before
            elif until is not None:
                model.failure = "the prefix before it could not be timed"
            before = until
        return self._times("prefixes", times, whole, chains, timed)

    def note(self, note: str) -> None:
        """Add a note, and show it now."""
        self.notes.append(note)
        self._progress.note(note)

    def _models(self, cut: Callable[[int], bytes]) -> tuple[Timed, list[Timed], dict[int, Timed]]:
        """Return the whole, two chains whose difference is minimal operators, and a cut model for each operator."""
        chains = []
        for length in (1, CHAIN):
            path = self._folder / f"chain-{length}.tflite"
            path.write_bytes(synthetic.chain(length))
            chains.append(Timed(name=f"{length} minimal operators", path=path))
        timed = {}
        for place in self.places:
            path = self._folder / f"operator-{place}.tflite"
            model = timed[place] = Timed(name=f"{place} {self.cutter.name(place)}", path=path)
            try:
                path.write_bytes(cut(place))
            except ModelError as error:
                model.failure = error.message
        return Timed(name="whole", path=self._whole), chains, timed

    def _run(self, models: Sequence[Timed | Together], turns: Turns, label: str) -> None:
        self._note_others()
        version = time_models(
            models, runtime=self._runtime, turns=turns, folder=self._folder, label=label, progress=self._progress
        )
        self.version = version or self.version
        self._note_others()

    def _note_others(self) -> None:
        """Say once that another benchmark runs beside this profile."""
        beside = [] if self._beside else presence.others()
        if beside:
            self._beside = True
            self.note(presence.sentence_on(beside))

    def _call(self, chains: Sequence[Timed]) -> NDArray[np.float64]:
        """Return the time of an invoke without operators: one operator less than the smallest model."""
        smallest, many = (self._typical(chain) for chain in chains)
        call: NDArray[np.float64] = smallest - (many - smallest) / (CHAIN - 1)
        return call

    def _times(
        self,
        method: Method,
        operators: Mapping[int, NDArray[np.float64]],
        whole: Timed,
        chains: Sequence[Timed],
        timed: Mapping[int, Timed],
        *,
        reason: str | None = None,
    ) -> Times:
        for model in timed.values():
            model.path.unlink(missing_ok=True)
        if not operators:
            first = next(iter(timed.values())).failure
            raise NotTimedError(self._model, reason=reason, whole=whole.failure, first=first)
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
