"""Which budgets nothing in a space can meet: said before anything is trained, from the smallest files that it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from edgefm.core.progress import SILENT, Progress
from edgefm.recipes import Slim, Variant
from edgefm.searching.budget import SearchBudget
from edgefm.searching.driver import REFUSALS
from edgefm.searching.evaluation import Evaluator, MadeFile
from edgefm.searching.space import Epochs, Point, Space
from edgefm.searching.trials import Figures
from edgefm.searching.words import amount

# What training may leave of a figure of an untrained file: of 42 recorded downloads the least kept 0.958 of its size
# (benchmarks/results/forecast_outcomes.json). The other figures stay.
_TRAINED = {"download_bytes": 0.95}


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
    """Return why budgets cannot be met, by their names: the limit, and the least that the space has, untrained.

    Args:
      budgets: of the search.
      smallest: of the space; a figure that they lack is not judged, one that is None is of no file.
      space: of the points.
    """
    reasons = {}
    for budget in budgets:
        parts = []
        for key, limit in budget.limits.items():
            figure = budget.figure(key)
            known = [(value, corner) for corner in smallest if (value := corner.figures.get(figure)) is not None]
            if known:
                least, corner = min(known, key=lambda pair: pair[0])
                if least * _TRAINED.get(figure, 1.0) > limit:
                    at_least = "at least " if figure.startswith("p50") else ""  # predicted: the end of an interval
                    parts.append(
                        f"{key} is {amount(figure, limit)}, and the least of all files is "
                        f"{at_least}{amount(figure, least)} ({space.words(corner.point)})"
                    )
            elif any(figure in corner.figures for corner in smallest):
                runs = "TFLite Micro runs" if figure == "arena_bytes" else "it is known of"
                parts.append(f"{key} is {amount(figure, limit)}, and {runs} none of the smallest files")
        if parts:
            reasons[budget.name] = "; ".join(parts)
    return reasons


def _quickly(variant: Variant) -> Variant:
    """Return a variant whose channels are chosen without looking at data: which ones leave costs the same."""
    passes = tuple(replace(one, importance="l1") if isinstance(one, Slim) else one for one in variant.passes)
    return replace(variant, passes=passes)
