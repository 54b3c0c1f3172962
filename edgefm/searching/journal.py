"""The search folder's memory: Optuna's journal file, one driver at a time, mended after a kill.

`search.json` says what is searched, `journal.log` holds the trials. Lines are appended and flushed to disk; a killed
process leaves at most half a line, which is cut off, and trials that run, which are marked as failed and begun again
with the same parameters. The lock is the kernel's: it ends with its process, however that ends.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout

from edgefm.core import artefacts
from edgefm.core.documents import read_bytes, read_json, shown
from edgefm.core.errors import EdgefmError
from edgefm.searching.sampling import optuna_here, quiet
from edgefm.searching.trials import FAILED, FINISHED, OBJECTIVES, RUNNING, Outcome, Trial

IDENTITY_FILE, JOURNAL_FILE = "search.json", "journal.log"
# Where the trials are, if not in the folder.
STORAGE_FILE = "storage.json"
# What search.json says beside what is searched: it stays as it was when the search began.
_OF_WHO_BEGAN = ("lag", "versions")
_LOCK, _DRIVER = ".lock", ".driver.json"
_STUDY = "search"
_JOURNAL_BYTES = 1 << 30


class SearchError(EdgefmError):
    """A search's folder is missing, in use, of another search, or damaged; or nothing can be searched."""


