"""How fast training is, beside its targets and what the device can do at most: a section of docs/figures.md."""

from __future__ import annotations

import statistics
from typing import Any

from tabulate import tabulate

from benchmarks import recorded

SPEED, RATIO = "training_speed", 2.5
# Images a second of two cores with AVX-512 BF16 (Zen 4), which no other processor is held to: the target, the moonshot.
TWO_CORES = (5_000, 7_000)
# Of one H200; none of them was measured by edgefm.
_H200 = (
    ("images a second", ">= 400,000"),
    ("100 epochs of `paper`", "<= 20 s"),
    ("validation 93.3 %, after compilation", "<= 4 s"),
)
_HEADERS = ("figure", "target", "measured", "")


def section() -> str:
    """Return the section in Markdown: all targets, measured or not."""
    value = recorded.result(SPEED)
    mark = " *" if recorded.disturbed(value) else ""
    rows = [(what, wanted, f"{told}{mark}", held) for what, wanted, told, held in _rows(value)]
    rows += [(f"one H200: {what}", wanted, "not measured", "") for what, wanted in _H200]
    peaks = ", ".join(f"{name} {peak:,.0f}" for name, peak in value["peak_gflops"].items())
    return (
        f"## Training\n\n{tabulate(rows, headers=_HEADERS, tablefmt='github', disable_numparse=True)}\n\n"
        f"Enhanced CNN, batch {value['batch']}, on {value['device']['name']}, {value['backend']}; what one large "
        f"matrix product reached there, in GFLOP/s: {peaks}. {recorded.provenance(value)} Again: `{value['command']}`."
    )


def _rows(value: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    speeds = {name: statistics.median(values) for name, values in value["images_per_second"].items()}
    fastest, ratio = speeds[value["best"]], value["ratio"]["p50"]
    against = f"{value['best']} / a plain Keras fit, images a second"
    rows = [(against, f">= {RATIO} x", f"{ratio:.2f} x", _held(ratio, RATIO))]
    machine = value["environment"]
    if machine["cores"] == 2 and any("bf16" in feature for feature in machine["cpu_features"]):
        for name, wanted in zip(("target", "moonshot"), TWO_CORES, strict=True):
            what = f"two cores, images a second ({name})"
            rows.append((what, f">= {wanted:,}", f"{fastest:,.0f}", _held(fastest, wanted)))
    return rows


def _held(measured: float, wanted: float) -> str:
    return "reached" if measured >= wanted else "**missed**"
