"""Lines of the history from results that were committed before there was one.

Every commit that changed benchmarks/results/*.json holds a result with its date and environment; each becomes the line
that it would have got when it was measured. Run: python -m benchmarks.over_time --backfill, in a full clone.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import recorded

ROOT = Path(__file__).parent.parent
_FOLDER = "benchmarks/results"


def committed() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (name, result) of each committed version of a recorded result, the oldest first."""
    for commit in _git("log", "--reverse", "--format=%H", "--", _FOLDER).split():
        for path in _git("show", "--format=", "--name-only", "--diff-filter=AM", commit, "--", _FOLDER).split():
            name = Path(path)
            if name.parent.as_posix() == _FOLDER and name.suffix == ".json":
                yield name.stem, json.loads(_git("show", f"{commit}:{path}"))


def backfill() -> int:
    """Add a line for each committed version of a result and return how many were new."""
    return recorded.add([recorded.line(name, value) for name, value in committed()])


def catch_up() -> int:
    """Add a line for each newest result that has none, such as one that was written by another way."""
    found = [(name, recorded.result(name)) for name in recorded.names()]
    return recorded.add([recorded.line(name, value) for name, value in found if "environment" in value])


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout
