"""Shows a search while it runs: a bar with lines below it, and the page live.html in its folder."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgefm.core import artefacts
from edgefm.core.errors import EdgefmError
from edgefm.core.progress import SILENT, Progress, overview
from edgefm.searching.live import page
from edgefm.searching.live.state import Best, Searched, State, state_of
from edgefm.searching.trials import Trial

LIVE_FILE = "live.html"
_LABEL, _LABEL_OF_TIME = "search", "search, seconds"
# The page is written when something changes, at most so often; and where nothing does, at least so often.
_LEAST_SECONDS, _MOST_SECONDS = 2.0, 60.0
# Between two pages passes so many times the seconds that one takes: the rest is for the search, which shares the core.
# The first page takes seconds, since it imports what draws: no pause is longer than a reader's page waits.
_PAUSE, _MOST_PAUSE_SECONDS = 20, 20.0
# Budgets that have a line of their own below the bar.
_MOST_LINES = 8


class Live:
    """What people see of a search. A context manager: a search that ends within it by an error was stopped.

    The page is drawn in a thread of its own from states that do not change: drawing takes longer than what else is done
    between two trials. Its last state is written at the end, when the thread has ended.
    """

    def __init__(self, folder: Path, searched: Searched, *, progress: Progress = SILENT) -> None:
        """Take the search's folder, in which the page is written, and what is searched."""
        self.path = folder / LIVE_FILE
        self._searched, self._progress = searched, progress
        self._state, self._phase = state_of(searched, (), elapsed=0.0), page.TRIALS
        self._result: Mapping[str, Any] | None = None
        self._picture: tuple[tuple[int, ...], tuple[str, str] | None] = ((), None)
        self._lock, self._failed = threading.Lock(), False
        self._changed, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._draw, daemon=True)

    def __enter__(self) -> Live:
        for left in artefacts.unfinished(self.path.parent, self.path.name):  # of a killed process
            left.unlink(missing_ok=True)
        self._progress.note(f"how the search stands: {self.path}")
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._ended.set()
        self._changed.set()
        self._thread.join()
        overview(self._progress, ())
        if kind is not None:
            self._phase = page.STOPPED
        self._write()

    def trials(self, trials: Sequence[Trial], elapsed: float, *, slots: int | None = None) -> None:
        """Show the trials; see `edgefm.searching.driver.Watch`.

        Args:
          trials: begun and ended.
          elapsed: seconds that the search has taken.
          slots: trials at a time, now; None leaves them as they were.
        """
        if slots is not None:  # a cluster that has no node now may have one soon
            self._searched = replace(self._searched, slots=max(1, slots))
        state = self._state = state_of(self._searched, trials, elapsed=elapsed)
        figures = {"front": str(len(state.front))}
        limit = self._searched.limits.seconds
        if limit is None:
            self._progress.step(_LABEL, state.counts["ended"], max(self._searched.most, len(trials)), figures)
        else:  # how many trials that is nobody knows
            figures = {"trials": str(state.counts["ended"]), **figures}
            self._progress.step(_LABEL_OF_TIME, min(math.ceil(elapsed), math.ceil(limit)), math.ceil(limit), figures)
        overview(self._progress, lines(state, self.path))
        self._changed.set()

    def finalists(self) -> None:
        """Show that the trials have ended and finalists are trained; from here on nothing is drawn in the thread."""
        overview(self._progress, ())
        self._phase = page.FINALISTS
        self._write()

    def ended(self, result: Mapping[str, Any]) -> None:
        """Take the result, see `edgefm.searching.result.document`; it is on the page from the end of the block on."""
        self._result, self._phase = result, page.ENDED

    def _draw(self) -> None:
        """Write the page when something changes, and where nothing does as a sign that the search still runs."""
        pause = 0.0
        while not self._ended.wait(pause):
            self._changed.wait(_MOST_SECONDS)
            if self._ended.is_set():
                return
            started = time.monotonic()
            self._write()
            pause = max(_LEAST_SECONDS, min(_PAUSE * (time.monotonic() - started), _MOST_PAUSE_SECONDS))

    def _write(self) -> None:
        """Write the page as the search stands now; what goes wrong, as a full disk, is noted once and stops nothing."""
        with self._lock:
            self._changed.clear()  # what changes from here on is on the next page
            state, phase, result = self._state, self._phase, self._result
            try:
                text = page.html(
                    state,
                    phase=phase,
                    written=datetime.now(UTC).astimezone(),
                    seconds=_MOST_SECONDS,
                    svg=self._svg(state),
                    result=result,
                )
                artefacts.write_text(self.path, text)
            except Exception as error:  # of whatever kind: a search of hours is worth more than its picture
                if not self._failed:
                    self._failed = True
                    said = (
                        str(error) if isinstance(error, (OSError, EdgefmError)) else f"{type(error).__name__}: {error}"
                    )
                    self._progress.note(f"{self.path} cannot be written, and the search goes on: {said}")

    def _svg(self, state: State) -> tuple[str, str] | None:
        """Return the picture, drawn anew where trials have joined it."""
        shown = tuple(trial.index for trial in (*state.front, *state.others))
        if shown != self._picture[0]:
            self._picture = (shown, page.svgs_of(state))
        return self._picture[1]


def lines(state: State, path: Path) -> list[str]:
    """Return how a search stands in lines for a terminal: trials, budgets, time."""
    counts = state.counts
    running = ", ".join(str(trial.index) for trial in state.running)
    said = [
        f"{counts['ended']} of {state.searched.most} trials ended, {counts['stopped early']} of them stopped early, "
        f"{counts['failed']} failed{f'; {running} running' if running else ''}; {len(state.front)} on the front"
    ]
    said += [_line(state, best) for best in state.best[:_MOST_LINES]]
    if len(state.best) > _MOST_LINES:
        said.append(f"and {len(state.best) - _MOST_LINES} budgets more, see {path}")
    return [*said, f"left: {state.left.words}"]


def _line(state: State, best: Best) -> str:
    """Return how a budget stands."""
    if best.trial is None:
        return f"{best.budget}: {best.state}; no trial has gone through all stages"
    figures = ", ".join(f"{title} {value}" for title, value in state.figures(best.figures).items())
    missed = f"; {'; '.join(best.missed)}" if best.missed else ""
    return f"{best.budget}: {best.state}, trial {best.trial}: {figures}{missed}"
