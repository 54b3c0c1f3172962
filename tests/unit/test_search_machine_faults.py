"""A fault of the machine ends a search, which goes on later: it is no reason why a point is impossible."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgefm.core import signals
from edgefm.core.errors import ModelError
from edgefm.core.machine_faults import fault_behind
from edgefm.searching.driver import Evaluate, Executor, InProcess, Limits, Task, drive
from edgefm.searching.executors.work import answer
from edgefm.searching.forecast import corners
from edgefm.searching.journal import opened
from edgefm.searching.trials import Outcome
from edgefm.searching.workers import Workers
from tests.fixtures.search_driver import SPACE, evaluate, identity, in_folder, sampling, searched


def as_cause() -> None:
    """Fail as a conversion does whose folder cannot be made."""
    try:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/tmp/model")
    except OSError as error:
        raise ModelError("TensorFlow cannot convert the model") from error


def as_text() -> None:
    """Fail as TensorFlow does, and processes apart, which tell the fault by its text alone."""
    try:
        raise ValueError("{{node SaveV2}} /tmp/model/variables; No space left on device [Op:SaveV2]")
    except ValueError as error:
        raise ModelError("TensorFlow cannot convert the model") from error


def refuse() -> None:
    """Fail for the point's own reason."""
    raise ModelError("a reason")


@dataclass(frozen=True)
class _Failing:
    """Does trials, but for the third one."""

    fails: Callable[[], None]

    def __call__(self, task: Task) -> Outcome:
        if task.index == 2:
            self.fails()
        return evaluate(task)

    def trials(self, model: None, *, shelf: object) -> Evaluate:
        """Return what does a trial, see `edgefm.searching.workers`."""
        return self


def _search(folder: Path, executor: Executor) -> None:
    with opened(folder, identity(), SPACE.distributions(), resume=False) as journal:
        drive(journal, sampling(), executor, Limits(trials=6))


def _check_that_it_goes_on(folder: Path) -> None:
    """Check that no trial failed, and that the search ends as one that nothing disturbed."""
    assert "failed" not in {trial.state for trial in in_folder(folder / "a")}
    ended, undisturbed = searched(folder / "a", trials=6, resume=True), searched(folder / "b", trials=6)
    assert [(one.params, one.costs) for one in ended] == [(one.params, one.costs) for one in undisturbed]


@pytest.mark.parametrize("fails", [as_cause, as_text])
def test_full_disk_within_a_trial_leaves_it_to_be_done(fails: Callable[[], None], tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left") as caught:
        _search(tmp_path / "a", InProcess(_Failing(fails)))
    assert caught.value.errno == errno.ENOSPC
    _check_that_it_goes_on(tmp_path)


def test_full_disk_within_a_worker_leaves_its_trial_to_be_done(tmp_path: Path) -> None:
    with Workers(_Failing(as_text), 2) as workers, pytest.raises(OSError, match="No space left"):
        _search(tmp_path / "a", workers)
    _check_that_it_goes_on(tmp_path)


def test_full_disk_of_a_node_is_answered_as_an_error_and_a_refusal_as_a_reason() -> None:
    task = Task(index=2, params={})
    with pytest.raises(OSError, match="No space left"):
        answer(_Failing(as_cause), task).value()
    assert answer(_Failing(refuse), task).value() == "a reason"


def test_smallest_file_is_not_left_out_of_the_forecast_for_a_full_disk() -> None:
    def made(variant: Any) -> None:
        as_cause()

    evaluator: Any = SimpleNamespace(space=SPACE, made=made)
    with pytest.raises(OSError, match="No space left"):
        corners(evaluator)


def test_what_fails_when_a_signal_asked_for_the_end_is_left_to_be_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def swallowed() -> None:
        monkeypatch.setattr(signals._Received, "number", int(signal.SIGINT))
        raise ModelError("TensorFlow cannot convert the model: it was interrupted")

    with pytest.raises(KeyboardInterrupt):
        _search(tmp_path / "a", InProcess(_Failing(swallowed)))
    monkeypatch.undo()
    _check_that_it_goes_on(tmp_path)


def test_what_a_library_says_of_a_damaged_file_is_no_fault_of_the_machine() -> None:
    damaged = ModelError("the file is damaged")
    damaged.__cause__ = OSError("Unable to synchronously open file (truncated file)")
    assert fault_behind(damaged) is None and fault_behind(FileNotFoundError(errno.ENOENT, "none")) is None
