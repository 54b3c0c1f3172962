"""Which rounds of two models are compared: those in which both were undisturbed, as long as these suffice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Fewer pairs prove nothing: with five, no p falls below 5 %.
LEAST_PAIRS = 6

Turns = Sequence[Mapping[str, Any]]
Pair = tuple[Mapping[str, Any], Mapping[str, Any]]


def shared(turns: Turns, other: Turns) -> list[Pair]:
    """Return the turns of two models that are compared, round by round.

    A round counts where both models have an undisturbed turn in it. Where such rounds are fewer than six or than half
    of the common ones, the last turn of every common round is taken: disturbed turns of one round were disturbed at
    about the same time, and many of them tell more than few undisturbed ones. Refused turns and those without a
    sample are never taken.

    Args:
      turns: the rounds of a model, as a record holds them ('index', 'disturbed', 'refused', 'invoke_ns').
      other: those of the other model in the same benchmark.
    """
    mine, theirs = _timed(turns), _timed(other)
    calm, every = _common(_calm(mine), _calm(theirs)), _common(_last(mine), _last(theirs))
    return calm if len(calm) >= min(len(every), max(LEAST_PAIRS, (len(every) + 1) // 2)) else every


def _timed(turns: Turns) -> Turns:
    return [turn for turn in turns if len(turn["invoke_ns"]) and not turn["refused"]]


def _calm(turns: Turns) -> dict[int, Mapping[str, Any]]:
    return {turn["index"]: turn for turn in turns if not turn["disturbed"]}


def _last(turns: Turns) -> dict[int, Mapping[str, Any]]:
    """Return the undisturbed turn of each round, the last one where there is none."""
    return {turn["index"]: turn for turn in turns} | _calm(turns)


def _common(turns: Mapping[int, Mapping[str, Any]], other: Mapping[int, Mapping[str, Any]]) -> list[Pair]:
    return [(turns[index], other[index]) for index in sorted(turns.keys() & other.keys())]
