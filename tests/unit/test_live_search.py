"""What people see of a search while it runs: its page and its time left; trials are made up, nothing is trained."""

from __future__ import annotations

import errno
import functools
import html
import html.parser
import os
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from edgefm.core import artefacts
from edgefm.searching.driver import InProcess, Limits, Task, drive
from edgefm.searching.finalists import proposed
from edgefm.searching.journal import opened
from edgefm.searching.live.left import TimeLeft, seconds_to_keep, time_left
from edgefm.searching.live.state import Searched, State, state_of
from edgefm.searching.live.watch import Live, lines
from edgefm.searching.trials import Outcome, Trial
from tests.fixtures.notes import Notes
from tests.fixtures.search_driver import BUDGETS, SPACE, evaluate, identity, sampling

SEARCHED = Searched(
    model="<b>m \u00e9",
    space=SPACE,
    budgets=BUDGETS,
    impossible={},
    limits=Limits(trials=9),
    slots=1,
    seeds=2,
    validation=200,
)


def _search(folder: Path, live: Live, *, trials: int, resume: bool = False, stop_at: int | None = None) -> list[str]:
    """Search in a folder, shown by `live`; return the page as it was in the middle of each trial."""
    pages = []

    def seen(task: Task) -> Outcome:
        live._write()  # it is written every two seconds at most, and these trials take none
        pages.append(live.path.read_text())
        if task.index == stop_at:
            raise KeyboardInterrupt
        return replace(evaluate(task), seconds=60.0)

    with opened(folder, identity(), SPACE.distributions(), resume=resume) as journal, live:
        drive(journal, sampling(), InProcess(seen), Limits(trials=trials), watch=live.trials)
    return pages


def _texts(page: str) -> list[str]:
    """Return the texts of a page as a browser would show them."""

    class Parser(html.parser.HTMLParser):
        texts: list[str] = []  # noqa: RUF012  # a new class each time

        def handle_data(self, data: str) -> None:
            self.texts.append(" ".join(data.split()))

    parser = Parser()
    parser.feed(page)
    return [text for text in parser.texts if text]


def test_page_shows_the_search_while_it_runs_and_loads_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "a b \u00e9"
    page = _search(folder, Live(folder, SEARCHED), trials=9)[6]
    texts = _texts(page)
    assert "edgefm search of <b>m \u00e9" in texts and "6 of 9" in texts
    assert any(text.startswith("6 of at most 9 trials ended, ") for text in texts)
    assert any(text.startswith("trial 6: ") for text in texts), "the one that runs"
    # Of the six the trial that the phone's is, by hand: the least loss among those whose ratio is 0.3 at most.
    ended = [evaluate(Task(index=n, params=sampling().choose(n, []) or {}, known=())) for n in range(6)]
    kept = [n for n in range(6) if ended[n].complete and (ended[n].stages[-1].figures["p50_ratio"] or 0) <= 0.3]
    best = min(kept, key=lambda n: ended[n].stages[-1].figures["accuracy_loss"] or 0)
    row = page[page.index('<th scope="row">phone</th>') :].partition("</tr>")[0]
    assert '<td class="text" data-label="state">met</td>' in row and f">trial {best}: " in row
    assert '<td class="text" data-label="state">not met yet</td>' in page  # the watch's
    assert page.count("<svg") == 2 and '<meta http-equiv="refresh" content="20">' in page
    assert "default-src 'none'" in html.unescape(page)
    assert not re.search(r"""(src|href)=["'](?!#)|url\(http|@import|<script""", page.replace("url(#", ""))


def test_page_says_when_it_was_written_and_that_the_search_was_stopped(tmp_path: Path) -> None:
    live = Live(tmp_path, SEARCHED)
    with pytest.raises(KeyboardInterrupt):
        _search(tmp_path, live, trials=9, stop_at=3)
    page = live.path.read_text()
    written = re.search(r"Last written <b>(.*?) UTC([+-]\d{4})</b>", page)
    assert written is not None
    then = datetime.strptime("".join(written.groups()), "%Y-%m-%d %H:%M:%S%z")
    assert abs(then.timestamp() - live.path.stat().st_mtime) < 5
    assert "The search was stopped: 3 of at most 9 trials ended" in page and 'http-equiv="refresh"' not in page
    assert "goes on when it is resumed" in page
    left = tmp_path / ".live.html.abcd1234.partial"  # of a process that was killed while it wrote the page
    left.touch()
    again = _search(tmp_path, Live(tmp_path, SEARCHED), trials=5, resume=True)
    assert not left.exists()
    assert "3 of at most 9 trials ended" in again[0] and 'http-equiv="refresh"' in again[0]


