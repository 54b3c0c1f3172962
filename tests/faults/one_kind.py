"""Runs the parts of one kind in this process: python -m tests.faults.one_kind SETTINGS (JSON). Prints a line a part."""

from __future__ import annotations

import importlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.bench import KINDS, RIGHT, Bench, ControlFailedError, Outcome, Part, TimeOverError

_KEPT_OF_A_SORT = 3
_LEAST_SECONDS = 3.0  # a part is not begun with less


@dataclass
class Tally:
    """The counts of a part, and the first inputs of each sort of failure."""

    name: str
    folder: Path
    fails: Path
    counts: Counter[str] = field(default_factory=Counter)
    sorts: Counter[str] = field(default_factory=Counter)
    cut_off: bool = False
    slowest: float = 0.0
    most_bytes: int = 0

    def add(self, outcome: Outcome) -> None:
        """Count an outcome; keep its input where it failed."""
        self.counts[outcome.kind] += 1
        self.slowest, self.most_bytes = max(self.slowest, outcome.seconds), max(self.most_bytes, outcome.bytes)
        if outcome.kind in RIGHT:
            return
        sort = f"{outcome.kind}: {outcome.detail}".replace(f"{self.folder}/", "")
        self.sorts[sort] += 1
        if self.sorts[sort] <= _KEPT_OF_A_SORT:
            self._keep(outcome, sort)

    def _keep(self, outcome: Outcome, sort: str) -> None:
        folder = self.fails / self.name / f"{len(self.sorts):02d}-{outcome.kind}-{self.sorts[sort]}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        if outcome.file is not None and outcome.file.is_dir():
            shutil.copytree(outcome.file, folder / outcome.file.name, symlinks=True, ignore=_pipes)
        elif outcome.file is not None and outcome.file.is_file():
            shutil.copyfile(outcome.file, folder / outcome.file.name)
        said = f"{outcome.how}\n{sort}\nexit {outcome.code}, {outcome.seconds:.1f} s\n\n{outcome.text[-4000:]}\n"
        (folder / "HOW.txt").write_text(said, encoding="utf-8", errors="backslashreplace")

    def to_json(self) -> dict[str, Any]:
        """Return the figures of the part."""
        return {
            "part": self.name,
            "tried": self.counts.total(),
            **{kind: self.counts[kind] for kind in KINDS},
            "cut_off": self.cut_off,
            "slowest_seconds": round(self.slowest, 1),
            "most_bytes": self.most_bytes,
            "failures": dict(self.sorts.most_common()),
        }


def _pipes(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if (Path(folder) / name).is_fifo()]


def main() -> None:
    """Run the parts, one after the other; print each one's figures as a line of JSON."""
    settings = json.loads(sys.argv[1])
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    module = importlib.import_module(f"tests.faults.{settings['kind']}")
    parts: list[Part] = [part for part in module.PARTS if part.name in settings["parts"]]
    # What a short form has no time for is another part each time.
    random.Random(f"{settings['seed']}-{settings['kind']}").shuffle(parts)
    parts.sort(key=lambda part: part.slow)
    seconds = settings["seconds"]
    until = None if seconds is None else time.monotonic() + seconds
    try:
        module.warm()
    except Exception as error:  # whatever keeps the kind from being tried is said, not counted
        _say(parts[0].name, {"not_run": f"{type(error).__name__}: {error}"})
        return
    for place, part in enumerate(parts):
        weights = sum(one.weight for one in parts[place:])
        now = time.monotonic()
        share = None if until is None else (until - now) * part.weight / weights
        if share is not None and share < _LEAST_SECONDS:
            _say(part.name, {"not_run": "no time was left"})
            continue
        _say(part.name, _tried(part, settings, None if share is None else now + share, until))


def _tried(part: Part, settings: dict[str, Any], until: float | None, hard: float | None) -> dict[str, Any]:
    """Run a part until its time is over, or it has its count, and return its figures.

    A try that was begun may take the time of later parts, but not more than that of the kind (`hard`).
    """
    bench = Bench(
        folder=Path(settings["folder"]), seed=settings["seed"], name=part.name, run=Path(settings["run"]), until=hard
    )
    tally = Tally(part.name, bench.folder, Path(settings["fails"]))
    try:
        for outcome in part.tries(bench):
            tally.add(outcome)
            if tally.counts.total() >= part.count or (until is not None and time.monotonic() > until):
                break
    except (TimeOverError, subprocess.TimeoutExpired):
        tally.cut_off = True
    except ControlFailedError as error:
        tally.sorts[f"undamaged input was not accepted: {error}".replace(f"{bench.folder}/", "")[:700]] += 1
    shutil.rmtree(bench.folder, ignore_errors=True)
    return tally.to_json()


def _say(name: str, value: dict[str, Any]) -> None:
    print(json.dumps({"part": name, **value}), flush=True)


if __name__ == "__main__":
    main()
