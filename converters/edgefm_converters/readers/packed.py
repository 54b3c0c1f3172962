"""What a .keras file says that it holds, held against the limits before anything of it is unpacked."""

from __future__ import annotations

import zipfile
from pathlib import Path

from edgefm.core.errors import ModelError
from edgefm.core.given import archive as archive_limits
from edgefm.core.given import limits

# What zipfile writes; the others can be packed denser.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def opened(path: Path) -> zipfile.ZipFile:
    """Return a .keras file opened as the zip archive that it is; a ModelError where it lists too many members."""
    with path.open("rb") as file:
        archive_limits.check_directory(file, ModelError, source=str(path))
    return zipfile.ZipFile(path)


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
    if len(members) > archive_limits.MOST_MEMBERS:
        raise ModelError(f"{source} holds {len(members):,} files; {archive_limits.MOST_MEMBERS:,} are allowed")
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
