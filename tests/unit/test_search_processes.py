"""How many processes do the trials of a search where nobody says it, and what happens where none can be started."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgefm.core import container
from edgefm.core.errors import EdgefmError
from edgefm.data.dataset import Dataset, Split
from edgefm.searching.driver import Evaluate, InProcess, Limits, Task, drive
from edgefm.searching.executors import by_default
from edgefm.searching.executors.execution import Hands
from edgefm.searching.executors.late_start import LateStart
from edgefm.searching.journal import opened
from edgefm.searching.workers import Workers
from tests.fixtures.notes import Notes
from tests.fixtures.search_driver import SPACE, Killing, evaluate, identity, sampling, searched

GB = 10**9
REFUSAL = "this model or its data cannot be handed to another process: "


# ---- what there is


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "10000 100000\n"}, 1),
        ({"cpu.max": "1600000 100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
    ],
)
def test_cores_are_those_that_a_container_is_given_time_of(
    files: dict[str, str], cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container, "usable_cores", lambda: 8)
    assert container.core_share(cgroup=_written(tmp_path, files)) == cores


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, 6 * GB),
        ({"memory.max": "max\n", "memory.current": f"{GB}\n"}, 6 * GB),
        ({"memory.max": f"{4 * GB}\n", "memory.current": f"{GB}\n"}, 3 * GB),
        # What the kernel keeps of files is given back.
        (
            {"memory.max": f"{4 * GB}", "memory.current": f"{3 * GB}", "memory.stat": f"anon 5\ninactive_file {GB}"},
            2 * GB,
        ),
        ({"memory.max": f"{GB}", "memory.current": f"{GB + 5}"}, 0),
        ({"memory/memory.limit_in_bytes": "9223372036854771712", "memory/memory.usage_in_bytes": "5"}, 6 * GB),
        ({"memory/memory.limit_in_bytes": f"{2 * GB}", "memory/memory.usage_in_bytes": f"{GB}"}, GB),
    ],
)
def test_free_memory_is_that_of_the_machine_or_of_the_container(
    files: dict[str, str], free: int, tmp_path: Path
) -> None:
    about = tmp_path / "meminfo"
    about.write_text(f"MemTotal: {9 * GB // 1024} kB\nMemFree: 7 kB\nMemAvailable:   {6 * GB // 1024} kB\n")
    found = container.free_memory_bytes(cgroup=_written(tmp_path, files), meminfo=about)
    assert found == pytest.approx(free, abs=1024)


def _written(folder: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = folder / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder / "cgroup"


# ---- how many


def _source(megabytes: float = 0.0) -> Any:
    images = np.broadcast_to(np.zeros(1, np.uint8), (int(megabytes * 1e6 / 3), 1, 1, 1))
    none = np.zeros(0, np.int64)
    parts = [Split(name=name, images=images, labels=none) for name in ("train", "validation", "test")]
    data = Dataset(name="d", labels=(), train=parts[0], validation=parts[1], test=parts[2], sha256="d")
    return SimpleNamespace(model=None, task=SimpleNamespace(dataset=data))


@pytest.mark.parametrize(
    ("cores", "free_gb", "megabytes", "trials", "wanted", "said"),
    [
        (8, 100, 0, 60, 8, []),
        (8, 100, 0, 5, 5, []),
        (1, 0.1, 0, 60, 1, []),
        (8, 100, 0, 1, 1, []),
        (8, 4, 0, 60, 3, ["3 of 8 trials at a time: free memory has room for no more processes"]),
        (8, 4, 350, 60, 2, ["2 of 8 trials at a time: free memory has room for no more processes"]),
        (2, 1, 0, 60, 1, ["1 of 2 trials at a time: free memory has room for no more processes"]),
    ],
)
def test_one_process_a_core_as_memory_and_trials_allow(
    cores: int,
    free_gb: float,
    megabytes: float,
    trials: int,
    wanted: int,
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(by_default, "core_share", lambda: cores)
    monkeypatch.setattr(by_default, "free_memory_bytes", lambda: int(free_gb * GB))
    monkeypatch.setattr(by_default, "gpu_of_trials", lambda: None)
    notes = Notes()
    assert by_default.processes(_source(megabytes), trials=trials, try_one=False, progress=notes) == wanted
    assert notes.notes == said


def test_gpu_is_not_shared_by_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_default, "core_share", lambda: 8)
    monkeypatch.setattr(by_default, "gpu_of_trials", lambda: "A100")
    notes = Notes()
    assert by_default.processes(_source(), trials=60, try_one=False, progress=notes) == 1
    assert notes.notes == ["one trial at a time, in this process: several would share one GPU, A100"]


@pytest.mark.parametrize(
    ("cores", "trials", "lag"),
    [(1, 60, 4), (2, 60, 4), (4, 60, 8), (8, 60, 16), (64, 60, 30), (8, 8, 10), (64, 400, 128)],
)
def test_half_of_the_trials_know_those_before_them_however_many_cores_there_are(
    cores: int, trials: int, lag: int
) -> None:
    assert Hands.by_default(slots=cores, trials=trials).lag == lag
    assert Hands(slots=cores).lag == max(4, 2 * cores if cores > 1 else 4)


# ---- processes that cannot be started


@dataclass(frozen=True)
class _Unfit:
    """What no process can take: it says so itself, or ends."""

    ends: bool = False

    def trials(self, model: None, *, shelf: object) -> Evaluate:
        """Fail as a layer does that cannot be imported."""
        if self.ends:
            raise SystemExit("no room")
        raise TypeError("Could not locate class 'Mine'.\n  Make sure it is registered")


UNFIT: list[tuple[Callable[[], Any], str]] = [
    (_Unfit, f"{REFUSAL}TypeError: Could not locate class 'Mine'. Make sure it is registered"),
    (lambda: _Unfit(ends=True), "a worker ends before it does anything: no room"),
    (lambda: lambda: None, f"{REFUSAL}Can't pickle"),
]


@pytest.mark.parametrize(("setup", "reason"), UNFIT)
def test_search_goes_on_in_this_process_where_no_other_one_can_do_it(
    setup: Callable[[], Any], reason: str, tmp_path: Path
) -> None:
    notes = Notes()
    with opened(tmp_path / "a", identity(), SPACE.distributions(), resume=False) as journal:

        def start() -> Workers:
            return Workers(setup(), 2)

        with LateStart(start, 2, instead=InProcess(evaluate), progress=notes) as executor:
            trials = drive(journal, sampling(), executor, Limits(trials=8))
            assert executor.slots == 1
    assert [(one.params, one.outcome) for one in trials] == [
        (one.params, one.outcome) for one in searched(tmp_path / "b", trials=8)
    ]
    (said,) = notes.notes
    assert said.startswith(f"one trial at a time, in this process: {reason}")


@pytest.mark.parametrize(("setup", "reason"), UNFIT)
def test_workers_that_were_asked_for_are_refused_before_a_trial_fails_for_it(
    setup: Callable[[], Any], reason: str, tmp_path: Path
) -> None:
    with opened(tmp_path, identity(), SPACE.distributions(), resume=False) as journal:
        with LateStart(lambda: Workers(setup(), 2), 2) as executor, pytest.raises(EdgefmError) as raised:
            drive(journal, sampling(), executor, Limits(trials=8))
        assert raised.value.message.startswith(reason) and raised.value.hint == "Search with one worker."
        assert not any(trial.ended for trial in journal.trials())


def test_workers_are_started_with_the_first_task_and_do_what_one_process_does(tmp_path: Path) -> None:
    started: list[Workers] = []

    def start() -> Workers:
        started.append(Workers(Killing(marks=tmp_path), 2))
        return started[-1]

    with opened(tmp_path / "a", identity(), SPACE.distributions(), resume=False) as journal:
        with LateStart(start, 2) as executor:
            first = drive(journal, sampling(), executor, Limits(trials=8))
            drive(journal, sampling(), executor, Limits(trials=8))
        assert len(started) == 1 and not any(Path(f"/proc/{pid}").exists() for pid in started[0].pids)
        with LateStart(start, 2) as executor:  # nothing is left to do
            again = drive(journal, sampling(), executor, Limits(trials=8))
    assert len(started) == 1
    alone = searched(tmp_path / "b", trials=8)
    assert [one.outcome for one in first] == [one.outcome for one in again] == [one.outcome for one in alone]


def test_worker_that_ends_before_it_is_ready_is_no_fault_of_its_task(tmp_path: Path) -> None:
    with Workers(_Late(marks=tmp_path), 1) as workers:
        workers.submit(Task(index=0, params=sampling().choose(0, []) or {}))
        assert workers.next()[0] == 0
        assert workers._deaths[0] == 0


@dataclass(frozen=True)
class _Late:
    """A worker that ends the first time that it is started."""

    marks: Path

    def trials(self, model: None, *, shelf: object) -> Evaluate:
        """Return what does trials, the second time."""
        mark = self.marks / "started"
        if not mark.exists():
            mark.touch()
            raise SystemExit(3)
        return evaluate
