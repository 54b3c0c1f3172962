"""Writes docs/reliability.md from the recorded figures of the fault programs (`python -m tests.faults --record`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmarks.recorded import provenance, result
from edgefm.statistics.estimates import proportion

PAGE = Path(__file__).parent.parent / "docs" / "reliability.md"
NAME = "faults"
KINDS = {
    "documents": "damaged recipes, records, contracts, budgets, specs, runs",
    "data": "damaged `.npz`, IDX and picture files, bombs",
    "models": "damaged `.tflite`, `.keras`, `.h5` files",
    "kills": "commands stopped by SIGKILL, SIGTERM, Ctrl-C",
    "disks": "full and read-only disks",
    "attacks": "runs, models, archives, names and folders of strangers",
    "text": "hostile names in pages, tables and the terminal",
}
_COLUMNS = ("clean", "accepted", "traceback", "hang", "crash", "memory", "broken")


def page() -> str:
    """Return docs/reliability.md."""
    value = result(NAME)
    parts = [part for run in value["runs"] for part in run["parts"]]
    tried, failed = (sum(part.get(name, 0) for part in parts for name in names) for names in (("tried",), _COLUMNS[2:]))
    return (
        "# Reliability\n\n"
        "Files, runs and names of strangers are tried against edgefm by programs that break them on purpose: "
        "`tests/faults/`. This page is written by `make figures` from what they found, in "
        "`benchmarks/results/faults.json`.\n\n"
        f"Recorded: n = {tried:,} tries, {failed:,} of them failed. Recorded in {len(value['runs'])} "
        f"{'sitting' if len(value['runs']) == 1 else 'sittings'}, each with a seed of its own:\n\n"
        f"{_sittings(value)}\n\n"
        f"{_table(parts)}\n\n"
        "*clean*: refused with one message and exit code 2. *accepted*: it ran to its end; where a checksum is known, "
        "what was accepted is what the checksum says. All others are failures. *memory*: more than 2 GiB. *broken*: "
        "another promise, for instance a file that is half written, a process that is left, code that ran, text that "
        "was not escaped. *failures at most*: the 95 % upper end for tries like these, from n.\n\n"
        f"## Failures\n\n{_failures(parts)}\n\n"
        f"## What the long form has not been run for\n\n{_missing(parts, value['wanted'])}\n\n"
        "## Again\n\n"
        "```bash\n"
        "make faults  # a new seed, five minutes on two cores\n"
        "python -m tests.faults --seed SEED NAME …  # the inputs of this page\n"
        "python -m tests.faults --long --record [NAME …]  # all counts, of all for hours; then make figures\n"
        "```\n\n"
        "A failing input is kept with the command that shows it. What is promised, and what is not, says "
        "`SECURITY.md`.\n"
    )


def _sittings(value: Mapping[str, Any]) -> str:
    """Return when, for how long and on what each was; a kind all of whose parts were tried then is named as a whole."""
    kinds: dict[str, list[str]] = {}
    for name, wanted in value["wanted"].items():
        kinds.setdefault(wanted["kind"], []).append(name)
    lines = []
    for run in value["runs"]:
        tried = [part["part"] for part in run["parts"]]
        whole = [kind for kind, names in kinds.items() if set(names) <= set(tried)]
        names = whole + [name for name in tried if value["wanted"].get(name, {}).get("kind") not in whole]
        lines.append(
            f"- {', '.join(names)}: {run['form']} form, seed {run['seed']}, {run['minutes']:.0f} minutes, "
            f"{run['lanes']} at once. {provenance(run)}"
        )
    return "\n".join(lines)


def _table(parts: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for kind, what in KINDS.items():
        mine = [part for part in parts if part["kind"] == kind]
        counts = [sum(part.get(name, 0) for part in mine) for name in ("tried", *_COLUMNS)]
        tried, failed = counts[0], sum(counts[3:])
        most = f"{100 * proportion(failed, tried).high:.2g} %" if tried else "not tried"
        rows.append((what, *(f"{count:,}" for count in counts), most))
    headers = ("what is tried", "n", *_COLUMNS, "failures at most")
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)


def _failures(parts: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        f"- {count:,} x {part['part']}: `{' '.join(sort.replace('`', chr(39)).replace('|', '/').split())[:200]}`"
        for part in parts
        for sort, count in part.get("failures", {}).items()
    ]
    return "\n".join(lines) or "None."


def _missing(parts: Sequence[Mapping[str, Any]], all_wanted: Mapping[str, Any]) -> str:
    tried = {part["part"]: part for part in parts}
    lines = []
    for name, wanted in all_wanted.items():
        part = tried.get(name, {})
        if part.get("tried", 0) < wanted["tries"]:
            reason = f" ({part['not_run']})" if "not_run" in part else ""
            lines.append((wanted["kind"], name, f"{part.get('tried', 0):,}{reason}", f"{wanted['tries']:,}"))
    if not lines:
        return "Nothing: every part has all its tries."
    table = tabulate(lines, headers=("kind", "part", "tried", "long form"), tablefmt="github", disable_numparse=True)
    return f"These parts have fewer tries than the long form asks for:\n\n{table}"
