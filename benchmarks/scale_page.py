"""The figures of docs/scale.md: tables and the picture, from the recorded results."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from tabulate import tabulate

from benchmarks.recorded import names, provenance, result
from edgefm.report.drawing import style

NAME, KILLS = "search_scale", "cluster_kills"
PAGE = Path(__file__).parent.parent / "docs" / "scale.md"
PICTURE = PAGE.parent / "images" / "search-scale.png"
_AHEAD = 2
_SIMULATED = ["workers", "time", "workers x time", "workers busy", "driver busy", "busy, free driver"]


def block() -> str:
    """Return what stands between the marks of the page."""
    return "\n\n".join([_scale(), _kills()])


def _scale() -> str:
    if NAME not in names():
        return f"Not recorded yet: `python -m benchmarks.{NAME} --search FOLDER`."
    value = result(NAME)
    times, driver = value["trial_seconds"], value["driver"]
    measured = [
        [
            row["workers"],
            f"{row['seconds']:.1f} s",
            f"{row['trial_seconds'] / row['seconds']:.2f}",
            f"{100 * row['trial_seconds'] / row['workers'] / row['seconds']:.0f} %",
            f"{check:.2f}",
        ]
        for row, check in zip(value["measured"], value["checked"], strict=True)
    ]
    simulated = [
        [
            row["workers"],
            f"{row['hours']:.2f} h",
            f"{row['workers'] * row['hours']:.1f} h",
            f"{100 * row['busy']:.0f} %",
            f"{100 * row['driver_busy']:.0f} %",
            f"{100 * row['busy_with_a_free_driver']:.0f} %",
        ]
        for row in value["simulated"]
        if row["ahead"] == _AHEAD
    ]
    costs = ", ".join(
        f"{1000 * choose:.0f} ms after {size:,} trials"
        for size, choose in zip(driver["trials"], driver["choose"], strict=True)
    )
    return (
        f"### Measured, 1 to {value['measured'][-1]['workers']} nodes\n\n"
        f"{_table(measured, ['nodes', 'time', 'trials at a time', 'busy', 'simulated / measured'])}\n\n"
        f"{value['measured'][0]['trials']} trials, the same for each row, on that many Ray nodes of one core of one "
        f"machine. A trial sleeps for the recorded time of a real one, divided by {value['shortened']:.0f}: two cores "
        f"would not train four at a time. Recorded times: n = {len(times)}, {min(times):.0f} to {max(times):.0f} s, "
        f"mean {statistics.mean(times):.0f} s. {provenance(value)}\n\n"
        f"### Simulated, 1 to {value['simulated'][-1]['workers']:,} workers\n\n"
        f"{_table(simulated, _SIMULATED)}\n\n"
        f"One search of 1,000 trials. The driver's own work was measured: to choose a trial takes it {costs}. "
        "*Busy, free driver*: the same if it took none.\n\n"
        "![Time of a search against its workers](images/search-scale.png)"
    )


def _kills() -> str:
    if KILLS not in names():
        return f"Kills are not recorded yet: `python -m benchmarks.{KILLS}`."
    value = result(KILLS)
    kinds = ", ".join(f"{count} of a {kind}" for kind, count in value["kills"].items())
    return (
        f"### Kills\n\n{sum(value['kills'].values())} kills in {value['seconds'] / 60:.0f} minutes ({kinds}) of a "
        f"search of {value['trials']} trials on {value['nodes']} nodes: {value['lost']} trials lost, {value['double']} "
        f"counted twice, {value['begun_again']} begun again; its trials are "
        f"{'those' if value['same_as_undisturbed'] else '**not** those'} of an undisturbed search. {provenance(value)} "
        f"Again: `python -m benchmarks.{KILLS}`."
    )


def _table(rows: list[list[Any]], headers: list[str]) -> str:
    return str(tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True))


def picture() -> bytes:
    """Return the picture as a PNG."""
    return style.wide_png(_drawn, result(NAME))


def _drawn(value: dict[str, Any], *, width: float) -> Figure:
    figure = style.new_figure(width, 2.9)
    axes = figure.add_subplot()
    rows = [row for row in value["simulated"] if row["ahead"] == _AHEAD]
    workers = [row["workers"] for row in rows]
    axes.plot(
        workers, [rows[0]["hours"] / count for count in workers], color=style.GREY, label="all workers always busy"
    )
    free = [rows[0]["hours"] / (row["workers"] * row["busy_with_a_free_driver"]) for row in rows]
    axes.plot(workers, free, color=style.BLUE, label="a driver that takes no time")
    axes.plot(workers, [row["hours"] for row in rows], color=style.ORANGE, marker="o", markersize=4, label="simulated")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda hours, _: f"{hours:g}")
    axes.set_xticks(workers, [f"{count:,}" for count in workers])
    axes.set_xlabel("workers")
    axes.set_ylabel("hours")
    axes.set_title("1,000 trials")
    axes.grid(True)
    axes.legend(frameon=False)
    return figure
