"""What the command line draws: progress bars, tables, JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click


class Bars:
    """Draws progress as bars on standard error; plain lines where that is no terminal."""

    def __init__(self) -> None:
        self._label: str | None = None
        self._bar: Any = None

    def step(self, label: str, done: int, total: int, figures: Mapping[str, str] | None = None) -> None:
        """Draw `done` of `total` of the work called `label`."""
        from tqdm import tqdm

        if label != self._label:
            self.close()
            self._label = label
            self._bar = tqdm(
                total=total,
                desc=label,
                file=sys.stderr,
                mininterval=0.2 if sys.stderr.isatty() else 10.0,
                dynamic_ncols=True,
                bar_format="{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}]{postfix}",
            )
        self._bar.total = total
        if figures:
            self._bar.set_postfix_str(" ".join(f"{name} {value}" for name, value in figures.items()), refresh=False)
        self._bar.update(done - self._bar.n)
        if done >= total:
            self.close()

    def note(self, message: str) -> None:
        """Print a line without breaking the bar."""
        if self._bar is None:
            click.echo(message, err=True)
        else:
            self._bar.write(message, file=sys.stderr)

    def close(self) -> None:
        """End the present bar, if any."""
        if self._bar is not None:
            self._bar.close()
        self._label, self._bar = None, None


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
    """Print a value as JSON on standard output."""
    click.echo(json.dumps(value, indent=2, allow_nan=False))


def size(size_bytes: int) -> str:
    """Return a size in decimal kilobytes, the unit of all edgefm figures.

    >>> size(447_000)
    '447.0 KB'
    """
    return f"{size_bytes / 1000:,.1f} KB"
