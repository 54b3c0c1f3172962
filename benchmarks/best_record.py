"""The record of the best small models: results/best.json, written anew after every finished model."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.best_rows import Row
from benchmarks.recorded import RESULTS, processor
from edgefm.core import artefacts, runs
from edgefm.core.documents import read_json
from edgefm.core.environment import environment
from edgefm.core.errors import RunError
from edgefm.recipes import Training

VERSION = 1
PATH = RESULTS / "best.json"
COMMAND = "make best"


def read(path: Path = PATH) -> dict[str, Any]:
    """Return a record; one without entries where there is no file yet.

    Raises:
      RunError: the file is damaged, or of another version.
    """
    if not path.exists():
        return {"best_version": VERSION, "rows": {}, "latency": None}
    hint = "Move it away to begin anew, or take the edgefm that wrote it."
    value = read_json(path, what="record of the best models", error=RunError, hint=hint)
    version = value.get("best_version") if isinstance(value, dict) else None
    if version != VERSION or not isinstance(value.get("rows"), dict):
        raise RunError(f"{path} is a record of version {version!r}; version {VERSION} is read here", hint=hint)
    record: dict[str, Any] = value
    return record


def write(record: Mapping[str, Any], path: Path = PATH) -> None:
    """Write a record whole, with when and where it was last added to."""
    head = {
        "what": "the best small models: accuracy, size and latency of each class, several seeds",
        "command": COMMAND,
        "created": runs.now(),
        "environment": environment(),
    }
    artefacts.write_json(path, {**record, **head})


def holds(record: Mapping[str, Any], row: Row, recipe: Training) -> bool:
    """Return whether a training is recorded: the same recipe, or one of more epochs that is otherwise the same."""
    return any(covers(entry["recipe"], recipe) for entry in entries(record, row))


def covers(recorded: Mapping[str, Any], recipe: Training) -> bool:
    """Return whether a recorded recipe is this one, or this one with more epochs."""
    wanted = json.loads(json.dumps(recipe.to_json()))["params"]
    params = dict(recorded["params"])
    more = params.pop("epochs") >= wanted.pop("epochs")
    return bool(more and params == wanted)


def entries(record: Mapping[str, Any], row: Row) -> list[dict[str, Any]]:
    """Return the trainings of a row that are recorded, by seed."""
    found: list[dict[str, Any]] = record["rows"].get(row.name, {}).get("entries", [])
    return found


def add(record: dict[str, Any], row: Row, entry: Mapping[str, Any]) -> None:
    """Add a training to a row; one of the same seed is replaced, but no whole one by a trial of another recipe."""
    known = record["rows"].setdefault(row.name, {}).setdefault("entries", [])
    others = [one for one in known if one["seed"] != entry["seed"] or _outlasts(one, entry)]
    known[:] = sorted([*others, dict(entry)], key=lambda one: one["seed"])


def add_latency(record: dict[str, Any], latency: Mapping[str, Any]) -> None:
    """Take the latencies of a benchmark; those of other files that rows still have stay, if the processors are alike.

    A ratio is over the document's network in the benchmark that it comes from.
    """
    known, models = record["latency"], dict(latency["models"])
    if known is not None and processor(known["environment"]) == processor(latency["environment"]):
        current = {entry.get("sha256") for row in record["rows"].values() for entry in row.get("entries", ())}
        for name, one in known["models"].items():
            if name not in models and one.get("sha256") in current:
                models[name] = {"created": known["created"], **one}
    record["latency"] = {**latency, "models": models}


def shown(record: Mapping[str, Any], row: Row) -> list[Mapping[str, Any]]:
    """Return the entries that a row is judged by: those of its recipe before those of an earlier one."""
    found = entries(record, row)
    return of_longest([entry for entry in found if is_current(record, row, entry)] or found)


def is_current(record: Mapping[str, Any], row: Row, entry: Mapping[str, Any]) -> bool:
    """Return whether a training is by the recipe that the row has today, whatever its seed and epochs."""
    options = record["rows"].get(row.name, {}).get("choice", {}).get("chosen")
    recipe = row.training(seed=0, epochs=None, options=options).to_json()
    return _without(json.loads(json.dumps(recipe)), "seed", "epochs") == _without(entry["recipe"], "seed", "epochs")


def _outlasts(known: Mapping[str, Any], entry: Mapping[str, Any]) -> bool:
    differ = _without(known["recipe"], "seed", "epochs") != _without(entry["recipe"], "seed", "epochs")
    return bool(differ and entry["shortened"] and not known["shortened"])


def _without(recipe: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return the settings of a recorded recipe but for some."""
    return {name: value for name, value in recipe["params"].items() if name not in names}


def of_longest(found: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the entries that may be averaged: those of the most epochs, the same model options and the same data."""
    if not found:
        return []

    def kind(entry: Mapping[str, Any]) -> str:
        return json.dumps([_without(entry["recipe"], "seed"), entry["data"]], sort_keys=True)

    longest = max(found, key=lambda entry: int(entry["epochs"]))
    return [entry for entry in found if kind(entry) == kind(longest)]


def mean_and_spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean and the sample standard deviation; None for the latter with one value.

    >>> mean_and_spread([94.0, 95.0, 96.0])
    (95.0, 1.0)
    """
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None
