"""How the library tells of progress: it calls, and bars are drawn where a person looks on."""

from __future__ import annotations

import os
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
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
# Where there is no terminal an overview is written anew at most so often.
_SECONDS_BETWEEN_OVERVIEWS = 60.0
_LETTERS_WITHOUT_SIZE = 80


def overview(progress: Progress, lines: Sequence[str]) -> None:
    """Show lines below the bar until others replace them, where a receiver can (`Bars.overview`).

    Args:
      progress: receives them; one that has `step` and `note` alone does not.
      lines: short ones; none ends them.
    """
    show = getattr(progress, "overview", None)
    if callable(show):
        show(lines)


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

    def __init__(self, *, overviews: bool = True) -> None:
        """Begin without a bar; `overviews` says whether lines are shown below it, see `overview`."""
        self._overviews = overviews
        self._texts: tuple[str, ...] = ()
        self._lines: list[Any] = []
        self._told: float | None = None
        self._label: str | None = None
        self._bar: Any = None
        self._file: TextIO | None = None
        self._lock = threading.RLock()
        self._ended = threading.Event()

    def step(self, label: str, done: int, total: int, figures: Mapping[str, str] | None = None) -> None:
        """Draw `done` of `total` of the work called `label`."""
        with self._lock:
            if label != self._label:
                self._end_bar()
                self._file = _terminal()
                self._label, self._bar = label, _new_bar(label, total, self._file)
                self._draw_lines()
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
                self._end_bar()

    def note(self, message: str) -> None:
        """Print a line without breaking the bar."""
        line = visible_lines(message)
        with self._lock:
            if self._bar is None:
                print(line, file=sys.stderr, flush=True)
            else:
                self._bar.write(line, file=self._file or sys.stderr)

    def overview(self, lines: Sequence[str]) -> None:
        """Show lines below this bar and the next ones; without a terminal write them, at most once a minute."""
        with self._lock:
            if not self._overviews:
                return
            if sys.stderr.isatty():
                self._texts = tuple(map(visible, lines))
                self._draw_lines()
            elif self._told is None or time.monotonic() - self._told >= _SECONDS_BETWEEN_OVERVIEWS:
                self._told = time.monotonic()
                for line in lines:
                    self.note(line)

    def close(self) -> None:
        """End the present bar, if any, and the lines below it."""
        with self._lock:
            self._texts = ()
            self._end_bar()

    def _draw_lines(self) -> None:
        """Draw the lines below the bar anew, where there is one in a terminal."""
        while self._lines:
            self._lines.pop().close()
        if self._file is not None:
            for place, text in enumerate(self._texts, start=1):
                self._lines.append(_new_line(text, place, self._file))

    def _end_bar(self) -> None:
        """End the present bar, if any; the lines below it come back with the next one."""
        with self._lock:
            self._ended.set()
            while self._lines:
                self._lines.pop().close()
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

    return tqdm(
        total=total,
        desc=visible(label),
        file=terminal or sys.stderr,
        mininterval=0.2 if terminal or in_notebook() else 10.0,
        **_width(terminal),
        bar_format="{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}]{postfix}",
    )


def _new_line(text: str, place: int, terminal: TextIO) -> Any:
    """Return a line of text so many lines below the bar, as one of tqdm's bars that has no bar."""
    from tqdm import tqdm

    return tqdm(desc=text, file=terminal, position=place, leave=False, bar_format="{desc}{bar}", **_width(terminal))


def _width(terminal: TextIO | None) -> dict[str, Any]:
    """Return what tqdm is told of the width: a terminal that tells no size has no columns at all for it."""
    sized = terminal is None or os.get_terminal_size(terminal.fileno()).columns > 0
    return {"dynamic_ncols": sized, "ncols": None if sized else _LETTERS_WITHOUT_SIZE}


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
