"""Which budgets nothing in a space can meet: said before anything is trained, from the smallest files that it has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from edgefm.core import artefacts
from edgefm.core.documents import read_json
from edgefm.core.progress import SILENT, Progress
from edgefm.recipes import Slim, Variant
from edgefm.searching.budget import SearchBudget, targets_of
from edgefm.searching.driver import attempted
from edgefm.searching.evaluation import Evaluator, Latency, MadeFile
from edgefm.searching.journal import SearchError
from edgefm.searching.space import Epochs, Point, Space
from edgefm.searching.space.space import FC4, GIVEN, NETWORK, SCHEME
from edgefm.searching.trials import Figures
from edgefm.searching.words import amount, titles

# What training may leave of a figure of an untrained file: of 42 recorded downloads the least kept 0.958 of its size
# (benchmarks/results/forecast_outcomes.json). The other figures stay.
_TRAINED = {"download_bytes": 0.95}
_TITLES = titles()
_FILE = "forecast.json"
# Folder of a search, and budgets -> what predicts p50 within seconds: here, and on targets by the name of the figure;
# None and nothing where no budget limits it, or what predicts it well is at hand.
Rough = Callable[[Path, Sequence[SearchBudget]], tuple[Latency | None, Mapping[str, Latency]]]


@dataclass(frozen=True, kw_only=True)
class Corner:
    """One of the smallest points of a space, and what its file costs at least; it is not trained."""

    point: Point = field(hash=False)
    figures: Figures = field(hash=False)


def never_met(
    folder: Path, evaluator: Evaluator, budgets: Sequence[SearchBudget], *, rough: Rough, progress: Progress = SILENT
) -> Mapping[str, str]:
    """Return why budgets of a search cannot be met, by their names.

    It is found once a search, so that each process takes the same.

    Args:
      folder: of the search; forecast.json in it keeps the figures of the smallest files.
      evaluator: makes files and predicts their latency.
      budgets: of the search.
      rough: returns what predicts latency within seconds.
      progress: receives progress.
    Raises:
      SearchError: none can be met.
    """
    path, space = folder / _FILE, evaluator.space
    targets = sorted(targets_of(budgets))
    arena = any("max_arena_bytes" in budget.limits for budget in budgets)
    of = artefacts.sha256_json([evaluator.source.sha256, space.to_json(), targets, arena])
    if path.exists():
        again = "Remove it: it is made again."
        known = read_json(path, what="forecast", error=SearchError, hint=again)
        try:
            smallest = tuple(Corner(point=one["point"], figures=one["figures"]) for one in known["smallest"])
        except (KeyError, TypeError):
            raise SearchError(f"{path} is no forecast of a search", hint=again) from None
        if known.get("of") == of:
            return _never(budgets, smallest, space, progress)
    files = corners(evaluator, progress=progress)
    smallest = tuple(corner for corner, _ in files)
    never = _never(budgets, smallest, space, progress)
    # What predicts latency well may have to be measured first, for minutes: what is known without it is said before.
    for latency in _predictions(folder, evaluator, [one for one in budgets if one.name not in never], rough):
        smallest = tuple(
            replace(corner, figures={**corner.figures, **latency(made)})
            for corner, (_, made) in zip(smallest, files, strict=True)
        )
        never = _never(budgets, smallest, space, progress, noted=never)
    figures = [{"point": dict(one.point), "figures": dict(one.figures)} for one in smallest]
    artefacts.write_json(path, {"of": of, "smallest": figures})
    return never


def _predictions(
    folder: Path, evaluator: Evaluator, budgets: Sequence[SearchBudget], rough: Rough
) -> Iterator[Callable[[MadeFile], Figures]]:
    """Yield what predicts the latency of files, a rough one first where the whole one must be measured."""
    here, on_targets = rough(folder, budgets)
    roughly = evaluator.with_latency(here, on_targets)
    if here is not None:
        yield roughly.latency_here
    if on_targets:
        yield roughly.latency_on_targets
    yield evaluator.latency_here
    yield evaluator.latency_on_targets


def _never(
    budgets: Sequence[SearchBudget],
    smallest: Sequence[Corner],
    space: Space,
    progress: Progress,
    *,
    noted: Mapping[str, str] | None = None,
) -> Mapping[str, str]:
    """Return why budgets cannot be met, and note it unless that was done; where none can be, raise a SearchError."""
    never = impossible(budgets, smallest, space)
    if len(never) == len(budgets):
        raise SearchError(
            "; ".join(f"budget {name} cannot be met: {reason}" for name, reason in never.items()),
            hint="Raise the limits; nothing was trained.",
        )
    for name, reason in never.items():
        if name not in (noted or {}):
            progress.note(f"budget {name} cannot be met: {reason}")
    return never


def corners(evaluator: Evaluator, *, progress: Progress = SILENT) -> tuple[tuple[Corner, MadeFile], ...]:
    """Return the smallest points of an evaluator's space, their sizes and files; latency is not among the figures.

    A point of which no file can be made is left out.
    """
    found = []
    points = evaluator.space.corners()
    for place, point in enumerate(points):
        progress.step("forecast", place, len(points))
        variant = evaluator.space.variant(point, Epochs.of(0), name="smallest")
        made = attempted(partial(_made, evaluator, variant))
        if isinstance(made, str):
            progress.note(f"forecast: {evaluator.space.words(point)}: {made}")
        else:
            file, sizes = made
            found.append((Corner(point=point, figures=sizes), file))
    progress.step("forecast", len(points), len(points))
    evaluator.forget()
    return tuple(found)


def _made(evaluator: Evaluator, variant: Variant) -> tuple[MadeFile, Figures]:
    file = evaluator.made(_quickly(variant))
    return file, evaluator.sizes(file)


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
