"""Worker processes of a search, and the store that machines share; nothing is trained."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from edgefm.core import artefacts
from edgefm.core.errors import ModelError
from edgefm.searching.driver import Limits, drive
from edgefm.searching.executors.local import workers
from edgefm.searching.executors.store import Store, StoreError
from edgefm.searching.journal import opened
from tests.fixtures.search_driver import SPACE, identity, in_folder, sampling, searched
from tests.fixtures.search_work import SleepyWork


def _with(executor: Any, folder: Path, *, trials: int, resume: bool = False) -> Any:
    with opened(folder, identity(), SPACE.distributions(), resume=resume) as journal:
        return drive(journal, sampling(), executor, Limits(trials=trials))


def _results(trials: Any) -> Any:
    return [(trial.index, trial.params, trial.costs, trial.reason) for trial in trials]


def test_three_processes_give_what_one_gives_though_two_are_killed(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    seen.mkdir()
    work = SleepyWork(seconds=0.02, seen=seen)
    with workers(work, count=3, kept=tmp_path / "passes") as executor:
        killed: set[int] = set()

        def kill() -> None:
            while len(killed) < 2:
                for pid in set(executor.pids) - killed:
                    os.kill(pid, signal.SIGKILL)
                    killed.add(pid)
                    break
                time.sleep(0.3)

        threading.Thread(target=kill, daemon=True).start()
        together = _with(executor, tmp_path / "three", trials=24)
        pids = executor.pids
    assert len(killed) == 2 and not pids
    assert _results(together) == _results(searched(tmp_path / "one", trials=24))
    again = sorted(len((seen / str(index)).read_text().splitlines()) for index in range(24))
    assert sum(again) <= 24 + 2 and again[0] == 1  # only what a killed process did was done again
    assert _results(in_folder(tmp_path / "three")) == _results(together)


def test_trial_that_kills_its_process_is_done_again_once_then_fails(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    seen.mkdir()
    work = SleepyWork(seen=seen, kills=((1, 1), (2, 9)), impossible=(3,))
    with workers(work, count=1, kept=tmp_path / "passes") as executor:
        trials = _with(executor, tmp_path / "search", trials=5)
    assert [trial.state for trial in trials] == ["finished", "finished", "failed", "failed", "finished"]
    assert trials[2].reason == "the process that did it was ended by SIGKILL, 2 times"
    assert trials[3].reason == "nothing can be made of this point"
    assert len((seen / "2").read_text().splitlines()) == 2


def test_full_disk_of_a_worker_ends_the_search_and_it_goes_on_later(tmp_path: Path) -> None:
    with (
        workers(SleepyWork(full=(4,)), count=2, kept=tmp_path / "passes") as executor,
        pytest.raises(OSError, match="No space left"),
    ):
        _with(executor, tmp_path / "search", trials=8)
    with workers(SleepyWork(), count=2, kept=tmp_path / "passes") as executor:
        trials = _with(executor, tmp_path / "search", trials=8, resume=True)
    assert _results(trials) == _results(searched(tmp_path / "one", trials=8))


class _Nothing:
    """Work that cannot begin."""

    def __call__(self, workplace: Any) -> Any:
        raise ModelError("the model is damaged", hint="Restore it.")


def test_work_that_cannot_begin_ends_the_search(tmp_path: Path) -> None:
    with (
        workers(_Nothing(), count=1, kept=tmp_path / "passes") as executor,
        pytest.raises(ModelError, match="the model is damaged") as refused,
    ):
        _with(executor, tmp_path / "search", trials=1)
    assert refused.value.hint == "Restore it."


# ---- the store


@pytest.mark.parametrize("url", ["{folder}", "file://{folder}", "memory://searches/{folder}"])
def test_store_gives_back_what_was_put_and_writes_it_once(tmp_path: Path, url: str) -> None:
    pytest.importorskip("fsspec")
    store = Store(url.format(folder=tmp_path))
    sha256 = store.put(b"model")
    assert sha256 == store.put(b"model") == artefacts.sha256_bytes(b"model")
    assert Store(url.format(folder=tmp_path)).get(sha256) == b"model"
    with pytest.raises(StoreError, match="holds no 0000"):
        store.get("0" * 64)


def test_store_refuses_what_was_damaged_and_does_such_a_pass_again(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    done, elsewhere = tmp_path / "a" / "slim-0123", tmp_path / "b" / "slim-0123"
    with store.shelf(done):
        artefacts.write_text(done / "pass.json", "{}")
        artefacts.write_bytes(done / "model.keras", b"weights")
    with store.shelf(elsewhere):
        assert (elsewhere / "model.keras").read_bytes() == b"weights"
    sha256 = artefacts.sha256_bytes(b"weights")
    path = tmp_path / "store" / "sha256" / sha256[:2] / sha256
    path.write_bytes(b"weighty")
    with pytest.raises(StoreError, match=f"{sha256} is damaged"):
        store.get(sha256)
    third = tmp_path / "c" / "slim-0123"
    with store.shelf(third):
        assert not third.exists()


def test_store_of_an_unknown_kind_is_refused() -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(StoreError, match="cannot be used as a store"):
        Store("nothing://bucket")
