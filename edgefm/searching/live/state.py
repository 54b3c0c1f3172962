"""How a search stands at a moment: its trials, the best of each budget, the front, the time that is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from edgefm.searching.budget import KEYS, SearchBudget
from edgefm.searching.driver import Limits
from edgefm.searching.finalists import proposed
from edgefm.searching.live.left import TimeLeft, time_left
from edgefm.searching.promotion import on_front
from edgefm.searching.space import Space
from edgefm.searching.trials import OBJECTIVES, RUNNING, Figures, Trial, complete_ones
from edgefm.searching.words import POINTS, amount, titles

_LATEST = 8


@dataclass(frozen=True, kw_only=True)
class Searched:
    """What is searched, which does not change while it is.

    Attributes:
      model: name of it.
      space: of the points.
      budgets: that files are searched for.
      impossible: why some cannot be met, by their names.
      limits: when trials end.
      slots: trials at a time.
      seeds: number that each finalist is trained with.
      unit: that losses are in, see `edgefm.searching.words`.
      validation: number of samples that losses are on.
    """

    model: str
    space: Space
    budgets: tuple[SearchBudget, ...]
    impossible: Mapping[str, str] = field(hash=False)
    limits: Limits
    slots: int
    seeds: int
    unit: str = POINTS
    validation: int = 0

    @property
    def most(self) -> int:
        """The most trials: no point is tried twice."""
        return min(self.limits.trials, self.space.points)


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best trial of a budget so far, on validation samples with predicted latency.

    Attributes:
      budget: name of it.
      limits: of it, in words.
      trial: index; None where no trial has gone through all stages.
      point: in words; '' where there is none.
      figures: of its last stage.
      missed: limits that it does not keep, with what it has, in words.
      impossible: why nothing can keep the budget; '' where something may.
    """

    budget: str
    limits: str
    trial: int | None
    point: str
    figures: Figures = field(hash=False)
    missed: tuple[str, ...]
    impossible: str

    @property
    def met(self) -> bool:
        """Whether it keeps the budget."""
        return self.trial is not None and not self.missed

    @property
    def state(self) -> str:
        """How the budget stands, in a word or two."""
        return "met" if self.met else "cannot be met" if self.impossible else "not met yet"


@dataclass(frozen=True, kw_only=True)
class State:
    """How a search stands.

    Attributes:
      searched: what is searched.
      trials: begun and ended, in their order.
      elapsed: seconds that it has taken, over all of its processes.
      best: of each budget.
      front: trials that no other one beats, by their p50.
      others: that went through all stages, too.
      left: time that is left.
    """

    searched: Searched
    trials: tuple[Trial, ...]
    elapsed: float
    best: tuple[Best, ...]
    front: tuple[Trial, ...]
    others: tuple[Trial, ...]
    left: TimeLeft

    @property
    def running(self) -> tuple[Trial, ...]:
        """The trials that run."""
        return tuple(trial for trial in self.trials if trial.state == RUNNING)

    @property
    def counts(self) -> dict[str, int]:
        """How many trials have ended, and how."""
        ended = [trial for trial in self.trials if trial.ended]
        complete, failed = len(complete_ones(ended)), sum(trial.outcome is None for trial in ended)
        return {
            "ended": len(ended),
            "complete": complete,
            "stopped early": len(ended) - complete - failed,
            "failed": failed,
        }

    @property
    def latest(self) -> tuple[Trial, ...]:
        """The trials that ended last, the last one first."""
        ended = sorted((trial for trial in self.trials if trial.ended), key=lambda trial: -trial.elapsed)
        return tuple(ended[:_LATEST])

    def words(self, trial: Trial) -> str:
        """Return what a trial tries."""
        space = self.searched.space
        return space.words(space.point(trial.params))

    def figures(self, figures: Figures, names: Sequence[str] = OBJECTIVES) -> dict[str, str]:
        """Return figures with their units, by their titles."""
        unit = self.searched.unit
        return {titles(unit)[name]: amount(name, figures.get(name), unit) for name in names}


def state_of(searched: Searched, trials: Sequence[Trial], *, elapsed: float) -> State:
    """Return how a search stands."""
    complete = complete_ones(trials)
    first = on_front([trial.costs or () for trial in complete])
    front = [trial for trial, whether in zip(complete, first, strict=True) if whether]
    best = tuple(_best(searched, budget, trials) for budget in searched.budgets)
    limits = replace(searched.limits, trials=searched.most)
    return State(
        searched=searched,
        trials=tuple(trials),
        elapsed=elapsed,
        best=best,
        front=tuple(sorted(front, key=lambda trial: trial.figures.get("p50_ratio") or 0.0)),
        others=tuple(trial for trial, whether in zip(complete, first, strict=True) if not whether),
        left=time_left(trials, limits, searched.budgets, elapsed=elapsed, slots=searched.slots, seeds=searched.seeds),
    )


def _best(searched: Searched, budget: SearchBudget, trials: Sequence[Trial]) -> Best:
    trial = proposed(trials, budget)
    figures: Figures = {} if trial is None else trial.figures
    missed = [] if trial is None else [*budget.excess(figures), *budget.unknown(figures)]
    return Best(
        budget=budget.name,
        limits=", ".join(_limit(budget, key) for key in budget.limits),
        trial=None if trial is None else trial.index,
        point="" if trial is None else searched.space.words(searched.space.point(trial.params)),
        figures=figures,
        missed=tuple(f"{_limit(budget, key)}, {_value(budget, key, figures)}" for key in missed),
        impossible=searched.impossible.get(budget.name, ""),
    )


def _limit(budget: SearchBudget, key: str) -> str:
    on = f" on {budget.target}" if budget.figure(key) != KEYS[key].figure else ""
    return f"{key}{on} {amount(budget.figure(key), budget.limits[key])}"


def _value(budget: SearchBudget, key: str, figures: Mapping[str, Any]) -> str:
    value = figures.get(budget.figure(key))
    return "and that is not known" if value is None else f"it has {amount(budget.figure(key), value)}"
