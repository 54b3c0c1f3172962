"""Files with an identity: content sha256, written whole or not at all."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import math
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgefm.core import scratch

_CHUNK_BYTES = 1 << 20
_UNFINISHED, _FORMER = ".partial", ".former"


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

    A folder that holds nothing else is replaced whole by one that was written beside it. Where other files lie in
    it, or it can't be renamed, the files are written first and then renamed one after another.

    Args:
      folder: is made where it is not there.
      files: content by name.
      gone: names of former files that are removed.
    Raises:
      OSError: a file cannot be written.
    """
    target = folder.resolve()
    known = {*files, *gone}
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists() or _can_be_replaced(target, known):
        _replace_folder(target, files)
    else:
        _replace_files(target, files, gone=known - set(files))


def _can_be_replaced(folder: Path, known: set[str]) -> bool:
    """Return whether a folder holds only files of these names, and nothing keeps it in its place."""
    with os.scandir(folder) as entries:
        if not all(entry.name in known and entry.is_file(follow_symlinks=False) for entry in entries):
            return False
    return not folder.is_mount() and not Path.cwd().is_relative_to(folder) and os.access(folder.parent, os.W_OK)


def _replace_folder(target: Path, files: Mapping[str, bytes]) -> None:
    _remove_leftovers(target)
    unfinished = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.", suffix=_UNFINISHED))
    former = unfinished.with_suffix(_FORMER)
    try:
        with scratch.held(unfinished):
            for name, content in files.items():
                write_bytes(unfinished / name, content)
            unfinished.chmod(0o755)
            if target.exists():
                target.rename(former)
            unfinished.rename(target)
    except BaseException:
        if former.exists() and not target.exists():
            former.rename(target)
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    shutil.rmtree(former, ignore_errors=True)


def _replace_files(target: Path, files: Mapping[str, bytes], *, gone: Iterable[str]) -> None:
    unfinished: dict[Path, Path] = {}
    former: dict[Path, Path] = {}
    mark = secrets.token_hex(4)
    try:
        for name, content in files.items():
            unfinished[target / name] = _written_beside(target / name, content)
        for path in (*unfinished, *(target / name for name in gone)):
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
            if path.exists():
                former[path] = path.with_name(f".{path.name}.{mark}{_FORMER}")
                path.rename(former[path])
            if path in unfinished:
                unfinished[path].rename(path)
    except BaseException:
        for path, temporary in former.items():
            if temporary.exists():
                temporary.replace(path)
        for path, temporary in unfinished.items():
            if path not in former and not temporary.exists():
                path.unlink(missing_ok=True)
            temporary.unlink(missing_ok=True)
        raise
    for temporary in former.values():
        temporary.unlink(missing_ok=True)


def _written_beside(path: Path, content: bytes) -> Path:
    """Return a file with this content in the folder of `path`, which is made where it is not there."""
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


def _remove_leftovers(target: Path) -> None:
    """Remove what a process that was killed left beside a folder; not what another one may be writing now."""
    pattern = f".{glob.escape(target.name)}.????????"
    for path in target.parent.glob(pattern + _UNFINISHED):
        if not scratch.is_held(path):
            shutil.rmtree(path, ignore_errors=True)
    for path in target.parent.glob(pattern + _FORMER):
        if not path.with_suffix(_UNFINISHED).exists() and target.exists():
            shutil.rmtree(path, ignore_errors=True)
