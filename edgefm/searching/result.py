"""The result of a search as a document: each budget met or not, by which file, and the front of all that was tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgefm.core import runs
from edgefm.core.documents import read_versioned
from edgefm.core.environment import version
from edgefm.core.progress import SILENT, Progress
from edgefm.searching.budget import HOST, SearchBudget, on_target
from edgefm.searching.finalists import Finalist
from edgefm.searching.journal import SearchError
from edgefm.searching.promotion import hypervolume, on_front
from edgefm.searching.space import Space
from edgefm.searching.trials import OBJECTIVES, Trial, complete_ones
from edgefm.searching.words import POINTS, amount, titles

RESULT_FILE, PAGE_FILE, PICTURE_FILE = "front.json", "result.md", "front.png"
# What a search's volume is measured against: ten points lost, and the latency and the download of the reference.
_POINTS = 10.0


def document(
    *,
    identity: Mapping[str, Any],
    model: str,
    space: Space,
    budgets: Sequence[SearchBudget],
    impossible: Mapping[str, str],
    trials: Sequence[Trial],
    finalists: Sequence[Finalist],
    failed: Mapping[str, str],
    seeds: int,
    figures: Mapping[str, Mapping[str, Any]],
    validation: int,
    test: int,
    unit: str = POINTS,
    waiting: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the result of a search as JSON; schema search-result-1.

    Args:
      identity: what was searched.
      model: name of it.
      space: of the points.
      budgets: of the search.
      impossible: why some cannot be met, by their names.
      trials: all of them.
      finalists: trained to the end.
      failed: why budgets have none though a trial was proposed, by their names.
      seeds: number of them that each finalist was to be trained with.
      figures: measured, of the references and the finalists, by name.
      validation: number of samples by which was chosen.
      test: number of samples that the loss of the finalists is on.
      unit: that losses are in, see `edgefm.searching.words.unit_of`.
      waiting: why files were not measured on a target, by its address.
    """
    complete = complete_ones(trials)
    best = on_front([trial.costs or () for trial in complete])
    proposed = {one.budget for one in finalists}
    return {
        "kind": "search-result",
        "schema_version": 1,
        "edgefm": version("edgefm") or "",
        "created": runs.now(),
        "model": model,
        "identity": dict(identity),
        "validation_samples": validation,
        "test_samples": test,
        "loss_unit": unit,
        "seeds": seeds,
        "trials": {
            "ended": sum(trial.ended for trial in trials),
            "complete": len(complete),
            "failed": sum(trial.ended and trial.outcome is None for trial in trials),
            "seconds": max((trial.elapsed for trial in trials), default=0.0),
        },
        "waiting": dict(waiting or {}),
        "budgets": [
            budget_entry(
                budget,
                figures.get(budget.name) if budget.name in proposed else None,
                impossible.get(budget.name),
                failed.get(budget.name),
            )
            for budget in budgets
        ],
        "finalists": [_finalist(one, space, figures) for one in finalists],
        "references": {name: dict(figures[name]) for name in ("float32", "int8_w8a8") if name in figures},
        "front": [_point(trial, space) for trial, whether in zip(complete, best, strict=True) if whether],
        "others": [_point(trial, space) for trial, whether in zip(complete, best, strict=True) if not whether],
        "volume": front_volume(trials, figures["int8_w8a8"]["download_bytes"])
        if "int8_w8a8" in figures and unit == POINTS
        else None,
    }


def unit_in(result: Mapping[str, Any]) -> str:
    """Return what the losses of a result are in: 'points', or the name of the measure."""
    return str(result.get("loss_unit", POINTS))


def titles_in(result: Mapping[str, Any]) -> dict[str, str]:
    """Return the title of each figure of a result's tables; p50 on targets is among them."""
    addresses = dict.fromkeys(entry["limits"].get("target", HOST) for entry in result["budgets"])
    elsewhere = {on_target(address): f"p50 on {address} (us)" for address in addresses if address != HOST}
    return {**titles(unit_in(result)), **elsewhere}


