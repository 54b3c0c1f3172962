"""What the command line draws: tables, JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

from edgefm.core import artefacts
from edgefm.core.progress import Bars as Bars


def table(
    rows: Sequence[Sequence[Any]],
    *,
    headers: Sequence[str],
    right: Sequence[str] = (),
    widths: Sequence[int | None] | None = None,
) -> None:
    """Print a table on standard output, the columns named in `right` aligned to the right, `widths` at most wide."""
    from tabulate import tabulate

    align = ["right" if header in right else "left" for header in headers] if rows else None
    limits = list(widths) if widths is not None else None
    click.echo(
        tabulate(rows, headers=headers, tablefmt="simple", disable_numparse=True, colalign=align, maxcolwidths=limits)
    )


def as_json(value: Any) -> None:
    """Print a value as JSON on standard output; a number that is NaN or infinite is null there."""
    click.echo(json.dumps(artefacts.finite(value), indent=2, allow_nan=False))


def size(size_bytes: int) -> str:
    """Return a size in decimal kilobytes, the unit of all edgefm figures.

    >>> size(447_000)
    '447.0 KB'
    """
    return f"{size_bytes / 1000:,.1f} KB"
