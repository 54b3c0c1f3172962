"""The folder of a reproduction: whose settings it holds, and who works in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from edgefm.core import artefacts
from edgefm.core.documents import read_json
from edgefm.core.errors import RunError
from edgefm.core.given import links
from edgefm.jobs.reproduce.plan import PlannedTraining

SETTINGS_FILE = "reproduce.json"
RECORD_FILE = "zoo.json"
PAGE_FILE = "zoo.md"
_DIVERGED_FILE = "diverged.json"
_LOCK = ".lock"
_KIND = "zoo-reproduction"
_BEGUN = (_LOCK, f".{SETTINGS_FILE}.")


@contextmanager
def held(folder: Path, settings: Mapping[str, Any]) -> Iterator[None]:
    """Hold the folder of a reproduction for writing; a new one is made for these settings.

    Args:
      folder: that need not exist yet.
      settings: all that figures in one folder must have in common.
    Raises:
      RunError: another process holds it, it holds something else, or a reproduction with other settings.
    """
    if folder.is_file():
        raise RunError(f"{folder} is a file; a folder is expected", hint="Give a folder, or a new name.")
    folder.mkdir(parents=True, exist_ok=True)
    links.check(folder, RunError, what="folder")
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError(
            f"{folder} is in use by another reproduction",
            hint="Wait for it to end, or give another folder.",
        ) from None
    try:
        _check_settings(folder, settings)
        yield
    finally:
        lock.release()


def diverged(folder: Path, rows: Sequence[PlannedTraining]) -> dict[str, dict[int, str]]:
    """Return the messages of trainings whose loss became infinite, by key and seed: they are not tried again.

    Args:
      folder: of the reproduction.
      rows: that may be trained in it; what diverged by another recipe of the same key is left out.
    Raises:
      RunError: the file that holds them is damaged.
    """
    path = folder / _DIVERGED_FILE
    if not path.exists():
        return {}
    value = read_json(path, what="list of diverged trainings", error=RunError, hint=f"Remove {path} to try them again.")
    recipes = _recipes(rows)
    try:
        return {
            str(key): {int(seed): str(text) for seed, text in one["seeds"].items()}
            for key, one in value.items()
            if "recipe" in one and one["recipe"] == recipes.get(key)  # a list of before recipes were in it has none
        }
    except (AttributeError, KeyError, TypeError, ValueError):
        raise RunError(f"{path} is damaged", hint="Remove it to try its trainings again.") from None


def write_diverged(folder: Path, messages: Mapping[str, Mapping[int, str]], rows: Sequence[PlannedTraining]) -> None:
    """Write the messages of trainings whose loss became infinite, with the recipes of their rows."""
    recipes = _recipes(rows)
    by_text = {
        key: {"recipe": recipes[key], "seeds": {str(seed): text for seed, text in seeds.items()}}
        for key, seeds in messages.items()
    }
    artefacts.write_json(folder / _DIVERGED_FILE, by_text)


def _recipes(rows: Sequence[PlannedTraining]) -> dict[str, Any]:
    """Return the recipe of each row as JSON has it, by key."""
    return {row.key: json.loads(json.dumps(row.recipe.to_json())) for row in rows}


def _check_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    path = folder / SETTINGS_FILE
    if not path.exists():
        if any(not entry.name.startswith(_BEGUN) for entry in folder.iterdir()):
            raise RunError(
                f"{folder} is not empty, and it holds no reproduction",
                hint="Give another folder, or remove this one.",
            )
        artefacts.write_json(path, {"kind": _KIND, "schema_version": 1, "settings": dict(settings)})
        return
    value = read_json(path, what="reproduction", error=RunError, hint="Give a new folder.")
    there = value.get("settings") if isinstance(value, dict) and value.get("kind") == _KIND else None
    if not isinstance(there, dict):
        raise RunError(f"{path} is damaged: it describes no reproduction", hint="Give a new folder.")
    for name, wanted in settings.items():
        if there.get(name) != wanted:
            raise RunError(
                f"{folder} holds another reproduction: {name} is {_shown(there.get(name))} there, "
                f"{_shown(wanted)} here",
                hint="Give the same settings to go on with it, or a new folder.",
            )


def _shown(value: Any) -> str:
    return "as stated" if value is None else str(value)
