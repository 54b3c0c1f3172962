"""How long a search will still take, from the times of its trials and its limits: an estimate."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from edgefm.searching.budget import SearchBudget
from edgefm.searching.driver import Limits
from edgefm.searching.finalists import proposed
from edgefm.searching.space.epochs import LONGER
from edgefm.searching.trials import Trial
from edgefm.searching.words import duration


@dataclass(frozen=True, kw_only=True)
class TimeLeft:
    """Seconds that are left.

    Attributes:
      trials: of trials; None where none has ended that says how long one takes.
      finalists: of training them; None where no trial has gone through all stages.
    """

    trials: float | None
    finalists: float | None

    @property
    def words(self) -> str:
        """The times in words.

        >>> TimeLeft(trials=2400, finalists=None).words
        'about 40 min for trials, then the finalists, for how long is not known yet'
        """
        trials = "not known before a trial has ended" if self.trials is None else f"about {duration(self.trials)}"
        if self.finalists == 0:
            return f"{trials} for trials"
        if self.finalists is None:
            return f"{trials} for trials, then the finalists, for how long is not known yet"
        return f"{trials} for trials, then about {duration(self.finalists)} for the finalists"


def seconds_of_finalists(
    trials: Sequence[Trial], budgets: Sequence[SearchBudget], *, seeds: int, slots: int
) -> float | None:
    """Return how long the finalists train of trials as they stand; None where none has gone through all stages.

    Each is trained twice as long as its trial was, with each seed, as many at a time as trials are.

    Args:
      trials: begun and ended.
      budgets: each has a finalist; two may have the same.
      seeds: that each finalist is trained with.
      slots: trials at a time.
    """
    chosen = {trial.index: trial for budget in budgets if (trial := proposed(trials, budget)) is not None}
    took = [trial.outcome.seconds for trial in chosen.values() if trial.outcome is not None]
    if not took:
        return None if seeds else 0.0
    return math.ceil(seeds * len(took) / slots) * LONGER * statistics.fmean(took)


def seconds_to_keep(trials: Sequence[Trial], budgets: Sequence[SearchBudget], *, seeds: int, slots: int) -> float:
    """Return how long before its time limit a search begins its last trial: that one's time, and the finalists'."""
    return (seconds_of_finalists(trials, budgets, seeds=seeds, slots=slots) or 0.0) + (_seconds_of_one(trials) or 0.0)


def time_left(
    trials: Sequence[Trial],
    limits: Limits,
    budgets: Sequence[SearchBudget],
    *,
    elapsed: float,
    slots: int,
    seeds: int,
) -> TimeLeft:
    """Return how long a search will still take.

    A trial takes the mean of those that ended, those that were stopped early among them.

    Args:
      trials: begun and ended.
      limits: of the search; `trials` no more than there are points.
      budgets: of the search.
      elapsed: seconds that it has taken.
      slots: trials at a time.
      seeds: that each finalist is trained with.
    """
    one, further = _seconds_of_one(trials), max(0, limits.trials - sum(trial.ended for trial in trials))
    of_trials = None if one is None else further * one / slots
    if limits.seconds is not None:
        # Those that run then end.
        within = max(0.0, limits.last_begin(trials) - elapsed) + (one or 0.0 if further else 0.0)
        of_trials = within if of_trials is None else min(of_trials, within)
    finalists = seconds_of_finalists(trials, budgets, seeds=seeds, slots=slots)
    return TimeLeft(trials=of_trials, finalists=finalists)


def _seconds_of_one(trials: Sequence[Trial]) -> float | None:
    took = [trial.outcome.seconds for trial in trials if trial.outcome is not None]
    return statistics.fmean(took) if took else None
