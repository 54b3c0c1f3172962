"""The arrays of a .npz file, each held against the limits by its header before it is read."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import EdgefmError
from edgefm.core.given import archive, damage, limits, regular

_FORMAT: Any = np.lib.format  # its functions have no types
_ENDING = ".npy"
# What numpy writes; the others can be packed denser, and are not needed.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def read(
    path: Path,
    error: type[EdgefmError],
    *,
    missing: str,
    hint: str | None = None,
    trust: bool | None = None,
    only: Collection[str] | None = None,
    told: Callable[[int, int, str], None] | None = None,
) -> dict[str, NDArray[Any]]:
    """Return the arrays of a .npz file by name, in the order of the file.

    Args:
      path: of the file.
      error: that is raised.
      missing: what to say where there is no such file.
      hint: what to do then.
      trust: also unpickle arrays of Python objects, which runs code that the file brings; None where it is never done.
      only: names of arrays that are wanted; None takes all.
      told: called after each array with (how many are read, of how many, its name).
    Raises:
      EdgefmError: of the type `error`: no such file, no regular one, damaged, larger than it may be (see `limits`),
        or Python objects in it.
    """
    values: dict[str, NDArray[Any]] = {}
    with (
        regular.open_file(path, error, missing=missing, hint=hint) as file,
        damage.told(error, f"{path} cannot be read as a .npz file"),
        _opened(file, error, source=str(path)) as zipped,
    ):
        size_bytes = path.stat().st_size
        members = [member for member in zipped.infolist() if member.filename.endswith(_ENDING)]
        members = [member for member in members if only is None or _name(member) in only]
        _check_members(members, path, error, size_bytes=size_bytes)
        for index, member in enumerate(members):
            name = _name(member)
            with zipped.open(member) as content:
                _check_array(content, member, path, error, trust=trust)
            with zipped.open(member) as content:
                values[name] = _FORMAT.read_array(content, allow_pickle=bool(trust))
            if told is not None:
                told(index + 1, len(members), name)
    return values


def _opened(file: BinaryIO, error: type[EdgefmError], *, source: str) -> zipfile.ZipFile:
    archive.check_directory(file, error, source=source)
    return zipfile.ZipFile(file)


def _name(member: zipfile.ZipInfo) -> str:
    return member.filename.removesuffix(_ENDING)


def _check_members(
    members: Collection[zipfile.ZipInfo], path: Path, error: type[EdgefmError], *, size_bytes: int
) -> None:
    if len(members) > archive.MOST_MEMBERS:
        raise error(f"{path} holds {len(members):,} arrays; {archive.MOST_MEMBERS:,} are allowed")
    names = [member.filename for member in members]
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise error(f"{path} holds the array '{twice.removesuffix(_ENDING)}' twice", hint="Write the file again.")
    odd = next((member for member in members if member.compress_type not in _METHODS), None)
    if odd is not None:
        raise error(
            f"the array '{_name(odd)}' of {path} is compressed in a way that numpy does not write",
            hint="Write the file with numpy.savez or numpy.savez_compressed.",
        )
    limits.check(sum(member.file_size for member in members), error, size_bytes=size_bytes, what=str(path))


def _check_array(
    content: IO[bytes], member: zipfile.ZipInfo, path: Path, error: type[EdgefmError], *, trust: bool | None
) -> None:
    """Raise an error unless a member holds numbers or text, as many bytes as its header says."""
    version = _FORMAT.read_magic(content)
    reader = _FORMAT.read_array_header_1_0 if version == (1, 0) else _FORMAT.read_array_header_2_0
    shape, _, dtype = reader(content)
    if dtype.hasobject:
        if trust:
            return
        raise error(
            f"{path} holds Python objects in the array '{_name(member)}'",
            hint="Unpickling them can run code from the file. Save plain arrays of numbers"
            + (", or, if you wrote the file yourself, trust it." if trust is False else "."),
        )
    if dtype.itemsize == 0 and math.prod(shape) > 0:
        raise error(
            f"the array '{_name(member)}' of {path} holds {math.prod(shape):,} values of 0 bytes each",
            hint="Write the file again, with values of a type that holds something.",
        )
    wanted, held = math.prod(shape) * dtype.itemsize, member.file_size - content.tell()
    if min(shape, default=0) < 0 or wanted != held:
        raise error(
            f"the array '{_name(member)}' of {path} is damaged: its header and its {held:,} bytes do not fit together",
            hint="Write the file again.",
        )
