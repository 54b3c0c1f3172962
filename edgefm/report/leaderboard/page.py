"""The leaderboard as an HTML page and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup
from tabulate import tabulate

from edgefm.core.text import markdown as escaped
from edgefm.core.text import visible_page
from edgefm.report.content import wording
from edgefm.report.leaderboard.entries import Entry, Leaderboard, ModelBoard
from edgefm.report.leaderboard.picture import file_name
from edgefm.report.pages.page import css, policy, template_environment

TITLE = "The same models on every runtime and target"
HEADS = ("runtime", "where", "figure is", "one inference", "accuracy", "instructions", "cold start", "memory")
HOW_TO_READ = (
    "Each row is one file, run by one runtime in one place. The third column says what its figures are: measured "
    "ones were timed on the device itself; simulated ones were counted in an emulator, which knows what is executed "
    "but not how long it takes; estimated ones were computed by a vendor's model of the chip, without the chip.",
    "One inference is the median time of a single picture, with its 95 % interval over fresh processes. Instructions "
    "are not time: compare them only within one processor. Cold start is the time from the start of a process to its "
    "first answer. Memory is the peak above the runtime with no model; where a runtime or target reports the size of "
    "its tensor arena, that is shown instead.",
    "Rows of one page come from several runs: within one run models are timed in turns, between runs the machine may "
    "have changed. Ignore differences of a few percent between rows.",
)


def html(board: Leaderboard, pictures: Mapping[str, tuple[str, str]]) -> str:
    """Return the page; `pictures`: of a model by its file's sha256, the wide and the narrow SVG."""
    context: dict[str, Any] = {
        # The style sheet and the SVG are edgefm's own; texts inside the SVG were escaped when it was drawn.
        "css": Markup(css()),
        "policy": policy(*(wide for wide, _ in pictures.values())),
        "title": TITLE,
        "headline": headline(board),
        "how_to_read": HOW_TO_READ,
        "basis": basis(board),
        "heads": HEADS,
        "models": [
            {
                "board": model,
                "rows": [(entry, cells(entry)) for entry in model.entries if entry.reason is None],
                "not_run": not_run(model),
                "svg": [Markup(svg) for svg in pictures.get(model.sha256, ())],
            }
            for model in board.models
        ],
    }
    return visible_page(template_environment().get_template("leaderboard.html.j2").render(context).lstrip())


def markdown(board: Leaderboard) -> str:
    """Return the page as Markdown; its pictures lie beside it."""
    parts = [f"# {TITLE}", *map(escaped, (headline(board), *HOW_TO_READ, basis(board)))]
    for model in board.models:
        parts.append(f"## {escaped(model.name)}, {wording.size(model.size_bytes)}")
        if model.timed:
            parts.append(f"![time of one inference on each runtime and target]({file_name(model)})")
        rows = [list(map(escaped, cells(entry))) for entry in model.entries if entry.reason is None]
        parts.append(tabulate(rows, headers=HEADS, tablefmt="github", disable_numparse=True))
        parts += [f"- {escaped(name)}: {escaped(reason)}" for name, reason in not_run(model)]
    return "\n\n".join(parts) + "\n"


def headline(board: Leaderboard) -> str:
    """Return what the page finds, in a sentence or two."""
    parts = []
    for model in board.models:
        measured = [entry for entry in model.timed if entry.mode == "measured"]
        if not measured:
            continue
        best, worst = measured[0], measured[-1]
        assert best.p50 is not None and worst.p50 is not None
        unit = wording.time_unit([best.p50.value])
        text = f"{model.name} runs fastest with {_place(best)}, {unit.text(best.p50.value)} {unit.name} an inference"
        if len(measured) > 1:
            factor = worst.p50.value / best.p50.value
            text += f"; {_place(worst)} takes {wording.number(factor, 1 if factor < 10 else 0)} times as long"
        parts.append(f"{text}.")
    return " ".join(parts) or "Nothing was timed yet."


def basis(board: Leaderboard) -> str:
    """Return what the figures were measured on."""
    hardware = sorted({entry.hardware for model in board.models for entry in model.entries if entry.mode == "measured"})
    versions = sorted(
        {
            f"{entry.runtime.partition(':')[0]} {entry.version}"
            for model in board.models
            for entry in model.entries
            if entry.runtime and entry.version != "not loaded"
        }
    )
    first, last = (when[:10] for when in board.created)
    when = first if first == last else f"{first} to {last}"
    parts = [f"Measured on {', '.join(hardware)}" if hardware else "Nothing was measured on a real target", when]
    parts += [", ".join(versions)] if versions else []
    parts += [f"accuracy on {board.images:,} test images"] if board.images else []
    disturbed = sum(entry.disturbed for model in board.models for entry in model.entries)
    parts += (
        [f"{disturbed} rows were measured on a machine that other programs disturbed (marked *)"] if disturbed else []
    )
    return f"{'; '.join(parts)}."


def cells(entry: Entry) -> list[str]:
    """Return the texts of an entry's row, in the order of `HEADS`."""
    threads = f", {entry.threads} threads" if entry.threads > 1 else ""
    runtime = f"{entry.runtime}{threads}" if entry.runtime else "none: nothing is run"
    where = "this machine" if entry.target == "host" else entry.target
    return [
        runtime,
        where,
        entry.mode,
        _time(entry),
        _share(entry),
        wording.DASH if entry.instructions is None else f"{entry.instructions:,}",
        wording.DASH if entry.cold_start_ns is None else f"{wording.number(entry.cold_start_ns / 1e6, 0)} ms",
        _memory(entry),
    ]


def not_run(model: ModelBoard) -> list[tuple[str, str]]:
    """Return (runtime and place, reason) of what could not be run."""
    return [(_place(entry), entry.reason) for entry in model.entries if entry.reason is not None]


def _place(entry: Entry) -> str:
    parts = [entry.runtime, "" if entry.target == "host" else entry.target]
    return " in ".join(part for part in parts if part) or "this machine"


def _time(entry: Entry) -> str:
    if entry.p50 is None:
        return wording.DASH
    unit = wording.time_unit([entry.p50.value])
    text = f"{unit.text(entry.p50.value)} {unit.name}"
    if not entry.p50.bare:
        text += f" ({unit.text(entry.p50.low)} to {unit.text(entry.p50.high)})"
    return f"{text} *" if entry.disturbed else text


def _share(entry: Entry) -> str:
    if entry.accuracy is None:
        return wording.DASH
    share = entry.accuracy.scaled(100)
    return f"{share.value:.2f} % ({share.low:.2f} to {share.high:.2f})"


def _memory(entry: Entry) -> str:
    if entry.arena_bytes is not None:
        return f"{wording.size(entry.arena_bytes)} arena"
    # A browser's or an emulator's memory is not that of the process that drives it.
    if entry.memory_bytes is None or (entry.target != "host" and not entry.target.startswith("ssh")):
        return wording.DASH
    return f"{wording.number(entry.memory_bytes / 1e6, 1)} MB"
