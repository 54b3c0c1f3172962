"""Which channels leave: a share of every group, or the least important ones of the whole model, one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edgefm.compression.channels.channel_cost import Cost, cost_of
from edgefm.compression.channels.channel_groups import Channels, Group
from edgefm.core.errors import ModelError, RecipeError
from edgefm.recipes.passes import Budget

# Measurements of latency that a search may make.
MEASUREMENTS = 6
Removed = frozenset[int]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The channels that leave.

    Attributes:
      removed: their marks.
      latency: share of the full model's p50 that was measured for this choice; None where it was not.
      measurements: how often latency was measured for it.
    """

    removed: Removed
    latency: float | None = None
    measurements: int = 0


def kept_of(channels: int, keep: float, round_to: int) -> int:
    """Return how many channels of a group stay: the nearest multiple of `round_to`, at least one multiple.

    A group narrower than `round_to` keeps its share, at least one channel.

    >>> [kept_of(channels, 0.25, 8) for channels in (32, 64, 128, 256, 20, 6, 3)]
    [8, 16, 32, 64, 8, 2, 1]
    """
    if channels < round_to:
        return max(1, int(channels * keep + 0.5))
    if keep == 1:
        return channels
    return min(channels, max(1, int(channels * keep / round_to + 0.5)) * round_to)


def by_share(
    channels: Channels,
    scores: Mapping[int, float],
    *,
    keep: float,
    round_to: int,
    layers: Mapping[str, float] | None = None,
) -> Choice:
    """Return the choice that leaves the most important channels of every group, `kept_of` of each.

    Args:
      channels: of the whole model.
      scores: see `Importance`.
      keep: share of the channels that stay.
      round_to: what stays of a group is a multiple of it.
      layers: share in place of `keep` of the group that a layer makes, by its name.
    Raises:
      RecipeError: no channels of a layer in `layers` can leave, or two layers of one group have different shares.
    """
    shares = _shares_of(channels.removable, layers or {})
    removed: set[int] = set()
    for group in channels.removable:
        kept = kept_of(group.channels, shares.get(group.layers, keep), round_to)
        removed.update(_ascending(group, scores)[: group.channels - kept])
    return Choice(removed=frozenset(removed))


def _shares_of(groups: Sequence[Group], layers: Mapping[str, float]) -> dict[tuple[str, ...], float]:
    """Return the share of each group that a layer is named of."""
    made_by = {layer: group.layers for group in groups for layer in group.layers}
    shares: dict[tuple[str, ...], float] = {}
    for layer, share in layers.items():
        if layer not in made_by:
            raise RecipeError(
                f"slim has a share for the layer '{layer}', of which no channels can leave",
                hint=f"Layers of which some can: {', '.join(made_by)}.",
            )
        group = made_by[layer]
        if shares.setdefault(group, share) != share:
            raise RecipeError(
                f"slim has different shares for layers whose channels leave together: {', '.join(group)}",
                hint="Name one of them.",
            )
    return shares


def by_budget(
    channels: Channels,
    scores: Mapping[int, float],
    budget: Budget,
    *,
    round_to: int,
    latency: Callable[[Removed], float] | None = None,
) -> Choice:
    """Return the choice that meets a budget and removes the least, all groups in one ranking.

    Args:
      channels: of the whole model.
      scores: see `Importance`.
      budget: shares of the whole model's cost.
      round_to: what stays of a group is a multiple of it.
      latency: measures the share of the whole model's p50 without some channels; needed for a budget of latency.
    Raises:
      RecipeError: the budget cannot be met; the least that can is said.
      ModelError: MACs are asked for, and a size is not fixed.
    """
    steps = ladder(channels.removable, scores, round_to=round_to)
    whole = cost_of(channels)
    if budget.macs is not None and not whole.macs:
        raise ModelError(
            f"the MACs of '{channels.graph.model.name}' are unknown: the size of an input is not fixed",
            hint="Build the model with a fixed input size, or set a size budget.",
        )
    met = _first(steps, lambda removed: not _missed(_shares(channels, whole, removed), budget))
    if met is None:
        least = _shares(channels, whole, steps[-1])
        raise _impossible(_missed(least, budget), channels, round_to)
    if budget.latency is None:
        return Choice(removed=steps[met])
    assert latency is not None, "a budget of latency needs a measurement"
    return _by_latency(steps[met:], budget.latency, latency, channels, round_to)


