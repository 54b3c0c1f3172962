"""The store that the machines of a search share: bytes by their sha256, and finished passes."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgefm.core import artefacts
from edgefm.searching.executors import execution
from edgefm.searching.executors.passes import Passes
from edgefm.searching.executors.store import Store, StoreError, swept

PASS = "slim-0123"


@pytest.mark.parametrize("url", ["{folder}", "file://{folder}", "memory://searches/{folder}"])
def test_store_gives_back_what_was_put_and_writes_it_once(tmp_path: Path, url: str) -> None:
    pytest.importorskip("fsspec")
    store = Store(url.format(folder=tmp_path))
    sha256 = store.put(b"model")
    assert sha256 == store.put(b"model") == artefacts.sha256_bytes(b"model")
    assert Store(url.format(folder=tmp_path)).get(sha256) == b"model"
    with pytest.raises(StoreError, match="holds no 0000"):
        store.get("0" * 64)


def test_url_of_a_kind_with_folders_makes_those_below_its_own(tmp_path: Path) -> None:
    """fsspec's own way to write this machine's files, which edgefm does not take for file://."""
    pytest.importorskip("fsspec")
    store = Store(f"simplecache::file://{tmp_path}/new")
    assert store.get(store.put(b"model")) == b"model" and (tmp_path / "new" / "sha256").is_dir()
    nowhere = Store(f"simplecache::file://{tmp_path}/not/there")
    with pytest.raises(StoreError, match="cannot be used: FileNotFoundError"):
        nowhere.put(b"model")


