"""What bundles may cost, each with its recorded result: a section of docs/figures.md."""

from __future__ import annotations

from typing import Any

from tabulate import tabulate

from benchmarks import recorded
from benchmarks.bundles import NAME


def section() -> str:
    """Return the section in Markdown: all targets, recorded or not."""
    again = f"`python -m benchmarks.{NAME}`"
    if NAME not in recorded.names():
        return f"## Bundles\n\nNot recorded yet: {again}."
    value = recorded.result(NAME)
    mark = " *" if recorded.disturbed(value) else ""
    rows = [
        (what, target, f"{told}{mark}", "reached" if held else "**missed**")
        for what, target, told, held in _rows(value)
    ]
    headers = ("figure", "target", "measured", "")
    return (
        f"## Bundles\n\n{tabulate(rows, headers=headers, tablefmt='github', disable_numparse=True)}\n\n"
        f"Of the shipped int8 model, {recorded.provenance(value)} Again: {again}. `*`: the machine was disturbed."
    )


def _rows(value: dict[str, Any]) -> list[tuple[str, str, str, bool]]:
    written, page, arena, trace = (value[name] for name in ("written", "page", "arena", "trace"))
    seconds = sum(one["seconds"] for one in written.values())
    android = written["android"]["bytes"]
    ready, int8 = page["ready_ms"]["p50"], page["int8_ms"]["p50"]
    over = arena["stated"] / arena["smallest"] - 1
    call, rate = value["java"]["us_a_call"], value["predict"]["per_second"]
    return [
        (f"all bundles ({', '.join(written)}), written", "<= 60 s", f"{seconds:.1f} s", seconds <= 60),
        ("Android bundle with everything", "<= 1.2 MB", f"{android / 1e6:.2f} MB", android <= 1.2e6),
        ("page, one file", "<= 5 MB", f"{page['bytes'] / 1e6:.2f} MB", page["bytes"] <= 5e6),
        ("page ready in headless Chromium, p50", "<= 500 ms", f"{ready:.0f} ms", ready <= 500),
        ("int8 inference in the page, p50", "<= 0.5 ms", f"{int8:g} ms, by a clock of 0.1 ms", int8 <= 0.5),
        ("arena stated over the smallest that works", "<= 5 %", f"{100 * over:+.1f} %", -1e-9 <= over <= 0.05),
        ("Java adapter on a JVM, a call over the interpreter", "<= 50 us", f"{call:.1f} us", call <= 50),
        (
            "planted faults that trace names",
            ">= 18 of 20",
            f"{trace['named']} of {trace['planted']}",
            trace["named"] >= 0.9 * trace["planted"],
        ),
        ("predict, files of 28x28, one core", ">= 500 a second", f"{rate:,.0f} a second", rate >= 500),
    ]
