"""Each error that Ray may raise of itself: the trial is done again, or the search ends with a clear error."""

from __future__ import annotations

import errno
import os
import time
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from edgefm.core.progress import SILENT
from edgefm.searching.driver import Task
from edgefm.searching.executors.ray_nodes import connected
from edgefm.searching.executors.ray_tasks import ATTEMPTS, LOSSES, RayTasks
from edgefm.searching.executors.store import Store, StoreError
from edgefm.searching.executors.work import Answer
from edgefm.searching.journal import SearchError
from tests.fixtures.failing_ray import FailingRay
from tests.fixtures.notes import Notes

pytest.importorskip("ray")
import ray
import ray.util.scheduling_strategies

E = ray.exceptions
NODES = ("ab" * 28, "cd" * 28)
TASK = Task(index=3, params={"keep:a": 0.5, "keep:b": 0.5, "scheme": "int8_w8a8", "sparsity": 0.0}, known=())
# What says that something between the driver and the node is broken, not that the trial ended its process.
CLUSTER_FAULTS = [
    E.NodeDiedError("node"),
    E.OwnerDiedError("00", None, ""),
    E.ObjectLostError("00", None, ""),
    E.ObjectFetchTimedOutError("00", None, ""),
    E.ObjectReconstructionFailedError("00", None, "", None, ""),
    E.ActorDiedError(),
    E.ActorUnavailableError("actor", None),
    E.RpcError("unavailable", 14),
    E.RaySystemError("system"),
    E.GetTimeoutError("late"),
    E.TaskCancelledError(),
    E.TaskUnschedulableError("no such node"),
    E.ObjectStoreFullError("full"),
    E.OutOfDiskError("full"),
    E.RuntimeEnvSetupError("environment"),
    ConnectionError("reset"),
]
PROCESS_ENDS = [E.WorkerCrashedError(), E.OutOfMemoryError("memory")]


def _named(error: Exception) -> str:
    return type(error).__name__


def _answer(task: Task) -> Answer:
    return Answer(impossible=f"trial {task.index} was done")


def _tasks(folder: Path, failing: FailingRay, *, notice: float = 0.0) -> RayTasks:
    return RayTasks(failing, Store(str(folder)), workers=None, progress=SILENT, notice=notice)


def _ray(**errors: Any) -> FailingRay:
    return FailingRay(E, ray.util, _answer, **{name: deque(given) for name, given in errors.items()})


@pytest.mark.parametrize("error", [*CLUSTER_FAULTS, *PROCESS_ENDS], ids=_named)
def test_trial_is_done_again_after_an_error_of_ray(tmp_path: Path, error: Exception) -> None:
    tasks = _tasks(tmp_path, _ray(gets=[error]))
    tasks.submit(TASK)
    assert tasks.next() == (3, "trial 3 was done")


@pytest.mark.parametrize("error", CLUSTER_FAULTS, ids=_named)
def test_error_of_ray_that_stays_ends_the_search_and_not_the_trial(tmp_path: Path, error: Exception) -> None:
    tasks = _tasks(tmp_path, _ray(gets=[error] * LOSSES))
    tasks.submit(TASK)
    with pytest.raises(SearchError, match=f"lost trial 3 {LOSSES} times: {_named(error)} on 10.0.0.1") as ended:
        tasks.next()
    assert ended.value.hint is not None and "resume" in ended.value.hint


@pytest.mark.parametrize("error", PROCESS_ENDS, ids=_named)
def test_trial_that_ends_its_process_again_fails(tmp_path: Path, error: Exception) -> None:
    tasks = _tasks(tmp_path, _ray(gets=[E.RpcError("unavailable", 14), *[error] * ATTEMPTS]))
    tasks.submit(TASK)
    assert tasks.next() == (3, f"its process ended 2 times: {_named(error)} on 10.0.0.1")


@pytest.mark.parametrize("error", [*CLUSTER_FAULTS, *PROCESS_ENDS], ids=_named)
def test_cluster_that_answers_with_an_error_is_asked_again(tmp_path: Path, error: Exception) -> None:
    failing = _ray()
    tasks = _tasks(tmp_path, failing, notice=5.0)
    tasks._looked = float("-inf")
    failing.asks.append(error)
    failing.waits.append(error)
    tasks.submit(TASK)
    assert tasks.next() == (3, "trial 3 was done")


@pytest.mark.parametrize("where", ["asks", "waits"])
def test_cluster_that_answers_with_errors_for_too_long_ends_the_search(tmp_path: Path, where: str) -> None:
    failing = _ray()
    tasks = _tasks(tmp_path, failing)
    getattr(failing, where).extend([E.RpcError("unavailable", 14)] * 1000)
    tasks.submit(TASK)
    with pytest.raises(SearchError, match="the Ray cluster does not answer: RpcError: "):
        for _ in range(50):
            tasks._looked = float("-inf")
            tasks.next()
            tasks.submit(TASK)


