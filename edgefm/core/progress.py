"""How the library tells of progress: it calls, and bars are drawn where a person looks on."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from edgefm.core.errors import ArgumentError


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


class Bars:
    """Draws progress as bars on standard error, in a notebook as its own; plain lines where there is no terminal."""

    def __init__(self) -> None:
        self._label: str | None = None
        self._bar: Any = None

    def step(self, label: str, done: int, total: int, figures: Mapping[str, str] | None = None) -> None:
        """Draw `done` of `total` of the work called `label`."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # in a notebook without widgets bars are text, which needs no warning
            from tqdm.auto import tqdm

        if label != self._label:
            self.close()
            self._label = label
            self._bar = tqdm(
                total=total,
                desc=label,
                file=sys.stderr,
                mininterval=0.2 if sys.stderr.isatty() or in_notebook() else 10.0,
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
            print(message, file=sys.stderr, flush=True)
        else:
            self._bar.write(message, file=sys.stderr)

    def close(self) -> None:
        """End the present bar, if any."""
        if self._bar is not None:
            self._bar.close()
        self._label, self._bar = None, None


@contextmanager
def shown(progress: Progress | bool | None) -> Iterator[Progress]:
    """Give the receiver of progress that an argument `progress` asks for; its bars are closed at the end.

    Args:
      progress: None draws bars in a terminal and in a notebook, and nothing elsewhere; True draws them always, False
        never; a receiver is taken as it is.
    Raises:
      ArgumentError: none of these.
    """
    if progress is None:
        progress = sys.stderr.isatty() or in_notebook()
    if isinstance(progress, bool):
        bars = Bars() if progress else None
        try:
            yield bars or SILENT
        finally:
            if bars is not None:
                bars.close()
    elif callable(getattr(progress, "step", None)) and callable(getattr(progress, "note", None)):
        yield progress
    else:
        raise ArgumentError(
            f"progress is {progress!r}; True, False, None or an object with the methods step and note is expected",
            hint="Leave it out for bars in a terminal and in a notebook.",
        )


def in_notebook() -> bool:
    """Return whether this is the kernel of a notebook, which shows HTML."""
    ipython: Any = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return any(kind.__name__ == "ZMQInteractiveShell" for kind in type(shell).__mro__)
