"""What the command line writes: lines, tables, JSON. Nothing else writes to the terminal, see `edgefm.core.text`."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import click

from edgefm.core.text import visible, visible_lines


def colour() -> bool | None:
    """Return False where NO_COLOR forbids colour (https://no-color.org); None leaves it to the terminal."""
    return False if os.environ.get("NO_COLOR") else None


def echo(text: object = "", *, fg: str | None = None, bold: bool = False, nl: bool = True) -> None:
    """Print a line on standard output; only its colour reaches the terminal as a control."""
    click.secho(visible(text), nl=nl, color=colour(), fg=fg, bold=bold or None)


def complain(text: object, *, label: str = "") -> None:
    """Print a message, which may have several lines, on standard error, behind a label in red."""
    if label:
        click.secho(label, fg="red", bold=True, nl=False, err=True, color=colour())
    click.echo(visible_lines(text), err=True, color=colour())


class Coloured(str):
    """A cell of a table in a colour of edgefm's; its text is visible."""

    __slots__ = ()

    def __new__(cls, text: object, fg: str) -> Coloured:
        """Return the text in the colour called `fg`."""
        return super().__new__(cls, click.style(visible(text), fg=fg))


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
    cells = [[_cell(value) for value in row] for row in rows]
    heads = [visible(header) for header in headers]
    text = tabulate(cells, headers=heads, tablefmt="simple", disable_numparse=True, colalign=align, maxcolwidths=limits)
    click.echo(text, color=colour())


def as_json(value: Any) -> None:
    """Print a value as JSON on standard output; a number that is NaN or infinite is null there."""
    from edgefm.core.artefacts import finite  # not what `edgefm --help` should wait for

    json_text(json.dumps(finite(value), indent=2, allow_nan=False) + "\n")


def json_text(text: str) -> None:
    """Print a text that is JSON, its characters beyond ASCII escaped, on standard output."""
    click.echo(text, nl=False)


def size(size_bytes: int) -> str:
    """Return a size in decimal kilobytes, the unit of all edgefm figures.

    >>> size(447_000)
    '447.0 KB'
    """
    return f"{size_bytes / 1000:,.1f} KB"


def _cell(value: Any) -> Any:
    return value if value is None or isinstance(value, (Coloured, int, float)) else visible(value)
