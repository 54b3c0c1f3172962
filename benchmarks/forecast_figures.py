"""What forecasts are worth: a section of docs/figures.md."""

from __future__ import annotations

from typing import Any

from tabulate import tabulate

from benchmarks import cost_model, forecast_outcomes, recorded


def section() -> str:
    """Return the section in Markdown: all targets, recorded or not."""
    names = (cost_model.NAME, forecast_outcomes.NAME)
    lacking = [f"`python -m benchmarks.{name}`" for name in names if name not in recorded.names()]
    if lacking:
        return f"## Forecasts\n\nNot recorded yet: {', '.join(lacking)}."
    times, outcomes = (recorded.result(name) for name in names)
    mark = " *" if recorded.disturbed(times) else ""
    rows = [
        (what, target, told, "" if held is None else "reached" if held else "**missed**")
        for what, target, told, held in (*_times(times, mark), *_outcomes(outcomes))
    ]
    headers = ("figure", "target", "measured", "")
    built = times["built"]
    return (
        f"## Forecasts\n\n{tabulate(rows, headers=headers, tablefmt='github', disable_numparse=True)}\n\n"
        f"Times: {times['files']} files of 30 networks that the cost model of {built['operators']:,} operators never "
        f"saw, in float32 (median error {_percent(times['by_dtype']['float32'])}) and int8 "
        f"({_percent(times['by_dtype']['int8_w8a8'])}); {recorded.provenance(times)} Losses: {outcomes['models']} "
        f"networks of the zoo on {outcomes['train']:,} pictures of Fashion-MNIST, each forecast from the others. "
        f"Again: {', '.join(f'`python -m benchmarks.{name}`' for name in names)}. `*`: the machine was disturbed."
    )


def _times(value: dict[str, Any], mark: str) -> list[tuple[str, str, str, bool | None]]:
    median, p90, inside, seconds = (value[name] for name in ("median", "p90", "inside", "seconds"))
    return [
        (
            "cost model, median error of p50",
            f"<= {_percent(cost_model.MEDIAN)}",
            f"{_percent(median)}{mark}",
            median <= cost_model.MEDIAN,
        ),
        (
            "cost model, error that nine in ten files do not exceed",
            f"<= {_percent(cost_model.P90)}",
            f"{_percent(p90)}{mark}",
            p90 <= cost_model.P90,
        ),
        ("cost model, greatest error", "-", f"{_percent(value['greatest'])}{mark}", None),
        ("p50 within its 90 % interval", ">= 90 %", f"{_percent(inside)}{mark}", inside >= 0.9),
        ("cost model, built", "<= 3 min", f"{seconds:.0f} s", seconds <= 180),
    ]


def _outcomes(value: dict[str, Any]) -> list[tuple[str, str, str, bool | None]]:
    exact, files, download, loss = (value[name] for name in ("exact_bytes", "files", "download", "loss"))
    return [
        ("file size forecast before training", "exact", f"{exact} of {files} files", exact == files),
        (
            "download, median error",
            "-",
            f"{_percent(download['median'])}; {_percent(download['inside'])} within the interval",
            None,
        ),
        (
            "loss of accuracy, median error",
            "-",
            f"{loss['median']:.2f} points; {_percent(loss['inside'])} within the interval",
            None,
        ),
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
