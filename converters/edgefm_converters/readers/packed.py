"""What a .keras or HDF5 file says that it holds, held against the limits before anything of it is unpacked."""

from __future__ import annotations

import math
import zipfile
from typing import Any

from edgefm.core.errors import ModelError
from edgefm.core.given import limits

_MOST_MEMBERS = 10_000
_MOST_ENTRIES = 100_000
# What zipfile writes; the others can be packed denser.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def check_archive(archive: zipfile.ZipFile, *, source: str, size_bytes: int) -> None:
    """Raise a ModelError where a zip archive would unpack to more than it may, or beside its folder.

    Args:
      archive: opened for reading.
      source: of the archive, for messages.
      size_bytes: of its file.
    Raises:
      ModelError: too many or too large members, one that is there twice, is packed in an unusual way, or whose name
        leaves the archive.
    """
    members = archive.infolist()
    if len(members) > _MOST_MEMBERS:
        raise ModelError(f"{source} holds {len(members):,} files; {_MOST_MEMBERS:,} are allowed")
    known: set[str] = set()
    for member in members:
        name = member.filename
        parts = name.replace("\\", "/").split("/")
        if parts[0] == "" or ":" in parts[0] or ".." in parts:
            raise ModelError(f"{source} holds a file whose name leaves the archive: {name[:100]!r}")
        if name in known:
            raise ModelError(f"{source} holds the file {name[:100]!r} twice")
        known.add(name)
        if member.compress_type not in _METHODS:
            raise ModelError(f"the file {name[:100]!r} in {source} is packed in a way that Keras does not write")
        if name.endswith(".json") and member.file_size > limits.TEXT_BYTES:
            raise ModelError(
                f"{name[:100]!r} in {source} would unpack to {member.file_size:,} bytes; {limits.TEXT_BYTES:,} are "
                "allowed"
            )
    limits.check(sum(member.file_size for member in members), ModelError, size_bytes=size_bytes, what=source)


def check_hdf5(file: Any, *, source: str, size_bytes: int) -> None:
    """Raise a ModelError where an HDF5 file would read other files, or says that it holds more than it may.

    Args:
      file: h5py.File, opened for reading.
      source: of the file, for messages.
      size_bytes: of it.
    """
    import h5py  # type: ignore[import-untyped]  # it has no stubs

    waiting: list[Any] = [file["/"]]
    seen: set[int] = set()
    total = 0
    while waiting:
        entry = waiting.pop()
        address = int(h5py.h5o.get_info(entry.id).addr)
        if address in seen:  # hard links may go round in circles
            continue
        seen.add(address)
        if len(seen) > _MOST_ENTRIES:
            raise ModelError(f"{source} holds more than {_MOST_ENTRIES:,} groups and arrays")
        if isinstance(entry, h5py.Dataset):
            if entry.external or entry.is_virtual:
                raise ModelError(
                    f"the weights '{entry.name}' of {source} are in another file; they must be in this one"
                )
            total += _bytes(entry.shape, entry.dtype)
        elif isinstance(entry, h5py.Group):
            waiting += _members(entry, source)
        total += sum(_attribute_bytes(entry, name) for name in entry.attrs)
        limits.check(total, ModelError, size_bytes=size_bytes, what=source)


def _members(group: Any, source: str) -> list[Any]:
    import h5py

    members = []
    for name in group:
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink | h5py.SoftLink):
            raise ModelError(f"{source} holds a link ('{name}') to {link.path}; weights must be in the file itself")
        members.append(group[name])
    return members


def _attribute_bytes(entry: Any, name: str) -> int:
    attribute = entry.attrs.get_id(name)
    return _bytes(attribute.shape, attribute.dtype)


def _bytes(shape: tuple[int, ...] | None, dtype: Any) -> int:
    return math.prod(shape or ()) * int(dtype.itemsize)
