"""The program `edgefm`: starts the command line, and ends quietly where Ctrl-C comes while that is still imported."""

from __future__ import annotations

import sys


def main() -> None:
    """Import the command line and run it."""
    try:
        from edgefm.cli.main import main as run

        run()
    except KeyboardInterrupt:  # before the command line listens
        from edgefm.cli import render

        render.complain("stopped by the user", label="error: ")
        sys.exit(130)
