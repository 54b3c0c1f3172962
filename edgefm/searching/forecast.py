"""Which budgets nothing in a space can meet: said before anything is trained, from the smallest files that it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from edgefm.core.progress import SILENT, Progress
from edgefm.recipes import Slim, Variant
from edgefm.searching.budget import SearchBudget
from edgefm.searching.driver import REFUSALS
from edgefm.searching.evaluation import Evaluator, MadeFile
from edgefm.searching.space import Epochs, Point, Space
from edgefm.searching.space.space import FC4, GIVEN, NETWORK, SCHEME
from edgefm.searching.trials import Figures
from edgefm.searching.words import amount, titles

# What training may leave of a figure of an untrained file: of 42 recorded downloads the least kept 0.958 of its size
# (benchmarks/results/forecast_outcomes.json). The other figures stay.
_TRAINED = {"download_bytes": 0.95}
_TITLES = titles()


@dataclass(frozen=True, kw_only=True)
class Corner:
    """One of the smallest points of a space, and what its file costs at least; it is not trained."""

    point: Point = field(hash=False)
    figures: Figures = field(hash=False)


def corners(evaluator: Evaluator, *, progress: Progress = SILENT) -> tuple[tuple[Corner, MadeFile], ...]:
    """Return the smallest points of an evaluator's space, their sizes and files; latency is not among the figures.

    A point of which no file can be made is left out.
    """
    found = []
    points = evaluator.space.corners()
    for place, point in enumerate(points):
        progress.step("forecast", place, len(points))
        variant = evaluator.space.variant(point, Epochs.of(0), name="smallest")
        try:
            made = evaluator.made(_quickly(variant))
            found.append((Corner(point=point, figures=evaluator.sizes(made)), made))
        except REFUSALS as error:
            progress.note(f"forecast: {evaluator.space.words(point)}: {error.message}")
    progress.step("forecast", len(points), len(points))
    evaluator.forget()
    return tuple(found)


def impossible(budgets: Sequence[SearchBudget], smallest: Sequence[Corner], space: Space) -> Mapping[str, str]:
    """Return why budgets cannot be met, by their names: the limits, and the least that the space has, untrained.

    And which file is the nearest to all limits, see `nearest`.

    Args:
      budgets: of the search.
      smallest: of the space; a figure that they lack is not judged, one that is None is of no file.
      space: of the points.
    """
    reasons = {}
    for budget in budgets:
        judged = _judged(budget, smallest)
        parts = [part for key in judged.limits if (part := _broken(judged, key, smallest))]
        if judged.limits and not parts and not _together(judged, smallest):
            parts = ["of the smallest files each keeps some limits, and none keeps all"]
        if parts:
            reasons[budget.name] = "; ".join(parts) + _nearest_in_words(judged, smallest, space)
    return reasons


def nearest(budget: SearchBudget, smallest: Sequence[Corner], space: Space) -> Corner:
    """Return the one of the smallest points that comes nearest to a budget as a whole.

    The one whose largest excess, as a share of the limit, is the least; of equal ones the sum decides, then in how few
    parameters it differs from the unchanged model. Limits on figures that no point has do not count.
    """
    first = {name: values[0] for name, values in space.choices.items()}
    judged = _judged(budget, smallest)

    def distance(corner: Corner) -> tuple[float, float, int]:
        excess = judged.excess(corner.figures).values()
        return max(excess, default=0.0), sum(excess), sum(value != first[name] for name, value in corner.point.items())

    return min(smallest, key=distance)


def _judged(budget: SearchBudget, smallest: Sequence[Corner]) -> SearchBudget:
    """Return a budget with those limits alone whose figure is known of the smallest points, be it that it has none."""
    known = {figure for corner in smallest for figure in corner.figures}
    return replace(budget, limits={key: limit for key, limit in budget.limits.items() if budget.figure(key) in known})


def _broken(budget: SearchBudget, key: str, smallest: Sequence[Corner]) -> str:
    """Return how even the smallest files break a limit; '' where one may keep it."""
    figure, limit = budget.figure(key), budget.limits[key]
    least = _least(figure, smallest)
    if least is None:
        runs = "TFLite Micro runs" if figure == "arena_bytes" else "it is known of"
        return f"{key} is {amount(figure, limit)}, and {runs} none of the smallest files"
    if _may_keep(figure, least, limit):
        return ""
    return f"{key} is {amount(figure, limit)}, and the least of all files is {_at_least(figure, least)}"


def _together(budget: SearchBudget, smallest: Sequence[Corner]) -> bool:
    """Return whether files of one kind may keep all limits, by the least that this kind has of each figure.

    A kind is the given model, or networks of one kind of blocks, with dense layers of 4 bits or without. Beside these
    there may be some of 8 bits, so that the least time is that of both.
    """
    by_network: dict[Any, list[Corner]] = {}
    for corner in smallest:
        by_network.setdefault(corner.point.get(NETWORK, GIVEN), []).append(corner)
    kinds = [
        ([one for one in of_network if (one.point[SCHEME] == FC4) is four_bits], of_network)
        for of_network in by_network.values()
        for four_bits in (False, True)
    ]
    return any(
        all(
            (least := _least(figure, of_network if figure.startswith("p50") else kind)) is not None
            and _may_keep(figure, least, limit)
            for figure, limit in ((budget.figure(key), limit) for key, limit in budget.limits.items())
        )
        for kind, of_network in kinds
        if kind
    )


def _least(figure: str, smallest: Sequence[Corner]) -> float | None:
    """Return the least value of a figure; None where it is of no file."""
    return min((value for one in smallest if (value := one.figures.get(figure)) is not None), default=None)


def _may_keep(figure: str, least: float, limit: float) -> bool:
    return least * _TRAINED.get(figure, 1.0) <= limit


def _nearest_in_words(budget: SearchBudget, smallest: Sequence[Corner], space: Space) -> str:
    """Return the nearest file, with its figure for each limit where there are several."""
    corner = nearest(budget, smallest, space)
    figures = {figure: corner.figures.get(figure) for figure in map(budget.figure, budget.limits)}
    if set(figures.values()) == {None}:
        return ""  # none of the files has any
    words = space.words(corner.point)
    if len(figures) == 1:
        return f" ({words})"
    has = [
        f"{_TITLES[figure.partition('@')[0]]} {'none' if value is None else _at_least(figure, value)}"
        for figure, value in figures.items()
    ]
    return f"; the nearest to all of them has {', '.join(has)} ({words})"


def _at_least(figure: str, value: float) -> str:
    """Return a figure of a file; p50 is predicted: it is the lower end of an interval."""
    return f"{'at least ' if figure.startswith('p50') else ''}{amount(figure, value)}"


def _quickly(variant: Variant) -> Variant:
    """Return a variant whose channels are chosen without looking at data: which ones leave costs the same."""
    passes = tuple(replace(one, importance="l1") if isinstance(one, Slim) else one for one in variant.passes)
    return replace(variant, passes=passes)
