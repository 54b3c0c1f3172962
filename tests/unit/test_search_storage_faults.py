"""A storage that fails for a moment: the driver goes on giving signs of life."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from edgefm.searching.storage.lease import Lease


class _Failing:
    """A storage of Optuna's whose first answers are errors."""

    def __init__(self, storage: Any, *, errors: int) -> None:
        self._storage, self._errors = storage, errors

    def __getattr__(self, name: str) -> Any:
        if self._errors:
            self._errors -= 1
            raise ConnectionError("the database restarts")
        return getattr(self._storage, name)


def test_driver_whose_first_sign_of_life_fails_gives_further_ones() -> None:
    optuna = pytest.importorskip("optuna")
    storage = optuna.storages.InMemoryStorage()
    study = storage.create_new_study([optuna.study.StudyDirection.MINIMIZE], "search.driver-1")
    lease = Lease(_Failing(storage, errors=2), "search", 1)
    beats = threading.Thread(target=lease.beat, args=(0.06,))
    beats.start()
    until = time.monotonic() + 5
    while "beat" not in storage.get_study_user_attrs(study) and beats.is_alive() and time.monotonic() < until:
        time.sleep(0.01)
    lease.end()
    beats.join()
    assert storage.get_study_user_attrs(study)["beat"] >= 3
