"""Temporary folders: in one place of the user's own, removed at the end, and swept where a process was killed.

All lie in `edgefm-<user id>` in the system's folder for temporary files (TMPDIR names another), which is the user's and
closed to others. Where something that is not the user's folder has that name, one of another name is made for this
process. Each temporary folder has a file beside it that its process holds a lock on: a lock ends with its process,
however that ends, and holds across containers that share the folder. What nobody holds any more is removed when the
next one is made.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path

_LOCK = ".lock"
# Folders of this process, with the locked file of each.
_held: dict[Path, int] = {}
# What is used instead of the user's folder, by the folder for temporary files.
_others: dict[Path, Path] = {}


def make(name: str) -> Path:
    """Return a new temporary folder; it stays until `remove`, or until its process ends and another makes one.

    Args:
      name: what it is for, the first part of its name.
    """
    root = root_folder()
    sweep(root)
    while True:
        descriptor, path = tempfile.mkstemp(prefix=f"{name}-", suffix=_LOCK, dir=root)
        # Before it was locked, another process may have taken the file for one that nobody holds.
        if _locked(descriptor) and os.fstat(descriptor).st_nlink:
            break
        os.close(descriptor)
    made = Path(path).with_suffix("")
    _held[made] = descriptor
    made.mkdir(mode=0o700)
    return made


def remove(folder: Path) -> None:
    """Remove a folder that `make` returned, with all that is in it; nothing is raised."""
    shutil.rmtree(folder, ignore_errors=True)
    descriptor = _held.pop(folder, None)
    with contextlib.suppress(OSError):
        folder.with_name(folder.name + _LOCK).unlink()
    if descriptor is not None:
        os.close(descriptor)


class Kept:
    """A temporary folder that is removed when nothing refers to this object any more."""

    def __init__(self, name: str) -> None:
        """Make the folder; `name` says what it is for."""
        self.path = make(name)
        weakref.finalize(self, remove, self.path)


@contextlib.contextmanager
def folder(name: str) -> Iterator[Path]:
    """Give a temporary folder that is removed at the end of the `with` block."""
    made = make(name)
    try:
        yield made
    finally:
        remove(made)


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Say within the `with` block that this process is writing a folder, wherever it lies; see `is_held`."""
    if os.name != "posix":  # where a folder cannot be opened
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _locked(descriptor)
        yield
    finally:
        os.close(descriptor)


def is_held(folder: Path) -> bool:
    """Return whether a process that runs says that it is writing a folder; True where that cannot be seen."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return True
    try:
        return not _locked(descriptor)
    finally:
        os.close(descriptor)


def root_folder() -> Path:
    """Return the folder of this user that all temporary ones lie in, mode 0700."""
    parent = Path(tempfile.gettempdir())
    wanted = parent / f"edgefm-{_user()}"
    with contextlib.suppress(FileExistsError):
        wanted.mkdir(mode=0o700)
    if _is_ours(wanted):
        return wanted
    # Somebody else's, or a link: it is neither used nor changed.
    if parent not in _others or not _others[parent].is_dir():
        _others[parent] = Path(tempfile.mkdtemp(prefix=f"edgefm-{_user()}-"))
    return _others[parent]


def sweep(root: Path) -> None:
    """Remove the temporary folders whose processes have ended; nothing else in `root` is touched."""
    for lock in root.glob(f"*{_LOCK}"):
        folder = lock.with_suffix("")
        if folder in _held:
            continue
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            continue
        try:
            if _locked(descriptor):  # otherwise its process runs
                shutil.rmtree(folder, ignore_errors=True)
                with contextlib.suppress(OSError):
                    lock.unlink()
        finally:
            os.close(descriptor)


def _is_ours(folder: Path) -> bool:
    """Return whether a path is a folder of this user's, no link, closed to others (it is closed where it was not)."""
    if os.name != "posix":
        return folder.is_dir()
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        return False
    if stat.S_IMODE(status.st_mode) != 0o700:
        folder.chmod(0o700)
    return True


def _locked(descriptor: int) -> bool:
    """Lock a file for as long as this process runs; return whether nobody else holds it."""
    try:
        import fcntl
    except ImportError:  # Windows removes no open file
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _user() -> str:
    return str(os.getuid()) if os.name == "posix" else "user"
