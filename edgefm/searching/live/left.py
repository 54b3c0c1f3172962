"""How long a search will still take, from the times of its trials and its limits: an estimate."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from edgefm.searching.driver import Limits
from edgefm.searching.space.epochs import LONGER
from edgefm.searching.trials import Trial, complete_ones
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


def time_left(
    trials: Sequence[Trial], limits: Limits, *, elapsed: float, slots: int, seeds: int, finalists: int
) -> TimeLeft:
    """Return how long a search will still take.

    A trial takes the mean of those that ended, those that were stopped early among them; a finalist is trained twice as
    long as a trial that goes through all stages, with each seed, as many at a time as trials are.

    Args:
      trials: begun and ended.
      limits: of the search; `trials` no more than there are points.
      elapsed: seconds that it has taken.
      slots: trials at a time.
      seeds: that each finalist is trained with.
      finalists: number of them.
    """
    took = [trial.outcome.seconds for trial in trials if trial.outcome is not None]
    whole = [trial.outcome.seconds for trial in complete_ones(trials) if trial.outcome is not None]
    of_trials = None
    if took:
        one = statistics.fmean(took)
        further = max(0, limits.trials - sum(trial.ended for trial in trials))
        of_trials = further * one / slots
        if limits.seconds is not None:
            # No trial begins after the limit; those that run then end.
            of_trials = min(of_trials, max(0.0, limits.seconds - elapsed) + (one if further else 0.0))
    elif limits.seconds is not None:
        of_trials = max(0.0, limits.seconds - elapsed)
    rounds = math.ceil(seeds * finalists / slots)
    of_finalists = rounds * LONGER * statistics.fmean(whole) if whole else None
    return TimeLeft(trials=of_trials, finalists=of_finalists if seeds else 0.0)