def test_store_refuses_what_was_damaged_and_writes_it_again(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    sha256 = store.put(b"weights")
    path = tmp_path / "sha256" / sha256[:2] / sha256
    path.write_bytes(b"weighty")
    with pytest.raises(StoreError, match=f"{sha256} is damaged"):
        store.get(sha256)
    store.put(b"weights")
    assert store.get(sha256) == path.read_bytes() == b"weights"


_KILLED = """
import os, signal, sys
from edgefm.searching.executors.store import Store
os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
Store(sys.argv[1]).put(b"a model")
"""


def test_what_a_killed_process_had_not_finished_is_removed_once_it_stood_still_for_a_while(tmp_path: Path) -> None:
    def left() -> list[str]:
        return sorted(path.name for path in tmp_path.rglob("*") if path.is_file())

    killed = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    (first,) = left()
    seconds = iter((0, 599, 1000, 1600))
    with swept(str(tmp_path), clock=lambda: next(seconds)):
        kept = Store(str(tmp_path)).put(b"whole")
    assert left() == sorted([first, kept]), "another search's process may still write it"
    grows = tmp_path / "sha256" / "aa" / ".aa.abcd1234.partial"
    grows.parent.mkdir()
    grows.write_bytes(b"1")
    with swept(f"file://{tmp_path}", clock=lambda: next(seconds)):
        grows.write_bytes(b"12")
        begun = grows.with_name(".bb.abcd1234.partial")
        begun.touch()
    assert left() == sorted([kept, grows.name, begun.name])


def test_damaged_pass_is_done_and_shared_again(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    shelf = Passes(store, settle=0.0).shelf
    done, elsewhere = tmp_path / "a" / PASS, tmp_path / "b" / PASS
    with shelf(done):
        _write(done)
    with shelf(elsewhere):
        assert (elsewhere / "model.keras").read_bytes() == b"weights"
    sha256 = artefacts.sha256_bytes(b"weights")
    (tmp_path / "store" / "sha256" / sha256[:2] / sha256).write_bytes(b"weighty")
    third, fourth = tmp_path / "c" / PASS, tmp_path / "d" / PASS
    with shelf(third):
        assert not third.exists()
        _write(third)
    with shelf(fourth):
        assert (fourth / "model.keras").read_bytes() == b"weights"


def test_damaged_pass_that_four_want_at_the_same_time_is_done_once(tmp_path: Path) -> None:
    """Each finds the listing and the damage, within the time in which a write is seen by all."""
    store = str(tmp_path / "store")
    with Passes(Store(store), settle=0.0).shelf(tmp_path / "before" / PASS):
        _write(tmp_path / "before" / PASS)
    sha256 = artefacts.sha256_bytes(b"weights")
    (tmp_path / "store" / "sha256" / sha256[:2] / sha256).write_bytes(b"weighty")
    done: list[str] = []

    def worker(name: str, later: float) -> None:
        time.sleep(later)
        folder = tmp_path / name / PASS
        with Passes(Store(store), settle=0.2).shelf(folder):
            if not folder.exists():
                done.append(name)
                time.sleep(1.0)
                _write(folder)

    workers = [
        threading.Thread(target=worker, args=(name, 0.05 * place), daemon=True) for place, name in enumerate("abcd")
    ]
    for one in workers:
        one.start()
    for one in workers:
        one.join(15)
    assert not any(one.is_alive() for one in workers) and len(done) == 1
    assert all((tmp_path / name / PASS / "model.keras").read_bytes() == b"weights" for name in "abcd")


def test_pass_that_four_want_at_the_same_time_is_done_once(tmp_path: Path) -> None:
    done: list[str] = []

    def worker(name: str) -> None:
        folder = tmp_path / name / PASS
        with Passes(Store(str(tmp_path / "store"))).shelf(folder):
            if not folder.exists():
                done.append(name)
                time.sleep(1.0)
                _write(folder)
        assert (folder / "model.keras").read_bytes() == b"weights"

    workers = [threading.Thread(target=worker, args=(name,)) for name in "abcd"]
    for one in workers:
        one.start()
    for one in workers:
        one.join()
    assert len(done) == 1
    assert all((tmp_path / name / PASS / "pass.json").exists() for name in "abcd")
    assert [path.name for path in (tmp_path / "store" / "passes").iterdir()] == [f"{PASS}.json"]


def test_pass_whose_worker_failed_or_died_is_done_by_the_next(tmp_path: Path) -> None:
    """The one that died left its file; it is waited for as long as a live one might give no sign."""
    store = Store(str(tmp_path / "store"))
    with pytest.raises(ZeroDivisionError), Passes(store, settle=0.0).shelf(tmp_path / "a" / PASS):
        raise ZeroDivisionError
    started = time.monotonic()
    with Passes(store, settle=0.0).shelf(tmp_path / "b" / PASS):
        assert time.monotonic() - started < 5
    store.files.write(f"passes/{PASS}.doing", b"one that died")
    started = time.monotonic()
    with Passes(store, settle=0.0, seconds=1.0).shelf(tmp_path / "c" / PASS):
        assert time.monotonic() - started >= 1.0


def test_store_of_an_unknown_kind_is_refused_and_passwords_are_not_shown() -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(StoreError, match="nothing://bucket cannot be used as a store") as refused:
        Store("nothing://me:secret@bucket")
    assert "secret" not in str(refused.value)


def _write(folder: Path) -> None:
    artefacts.write_text(folder / "pass.json", "{}")
    artefacts.write_bytes(folder / "model.keras", b"weights")


@pytest.mark.parametrize("store", ["shared/store", None])
def test_folder_of_a_store_is_the_same_for_nodes_that_work_in_other_folders(
    store: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[str] = []
    left = tmp_path / (store or "search/store") / "sha256" / "aa" / ".aa.abcd1234.partial"
    left.parent.mkdir(parents=True)
    left.touch()

    @contextmanager
    def tasks(*, store: str, **_: Any) -> Iterator[Any]:
        given.append(store)
        yield SimpleNamespace(slots=1)

    monkeypatch.setattr(execution, "ray_tasks", tasks)
    monkeypatch.setattr(execution, "swept", partial(swept, seconds=0.0))
    monkeypatch.chdir(tmp_path)
    source: Any = None  # a cluster's nodes get it later
    with execution.Execution(executor="ray", store=store).ready(Path("search"), source, trials=1):
        pass
    assert given == [str(tmp_path / (store or "search/store"))] and not left.exists()