def test_page_is_written_while_nothing_changes_so_that_a_reader_sees_that_the_search_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgefm.searching.live import watch

    monkeypatch.setattr(watch, "_LEAST_SECONDS", 0.02)
    monkeypatch.setattr(watch, "_MOST_SECONDS", 0.1)
    with Live(tmp_path, SEARCHED) as live:
        live.trials((), 0.0)
        live._write()
        first = live.path.stat().st_mtime_ns
        for _ in range(500):
            if live.path.stat().st_mtime_ns > first + 50_000_000:  # the trials' own page may come after the first
                break
            live._ended.wait(0.02)
        else:
            pytest.fail("the page was not written again")


def test_page_is_drawn_beside_the_search_and_ends_with_its_last_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long a picture takes, the trials wait for none, and the list that they are in may grow meanwhile."""
    from edgefm.searching.live import page, watch

    draw, threads, seen = page.svgs_of, set(), []

    def slowly(state: State) -> tuple[str, str] | None:
        threads.add(threading.current_thread())
        before = len(state.trials), len(state.front)
        time.sleep(0.5)
        seen.append(before == (len(state.trials), len(state.front)))
        return draw(state)

    monkeypatch.setattr(watch, "_LEAST_SECONDS", 0.0)
    monkeypatch.setattr(watch, "_PAUSE", 0)
    monkeypatch.setattr(page, "svgs_of", slowly)
    trials: list[Trial] = []
    with Live(tmp_path, SEARCHED) as live:
        started = time.monotonic()
        for trial in _trials([1.0] * 9, complete=range(9)):
            trials.append(trial)
            live.trials(trials, 1.0)
            time.sleep(0.02)
        took = time.monotonic() - started
        assert took < 3, "nine pictures take 4.5 s at least"
        assert threading.main_thread() not in threads
        for _ in range(100):
            if seen:
                break
            time.sleep(0.05)
    assert all(seen) and len(seen) >= 2
    assert "9 of at most 9 trials ended" in live.path.read_text()


def test_fault_in_the_picture_is_noted_and_stops_no_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgefm.searching.live import page

    def fail(state: State) -> None:
        raise ZeroDivisionError("no axis")

    monkeypatch.setattr(page, "svgs_of", fail)
    notes = Notes()
    with Live(tmp_path, SEARCHED, progress=notes) as live:
        live.trials(_trials([1.0], complete=[0]), 1.0)
    [note] = [note for note in notes.notes if "cannot be written" in note]
    assert note.endswith("and the search goes on: ZeroDivisionError: no axis")


def test_page_that_takes_long_is_drawn_seldom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It shares a core with the search: of two seconds in which trials end all the time it has two, not twenty."""
    from edgefm.searching.live import page, watch

    drawn: list[float] = []

    def slowly(state: State) -> None:
        drawn.append(time.monotonic())
        time.sleep(0.05)

    monkeypatch.setattr(watch, "_LEAST_SECONDS", 0.0)
    monkeypatch.setattr(page, "svgs_of", slowly)
    trials: list[Trial] = []
    with Live(tmp_path, SEARCHED) as live:
        live._write()  # the first page takes longer, since it imports what draws
        until = time.monotonic() + 2.0
        while time.monotonic() < until:
            trials.append(replace(_trials([1.0], complete=[0])[0], index=len(trials)))
            live.trials(trials, 1.0)
            time.sleep(0.02)
        within = len(drawn)
    assert 1 <= within <= 2


