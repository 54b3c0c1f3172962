"""How much memory the machine has left, so that data that do not fit are refused before they are read."""

from __future__ import annotations

import contextlib
from pathlib import Path

from edgefm.core.errors import DataError

_MEMINFO = Path("/proc/meminfo")


def available_bytes() -> int | None:
    """Return the bytes that processes can take without swapping, as Linux estimates; None elsewhere."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in _MEMINFO.read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def check_fits(wanted: int, *, what: str, hint: str) -> None:
    """Raise a DataError where something takes more memory than there is.

    Args:
      wanted: bytes.
      what: takes them, e.g. '60,000 pictures of 224 x 224 x 3'.
      hint: what to do.
    """
    available = available_bytes()
    if available is not None and wanted > available:
        raise DataError(
            f"{what} take {wanted / 1e9:,.1f} GB of memory while they are read and divided into splits; "
            f"{available / 1e9:,.1f} GB are available",
            hint=hint,
        )
