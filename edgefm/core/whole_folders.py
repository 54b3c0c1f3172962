"""Whole folders: all files of one are written, or none, and what was there before stays; through a kill, too."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from edgefm.core import artefacts, scratch

_UNFINISHED, _FORMER = ".partial", ".former"
# The hidden folder of files that are replaced one after another, and what lies in it.
_SET, _IN_SET = ".edgefm.", ("new", "former", "absent")
# Of Linux's renameat2: paths are relative to the working folder; exchange both.
_HERE, _EXCHANGE = -100, 2


def write(folder: Path, files: Mapping[str, bytes], *, gone: Iterable[str] = ()) -> None:
    """Write files into a folder: all of them, or on any failure none, and what was there before stays.

    A folder that holds nothing else is exchanged for one that was written beside it: in one step on Linux, so that even
    SIGKILL leaves the former files or the new ones; elsewhere a kill may leave it under another name, and the next call
    puts it back.

    Where files of others lie in the folder, or it can't be renamed, the others are not touched: the new files are
    written first, then renamed one after another, and the former ones are kept in a hidden folder until all are in
    place. What SIGKILL cuts off between two of these renames the next call undoes first, so that it leaves the former
    files or its own, never a mix.

    Args:
      folder: is made where it is not there.
      files: content by name.
      gone: names of former files that are removed.
    Raises:
      OSError: a file cannot be written.
    """
    target = folder.resolve()
    known = {*files, *gone}
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:  # of a file
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), error.filename) from None
    _repair_beside(target)
    if target.is_dir():
        _repair_inside(target)
    if not target.exists() or _can_be_replaced(target, known):
        try:
            _replace_folder(target, files)
            return
        except OSError as error:
            if error.errno != errno.EXDEV:  # a folder of a container's image, which overlayfs does not rename
                raise
    _replace_files(target, files, gone=known - set(files))


def exchange(folder: Path, files: Mapping[str, bytes], *, replace: bool) -> None:
    """Write a folder anew, whole or not at all; what it held before, folders within it too, is gone then.

    An empty folder stays the one that it is, and is filled: it may be mounted, or a shell may stand in it.

    Args:
      folder: is made where it is not there; the caller has seen that what it holds may be lost.
      files: content by path, with '/' between folders.
      replace: what it holds may be lost. Otherwise what another process wrote there meanwhile stays.
    Raises:
      OSError: a file cannot be written, or the folder holds something and may not lose it; what was there stays.
    """
    target = folder.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    _repair_beside(target)
    if target.is_dir():
        _repair_inside(target)
    if target.is_dir() and not any(target.iterdir()):
        _replace_files(target, files, gone=())
    else:
        _replace_folder(target, files, replace=replace)


@contextlib.contextmanager
def together(folder: Path) -> Iterator[Path]:
    """Give a hidden folder within `folder`; all that is written there takes its place in `folder` at the end, or none.

    What had its place before, folders too, is gone then. Where the `with` block raises, or something cannot be put into
    its place, `folder` is as it was. What SIGKILL cuts off the next call undoes first.

    Args:
      folder: is made where it is not there; the caller has seen that what is replaced in it may be lost.
    Raises:
      OSError: the folder cannot be written into.
    """
    target = folder.resolve()
    made = not target.exists()
    target.mkdir(parents=True, exist_ok=True)
    _repair_inside(target)
    try:
        with _replaced_together(target) as new:
            yield new
    except BaseException:
        if made:
            with contextlib.suppress(OSError):  # another process may have put something into it
                target.rmdir()
        raise


def put(written: Path, folder: Path) -> None:
    """Give a folder that was written beside another one its name; what that one held is gone then.

    In one step on Linux, so that even SIGKILL leaves the former one or the new one; elsewhere a kill between two
    renames leaves neither under this name.

    Args:
      written: is put there.
      folder: that it takes the name of; need not be there.
    Raises:
      OSError: it cannot be renamed; what was there stays.
    """
    former = written.with_suffix(_FORMER)
    shutil.rmtree(former, ignore_errors=True)
    try:
        if not folder.exists():
            written.rename(folder)
        elif not _exchanged(written, folder):
            folder.rename(former)
            written.rename(folder)
    except BaseException:
        if former.exists() and not folder.exists():
            former.rename(folder)
        raise
    shutil.rmtree(written, ignore_errors=True)  # after an exchange it holds the former files
    shutil.rmtree(former, ignore_errors=True)


def _can_be_replaced(folder: Path, known: set[str]) -> bool:
    """Return whether a folder holds only files of these names, and nothing keeps it in its place."""
    with os.scandir(folder) as entries:
        if not all(entry.name in known and entry.is_file(follow_symlinks=False) for entry in entries):
            return False
    return not folder.is_mount() and not Path.cwd().is_relative_to(folder) and os.access(folder.parent, os.W_OK)


def _replace_folder(target: Path, files: Mapping[str, bytes], *, replace: bool = True) -> None:
    unfinished = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.", suffix=_UNFINISHED))
    try:
        with scratch.held(unfinished):
            for name, content in files.items():
                artefacts.write_bytes(unfinished / name, content)
            unfinished.chmod(0o755)
            if replace:
                put(unfinished, target)
            else:
                unfinished.rename(target)  # fails where another process filled it meanwhile
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def _exchanged(one: Path, other: Path) -> bool:
    """Give each of two folders the other's name in one step; return whether this system and file system can."""
    if not sys.platform.startswith("linux"):
        return False
    import ctypes  # here: it takes longer to import than the command line may

    call = getattr(ctypes.CDLL(None), "renameat2", None)
    return call is not None and call(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0


def _replace_files(target: Path, files: Mapping[str, bytes], *, gone: Iterable[str]) -> None:
    with _replaced_together(target, gone=gone) as new:
        for name, content in files.items():
            artefacts.write_bytes(new / name, content)
        for name in (*dict.fromkeys(name.partition("/")[0] for name in files), *gone):
            if (target / name).is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target / name))


