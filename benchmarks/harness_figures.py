"""What the benchmark harness must hold, each with its recorded result: a section of docs/figures.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from tabulate import tabulate

from benchmarks import models, recorded
from benchmarks.tracked import alarms_limit

NOT_YET = "not recorded yet"
FOUND_WANTED = 0.90
WRONG_VERDICTS, UNDECIDED_VERDICTS = 0.05, 0.99
SUMS_WITHIN = 0.10
AGREEMENT_SECONDS, AGREEMENT_IMAGES, AGREEMENT_CELLS = 180, 1_000, 5
INSTALL_BYTES, FIRST_FIGURE_SECONDS = 150e6, 5.0
OVERHEAD_NS = 1_000
PARENT_BYTES = 5e6
LEAST_MODELS = 40


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A target.

    Attributes:
      what: is measured.
      target: in words.
      result: name of the recorded result.
      command: that records it.
      told: what was measured in words, and whether it holds.
      timed: other load on the machine can change it.
    """

    what: str
    target: str
    result: str
    command: str
    told: Callable[[Mapping[str, Any]], tuple[str, bool]]
    timed: bool = True


def section() -> str:
    """Return the section in Markdown: all targets, recorded or not."""
    headers = ("figure", "target", "measured", "", "again")
    table = tabulate([row(one) for one in WANTED], headers=headers, tablefmt="github", disable_numparse=True)
    return (
        "## The benchmark harness\n\n"
        f"{table}\n\n"
        "`*`: the machine was disturbed while this was measured, as the result itself or its load average tells. "
        "How the figures changed: [over time](over-time.md)."
    )


def row(wanted: Wanted) -> tuple[str, str, str, str, str]:
    """Return a target's row."""
    if wanted.result not in recorded.names():
        return wanted.what, wanted.target, NOT_YET, "", f"`{wanted.command}`"
    value = recorded.result(wanted.result)
    told, held = wanted.told(value)
    mark = " *" if wanted.timed and recorded.disturbed(value) else ""
    return wanted.what, wanted.target, f"{told}{mark}", "reached" if held else "**missed**", f"`{wanted.command}`"


def _overhead(value: Mapping[str, Any]) -> tuple[str, bool]:
    found = value["overhead_ns"]
    interval = f" ({found['low'] / 1000:.3f} to {found['high'] / 1000:.3f})" if "low" in found else ""
    return f"{found['p50'] / 1000:.3f} us{interval}", found["p50"] <= OVERHEAD_NS


def _rate(value: Mapping[str, Any], kind: str) -> tuple[str, float, int]:
    found = value["rates"][kind]
    share = found["share"]
    interval = f"{100 * share['low']:.1f} to {100 * share['high']:.1f}"
    return f"{found['hits']} of {found['n']}, {100 * share['value']:.1f} % ({interval})", share["value"], found["n"]


def _alarms(value: Mapping[str, Any]) -> tuple[str, bool]:
    if value["rates"]["same"] is None:
        return NOT_YET, False
    told, share, comparisons = _rate(value, "same")
    # Fewer comparisons than the target asks for are told, not taken for it.
    return told, comparisons >= 200 and share <= alarms_limit(comparisons)


def _found(value: Mapping[str, Any]) -> tuple[str, bool]:
    if value["rates"]["slower"] is None:
        return NOT_YET, False
    told, share, _ = _rate(value, "slower")
    return told, share >= FOUND_WANTED


def _sums(value: Mapping[str, Any]) -> tuple[str, bool]:
    told = [
        f"{one['model']}, {one['runtime'].split(':')[-1]}: {100 * (one['of_whole']['value'] - 1):+.1f} %"
        f"{'' if one['method'] == 'operators' else ' (' + one['method'] + ')'}"
        for one in value["profiles"]
    ]
    held = all(one["holds"] and abs(one["of_whole"]["value"] - 1) <= SUMS_WITHIN for one in value["profiles"])
    return "; ".join(told), held


def _agreement(
    value: Mapping[str, Any], *, images: int = AGREEMENT_IMAGES, at_most: float = AGREEMENT_SECONDS
) -> tuple[str, bool]:
    enough = value["images"] >= images and len(value["cells"]) >= AGREEMENT_CELLS
    places = f"{len(value['cells'])} runtimes, kernel sets and targets"
    told = f"{value['seconds']:.0f} s, {value['images']:,} images on {places}"
    return told, enough and value["seconds"] <= at_most


def _size(value: Mapping[str, Any]) -> tuple[str, bool]:
    largest = list(value.get("parts_bytes", {}).items())[:2]
    parts = ", ".join(f"{name} {size / 1e6:.1f}" for name, size in largest)
    return f"{value['size_bytes'] / 1e6:.1f} MB{f' ({parts})' if parts else ''}", value["size_bytes"] <= INSTALL_BYTES


