"""A driver of a search that slept while others followed it, one after the other: it writes nothing any more."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from edgefm.searching.driver import Task
from edgefm.searching.journal import Journal, SearchError
from edgefm.searching.sampling import optuna_here, quiet
from edgefm.searching.storage import lease
from edgefm.searching.trials import OBJECTIVES
from tests.fixtures.search_driver import SPACE, evaluate, sampling

# The lease is as long as beats need that are not there; followers look twice.
_SECONDS = 0.6


def _storage(folder: Path) -> Any:
    """Return a connection of its own to the same database."""
    from optuna.storages import RDBStorage

    with quiet():
        return RDBStorage(f"sqlite:///{folder}/searches.db")


def _journal(storage: Any, held: lease.Lease) -> Journal:
    with quiet():
        study = optuna_here().create_study(
            study_name="search", storage=storage, directions=["minimize"] * len(OBJECTIVES), load_if_exists=True
        )
    return Journal(study, SPACE.distributions(), lag=4, check=held.check)


def _asleep(monkeypatch: pytest.MonkeyPatch, storage: Any, stack: ExitStack) -> lease.Lease:
    """Return the lease of a driver of another machine that gives no sign of life."""
    with monkeypatch.context() as patched:
        patched.setattr(lease, "_driver", lambda: {"pid": 1, "host": "elsewhere"})
        patched.setattr(lease.Lease, "beat", lambda self, seconds: None)
        return stack.enter_context(lease.held(storage, "search", seconds=_SECONDS))


def test_driver_that_slept_is_told_so_by_each_of_many_followers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as stack:
        first = _asleep(monkeypatch, _storage(tmp_path), stack)
        first.check()
        for _ in range(4):
            with lease.held(_storage(tmp_path), "search", seconds=_SECONDS) as follower:
                follower.check()
                with pytest.raises(SearchError, match="has taken this search over"):
                    first.check()


def test_trial_that_a_third_follower_does_is_not_ended_by_the_driver_that_slept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = sampling().choose(0, [])
    assert params is not None
    outcome = evaluate(Task(index=0, params=params))
    with ExitStack() as stack:
        storage = _storage(tmp_path)
        first = _journal(storage, _asleep(monkeypatch, storage, stack))
        first.begin(0, params)
        for _ in range(3):
            storage = _storage(tmp_path)
            with lease.held(storage, "search", seconds=_SECONDS) as held:
                follower = _journal(storage, held)
                assert [trial.index for trial in follower.lost()] == [0]
                follower.begin(0, params)
                with pytest.raises(SearchError, match="has taken this search over"):
                    first.finish(0, outcome, elapsed=1.0)
                with pytest.raises(SearchError, match="has taken this search over"):
                    first.begin(1, params)
        with lease.held(storage, "search", seconds=_SECONDS) as held:
            last = _journal(storage, held)
            last.lost()
            last.begin(0, params)
            last.finish(0, outcome, elapsed=2.0)
            assert [(trial.index, trial.elapsed) for trial in last.trials()] == [(0, 2.0)]
            with pytest.raises(SearchError, match="trial 0 was ended by another process"):
                last.finish(0, outcome, elapsed=3.0)
