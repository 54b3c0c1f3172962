"""Trains documented systems as their documents say, and records what came out for docs/zoo.md.

Run: python -m benchmarks.zoo [ID ...] [--seeds 3] [--epochs N] [--variant NAME ...] [--out FOLDER], then python -m
benchmarks.figures. A stopped series goes on. The record is of all that the folder holds, and of what was recorded
before elsewhere with the same settings. Rows of shortened trainings (--epochs, in a folder of their own) say so, and
give way to whole ones.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import edgefm
from benchmarks import zoo_page
from benchmarks.recorded import RESULTS, result, write_result
from edgefm.core import artefacts
from edgefm.core.environment import multiplies_bytes
from edgefm.core.errors import RunError
from edgefm.jobs.reproduce import data_space
from edgefm.jobs.reproduce.plan import PlannedTraining, planned_system, planned_trials
from edgefm.jobs.reproduce.record import experiment_entry, judged, stated
from edgefm.statistics.claim import RULE
from edgefm.zoo.experiments import experiment

NAME = "zoo"


def main() -> None:
    """Train what is not trained yet and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("systems", nargs="*", metavar="ID")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="at most; the verdicts say 'shortened'")
    parser.add_argument("--variant", action="append", dest="variants", metavar="NAME")
    parser.add_argument("--out", type=Path, default=Path("runs/zoo"))
    given = parser.parse_args()
    made = edgefm.reproduce(
        given.systems or None,
        seeds=given.seeds,
        epochs=given.epochs,
        variants=given.variants,
        out=given.out,
        progress=True,
    )
    record = artefacts.finite(made.to_json())
    for picture in data_space.PICTURES if record["data"] else ():
        content = (made.folder / data_space.FOLDER / picture).read_bytes()
        artefacts.write_bytes(zoo_page.PAGE.parent / f"{zoo_page.PICTURES}{picture}", content)
    earlier = result(NAME) if (RESULTS / f"{NAME}.json").exists() else None
    for name in outdated(earlier) if earlier else ():
        print(f"left out of the record, as nothing is trained by its recipe any more: {name}", flush=True)
    write_result(
        NAME,
        what="documented systems and experiments trained as their documents say",
        command="python -m benchmarks.zoo ID --seeds N",  # of each row
        figures=joined(earlier, record) if earlier else record,
    )