@pytest.mark.parametrize("how", ["full", "folder"])
def test_page_that_cannot_be_written_is_noted_once_and_stops_nothing(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "folder":
        (tmp_path / "live").mkdir()
        (tmp_path / "live" / "live.html").mkdir()
    else:
        written = artefacts.os.fsync

        def full(descriptor: int) -> None:
            if ".live.html." in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written(descriptor)

        monkeypatch.setattr(artefacts.os, "fsync", full)
    notes = Notes()
    live = Live(tmp_path / "live", SEARCHED, progress=notes)
    with opened(tmp_path / "s", identity(), SPACE.distributions(), resume=False) as journal, live:
        trials = drive(journal, sampling(), InProcess(evaluate), Limits(trials=5), watch=live.trials)
        live._write()
    assert len(trials) == 5
    [note] = [note for note in notes.notes if "cannot be written, and the search goes on" in note]
    assert {"full": "No space left on device", "folder": "directory"}[how] in note


def _trials(seconds: Sequence[float], *, complete: Sequence[int]) -> list[Trial]:
    params = sampling().choose(0, [])
    assert params is not None
    return [
        Trial(
            index=index,
            params=params,
            state="finished",
            outcome=replace(evaluate(Task(index=0, params=params, known=())), seconds=took, complete=index in complete),
        )
        for index, took in enumerate(seconds)
    ]


def test_time_left_is_that_of_trials_so_far_and_of_the_finalists() -> None:
    trials = _trials([10, 10, 40], complete=[2])

    def left(limits: Limits, of: Sequence[Trial] = trials, elapsed: float = 60.0) -> TimeLeft:
        return time_left(of, limits, BUDGETS, elapsed=elapsed, slots=2, seeds=3)

    # Both budgets have the same finalist: three seeds, two at a time, each twice as long as its trial.
    assert left(Limits(trials=13)) == TimeLeft(trials=10 * 20 / 2, finalists=2 * 2 * 40)
    assert left(Limits(trials=13, seconds=90)).trials == 30 + 20  # the last one begins just before the limit
    assert left(Limits(trials=3, seconds=90)).trials == 0
    nothing = left(Limits(trials=3), [])
    assert nothing.trials is None and nothing.finalists is None and "not known" in nothing.words

    afterwards = functools.partial(seconds_to_keep, budgets=BUDGETS, seeds=3, slots=2)
    assert afterwards(trials) == 160 + 20  # and the trial that has just begun
    limited = Limits(trials=100, seconds=400, afterwards=afterwards)
    assert limited.last_begin(trials) == 400 - 180 and left(limited).trials == 220 - 60 + 20
    assert Limits(trials=100, seconds=200, afterwards=afterwards).last_begin(trials) == 100, "half is for trials"
    assert limited.last_begin([]) == 400, "nobody knows yet how long finalists take"


def test_search_ends_its_trials_in_time_for_its_finalists(tmp_path: Path) -> None:
    now = [0.0]

    def slow(task: Task) -> Outcome:
        now[0] += 10
        return replace(evaluate(task), complete=True, seconds=10)

    afterwards = functools.partial(seconds_to_keep, budgets=BUDGETS, seeds=1, slots=1)
    limits = Limits(trials=100, seconds=200, afterwards=afterwards)
    with opened(tmp_path, identity(), SPACE.distributions(), resume=False) as journal:
        trials = drive(journal, sampling(), InProcess(slow), limits, clock=lambda: now[0])
    finalists = {proposed(trials, budget).index for budget in BUDGETS}  # type: ignore[union-attr]  # there is one
    whole = now[0] + len(finalists) * 2 * 10
    assert 190 <= whole <= 200, whole


def test_time_left_follows_the_nodes_that_there_are_now(tmp_path: Path) -> None:
    """Six further trials of 60 s: one at a time, three at a time, and with no node, as if there were one."""
    live = Live(tmp_path, SEARCHED)
    for slots, left in ((1, 360.0), (3, 120.0), (0, 360.0)):
        live.trials(_trials([60, 60, 60], complete=[0]), 180.0, slots=slots)
        assert live._state.left.trials == left


def test_bar_of_a_search_with_a_time_limit_is_that_of_the_time(tmp_path: Path) -> None:
    notes = Notes()
    live = Live(tmp_path, replace(SEARCHED, limits=Limits(trials=9000, seconds=90)), progress=notes)
    live.trials((), 30.2)
    live.trials(_trials([10], complete=[0]), 95.0)
    assert notes.steps == [("search, seconds", 31, 90), ("search, seconds", 90, 90)]


def test_lines_for_a_terminal_say_how_each_budget_stands() -> None:
    told = lines(state_of(SEARCHED, (), elapsed=0.0), Path("live.html"))
    assert told[0] == "0 of 9 trials ended, 0 of them stopped early, 0 failed; 0 on the front"
    assert told[1] == "phone: not met yet; no trial has gone through all stages"
    trials = [
        Trial(index=n, params=p, state="finished", outcome=evaluate(Task(index=n, params=p, known=())))
        for n in range(3)
        if (p := sampling().choose(n, [])) is not None
    ]
    told = lines(state_of(SEARCHED, [*trials, replace(trials[0], index=3, state="running")], elapsed=9.0), Path("x"))
    assert told[0].endswith("0 failed; 3 running; 3 on the front")
    assert re.fullmatch(
        r"watch: not met yet, trial \d: loss \(points\) .*; max_download_bytes 2\.0 KB, it has .*", told[2]
    )
    many = replace(SEARCHED, budgets=tuple(replace(BUDGETS[0], name=f"b{n}") for n in range(11)))
    assert lines(state_of(many, trials, elapsed=9.0), Path("x"))[-2] == "and 3 budgets more, see x"