def is_finished(path: Path, *, seeds: int, trials: Sequence[Trial], progress: Progress = SILENT) -> bool:
    """Return whether a file holds a whole result of these trials, made with as many seeds as are wanted.

    A seed that a finalist could not be trained with counts: it would fail again.

    Args:
      path: of the result.
      seeds: that finalists are to be trained with.
      trials: of the search.
      progress: receives a note where the file is damaged.
    """
    if not path.exists():
        return False
    try:
        known = read_versioned(
            path, what="result of a search", newest=1, schema="search-result-1", error=SearchError, hint=""
        )
    except SearchError as error:
        progress.note(f"{error.message}: it is made again")
        return False
    if known["trials"]["ended"] != sum(trial.ended for trial in trials):
        return False  # the search was stopped before a new one was written
    # Results of before say nothing of the seeds that failed.
    came_out = max((len(finalist["seeds"]) for finalist in known["finalists"]), default=0)
    return seeds <= known.get("seeds", came_out) or not complete_ones(trials)


def front_volume(trials: Sequence[Trial], download_bytes: float) -> float:
    """Return the volume that the front of some trials dominates, a share of the whole box: 0 to 1 or a little more.

    The box: 0 to 10 points lost, p50 from 0 to the reference's, download from 0 to the reference's. A file that loses
    less than nothing has lost nothing.

    Args:
      trials: of which those that went through all stages count.
      download_bytes: of the reference.
    """
    points = [trial.costs for trial in complete_ones(trials) if trial.costs is not None]
    shares = [(max(0.0, loss) / _POINTS, ratio, download / download_bytes) for loss, ratio, download in points]
    return hypervolume(shares, (1.0, 1.0, 1.0))


def conclusion(entry: Mapping[str, Any]) -> str:
    """Return what became of a budget, in a sentence."""
    name, figures = entry["name"], entry["figures"]
    if entry["met"]:
        return f"{name}: met by {entry['model']}/model.tflite"
    if entry["impossible"]:
        nearest = f"; the nearest is {entry['model']}/model.tflite" if entry["model"] else ""
        return f"{name}: cannot be met: {entry['impossible']}{nearest}"
    if "failed" in entry:
        return f"{name}: not met: its finalist could be trained with no seed: {entry['failed']}"
    if entry["model"] is None:
        return f"{name}: not met: no finalist was trained; give more trials or more time, and one seed at least"
    missed = [_missed(key, place, figures) for key, place in entry["missed"].items()]
    if waits(entry):
        there = entry["limits"]["target"]
        return (
            f"{name}: not met: {entry['model']}/model.tflite is proposed, and was not measured on {there}; that is "
            "tried again when the search is resumed"
        )
    return f"{name}: not met; the nearest is {entry['model']}/model.tflite: {'; '.join(missed)}"


def waits(entry: Mapping[str, Any]) -> bool:
    """Return whether a budget lacks nothing but its file's time on another target."""
    return bool(entry["missed"]) and all(
        place["figure"].startswith(on_target("")) and entry["figures"].get(place["figure"]) is None
        for place in entry["missed"].values()
    )


def _missed(key: str, place: Mapping[str, Any], figures: Mapping[str, Any]) -> str:
    value = figures.get(place["figure"])
    has = "and that is not known" if value is None else f"it has {amount(place['figure'], value)}"
    return f"{key} is {amount(place['figure'], place['limit'])}, {has}"


def budget_entry(
    budget: SearchBudget, figures: Mapping[str, Any] | None, impossible: str | None, failed: str | None = None
) -> dict[str, Any]:
    """Return what became of a budget, as JSON.

    Args:
      budget: is looked at.
      figures: measured, of its finalist; None where it has none.
      impossible: why nothing keeps it.
      failed: why it has no finalist though a trial was proposed.
    """
    own = dict(figures or {})
    missed = [*budget.excess(own), *budget.unknown(own)] if own else list(budget.limits)
    return {
        "name": budget.name,
        "limits": budget.to_json(),
        "met": bool(own) and not missed,
        "model": budget.name if own else None,
        "figures": own,
        "missed": {key: {"figure": budget.figure(key), "limit": budget.limits[key]} for key in missed},
        "impossible": impossible,
        **({} if failed is None else {"failed": failed}),
    }


def _finalist(finalist: Finalist, space: Space, figures: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "budget": finalist.budget,
        "trial": finalist.trial,
        "words": space.words(finalist.point),
        "point": dict(finalist.point),
        "seed": finalist.seed,
        "seeds": [{"seed": one.seed, "figures": dict(one.figures)} for one in finalist.seeds],
        "figures": dict(figures[finalist.budget]),
    }


def _point(trial: Trial, space: Space) -> dict[str, Any]:
    point = space.point(trial.params)
    return {"trial": trial.index, "words": space.words(point), "point": dict(point), "figures": dict(trial.figures)}


assert OBJECTIVES == ("accuracy_loss", "p50_ratio", "download_bytes"), "front_volume takes them in this order"
