"""The list of members at the end of a zip archive, held against a limit before it is read."""

from __future__ import annotations

import zipfile
from typing import BinaryIO

from edgefm.core.errors import EdgefmError

MOST_MEMBERS = 10_000
_BYTES_A_MEMBER = 512  # its name, its place and its sizes
_SIZE = 5  # of the list, in what zipfile reads from the end of an archive


def check_directory(file: BinaryIO, error: type[EdgefmError], *, source: str) -> None:
    """Raise an error where an archive lists more members than it may: zipfile reads them all when it is opened.

    Args:
      file: opened for reading; where it stands does not matter.
      error: class of the error.
      source: of the archive, for the message.
    """
    end = zipfile._EndRecData(file)  # type: ignore[attr-defined]  # the very numbers that zipfile goes by, ZIP64 too
    if end and end[_SIZE] > MOST_MEMBERS * _BYTES_A_MEMBER:
        raise error(f"{source} lists its content in {end[_SIZE]:,} bytes: {MOST_MEMBERS:,} files are allowed in it")
