"""What an HDF5 file holds, read in a process apart: damaged bytes can crash the HDF5 library, or keep it busy for ever.

What was read there without harm is read again by Keras in the process that goes on.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgefm.core.errors import ModelError
from edgefm.core.given import damage, limits
from edgefm.runtimes import apart

_MOST_ENTRIES = 100_000
_ATTRIBUTES = ("model_config", "keras_version", "training_config")
_SECONDS, _BYTES_A_SECOND = 5.0, 10 << 20


@dataclass(frozen=True, kw_only=True)
class Held:
    """What an HDF5 file holds.

    Attributes:
      attributes: texts by name, of those that Keras writes.
      groups: names of what lies at its root.
      elements: numbers in all of its arrays.
    """

    attributes: Mapping[str, str]
    groups: tuple[str, ...]
    elements: int


def read(path: Path, *, member: str | None = None) -> Held:
    """Return what an HDF5 file holds; all of its arrays and attributes were read.

    Args:
      path: of the file, or of a zip archive.
      member: of the archive; None where the path is the HDF5 file itself.
    Raises:
      ModelError: damaged, holds more than it may (see `edgefm.core.given.limits`), or would read other files.
    """
    size_bytes = path.stat().st_size
    return apart.call(
        _read,
        path.absolute(),  # the process apart stands where this one stood when it was started
        member,
        size_bytes=size_bytes,
        doing=f"reading {member or 'the HDF5 file'}{f' of {path}' if member else f' {path}'}",
        seconds=_SECONDS + size_bytes / _BYTES_A_SECOND,
    )


def _read(path: Path, member: str | None) -> Held:
    """Called in the process apart."""
    import h5py  # type: ignore[import-untyped]  # it has no stubs

    source: Any = path
    if member is not None:
        with zipfile.ZipFile(path) as archive:
            source = io.BytesIO(archive.read(member))
    says = f"{path} is not a model of Keras, or is cut off" if member is None else f"{member} in {path} is damaged"
    with damage.told(ModelError, says), h5py.File(source, "r") as file:
        elements = _elements(file, source=str(path), size_bytes=path.stat().st_size)
        texts = {name: _text(file.attrs[name]) for name in _ATTRIBUTES if name in file.attrs}
        return Held(attributes=texts, groups=tuple(file), elements=elements)


def _elements(file: Any, *, source: str, size_bytes: int) -> int:
    """Return how many numbers all arrays hold, once each was held against the limit and then read."""
    import h5py

    waiting: list[Any] = [file["/"]]
    seen: set[int] = set()
    total = elements = 0
    while waiting:
        entry = waiting.pop()
        address = int(h5py.h5o.get_info(entry.id).addr)
        if address in seen:  # hard links may go round in circles
            continue
        seen.add(address)
        if len(seen) > _MOST_ENTRIES:
            raise ModelError(f"{source} holds more than {_MOST_ENTRIES:,} groups and arrays")
        total += sum(_bytes(entry.attrs.get_id(name)) for name in entry.attrs)
        is_array = isinstance(entry, h5py.Dataset)
        if is_array:
            if entry.external or entry.is_virtual:
                raise ModelError(
                    f"the weights '{entry.name}' of {source} are in another file; they must be in this one"
                )
            total += _bytes(entry)
            elements += math.prod(entry.shape or ())
        limits.check(total, ModelError, size_bytes=size_bytes, what=source)
        for name in entry.attrs:
            entry.attrs[name]
        if is_array:
            entry[()]
        elif isinstance(entry, h5py.Group):
            waiting += _members(entry, source)
        apart.tell(len(seen))
    return elements


def _members(group: Any, source: str) -> list[Any]:
    import h5py

    members = []
    for name in group:
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink | h5py.SoftLink):
            raise ModelError(f"{source} holds a link ('{name}') to {link.path}; weights must be in the file itself")
        members.append(group[name])
    return members


def _bytes(array: Any) -> int:
    """Return the bytes of an array or an attribute by what it says of itself."""
    return math.prod(array.shape or ()) * int(array.dtype.itemsize)


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
