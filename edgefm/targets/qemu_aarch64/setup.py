"""The command `python -m edgefm.targets.qemu_aarch64 setup`: make the arm64 root, say what is done, time and size."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path

import click

from edgefm.core.errors import EdgefmError
from edgefm.core.text import visible, visible_lines
from edgefm.targets.qemu_aarch64 import program, root


class _Lines:
    """Progress as lines on standard error."""

    def step(self, label: str, done: int, total: int, figures: Mapping[str, str] | None = None) -> None:
        """Ignore it: the steps of this command are notes."""

    def note(self, message: str) -> None:
        """Write the line."""
        click.echo(visible_lines(message), err=True)


@click.group()
def commands() -> None:
    """The emulated 64-bit Arm cores of edgefm."""


@commands.command()
@click.option("--again", is_flag=True, help="Make it anew where it is there already.")
def setup(again: bool) -> None:
    """Make the arm64 root (Python, numpy, LiteRT): about 15 s, 50 MB from the network, 170 MB on disk.

    Nothing is installed and no root is needed. It is kept in the user's cache, or in EDGEFM_AARCH64_ROOT.
    """
    started = time.monotonic()
    ready = root.setup(qemu=str(program.find().path), again=again, progress=_Lines())
    packages = ", ".join(f"{name} {version}" for name, version in ready.manifest.packages.items())
    size = _size(ready.folder) / 1e6
    told = f"{ready.folder}: Python {ready.manifest.python}, {packages}; {size:,.0f} MB"
    click.echo(visible(f"{told} ({time.monotonic() - started:.0f} s)"))


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_symlink())


def main() -> None:
    """Run the command; exit code 2 where it failed."""
    try:
        commands(prog_name="python -m edgefm.targets.qemu_aarch64")
    except EdgefmError as error:
        click.echo(visible_lines(f"error: {error}"), err=True)
        sys.exit(2)
