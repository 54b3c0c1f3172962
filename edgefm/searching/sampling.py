"""What is tried at a place in the search: it follows from the seed, the place and the trials before, from nothing else.

Optuna's sampler is asked anew for each trial, in a study in memory that holds what that trial may know: the trials that
are `lag` places or more before it with their outcomes, the nearer ones as running. So a search that was killed goes on
as if nothing had happened, and as many as `lag` processes give the trials that one gives.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgefm.core.errors import missing_extra, unknown_name
from edgefm.searching.budget import SearchBudget
from edgefm.searching.space import Space
from edgefm.searching.trials import OBJECTIVES, Trial

TPE, RANDOM = "tpe", "random"
SAMPLERS = (TPE, RANDOM)
LAG = 4
# Outcomes that the sampler needs before it learns from them; until then it draws at random.
STARTUP_TRIALS = 10
# Draws before a point that was tried already is taken for the only one that is left.
_ATTEMPTS = 20


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How trials are chosen.

    Attributes:
      space: of the points.
      budgets: each trial is chosen for one of them, in turn.
      sampler: 'tpe' or 'random'.
      seed: of all choices.
      lag: a trial knows the outcomes of those so many places before it.
    """

    space: Space
    budgets: tuple[SearchBudget, ...]
    sampler: str = TPE
    seed: int = 0
    lag: int = LAG

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise unknown_name("sampler", self.sampler, SAMPLERS)

    def budget(self, index: int) -> SearchBudget:
        """Return the budget that a trial is chosen for."""
        return self.budgets[index % len(self.budgets)]

    def known(self, index: int, trials: Sequence[Trial]) -> list[Trial]:
        """Return the trials whose outcomes a trial may know, in their order."""
        return [trial for trial in sorted(trials, key=_index) if trial.index <= index - self.lag]

    def is_due(self, index: int, trials: Sequence[Trial]) -> bool:
        """Return whether all that a trial may know has ended."""
        return sum(trial.ended for trial in self.known(index, trials)) == max(0, index - self.lag + 1)

    def choose(self, index: int, trials: Sequence[Trial]) -> dict[str, Any] | None:
        """Return the parameters of a trial; None where every point was tried.

        Args:
          index: of the trial.
          trials: all with a lower index, begun or ended; `is_due` holds.
        """
        tried = [dict(trial.params) for trial in trials if trial.index < index]
        if len(tried) >= self.space.points:
            return None
        begin = [self.space.params(point) for point in self.space.known()] if self.sampler == TPE else []
        if index < len(begin):
            return begin[index]
        for attempt in range(_ATTEMPTS):
            params = self.space.params(self.space.settled(self.space.point(self._drawn(index, attempt, trials))))
            if params not in tried:
                return params
        return None

    def _drawn(self, index: int, attempt: int, trials: Sequence[Trial]) -> dict[str, Any]:
        optuna = optuna_here()
        seed = int.from_bytes(hashlib.sha256(f"{self.seed} {index} {attempt}".encode()).digest()[:4], "big")
        distributions = self.space.distributions()
        with quiet():
            sampler = (
                optuna.samplers.RandomSampler(seed=seed)
                if self.sampler == RANDOM or attempt >= _ATTEMPTS // 2
                else optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS, multivariate=True)
            )
            study = optuna.create_study(directions=["minimize"] * len(OBJECTIVES), sampler=sampler)
            study.add_trials(self._shown(index, trials, distributions))
            return dict(study.ask(distributions).params)

    def _shown(self, index: int, trials: Sequence[Trial], distributions: Mapping[str, Any]) -> list[Any]:
        """Return the trials before one as Optuna's, for its budget."""
        optuna = optuna_here()
        budget, states = self.budget(index), optuna.trial.TrialState
        shown = []
        for trial in sorted(trials, key=_index):
            if trial.index >= index:
                continue
            outcome = trial.outcome if trial.index <= index - self.lag else None
            failed = trial.index <= index - self.lag and outcome is None
            shown.append(
                optuna.trial.create_trial(
                    state=states.FAIL if failed else states.COMPLETE if outcome else states.RUNNING,
                    params=dict(trial.params),
                    distributions=dict(distributions),
                    values=list(trial.costs or ()) if outcome else None,
                    constraints={"excess": sum(budget.excess(trial.figures).values())} if outcome else None,
                )
            )
        return shown


def optuna_here() -> Any:
    """Return the library Optuna.

    Raises:
      RuntimeUnavailableError: it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise missing_extra("optuna", "search") from error
    return optuna


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Let Optuna log errors alone within the `with` block: what a search does is said by its progress."""
    logging = optuna_here().logging
    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _index(trial: Trial) -> int:
    return trial.index