@contextlib.contextmanager
def _replaced_together(target: Path, *, gone: Iterable[str] = ()) -> Iterator[Path]:
    """Give a hidden folder to write into; at the end all that lies in it takes its place in `target`, or nothing."""
    unfinished = Path(tempfile.mkdtemp(dir=target, prefix=_SET, suffix=_UNFINISHED))
    changing = unfinished.with_suffix(_FORMER)
    new, former, absent = (changing / name for name in _IN_SET)
    try:
        with scratch.held(unfinished):
            for name in _IN_SET:
                (unfinished / name).mkdir()
            yield unfinished / new.name
            tops = sorted(path.name for path in (unfinished / new.name).iterdir())
            for name in (*tops, *gone):
                if not os.path.lexists(target / name):
                    (unfinished / absent.name / name).touch()
            unfinished.rename(changing)
            for name in (*tops, *gone):
                if not (absent / name).exists():
                    (target / name).rename(former / name)
                if name in tops:
                    (new / name).rename(target / name)
            changing.rename(unfinished)
    except BaseException:
        if changing.exists():
            _undo(changing)
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    shutil.rmtree(unfinished, ignore_errors=True)


def _undo(changing: Path) -> None:
    """Put the former files of a folder back, as its hidden folder `changing` holds them, and remove that.

    It holds what is not in place yet in `new`, former files in `former`, and names of which there was none in `absent`.
    """
    new, former, absent = (changing / name for name in _IN_SET)
    for path in former.iterdir():
        written = changing.parent / path.name
        if written.is_dir() and not written.is_symlink():  # which no rename replaces
            written.rename(new / path.name)
        path.replace(written)
    for path in absent.iterdir():
        written = changing.parent / path.name
        if not (new / path.name).exists() and os.path.lexists(written):
            written.rename(new / path.name)
    unfinished = changing.with_suffix(_UNFINISHED)
    changing.rename(unfinished)
    shutil.rmtree(unfinished, ignore_errors=True)


def _repair_inside(target: Path) -> None:
    """Undo and remove what a killed process left in a folder; not what another one may be changing now."""
    for path in target.glob(f"{_SET}????????{_FORMER}"):
        parts = [path / name for name in _IN_SET]
        whole = all(part.is_dir() and not part.is_symlink() for part in parts)  # a link would lead out of the folder
        if whole and not scratch.is_held(path):
            _undo(path)
    for path in target.glob(f"{_SET}????????{_UNFINISHED}"):
        if not scratch.is_held(path):
            shutil.rmtree(path, ignore_errors=True)


def _repair_beside(target: Path) -> None:
    """Do the same beside a folder that is replaced whole: where it is missing, its former one is put back."""
    pattern = f".{glob.escape(target.name)}.????????"
    for path in target.parent.glob(pattern + _FORMER):
        unfinished = path.with_suffix(_UNFINISHED)
        if unfinished.exists() and scratch.is_held(unfinished):
            continue
        if target.exists():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.rename(target)
    for path in target.parent.glob(pattern + _UNFINISHED):
        if not scratch.is_held(path):
            shutil.rmtree(path, ignore_errors=True)