def joined(earlier: Mapping[str, Any], latest: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record of what both hold, each training by itself: of those that both have the whole one, of more seeds.

    Rows that are one training have the same figures. A training by a recipe that its row no longer has is left out.
    What comes from an earlier record says when and on what it was recorded, in `recorded`. Its ratios of latency stay
    where they are to the same reference on such a processor.

    Raises:
      RunError: they are of other data, or were made with other settings.
    """
    # Each row says itself whether it was shortened, and each seed on what it was trained.
    settings = [{**record["settings"], "epochs": None, "backend": None} for record in (earlier, latest)]
    for name, (before, after) in {"settings": settings, "dataset": [earlier["dataset"], latest["dataset"]]}.items():
        if before != after:
            raise RunError(
                f"the earlier record has other {name}: {before} where the latest has {after}",
                hint=f"Move {RESULTS / f'{NAME}.json'} away to begin anew.",
            )
    trained = [*_trainings(earlier, recorded=_origin(earlier)), *_trainings(latest, recorded={})]
    return {
        **latest,
        "rule": RULE,
        "systems": _systems(earlier, latest, trained),
        "experiments": _experiments(earlier, latest, trained),
        "settings": settings[1],
        "data": latest["data"] or earlier["data"],
        "latency": _joined_latency(earlier["latency"], latest["latency"]),
    }


def outdated(record: Mapping[str, Any]) -> list[str]:
    """Return the rows of a record that `joined` leaves out: today they have another recipe, or are no rows."""
    rows: list[tuple[str, PlannedTraining | None, Mapping[str, Any]]] = [
        (row["id"], planned_system(row["id"], None), row) for row in record["systems"]
    ]
    for entry in record["experiments"]:
        planned = {one.label: one for one in planned_trials(entry["id"], None)}
        rows += [(f"{entry['id']}, {trial['label']}", planned.get(trial["label"]), trial) for trial in entry["trials"]]
    return [name for name, row, found in rows if row is None or not _is_of(found["recipe"], row)]


def _origin(record: Mapping[str, Any]) -> dict[str, Any]:
    return {"created": record["created"], "cpu": record["environment"]["cpu"]}


def _trainings(record: Mapping[str, Any], *, recorded: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return all rows of a record, trials before systems, each with where it was recorded if not in the latest one."""
    rows = [
        {**trial, "recorded": trial.get("recorded") or entry.get("recorded") or recorded}
        for entry in record["experiments"]
        for trial in entry["trials"]
    ]
    return [*rows, *({**row, "recorded": row.get("recorded") or recorded} for row in record["systems"])]


def _systems(
    earlier: Mapping[str, Any], latest: Mapping[str, Any], trained: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the rows of systems, with the further variants that either record has of them."""
    known = {row["id"]: row for record in (earlier, latest) for row in record["systems"]}
    joined_rows = []
    for name in _names(earlier, latest, "systems"):
        planned = planned_system(name, None)
        figures = _figures(planned, trained, latest["dataset"])
        if figures is not None:
            same = [row for row in trained if row.get("id") == name and _is_of(row["recipe"], planned)]
            rows = [row for row in same if _whole(row) == _whole(figures)]
            about = {key: value for key, value in known[name].items() if key != "recorded"}
            joined_rows.append({**about, **figures, "compressed": _compressed(rows)})
    return joined_rows


def _compressed(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the further variants of all rows of one system, the later ones before earlier ones of the same name.

    Each is held against int8 of its own training, whichever seeds its row has now.
    """
    made: dict[str, dict[str, Any]] = {}
    for row in rows:
        int8 = {seed["seed"]: seed["test"]["int8_w8a8"] for seed in row["seeds"]}
        recorded = {"recorded": row["recorded"]} if row["recorded"] else {}
        for variant in row.get("compressed", ()):
            made[variant["variant"]] = {"int8_test": int8.get(variant["seed"]), **recorded, **variant}
    return list(made.values())


def _experiments(
    earlier: Mapping[str, Any], latest: Mapping[str, Any], trained: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the experiments of both, each with all trials that either record has a training of."""
    entries = []
    for name in _names(earlier, latest, "experiments"):
        figures = [(row.label, _figures(row, trained, latest["dataset"])) for row in planned_trials(name, None)]
        trials = [{"label": label, **found} for label, found in figures if found is not None]
        if trials:
            entries.append(experiment_entry(experiment(name), trials, chosen=_chosen(name, trials)))
    return entries


def _chosen(name: str, trials: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the trial of a search that was tried on the test images, else the best of those that are recorded."""
    known = [trial for trial in trials if trial["measured"]["validation"] is not None]
    if not experiment(name).search or not known:
        return None
    tried = [trial for trial in known if trial["measured"]["test"] is not None]
    return str(max(tried or known, key=lambda trial: trial["measured"]["validation"]["mean"])["label"])


def _names(earlier: Mapping[str, Any], latest: Mapping[str, Any], kind: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(row["id"] for record in (latest, earlier) for row in record[kind]))


def _figures(
    row: PlannedTraining, trained: Sequence[Mapping[str, Any]], samples: Mapping[str, int]
) -> dict[str, Any] | None:
    """Return the figures of one row, of the trainings of its key and recipe that most is known of; None without one."""
    same = [found for found in trained if found["key"] == row.key and _is_of(found["recipe"], row)]
    if not same:
        return None
    best = max(reversed(same), key=_worth)  # of equals the last one
    kept = {name: best[name] for name in ("key", "recipe", "diverged", "files", "left_out")}
    return {
        **({"recorded": best["recorded"]} if best["recorded"] else {}),
        **kept,
        **stated(row),
        **judged(
            row, best["seeds"], list(best["diverged"].values()), samples=samples, limits=best["verdict"]["limits"]
        ),
    }


def _is_of(recipe: Mapping[str, Any], row: PlannedTraining) -> bool:
    """Return whether a recorded recipe is that of a row, or a shortened one of it."""
    wanted, params = json.loads(json.dumps(row.recipe.to_json()))["params"], dict(recipe["params"])
    return bool(params.pop("epochs") <= wanted.pop("epochs") and params == wanted)


def _whole(row: Mapping[str, Any]) -> bool:
    return not any(limit.startswith("shortened") for limit in row["verdict"]["limits"])


def _worth(row: Mapping[str, Any]) -> tuple[int, int]:
    """Return how many trainings a row is of: whole ones, and all."""
    return len(row["seeds"]) if _whole(row) else 0, len(row["seeds"])


def _joined_latency(earlier: Mapping[str, Any] | None, latest: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return the ratios of both; what was measured earlier is listed in `others`.

    Whether a processor has instructions for products of bytes decides more than all else how int8 does: ratios of the
    other kind of processors stay in `apart`, as far as the latest kind has none. Those of another reference go.
    """
    if earlier is None or latest is None:
        return latest or earlier
    parts = [part for part in (earlier, earlier.get("apart")) if part and part["reference"] == latest["reference"]]
    kind = multiplies_bytes(latest["environment"])
    joined = {name: value for name, value in latest.items() if name != "apart"}
    for part in parts:
        if multiplies_bytes(part["environment"]) == kind:
            joined = _with_others(part, joined)
    for part in parts:
        models = {name: figures for name, figures in part["models"].items() if name not in joined["models"]}
        if multiplies_bytes(part["environment"]) != kind and models:
            joined["apart"] = {
                **{name: value for name, value in part.items() if name != "apart"},
                "disturbed": [name for name in part["disturbed"] if name in models],
                "models": models,
            }
    return joined


def _with_others(earlier: Mapping[str, Any], latest: dict[str, Any]) -> dict[str, Any]:
    """Return ratios with those of an earlier benchmark, on such a processor, of files that the latest does not have."""
    models = {name: figures for name, figures in earlier["models"].items() if name not in latest["models"]}
    if not models:
        return latest
    session = {
        "created": earlier["created"],
        "cpu": earlier["environment"]["cpu"],
        "disturbed": [name for name in earlier["disturbed"] if name in models],
    }
    return {
        **latest,
        "models": {**latest["models"], **models},
        "others": [*earlier.get("others", ()), session],
    }


if __name__ == "__main__":
    main()
