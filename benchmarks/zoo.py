"""Trains documented systems as their documents say, and records what came out for docs/zoo.md.

Run: python -m benchmarks.zoo [ID ...] [--seeds 3] [--out FOLDER], then python -m benchmarks.figures. A stopped series
goes on, and the record is of all that the folder holds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import edgefm
from benchmarks.recorded import write_result
from edgefm.core import artefacts

NAME = "zoo"


def main() -> None:
    """Train what is not trained yet and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("systems", nargs="*", metavar="ID")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/zoo"))
    given = parser.parse_args()
    result = edgefm.reproduce(given.systems or None, seeds=given.seeds, out=given.out, progress=True)
    record = artefacts.finite(result.to_json())
    write_result(
        NAME,
        what="documented systems and experiments trained as their documents say",
        command="python -m benchmarks.zoo",
        figures=record,
    )


if __name__ == "__main__":
    main()
