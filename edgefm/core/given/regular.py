"""Files that a user names are opened only where they are regular files.

A FIFO waits for whoever writes it, a device such as /dev/zero never ends: neither is a file of data. A path that is a
link to a regular file is one.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from edgefm.core.errors import EdgefmError

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def check(path: Path, error: type[EdgefmError], *, missing: str, hint: str | None = None) -> None:
    """Raise an error unless a path is a regular file.

    Args:
      path: as it was given.
      error: that is raised.
      missing: what to say where nothing is there.
      hint: what to do next.
    Raises:
      EdgefmError: of the type `error`; its message says what the path is instead.
      PermissionError: the folder may not be looked into.
    """
    try:
        mode = path.stat().st_mode
    except PermissionError:
        raise
    except (OSError, ValueError):  # also a loop of links, a name that is too long, a zero byte in it
        raise error(missing, hint=hint) from None
    _check_mode(path, mode, error, hint)


def open_file(path: Path, error: type[EdgefmError], *, missing: str, hint: str | None = None) -> BinaryIO:
    """Return a regular file, opened for reading bytes; see `check`. What is opened is what was checked."""
    check(path, error, missing=missing, hint=hint)
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        _check_mode(path, os.fstat(descriptor).st_mode, error, hint)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _check_mode(path: Path, mode: int, error: type[EdgefmError], hint: str | None) -> None:
    if not stat.S_ISREG(mode):
        kind = next((kind for is_kind, kind in _KINDS if is_kind(mode)), "no regular file")
        raise error(f"{path} is {kind}; a file is expected", hint=hint)
