"""How models are measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgefm.core.errors import RecipeError
from edgefm.recipes.base import MOST_SEED, Recipe, at_least

_ROUNDS, _ROUNDS_AT_MOST = 15, 45
_MOST_THREADS, _MOST_MEMORY = 1024, 1 << 50


@dataclass(frozen=True, kw_only=True)
class BenchmarkProtocol(Recipe):
    """How models are measured.

    Attributes:
      target: address of a target, see `edgefm.targets`.
      runtime: name of a runtime, with its kernel set where one is wanted ('litert:reference'); '' takes the
        target's default. See `edgefm doctor`.
      threads: threads of the runtime.
      rounds: least number of rounds in which each model gets an undisturbed turn, in an order drawn anew each time;
        each turn is a fresh process. On a machine that is never left alone twice as many rounds have to do.
      rounds_at_most: greatest number of rounds.
      interval: rounds go on until the 95 % interval of the middle round of each model reaches at most this share of its
        time to either side.
      budget_seconds: no round begins after this time.
      repeats_at_most: disturbed turns of a model that are repeated at once; they stay in the record.
      round_seconds: least time of one model's turn: half for invokes alone, half for end to end.
      round_invokes: least number of timed invokes in a turn.
      round_invokes_at_most: greatest number; a very fast model's turn is shorter for it.
      warmup_invokes: invokes before each turn's samples; timed apart.
      seed: of the order of models.
      model_seconds: a worker that gives no answer for this long is killed.
      model_memory_bytes: that a worker may take above the bare runtime's; None goes by the size of the file, see
        `edgefm.core.given.limits.of_worker`.
    """

    kind: ClassVar[str] = "benchmark"

    target: str = "host"
    runtime: str = ""
    threads: int = 1
    rounds: int = _ROUNDS
    rounds_at_most: int = _ROUNDS_AT_MOST
    interval: float = 0.01
    budget_seconds: float = 600.0
    repeats_at_most: int = 15
    round_seconds: float = 0.1
    round_invokes: int = 50
    round_invokes_at_most: int = 2000
    warmup_invokes: int = 20
    seed: int = 0
    model_seconds: float = 60.0
    model_memory_bytes: int | None = None

    def __post_init__(self) -> None:
        at_least("threads", self.threads, 1, most=_MOST_THREADS)
        at_least("rounds", self.rounds, 1)
        at_least("rounds_at_most", self.rounds_at_most, self.rounds)
        at_least("repeats_at_most", self.repeats_at_most, 0)
        at_least("round_invokes", self.round_invokes, 1)
        at_least("warmup_invokes", self.warmup_invokes, 0)
        at_least("round_invokes_at_most", self.round_invokes_at_most, 1)
        if self.model_memory_bytes is not None:
            at_least("model_memory_bytes", self.model_memory_bytes, 1, most=_MOST_MEMORY)
        at_least("seed", self.seed, 0, most=MOST_SEED)
        if not (self.interval > 0 and self.budget_seconds > 0):
            raise RecipeError(
                f"interval {self.interval} and budget_seconds {self.budget_seconds}: both must be above 0",
                hint="interval is a share: 0.01 stands for 1 % to either side.",
            )
        if not (self.model_seconds > 0 and self.round_seconds >= 0):
            raise RecipeError(
                f"model_seconds {self.model_seconds} and round_seconds {self.round_seconds}: "
                "the first must be above 0, the second 0 or more"
            )


def rounds_between(least: int | None, most: int | None) -> dict[str, int]:
    """Return `rounds` and `rounds_at_most` of a protocol; where only one is given, the other's default gives way to it.

    >>> rounds_between(None, 6), rounds_between(60, None)
    ({'rounds': 6, 'rounds_at_most': 6}, {'rounds': 60, 'rounds_at_most': 60})

    Args:
      least: given number of rounds at least, or None.
      most: given number of rounds at most, or None.
    """
    if least is None:
        least = _ROUNDS if most is None else min(_ROUNDS, max(most, 1))
    return {"rounds": least, "rounds_at_most": max(_ROUNDS_AT_MOST, least) if most is None else most}