def ladder(groups: Sequence[Group], scores: Mapping[int, float], *, round_to: int) -> list[Removed]:
    """Return what is removed step by step, from nothing to all that can be.

    A step takes the channels of one group down to the next multiple of `round_to` (of a group narrower than that, one
    channel). A step's place in the order is the highest score among its channels: when a rising threshold has
    passed all of them.
    """
    steps: list[tuple[float, list[int]]] = []
    for group in groups:
        ascending = _ascending(group, scores)
        size = round_to if group.channels >= round_to else 1
        left = group.channels
        while left > size:
            fewer = (left - 1) // size * size
            leaving = ascending[group.channels - left : group.channels - fewer]
            steps.append((max(scores[mark] for mark in leaving), leaving))
            left = fewer
    steps.sort(key=lambda step: step[0])  # stable: the steps of a group keep their order
    removed: set[int] = set()
    states = [frozenset(removed)]
    for _, leaving in steps:
        removed.update(leaving)
        states.append(frozenset(removed))
    return states


def _by_latency(
    steps: Sequence[Removed], limit: float, latency: Callable[[Removed], float], channels: Channels, round_to: int
) -> Choice:
    """Return the first step that was measured to hold a limit; noise can make it a step too far or too near."""
    measured = 1
    high, share = len(steps) - 1, latency(steps[-1])
    if share > limit:
        raise _impossible({"latency": (share, limit)}, channels, round_to)
    low = -1  # not measured; steps up to this one are taken to miss the limit
    while high - low > 1 and measured < MEASUREMENTS:
        middle = (low + high) // 2
        latency_there = latency(steps[middle])
        measured += 1
        if latency_there <= limit:
            high, share = middle, latency_there
        else:
            low = middle
    return Choice(removed=steps[high], latency=share, measurements=measured)


def _first(steps: Sequence[Removed], holds: Callable[[Removed], bool]) -> int | None:
    """Return the first step for which something holds, which then holds for all later ones; None for none."""
    if not holds(steps[-1]):
        return None
    low, high = -1, len(steps) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(steps[middle]) else (middle, high)
    return high


def _shares(channels: Channels, whole: Cost, removed: Removed) -> dict[str, float]:
    cost = cost_of(channels, removed)
    shares = {"size": cost.weight_bytes / max(1, whole.weight_bytes)}
    if whole.macs:
        shares["macs"] = (cost.macs or 0) / whole.macs
    return shares


def _missed(shares: Mapping[str, float], budget: Budget) -> dict[str, tuple[float, float]]:
    """Return (share, limit) of what is above its limit."""
    limits = {"macs": budget.macs, "size": budget.size}
    return {name: (shares[name], limit) for name, limit in limits.items() if limit is not None and shares[name] > limit}


def _impossible(missed: Mapping[str, tuple[float, float]], channels: Channels, round_to: int) -> RecipeError:
    limits = ", ".join(f"{name} {limit:g}" for name, (_, limit) in missed.items())
    least = ", ".join(f"{name} {share:.3f}" for name, (share, _) in missed.items())
    kept = [f"{'+'.join(group.layers)} ({group.frozen})" for group in channels.groups if group.frozen]
    return RecipeError(
        f"the budget {limits} cannot be met: {least} is the minimum, with {round_to} channels left in every group "
        f"(fewer in narrower groups) and all of {', '.join(kept) or 'none'}",
        hint="Raise the budget, lower round_to, or exclude fewer layers.",
    )


def _ascending(group: Group, scores: Mapping[int, float]) -> list[int]:
    """Return the marks of a group, least important first; of equal ones the last one."""
    return sorted(group.marks, key=lambda mark: (scores[mark], -mark))
