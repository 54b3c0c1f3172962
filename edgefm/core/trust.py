"""Whose code may run: a list of what this user has trusted, kept with the user and never with the files.

A model with a Lambda layer, a .npz of Python objects and a function named as 'module:function' run code when they are
read. That is for the user to allow, by naming the function or by --trust; what a run, a record or a description of data
says of itself allows nothing. What was allowed once is kept by its sha256, so that later commands on the same run need
not ask again, and so that a file which has changed since is asked for anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from edgefm.core.documents import JSON_BYTES, object_told, read_bytes
from edgefm.core.errors import EdgefmError

_FILE = "trusted.jsonl"


@dataclass(frozen=True, kw_only=True)
class Trusted:
    """One entry of the list.

    Attributes:
      sha256: of what runs.
      what: it is, e.g. 'model lambda.keras', 'function my_data:load' or 'module my_package/helper.py'.
      folder: from which a function's module is imported, and which modules lie in; '' for files.
      date: UTC, ISO 8601.
    """

    sha256: str
    what: str
    folder: str = ""
    date: str = ""


# What this process was allowed; the list's file may lie where nobody can write.
_now: list[Trusted] = []


def list_path() -> Path:
    """Return the file that holds the list, in the user's configuration folder."""
    from platformdirs import user_config_path  # here: it takes longer to import than the command line may

    return user_config_path("edgefm", appauthor=False) / _FILE


def remember(sha256: str, what: str, *, folder: str = "") -> None:
    """Put something on the user's list; where that cannot be written, it holds for this process.

    Args:
      sha256: of what runs.
      what: it is, for a person who reads the list.
      folder: from which a function's module is imported.
    """
    remember_all([(sha256, what)], folder=folder)


def remember_all(given: Iterable[tuple[str, str]], *, folder: str = "") -> None:
    """Do the same with several things at once: each its sha256 and what it is."""
    known = {(entry.sha256, entry.what, entry.folder) for entry in entries()}
    date = datetime.now(UTC).isoformat(timespec="seconds")
    new = [
        Trusted(sha256=sha256, what=what, folder=folder, date=date)
        for sha256, what in given
        if (sha256, what, folder) not in known
    ]
    if not new:
        return
    _now.extend(new)
    path = list_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # One write at the file's end: two processes at once leave two whole lines.
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, "".join(json.dumps(asdict(entry)) + "\n" for entry in new).encode())
        finally:
            os.close(descriptor)
    except OSError:
        return


def is_trusted(sha256: str) -> bool:
    """Return whether the user has trusted a file of this content."""
    return any(entry.sha256 == sha256 for entry in entries())


def entries() -> list[Trusted]:
    """Return the user's list, the oldest first; lines that edgefm did not write are passed over."""
    listed = []
    try:
        lines = read_bytes(list_path(), what="list", limit=JSON_BYTES).decode("utf-8", "replace").splitlines()
    except (OSError, EdgefmError):
        lines = []
    for line in lines:
        try:
            entry = Trusted(**(object_told(line) or {}))
        except TypeError:
            continue
        if all(isinstance(value, str) for value in vars(entry).values()):
            listed.append(entry)
    return listed + _now