def _first_figure(value: Mapping[str, Any]) -> tuple[str, bool]:
    first_ever = f"the very first {value['first_ever_seconds']:.1f} s"
    return f"{value['seconds']:.1f} s ({first_ever})", value["seconds"] <= FIRST_FIGURE_SECONDS


def _parent(value: Mapping[str, Any]) -> tuple[str, bool]:
    grown = f", grown by {value['growth_bytes'] / 1e6:.2f} MB" if "growth_bytes" in value else ""
    return f"+- {value['spread_bytes'] / 1e6:.2f} MB{grown}", value["spread_bytes"] <= PARENT_BYTES


def _models(value: Mapping[str, Any]) -> tuple[str, bool]:
    rows = value["rows"].values()
    kept = sum(models.held(row) for row in rows)
    return f"{kept} of {len(rows)} models", kept == len(rows) >= LEAST_MODELS


def _verdicts(name: str, limit: Callable[[float], bool]) -> Callable[[Mapping[str, Any]], tuple[str, bool]]:
    """Return what tells a rate of the study of verdicts, and whether it is what it must be."""

    def told(value: Mapping[str, Any]) -> tuple[str, bool]:
        rate = value[name]
        interval = f"{100 * rate['low']:.1f} to {100 * rate['high']:.1f}"
        return f"{rate['count']} of {rate['of']}, {100 * rate['value']:.1f} % ({interval})", limit(rate["value"])

    return told


WANTED = (
    Wanted(
        what="what the timed loop adds to an invoke, p50",
        target="<= 1 us",
        result="harness_overhead",
        command="pytest benchmarks/test_harness_overhead.py",
        told=_overhead,
    ),
    Wanted(
        what="200 comparisons of a model with itself called different",
        target=f"<= 5 % + 2 s.e. = {100 * alarms_limit(200):.1f} %",
        result="false_alarms",
        command="python -m benchmarks.false_alarms",
        told=_alarms,
    ),
    Wanted(
        what="true slowdowns of 3 % found",
        target=">= 90 %",
        result="false_alarms",
        command="python -m benchmarks.false_alarms",
        told=_found,
    ),
    Wanted(
        what="verdicts on 500 simulated records that recommend a file which truly loses a point or more",
        target="<= 5 %",
        result="verdict_study",
        command="python -m benchmarks.verdict_study",
        told=_verdicts("wrong", lambda share: share <= WRONG_VERDICTS),
        timed=False,
    ),
    Wanted(
        what="the same where every file loses exactly a point, the hardest case",
        target="<= 5 %",
        result="verdict_study",
        command="python -m benchmarks.verdict_study",
        told=_verdicts("wrong_where_all_lose_the_margin", lambda share: share <= WRONG_VERDICTS),
        timed=False,
    ),
    Wanted(
        what='"cannot decide" where a point is less than one test sample',
        target=">= 99 %",
        result="verdict_study",
        command="python -m benchmarks.verdict_study",
        told=_verdicts("undecided_where_samples_are_too_few", lambda share: share >= UNDECIDED_VERDICTS),
        timed=False,
    ),
    Wanted(
        what="models of all kinds without a traceback, float32 as Keras, int8 as good as the stock converter's",
        target=f"all of {LEAST_MODELS} or more",
        result="models",
        command="python -m benchmarks.models",
        told=_models,
        timed=False,
    ),
    Wanted(
        what="sum of a profile's operators against the whole model",
        target="within 10 %",
        result="profile_sums",
        command="pytest benchmarks/test_profile_sums.py",
        told=_sums,
    ),
    Wanted(
        what="agreement of 1,000 images on five runtimes or targets",
        target="<= 180 s",
        result="agreement_time",
        command="pytest benchmarks/test_agreement_time.py --benchmark-enable",
        told=_agreement,
    ),
    Wanted(
        what="agreement of 50 samples of ResNet-8 on five runtimes or targets",
        target="<= 60 s",
        result="agreement_time_resnet8",
        command="pytest benchmarks/test_agreement_time.py --benchmark-enable",
        told=partial(_agreement, images=50, at_most=60),
    ),
    Wanted(
        what="base install on disk",
        target="<= 150 MB",
        result="base_install",
        command="pytest benchmarks/test_base_install.py --benchmark-enable",
        told=_size,
        timed=False,
    ),
    Wanted(
        what="base install, from the command to the first figure of a model, p50",
        target="<= 5 s",
        result="base_install",
        command="pytest benchmarks/test_base_install.py --benchmark-enable",
        told=_first_figure,
    ),
    Wanted(
        what="memory of the parent process over 200 models",
        target="+- 5 MB",
        result="parent_memory",
        command="pytest benchmarks/test_parent_memory.py --benchmark-enable",
        told=_parent,
        timed=False,
    ),
)
