"""How the library tells of progress: it calls, the command line draws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Progress(Protocol):
    """Receives progress from a long function. The library itself never prints."""

    def step(self, label: str, done: int, total: int, figures: Mapping[str, str] | None = None) -> None:
        """Take that `done` of `total` units of the work called `label` are finished.

        A new label starts a new bar; `done == total` ends it. `figures` are short texts to show beside it.
        """

    def note(self, message: str) -> None:
        """Take one line worth showing to a person."""


class Silent:
    """A progress receiver that ignores everything."""

    def step(self, label: str, done: int, total: int, figures: Mapping[str, str] | None = None) -> None:
        """Ignore it."""

    def note(self, message: str) -> None:
        """Ignore it."""


SILENT: Progress = Silent()
