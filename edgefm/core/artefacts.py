"""Files with an identity: content sha256, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgefm.core.errors import EdgefmError
from edgefm.core.given import regular

_CHUNK_BYTES = 1 << 20
_UNFINISHED = ".partial"


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


def unfinished(folder: Path, name: str = "*") -> list[Path]:
    """Return what writes of a name in a folder have not finished: those of killed processes, and those that run now.

    Args:
      folder: that is looked into; nothing below it is.
      name: of the file, in which '*' stands for any letters.
    """
    return sorted(path for path in folder.glob(f".{name}.{'?' * 8}{_UNFINISHED}") if path.is_file())


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
