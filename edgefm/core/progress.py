"""How the library tells of progress: it calls, and bars are drawn where a person looks on."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, TextIO

from edgefm.core.errors import ArgumentError
from edgefm.core.text import visible, visible_lines


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


# Between two steps the bar is drawn again: its clock moves on, and its figures are those of the step that runs now.
_SECONDS_BETWEEN_BEATS = 1.0
_LETTERS_WITHOUT_SIZE = 80


class StepsOnly:
    """Progress without its notes: what somebody tries, and how it fails, is no news."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def step(self, label: str, done: int, total: int, figures: Mapping[str, str] | None = None) -> None:
        """Report `done` of `total`."""
        self._progress.step(label, done, total, figures)

    def note(self, message: str) -> None:
        """Say nothing."""


class Bars:
    """Draws progress as bars on standard error, in a notebook as its own; plain lines where there is no terminal."""

    def __init__(self) -> None:
        self._label: str | None = None
        self._bar: Any = None
        self._file: TextIO | None = None
        self._lock = threading.RLock()
        self._ended = threading.Event()

    def step(self, label: str, done: int, total: int, figures: Mapping[str, str] | None = None) -> None:
        """Draw `done` of `total` of the work called `label`."""
        with self._lock:
            if label != self._label:
                self.close()
                self._file = _terminal()
                self._label, self._bar = label, _new_bar(label, total, self._file)
                if self._file is not None:
                    self._ended = threading.Event()
                    threading.Thread(target=self._beat, args=(self._ended,), daemon=True).start()
            self._bar.total = total
            if figures:
                text = " ".join(f"{name} {value}" for name, value in figures.items())
                self._bar.set_postfix_str(visible(text), refresh=False)
            further = done - self._bar.n
            self._bar.update(further)
            if figures and not further:
                self._bar.refresh()
            if done >= total:
                self.close()

    def note(self, message: str) -> None:
        """Print a line without breaking the bar."""
        line = visible_lines(message)
        with self._lock:
            if self._bar is None:
                print(line, file=sys.stderr, flush=True)
            else:
                self._bar.write(line, file=self._file or sys.stderr)

    def close(self) -> None:
        """End the present bar, if any."""
        with self._lock:
            self._ended.set()
            if self._bar is not None:
                self._bar.close()
            if self._file is not None:
                self._file.close()
            self._label, self._bar, self._file = None, None, None

    def _beat(self, ended: threading.Event) -> None:
        """Draw the bar again and again until it ends."""
        while not ended.wait(_SECONDS_BETWEEN_BEATS):
            with self._lock:
                if not ended.is_set():
                    self._bar.refresh()


def _terminal() -> TextIO | None:
    """Return standard error by a way of its own, open also while `edgefm.core.silence` closes it; None: no terminal."""
    if not sys.stderr.isatty():
        return None
    return os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding=sys.stderr.encoding, errors="replace")


def _new_bar(label: str, total: int, terminal: TextIO | None) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # in a notebook without widgets bars are text, which needs no warning
        from tqdm.auto import tqdm

    # A terminal that tells no size has no columns at all for tqdm.
    sized = terminal is None or os.get_terminal_size(terminal.fileno()).columns > 0
    return tqdm(
        total=total,
        desc=visible(label),
        file=terminal or sys.stderr,
        mininterval=0.2 if terminal or in_notebook() else 10.0,
        dynamic_ncols=sized,
        ncols=None if sized else _LETTERS_WITHOUT_SIZE,
        bar_format="{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}]{postfix}",
    )


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
        try:
            yield progress
        except BaseException:
            if isinstance(progress, Bars):
                progress.close()  # the error's message begins a line of its own
            raise
    else:
        raise ArgumentError(
            f"progress is {progress!r}; True, False, None or an object with the methods step and note is expected",
            hint="Leave it out for bars in a terminal and in a notebook.",
        )


@contextmanager
def stated(progress: Progress, label: str) -> Iterator[None]:
    """State that one piece of work, without parts that could be counted, begins, and that it has ended well."""
    progress.step(label, 0, 1)
    yield
    progress.step(label, 1, 1)


def in_notebook() -> bool:
    """Return whether this is the kernel of a notebook, which shows HTML."""
    ipython: Any = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return any(kind.__name__ == "ZMQInteractiveShell" for kind in type(shell).__mro__)
