"""What the sections of a reproduction's page have in common: tables, commands, ratios of latency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgefm.core.text import command

NOT_YET = "not yet recorded"
# Behind a ratio that was measured on the other kind of processors than most.
OTHER_PROCESSOR = "†"


def how(*words: str) -> str:
    """Return the command that reproduces, with these words behind it, as code."""
    return f"`{command('edgefm', 'zoo', 'reproduce', *words)}`"


def ratio(latency: Mapping[str, Any] | None, name: str) -> str:
    """Return p50 of a file over that of the reference, with its interval; marked where other processors gave it."""
    if not latency:
        return "-"
    if name == latency["reference"]:
        return "1 (reference)"
    apart = latency.get("apart")
    if name not in latency["models"] and apart and name in apart["models"]:
        return f"{ratio(apart, name)} {OTHER_PROCESSOR}"
    found = latency["models"].get(name, {}).get("ratio")
    return f"{found['value']:.2f} ({found['low']:.2f} to {found['high']:.2f})" if found else "-"


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    from tabulate import tabulate

    return str(tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True))
