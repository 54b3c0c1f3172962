"""Which driver may write the trials of a search that several machines can reach: one at a time.

The right to write is a study beside the search's own, named by a number that grows by one from driver to driver. To
make a study of a given name is the one step of Optuna's storages that only one of many can succeed in, in a database as
behind a gRPC proxy. Its owner changes a counter in it every few seconds. Who wants to follow it watches that counter by
a clock of its own that only grows: where it stands still for `SECONDS`, the owner is gone, and the study with the next
number is made. No two clocks are compared, so that one that jumps decides nothing. An owner that had only slept finds
the next number taken before its next line, and writes none.
"""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from edgefm.searching.journal import SearchError
from edgefm.searching.sampling import quiet

SECONDS = 30.0
_BEATS_WITHIN = 6
_LOOKS = 0.5
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_PROCESSES = Path("/proc/self/ns/pid")


class Lease:
    """The right to write a search's trials, as long as nobody has taken it."""

    def __init__(self, storage: Any, name: str, number: int) -> None:
        """Take a storage of Optuna's, the name of the search's study, and the number of this driver; see `held`."""
        self._storage, self._name, self.number = storage, name, number
        self._ended = threading.Event()

    def check(self) -> None:
        """Raise a SearchError if another driver has taken over; called before each line.

        The one that follows keeps this driver's study, and the next one removes it with all below its former.
        """
        followed = _study(self._storage, _named(self._name, self.number + 1)) is not None
        if followed or _study(self._storage, _named(self._name, self.number)) is None:
            raise SearchError(
                "another process has taken this search over: this one did not answer for a while",
                hint="That one goes on with it; nothing was lost.",
            )

    def beat(self, seconds: float) -> None:
        """Change the counter until `end`; a storage that cannot be reached for a while is asked again."""
        number = 0
        while not self._ended.wait(seconds / _BEATS_WITHIN):
            number += 1
            with suppress(Exception):  # the driver's own next line says what is wrong
                study = _study(self._storage, _named(self._name, self.number))
                self._storage.set_study_user_attr(study, "beat", number)

    def end(self) -> None:
        """Say that this driver has ended."""
        self._ended.set()
        study = _study(self._storage, _named(self._name, self.number))
        if study is not None:
            self._storage.set_study_user_attr(study, "ended", True)


@contextmanager
def held(
    storage: Any,
    name: str,
    *,
    seconds: float = SECONDS,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Lease]:
    """Give the right to write the trials of a study.

    Args:
      storage: of Optuna's.
      name: of the study.
      seconds: without a sign of life after which a driver counts as gone.
      clock: seconds that only grow.
      sleep: waits for some seconds.
    Raises:
      SearchError: another driver has it, which is named.
    """
    from optuna.exceptions import DuplicatedStudyError
    from optuna.study import StudyDirection

    number = _last(storage, name)
    if number:
        _wait_until_gone(storage, _named(name, number), seconds, clock, sleep)
    try:
        with quiet():
            study = storage.create_new_study([StudyDirection.MINIMIZE], _named(name, number + 1))
    except DuplicatedStudyError:
        raise _in_use(_attrs(storage, _named(name, number + 1))) from None
    storage.set_study_user_attr(study, "driver", _driver())
    for former in range(number, 0, -1):
        left = _study(storage, _named(name, former))
        if left is None:
            break
        if former < number:  # the newest of them stays: its owner may look for the next number
            storage.delete_study(left)
    lease = Lease(storage, name, number + 1)
    beats = threading.Thread(target=lease.beat, args=(seconds,), daemon=True)
    beats.start()
    try:
        yield lease
    finally:
        with suppress(Exception):  # a storage that is gone: it will be seen that this driver is, too
            lease.end()


def _wait_until_gone(
    storage: Any, name: str, seconds: float, clock: Callable[[], float], sleep: Callable[[float], None]
) -> None:
    """Return when a driver has ended, or gave no sign of life for some seconds.

    Raises:
      SearchError: it lives.
    """
    attrs = _attrs(storage, name)
    if attrs.get("ended") or _is_dead(attrs.get("driver", {})):
        return
    since, beat = clock(), attrs.get("beat")
    while clock() - since < seconds:
        sleep(_LOOKS)
        attrs = _attrs(storage, name)
        if attrs.get("ended"):
            return
        if attrs.get("beat") != beat:
            raise _in_use(attrs)


def _in_use(attrs: dict[str, Any]) -> SearchError:
    driver = attrs.get("driver", {})
    who = f": {driver['pid']} on {driver['host']}" if {"pid", "host"} <= set(driver) else ""
    return SearchError(
        f"this search is being done by another process{who}",
        hint="Wait for it to end, or stop it: the search goes on later.",
    )


def _driver() -> dict[str, Any]:
    """Return who this process is: for people, and for another one on the same machine to see whether it is gone."""
    about: dict[str, Any] = {"pid": os.getpid(), "host": platform.node()}
    with suppress(OSError):
        about["system"] = f"{_BOOT.read_text(encoding='ascii').strip()} {_PROCESSES.readlink()}"
        about["began"] = _began(os.getpid())
    return about


def _is_dead(driver: dict[str, Any]) -> bool:
    """Return whether a driver is one of this machine's processes, and has ended; False where that is not known."""
    here = _driver()
    if "system" not in driver or driver["system"] != here.get("system"):
        return False
    try:
        return _began(int(driver["pid"])) != str(driver["began"])
    except FileNotFoundError:
        return True
    except (OSError, KeyError, ValueError, TypeError):
        return False


def _began(pid: int) -> str:
    """Return when a process began, in ticks since the machine's start: a number that is used again is told apart."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    if text[0] in "ZX":  # it has ended, and its parent has not asked how
        raise FileNotFoundError(pid)
    return text[19]


def _last(storage: Any, name: str) -> int:
    """Return the greatest number that a driver of a study has; 0 where there was none."""
    prefix = _named(name, 0).removesuffix("0")
    numbers = [
        int(study.study_name.removeprefix(prefix))
        for study in storage.get_all_studies()
        if study.study_name.startswith(prefix)
    ]
    return max(numbers, default=0)


def _named(name: str, number: int) -> str:
    return f"{name}.driver-{number}"


def _attrs(storage: Any, name: str) -> dict[str, Any]:
    study = _study(storage, name)
    return {} if study is None else dict(storage.get_study_user_attrs(study))


def _study(storage: Any, name: str) -> int | None:
    try:
        return int(storage.get_study_id_from_name(name))
    except KeyError:
        return None