def test_cluster_that_gives_no_nodes_at_the_beginning_is_no_cluster_without_cores(tmp_path: Path) -> None:
    with pytest.raises(SearchError, match="does not answer: RpcError"):
        _tasks(tmp_path, _ray(asks=[E.RpcError("unavailable", 14)]))


@pytest.mark.parametrize("where", ["gets", "waits"])
def test_driver_without_its_own_node_says_so(tmp_path: Path, where: str) -> None:
    failing = _ray()
    tasks = _tasks(tmp_path, failing)
    getattr(failing, where).append(E.LocalRayletDiedError())
    tasks.submit(TASK)
    with pytest.raises(SearchError, match="the Ray node of this machine is gone"):
        tasks.next()


def test_error_in_what_a_node_runs_is_shown_with_its_cause(tmp_path: Path) -> None:
    error = E.RayTaskError("do", "Traceback (most recent call last):\nImportError: no edgefm here", ImportError("no"))
    tasks = _tasks(tmp_path, _ray(gets=[error]))
    tasks.submit(TASK)
    with pytest.raises(SearchError, match=r"10\.0\.0\.1 cannot do trials: ImportError: no edgefm here"):
        tasks.next()


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/tmp/search/slim")


def test_trials_of_a_node_whose_disk_is_full_are_done_elsewhere(tmp_path: Path) -> None:
    """Later ones, too: the node gets none any more."""
    failing = _ray()
    failing.living, failing.answers = NODES, {NODES[0]: Answer(error=FULL)}
    notes = Notes()
    tasks = RayTasks(failing, Store(str(tmp_path)), workers=None, progress=notes, notice=5.0)
    for _ in range(4):
        tasks.submit(TASK)
        assert tasks.next() == (3, "trial 3 was done")
    [note] = notes.notes
    assert note.startswith(f"trial 3: 10.0.0.1: {FULL}; it is done again") and "No space left" in note
    assert tasks.slots == 1


def test_nodes_that_all_have_faults_end_the_search_by_name(tmp_path: Path) -> None:
    failing = _ray()
    failing.living, failing.answers = NODES, {name: Answer(error=FULL) for name in NODES}
    tasks = _tasks(tmp_path, failing, notice=0.5)
    tasks.submit(TASK)
    with pytest.raises(SearchError, match=r"no node .* is left without a fault: 10\.0\.0\.1: ") as ended:
        tasks.next()
    assert "10.0.0.2: [Errno 28] No space left on device" in str(ended.value)


@pytest.mark.parametrize("error", [StoreError("s3://bucket cannot be used: 503"), OSError(errno.ESTALE, "Stale file")])
def test_store_that_fails_on_a_node_costs_no_search(tmp_path: Path, error: Exception) -> None:
    failing = _ray()
    failing.living, failing.answers = NODES, {NODES[0]: Answer(error=error)}
    tasks = _tasks(tmp_path, failing, notice=5.0)
    tasks.submit(TASK)
    assert tasks.next() == (3, "trial 3 was done")
    failing.answers = {name: Answer(error=error) for name in NODES}
    tasks.submit(TASK)
    started = time.monotonic()
    lost = rf"lost trial 3 {LOSSES} times: {_named(error)} on 10\.0\.0\.\d: .*(503|Stale)"
    with pytest.raises(SearchError, match=lost):
        tasks.next()
    assert time.monotonic() - started < 3


def test_error_of_a_trial_that_no_machine_is_behind_is_raised(tmp_path: Path) -> None:
    failing = _ray()
    failing.answers = {failing.living[0]: Answer(error=RuntimeError("a fault in the trial"))}
    tasks = _tasks(tmp_path, failing)
    tasks.submit(TASK)
    with pytest.raises(RuntimeError, match="a fault in the trial"):
        tasks.next()


def test_new_node_that_says_nothing_keeps_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgefm.searching.executors.joined._PROBE_SECONDS", 4.0)
    failing = _ray()
    failing.living = NODES[:1]
    notes = Notes()
    tasks = RayTasks(failing, Store(str(tmp_path)), workers=None, progress=notes, notice=5.0)
    failing.living, failing.silent = NODES, NODES[1:]
    started = time.monotonic()
    while time.monotonic() - started < 6:
        tasks._looked = float("-inf")
        tasks.submit(TASK)
        before = time.monotonic()
        assert tasks.next() == (3, "trial 3 was done")
        assert time.monotonic() - before < 2
        time.sleep(0.5)
    assert notes.notes == ["a new node is not used: 10.0.0.2 gave no answer within 4 s"] and tasks.slots == 1


@pytest.mark.parametrize(
    "error",
    [*CLUSTER_FAULTS, Exception("no node info"), OSError(111, "refused"), RuntimeError("no"), SystemExit(1)],
    ids=_named,
)
def test_cluster_that_cannot_be_joined_is_named(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def init(**options: Any) -> None:
        raise error

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(SearchError, match="there is no Ray cluster at auto: "), connected("auto", workers=None):
        pass
