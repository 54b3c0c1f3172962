"""A trial that raises what nobody foresaw is done twice, and fails; the search goes on, and so does a resumed one."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from edgefm.core.errors import RuntimeUnavailableError
from edgefm.searching.driver import Evaluate, Executor, InProcess, Limits, Task, drive
from edgefm.searching.executors.work import answer
from edgefm.searching.finalists import trained
from edgefm.searching.journal import SearchError, opened
from edgefm.searching.trials import Outcome, Trial
from edgefm.searching.workers import Workers
from tests.fixtures.notes import Notes
from tests.fixtures.search_driver import BUDGETS, SPACE, evaluate, identity, in_folder, sampling, searched


@dataclass
class _Raising:
    """Does trials, but for some, which raise; can be handed to a worker."""

    trials_that_do: Sequence[int]
    times: int = 99
    done: list[int] = field(default_factory=list)

    def __call__(self, task: Task) -> Outcome:
        self.done.append(task.index)
        if task.index in self.trials_that_do and self.done.count(task.index) <= self.times:
            raise MemoryError("Unable to allocate\n 2.1 GiB")
        return evaluate(task)

    def trials(self, model: None, *, shelf: object) -> Evaluate:
        """Return what does a trial, see `edgefm.searching.workers`."""
        return self


def _search(folder: Path, executor: Executor, *, trials: int, resume: bool = False, notes: Any = None) -> Any:
    with opened(folder, identity(), SPACE.distributions(), resume=resume) as journal:
        return drive(journal, sampling(), executor, Limits(trials=trials), progress=notes or Notes())


def _tried(trials: Sequence[Trial]) -> Any:
    return [(trial.index, trial.params, trial.costs) for trial in trials]


def test_trial_that_raises_twice_fails_and_the_others_are_done_also_by_a_resumed_search(tmp_path: Path) -> None:
    first, second, notes = _Raising([3]), _Raising([3]), Notes()
    trials = _search(tmp_path, InProcess(first), trials=6, notes=notes)
    assert first.done == [0, 1, 2, 3, 3, 4, 5]
    assert [trial.state for trial in trials] == ["finished"] * 3 + ["failed"] + ["finished"] * 2
    assert trials[3].reason.startswith("it failed 2 times: MemoryError: Unable to allocate 2.1 GiB (test_search_unfor")
    assert [note.partition(" (")[0] for note in notes.notes] == [
        "trial 3: MemoryError: Unable to allocate 2.1 GiB",
        "trial 3: it failed 2 times: MemoryError: Unable to allocate 2.1 GiB",
    ]
    assert len(_search(tmp_path, InProcess(second), trials=8, resume=True)) == 8 and second.done == [6, 7]


def test_trial_that_raises_once_changes_nothing(tmp_path: Path) -> None:
    trials = _search(tmp_path / "a", InProcess(_Raising([3, 5], times=1)), trials=9)
    assert _tried(trials) == _tried(searched(tmp_path / "b", trials=9))


def test_trial_that_raises_in_a_worker_or_on_a_node_fails_with_the_same_words(tmp_path: Path) -> None:
    with Workers(_Raising([1]), 2) as workers:
        pids = workers.pids
        trials = _search(tmp_path, workers, trials=4)
        assert workers.pids == pids
    assert [trial.state for trial in trials] == ["finished", "failed", "finished", "finished"]
    there = answer(_Raising([1]), Task(index=1, params={})).value()
    assert isinstance(there, str) and trials[1].reason == f"it failed 2 times: {there}"


def test_attempts_are_remembered_when_the_process_ends_between_them(tmp_path: Path) -> None:
    class Stopped(_Raising):
        def __call__(self, task: Task) -> Outcome:
            if self.done.count(task.index):
                raise KeyboardInterrupt
            return super().__call__(task)

    with pytest.raises(KeyboardInterrupt):
        _search(tmp_path, InProcess(Stopped([2])), trials=4)
    again = _Raising([2])
    trials = _search(tmp_path, InProcess(again), trials=4, resume=True)
    assert again.done == [2, 3] and trials[2].reason.startswith("it failed 2 times")


def test_search_whose_trials_all_raise_the_same_ends_and_names_the_last_one(tmp_path: Path) -> None:
    """A search that is resumed gets further, whatever it meets."""
    ended: list[int] = []
    for resume in (False, True):
        raising = _Raising(range(2, 99))
        with pytest.raises(SearchError) as caught:
            _search(tmp_path, InProcess(raising), trials=50, resume=resume)
        last = raising.done[-1]
        assert f"5 trials in a row failed by the same error, at last trial {last} (channels kept" in str(caught.value)
        assert ": MemoryError: Unable to allocate 2.1 GiB (test_" in str(caught.value)
        assert f"trial {last} is done again, those before it are not" in str(caught.value)
        ended.append(sum(trial.ended for trial in in_folder(tmp_path)))
    assert ended == [6, 10]  # of the first five the last one is not over
    mended = searched(tmp_path, trials=12, resume=True)
    assert [trial.index for trial in mended if trial.state == "failed"] == list(range(2, 10))


def test_trials_that_raise_different_errors_do_not_end_the_search(tmp_path: Path) -> None:
    def different(task: Task) -> Outcome:
        raise KeyError("abcdefghij"[task.index])

    assert {trial.state for trial in _search(tmp_path, InProcess(different), trials=10)} == {"failed"}


@pytest.mark.parametrize(
    "error",
    [
        ValueError("{{node SaveV2}} /tmp/model: No space left on device"),
        OSError(errno.ESTALE, "Stale file handle"),
        RuntimeUnavailableError("TFLite Micro is not installed"),
    ],
)
def test_what_is_no_fault_of_a_trial_ends_the_search_and_keeps_all(error: Exception, tmp_path: Path) -> None:
    def raising(task: Task) -> Outcome:
        if task.index == 2:
            raise error
        return evaluate(task)

    with pytest.raises((OSError, RuntimeUnavailableError)):
        _search(tmp_path / "a", InProcess(raising), trials=6)
    assert _tried(searched(tmp_path / "a", trials=6, resume=True)) == _tried(searched(tmp_path / "b", trials=6))


@pytest.mark.parametrize(("times", "seeds"), [(1, (1, 2)), (99, (2,))])
def test_finalist_that_raises_is_trained_once_more(times: int, seeds: tuple[int, ...], tmp_path: Path) -> None:
    trials, notes = searched(tmp_path, trials=8), Notes()
    doing = _Raising([8], times=times)
    chosen, failed = trained(trials, BUDGETS[:1], SPACE, InProcess(doing), seeds=(1, 2), progress=notes)
    assert [one.seed for one in chosen[0].seeds] == list(seeds) and not failed
    assert doing.done == [8, 8, 9] and len(notes.notes) == min(times, 2)
    assert notes.notes[0].startswith(f"trial {chosen[0].trial} with seed 1: MemoryError: Unable to allocate 2.1 GiB")
