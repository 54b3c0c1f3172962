"""Draws what was recorded over time: one small picture a figure, one colour and mark a machine.

Writes docs/over-time.md and docs/images/over-time.png from results/history.jsonl. Run: python -m benchmarks.over_time
[--backfill]; also a part of make figures.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from benchmarks import backfill, recorded
from benchmarks.series import Point, Series, series, target, text
from benchmarks.tracked import Tracked
from edgefm.core import artefacts

DOCS = Path(__file__).parent.parent / "docs"
PAGE, PICTURE = DOCS / "over-time.md", DOCS / "images" / "over-time.png"


def main() -> None:
    """Complete the history, then write the page and its picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backfill", action="store_true", help="first take older results from the commits")
    if parser.parse_args().backfill:
        print(f"{backfill.backfill()} lines from the commits")
    write()


def write() -> None:
    """Write the page and its picture from the history and the newest results."""
    from benchmarks.over_time_picture import picture

    backfill.catch_up()
    found = series(recorded.history())
    artefacts.write_bytes(PICTURE, picture(found))
    artefacts.write_text(PAGE, page(found))


def page(found: Sequence[Series]) -> str:
    """Return docs/over-time.md."""
    rows = [row for one in found for row in _rows(one)]
    headers = ("figure", "machine", "recorded", "newest", "the one before", "change", "target")
    return (
        "# Over time\n\n"
        "What was recorded of the toolkit's own speed and of the shipped models, each time that it was. Written by "
        "`make figures` from `benchmarks/results/history.jsonl`; targets and details are in [figures](figures.md), how "
        "to measure again in `benchmarks/README.md`.\n\n"
        "![Each figure over time, one colour and mark a machine](images/over-time.png)\n\n"
        "A bar is the 95 % interval, where one is known; a dashed line the target, on its good side a light band. "
        "A hollow mark was measured on a machine that other programs disturbed. Only values of one machine are joined "
        "or compared, those of a model only while its file is the same.\n\n"
        f"{tabulate(rows, headers=headers, tablefmt='github', disable_numparse=True)}\n\n"
        "Intervals in brackets. `*`: the machine was disturbed. Where the intervals of two values touch, no change is "
        "seen.\n"
    )


def _rows(one: Series) -> list[tuple[str, ...]]:
    """Return a row for each machine: its newest value beside the one before it."""
    rows: list[tuple[str, ...]] = []
    for cpu in dict.fromkeys(point.cpu for point in one.points):
        mine = [point for point in one.points if point.cpu == cpu]
        newest = mine[-1]
        earlier = [point for point in mine[:-1] if point.of == newest.of]
        before = earlier[-1] if earlier else None
        rows.append(
            (
                one.figure.title,
                cpu,
                f"{len(mine)} x",
                f"{_told(one.figure, newest)}, {newest.when:%Y-%m-%d}",
                f"{_told(one.figure, before)}, {before.when:%Y-%m-%d}" if before else "",
                _change(newest, before) if before else "",
                target(one.figure),
            )
        )
    return rows


def _told(figure: Tracked, point: Point) -> str:
    low_high = "" if point.interval is None else " ({} to {})".format(*(f"{end:.4g}" for end in point.interval))
    return f"{text(figure, point.value)}{low_high}{'' if point.quiet else ' *'}"


def _change(newest: Point, before: Point) -> str:
    """Return by how much a value changed; where both intervals are known and touch, that nothing is known."""
    if newest.interval and before.interval:
        apart = newest.interval[0] > before.interval[1] or newest.interval[1] < before.interval[0]
        if not apart:
            return "none seen"
    return f"{100 * (newest.value / before.value - 1):+.0f} %" if before.value else ""


if __name__ == "__main__":
    main()
