"""Trains documented systems as their documents say, and records what came out for docs/zoo.md.

Run: python -m benchmarks.zoo [ID ...] [--seeds 3] [--variant NAME ...] [--out FOLDER], then python -m
benchmarks.figures. A stopped series goes on, and the record is of all that the folder holds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import edgefm
from benchmarks import zoo_page
from benchmarks.recorded import write_result
from edgefm.core import artefacts
from edgefm.jobs.reproduce import data_space

NAME = "zoo"


def main() -> None:
    """Train what is not trained yet and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("systems", nargs="*", metavar="ID")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--variant", action="append", dest="variants", metavar="NAME")
    parser.add_argument("--out", type=Path, default=Path("runs/zoo"))
    given = parser.parse_args()
    result = edgefm.reproduce(
        given.systems or None, seeds=given.seeds, variants=given.variants, out=given.out, progress=True
    )
    record = artefacts.finite(result.to_json())
    for picture in data_space.PICTURES if record["data"] else ():
        content = (result.folder / data_space.FOLDER / picture).read_bytes()
        artefacts.write_bytes(zoo_page.PAGE.parent / f"{zoo_page.PICTURES}{picture}", content)
    write_result(
        NAME,
        what="documented systems and experiments trained as their documents say",
        command="python -m benchmarks.zoo",
        figures=record,
    )


if __name__ == "__main__":
    main()