class Journal:
    """The trials of a search; every change is on disk when its method returns."""

    def __init__(
        self,
        study: Any,
        distributions: Mapping[str, Any],
        *,
        lag: int,
        versions: Mapping[str, str] | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Take a study of Optuna's and the distributions of its parameters; see `opened`.

        `lag` is the one that the search was begun with, see `Sampling`; so are `versions`. `check` is called before
        each line: it raises an error where this process may not write any more.
        """
        self._study, self._check, self.lag, self.versions = study, check, lag, dict(versions or {})
        self._distributions = dict(distributions)
        self._broken: OSError | None = None

    def trials(self) -> tuple[Trial, ...]:
        """Return the trials in their order; one that a killed process left is not among them."""
        found = [_trial(frozen) for frozen in self._study.get_trials(deepcopy=False) if not _lost(frozen)]
        return tuple(sorted(found, key=lambda trial: trial.index))

    def begin(self, index: int, params: Mapping[str, Any]) -> None:
        """Write that a trial runs: one line, so that it has its parameters whenever it is there."""
        optuna = optuna_here()
        self._check_writable()
        with quiet():
            self._study.add_trial(
                optuna.trial.create_trial(
                    state=optuna.trial.TrialState.RUNNING,
                    params=dict(params),
                    distributions=self._distributions,
                    user_attrs={"index": index},
                )
            )

    def finish(self, index: int, outcome: Outcome, *, elapsed: float) -> None:
        """Write what came of a trial; it counts from the line with its state on, the last one."""
        number = self._running(index)
        self._attrs(number, outcome=outcome.to_json(), elapsed=round(elapsed, 3))
        with quiet():
            self._study.tell(number, list(outcome.stages[-1].costs))

    def fail(self, index: int, reason: str, *, elapsed: float) -> None:
        """Write why a trial has no outcome; it is not tried again."""
        number = self._running(index)
        self._attrs(number, reason=reason, elapsed=round(elapsed, 3))
        self._tell_failed(number)

    def raised(self, index: int, reason: str) -> int:
        """Write why a trial that runs raised an exception; return how often it did, in former processes, too."""
        number = self._running(index)
        found = [one for one in self._study.get_trials(deepcopy=False) if one.user_attrs.get("index") == index]
        reasons = {one.number: one.user_attrs.get("raised", []) for one in found}
        self._attrs(number, raised=[*reasons[number], reason])
        return 1 + sum(len(one) for one in reasons.values())

    @property
    def elapsed(self) -> float:
        """Seconds that the search has taken, over all of its processes; see `count`."""
        return max(float(self._study.user_attrs.get("elapsed", 0.0)), *(trial.elapsed for trial in self.trials()), 0.0)

    def count(self, elapsed: float) -> None:
        """Write how many seconds the search has taken; a thread may, while no other one writes.

        Raises:
          OSError: the disk is full, say; the line may not be whole, and the next method that would write another one
            behind it raises the same.
        """
        self._check_writable()
        try:
            self._study.set_user_attr("elapsed", round(elapsed, 3))
        except OSError as error:
            self._broken = error
            raise

    def lost(self) -> tuple[Trial, ...]:
        """Mark the trials that run as failed: their process is gone; return them, to be begun again."""
        states = optuna_here().trial.TrialState
        for frozen in self._study.get_trials(deepcopy=False):
            if frozen.state == states.RUNNING:
                self._attrs(frozen.number, lost=True)
                self._tell_failed(frozen.number)
        done = {trial.index for trial in self.trials()}
        # Also those that a process marked which was killed before it began them again.
        left = {frozen.user_attrs["index"]: frozen for frozen in self._study.get_trials(deepcopy=False)}
        return tuple(_trial(frozen) for index, frozen in sorted(left.items()) if index not in done)

    def _tell_failed(self, number: int) -> None:
        with quiet():
            self._study.tell(number, state=optuna_here().trial.TrialState.FAIL)

    def _attrs(self, number: int, **attrs: Any) -> None:
        trial_id = self._study.get_trials(deepcopy=False)[number]._trial_id
        for name, value in attrs.items():
            self._study._storage.set_trial_user_attr(trial_id, name, value)

    def _check_writable(self) -> None:
        if self._broken is not None:
            raise self._broken
        self._check()

    def _running(self, index: int) -> int:
        self._check_writable()
        states = optuna_here().trial.TrialState
        for frozen in reversed(self._study.get_trials(deepcopy=False)):
            if frozen.user_attrs.get("index") == index and frozen.state == states.RUNNING:
                return int(frozen.number)
        raise SearchError(
            f"trial {index} was ended by another process, which writes this search, too",
            hint="Let one of them go on, by resume: nothing that had ended is lost.",
        )


def _lost(frozen: Any) -> bool:
    return bool(frozen.user_attrs.get("lost"))


def _trial(frozen: Any) -> Trial:
    attrs, states = frozen.user_attrs, optuna_here().trial.TrialState
    state = {states.COMPLETE: FINISHED, states.FAIL: FAILED}.get(frozen.state, RUNNING)
    return Trial(
        index=int(attrs["index"]),
        params=dict(frozen.params),
        state=state,
        outcome=Outcome.from_json(attrs["outcome"]) if state == FINISHED else None,
        reason=str(attrs.get("reason", "")),
        elapsed=float(attrs.get("elapsed", 0.0)),
    )


class Shared(Protocol):
    """Where trials are kept beside the folder; see `edgefm.searching.storage.shared.SharedStudy`."""

    def may_have_trials(self, folder: Path) -> bool:
        """Return whether the study that a folder's storage.json names has trials; True where that is not known."""

    def study(
        self, folder: Path, identity: Mapping[str, Any], *, resume: bool
    ) -> AbstractContextManager[tuple[Any, Any]]:
        """Give Optuna's study, and what has a method `check` that raises where another driver took over."""


@contextmanager
def opened(
    folder: Path,
    identity: Mapping[str, Any],
    distributions: Mapping[str, Any],
    *,
    resume: bool,
    shared: Shared | None = None,
) -> Iterator[Journal]:
    """Give the journal of a search's folder, locked for this process.

    Args:
      folder: of the search; made where it is not there.
      identity: what decides the trials, as JSON; the folder must be of the same, but for what it does not say since an
        older edgefm began it, and for 'lag' and 'versions', which stay what they were when the search began: it may go
        on with more or fewer processes, and other libraries.
      distributions: of the parameters.
      resume: go on with the search in the folder; where that has no trial yet it is begun anew, whatever it was of.
      shared: keeps the trials instead of the folder; then a new folder may go on with a search, too.
    Raises:
      SearchError: another process searches there, the folder holds something else or a search of something else, there
        is a search and `resume` does not ask for it, or none and it does.
      OSError: the folder cannot be written.
    """
    with locked(folder):
        for name in (_DRIVER, IDENTITY_FILE, STORAGE_FILE):
            for left in artefacts.unfinished(folder, name):  # of a killed process: nobody else is here
                left.unlink(missing_ok=True)
        known = read_identity(folder)
        new = known is None
        if known is None:
            if resume and shared is None:
                raise SearchError(f"{folder} holds no search to go on with", hint="Leave resume out to begin one.")
            _check_empty(folder, shared)
        elif not _may_have_trials(folder, shared):
            # It ended before its first trial, e.g. since nothing can meet its budgets: others may be given now.
            (folder / JOURNAL_FILE).unlink(missing_ok=True)
            new = True
        else:
            _check_same(folder, known, identity)
            if not resume:
                raise SearchError(
                    f"{folder} holds this search already", hint="Go on with it by resume, or give another folder."
                )
            _check_place(folder, shared)
            identity = {**identity, **{name: known.get(name) for name in _OF_WHO_BEGAN}}
        if shared is not None:
            with shared.study(folder, identity, resume=resume) as (study, lease):
                there = study.user_attrs
                identity = {**identity, "lag": there["lag"], "versions": there.get("versions") or {}}
                if new:
                    artefacts.write_json(folder / IDENTITY_FILE, identity)
                yield Journal(
                    study, distributions, lag=identity["lag"], versions=identity["versions"], check=lease.check
                )
            return
        if new:
            artefacts.write_json(folder / IDENTITY_FILE, dict(identity))
        yield Journal(_study(folder), distributions, lag=identity["lag"], versions=identity.get("versions"))


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a search's folder; a lock of a process that has ended does not count.

    Raises:
      SearchError: another process holds it, which is named.
    """
    if folder.exists() and not folder.is_dir():
        raise SearchError(f"{folder} is a file, not a folder", hint="Give another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise SearchError(
            f"{folder} is being searched by another process{_driver(folder)}",
            hint="Wait for it to end, or stop it: it goes on later; or give another folder.",
        ) from None
    try:
        artefacts.write_json(folder / _DRIVER, {"pid": os.getpid(), "host": platform.node()})
        yield
    finally:
        lock.release()


def read_identity(folder: Path) -> dict[str, Any] | None:
    """Return what is searched in a folder; None where no search was begun."""
    path = folder / IDENTITY_FILE
    if not path.exists():
        return None
    identity: dict[str, Any] = read_json(
        path, what="description of a search", error=SearchError, hint="Give another folder.", schema="search-1"
    )
    return identity


def _may_have_trials(folder: Path, shared: Shared | None) -> bool:
    if (folder / STORAGE_FILE).exists():
        return shared is None or shared.may_have_trials(folder)
    if not (folder / JOURNAL_FILE).exists():
        return False
    try:
        with quiet():
            study = optuna_here().load_study(study_name=_STUDY, storage=_stored(folder))
    except KeyError:  # it ended before it wrote anything
        return False
    except (ValueError, TypeError):  # half a line, or damaged
        return True
    return bool(study.get_trials(deepcopy=False))


def _check_empty(folder: Path, shared: Shared | None) -> None:
    # Of a process that was killed when it had begun a search in a storage, and had not written what is searched.
    left = () if shared is None else (STORAGE_FILE,)
    others = sorted(path.name for path in folder.iterdir() if path.name not in (_LOCK, _DRIVER, *left))
    if others:
        raise SearchError(f"{folder} holds something else: {shown(others[0])}", hint="Give a new or an empty folder.")


def _check_same(folder: Path, known: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    wanted = json.loads(json.dumps(identity))
    different = [name for name in wanted if known.get(name, wanted[name]) != wanted[name] and name not in _OF_WHO_BEGAN]
    if different:
        parts = [f"{name} ({_short(known[name])}, now {_short(wanted[name])})" for name in different]
        raise SearchError(
            f"{folder} holds another search: it differs in {', '.join(parts)}",
            hint="Give another folder, or what that search was begun with.",
        )


def _check_place(folder: Path, shared: Shared | None) -> None:
    """Raise a SearchError where the folder's trials are somewhere else than it is said now."""
    if shared is None and (folder / STORAGE_FILE).exists():
        about = read_json(folder / STORAGE_FILE, what="place of a search's trials", error=SearchError)
        raise SearchError(
            f"the trials of {folder} are not in it but in {about.get('place')}", hint="Give that storage again."
        )
    if shared is not None and (folder / JOURNAL_FILE).exists():
        raise SearchError(f"the trials of {folder} are in its own {JOURNAL_FILE}", hint="Leave the storage out.")


def _short(value: Any) -> str:
    text = json.dumps(value, sort_keys=True)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _driver(folder: Path) -> str:
    try:
        about = read_json(folder / _DRIVER, what="driver")
        return f": {int(about['pid'])} on {about['host']}"
    except (OSError, EdgefmError, KeyError, TypeError, ValueError):
        return ""


def _study(folder: Path) -> Any:
    """Return the study in a folder that this process holds, its journal mended."""
    path = folder / JOURNAL_FILE
    for left in folder.glob(f"{JOURNAL_FILE}.lock*"):  # of a killed process: nobody else is here
        left.unlink(missing_ok=True)
    if path.exists():
        content = read_bytes(path, what="journal", limit=_JOURNAL_BYTES, error=SearchError)
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            with path.open("r+b") as file:
                file.truncate(whole)
    try:
        with quiet():
            return optuna_here().create_study(
                study_name=_STUDY,
                storage=_stored(folder),
                directions=["minimize"] * len(OBJECTIVES),
                load_if_exists=True,
            )
    except (ValueError, KeyError, TypeError) as error:
        raise SearchError(
            f"{path} is damaged: {error}", hint="Give another folder; this one is left as it is."
        ) from error


def _stored(folder: Path) -> Any:
    """Return Optuna's storage of a folder's journal."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(str(folder / JOURNAL_FILE)))
