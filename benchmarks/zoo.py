"""Trains documented systems as their documents say, and records what came out for docs/zoo.md.

Run: python -m benchmarks.zoo [ID ...] [--seeds 3] [--epochs N] [--variant NAME ...] [--out FOLDER], then python -m
benchmarks.figures. A stopped series goes on. The record is of all that the folder holds, and of what was recorded
before elsewhere with the same settings. Rows of shortened trainings (--epochs, in a folder of their own) say so, and
give way to whole ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
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
from edgefm.jobs.reproduce.record import judged

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
    write_result(
        NAME,
        what="documented systems and experiments trained as their documents say",
        command="python -m benchmarks.zoo ID --seeds N",  # of each row
        figures=joined(result(NAME), record) if (RESULTS / f"{NAME}.json").exists() else record,
    )


def joined(earlier: Mapping[str, Any], latest: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record of what the latest one holds and of what an earlier one holds besides, whole, or of more seeds.

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
    recorded = {"created": earlier["created"], "cpu": earlier["environment"]["cpu"]}
    kinds = {}
    for kind in ("systems", "experiments"):
        rows = {row["id"]: row for row in latest[kind]}
        for row in earlier[kind]:
            if row["id"] not in rows or _worth(row) > _worth(rows[row["id"]]):
                rows[row["id"]] = {"recorded": recorded, **row}
        kinds[kind] = list(rows.values())
    _share(kinds, [earlier, latest], recorded)
    return {
        **latest,
        **kinds,
        "settings": settings[1],
        "data": latest["data"] or earlier["data"],
        "latency": _joined_latency(earlier["latency"], latest["latency"]),
    }


def _share(
    kinds: Mapping[str, list[dict[str, Any]]], records: Sequence[Mapping[str, Any]], recorded: Mapping[str, Any]
) -> None:
    """Give rows that are one training the most that is known of it: a trial may be trained as a system is."""
    best: dict[str, Mapping[str, Any]] = {}
    for record in records:
        earlier = {"recorded": recorded} if record is records[0] else {}
        for row in [*record["systems"], *(trial for one in record["experiments"] for trial in one["trials"])]:
            if row["key"] not in best or _worth(row) >= _worth(best[row["key"]]):
                best[row["key"]] = {**earlier, **row}
    samples = records[-1]["dataset"]
    for planned, row in _planned(kinds):
        found = best[row["key"]]
        if _worth(found) > _worth(row):
            row |= {name: found[name] for name in ("recorded", "diverged", "files", "left_out") if name in found}
            limits, messages = found["verdict"]["limits"], list(found["diverged"].values())
            row |= judged(planned, found["seeds"], messages, samples=samples, limits=limits)


def _planned(kinds: Mapping[str, list[dict[str, Any]]]) -> Iterator[tuple[PlannedTraining, dict[str, Any]]]:
    """Give each row of systems and each trial of experiments with what is trained for it."""
    for row in kinds["systems"]:
        yield planned_system(row["id"], None), row
    for entry in kinds["experiments"]:
        planned = {one.label: one for one in planned_trials(entry["id"], None)}
        for trial in entry["trials"]:
            yield planned[trial["label"]], trial


def _worth(row: Mapping[str, Any]) -> tuple[int, int]:
    """Return how many trainings a row is of: whole ones, and all."""
    trials = row.get("trials", [row])
    whole = [
        trial for trial in trials if not any(limit.startswith("shortened") for limit in trial["verdict"]["limits"])
    ]
    return sum(len(trial["seeds"]) for trial in whole), sum(len(trial["seeds"]) for trial in trials)


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
