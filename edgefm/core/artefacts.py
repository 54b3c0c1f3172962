"""Files with an identity: content sha256, written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import json
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgefm.core import scratch
from edgefm.core.errors import EdgefmError
from edgefm.core.given import regular

_CHUNK_BYTES = 1 << 20
_UNFINISHED, _FORMER = ".partial", ".former"
# The hidden folder of files that are replaced one after another, and what lies in it.
_SET, _IN_SET = ".edgefm.", ("new", "former", "absent")
# Of Linux's renameat2: paths are relative to the working folder; exchange both.
_HERE, _EXCHANGE = -100, 2


@dataclass(frozen=True, kw_only=True)
class Artefact:
    """A file that a step produced.

    Attributes:
      path: relative to the run directory, with forward slashes.
      format: 'keras', 'tflite', 'json', 'png', 'npz', 'csv', 'html', 'md' or 'txt'.
      sha256: of the content; the identity of the artefact.
      size_bytes: length of the file.
      produced_by: name of the step, e.g. '00-train'.
    """

    path: str
    format: str
    sha256: str
    size_bytes: int
    produced_by: str

    def to_json(self) -> dict[str, Any]:
        """Return the artefact as a JSON object."""
        return asdict(self)


def describe(path: Path, *, root: Path, produced_by: str) -> Artefact:
    """Return the artefact record of a file that lies below `root`."""
    return Artefact(
        path=path.relative_to(root).as_posix(),
        format=path.suffix.lstrip("."),
        sha256=sha256_file(path),
        size_bytes=path.stat().st_size,
        produced_by=produced_by,
    )


def sha256_file(path: Path) -> str:
    """Return the hexadecimal sha256 of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_bytes(content: bytes) -> str:
    """Return the hexadecimal sha256 of bytes."""
    return hashlib.sha256(content).hexdigest()


def sha256_json(value: Any) -> str:
    """Return the sha256 of a value's canonical JSON (sorted keys, no spaces).

    >>> sha256_json({"b": 1, "a": 2}) == sha256_json({"a": 2, "b": 1})
    True
    """
    return sha256_bytes(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def write_bytes(path: Path, content: bytes) -> Path:
    """Write a file atomically: a reader sees the old content or the new, never a part.

    The content goes to a temporary file in the same folder, is flushed to disk and renamed. On any failure (a
    full disk, say) the temporary file is removed and the old file, if any, stays.
    """
    unfinished = _written_beside(path, content)
    try:
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    return path


def write_text(path: Path, text: str) -> Path:
    """Write UTF-8 text atomically."""
    return write_bytes(path, text.encode("utf-8"))


def finite(value: Any) -> Any:
    """Return a value as JSON can say it: numbers that are NaN or infinite become None.

    >>> finite({"scales": [0.5, float("nan")]})
    {'scales': [0.5, None]}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: finite(item) for name, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, list | tuple) else value


def write_json(path: Path, value: Any) -> Path:
    """Write a value as indented JSON, atomically. NaN and infinity are refused: they are not JSON."""
    return write_bytes(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """Return a value as the indented JSON that `write_json` writes."""
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()


def write_folder(folder: Path, files: Mapping[str, bytes], *, gone: Iterable[str] = ()) -> None:
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


def exchange_folder(folder: Path, files: Mapping[str, bytes], *, replace: bool) -> None:
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
def folders_together(folder: Path) -> Iterator[Path]:
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


def _can_be_replaced(folder: Path, known: set[str]) -> bool:
    """Return whether a folder holds only files of these names, and nothing keeps it in its place."""
    with os.scandir(folder) as entries:
        if not all(entry.name in known and entry.is_file(follow_symlinks=False) for entry in entries):
            return False
    return not folder.is_mount() and not Path.cwd().is_relative_to(folder) and os.access(folder.parent, os.W_OK)


def _replace_folder(target: Path, files: Mapping[str, bytes], *, replace: bool = True) -> None:
    unfinished = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.", suffix=_UNFINISHED))
    former = unfinished.with_suffix(_FORMER)
    try:
        with scratch.held(unfinished):
            for name, content in files.items():
                write_bytes(unfinished / name, content)
            unfinished.chmod(0o755)
            if not replace or not target.exists():
                unfinished.rename(target)  # fails where another process filled it meanwhile
            elif not _exchanged(unfinished, target):
                target.rename(former)
                unfinished.rename(target)
    except BaseException:
        if former.exists() and not target.exists():
            former.rename(target)
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    shutil.rmtree(unfinished, ignore_errors=True)  # after an exchange it holds the former files
    shutil.rmtree(former, ignore_errors=True)


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
            write_bytes(new / name, content)
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


def _written_beside(path: Path, content: bytes) -> Path:
    """Return a file with this content in the folder of `path`, which is made where it is not there.

    Raises:
      EdgefmError: a device, a FIFO or a socket stands there, whose place no file may take.
      OSError: it cannot be written.
    """
    if path.exists() and not path.is_dir():
        regular.check(path, EdgefmError, missing="", hint="Give another name: this one is not overwritten.")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_UNFINISHED)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)
        raise
    return Path(name)
