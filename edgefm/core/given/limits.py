"""How much a file may unpack to: what it says of itself is held against this before anything is allocated.

A file of a few megabytes can say that it holds terabytes. Whatever is unpacked, decoded or allocated by a number that
stands in a file may take 256 MB, or 20 times the size of the file where that is more: a file written by the usual tools
never comes near. The environment variable EDGEFM_UNPACK_LIMIT_MB raises the 256 MB.
"""

from __future__ import annotations

import os

from edgefm.core.errors import EdgefmError, RecipeError

VARIABLE = "EDGEFM_UNPACK_LIMIT_MB"
UNPACKED_MB = 256
_TIMES_THE_FILE = 20
_WORKER_BYTES = 1536 << 20
# A description in JSON needs many times its size once it is parsed.
TEXT_BYTES = 32 << 20


def of_file(size_bytes: int) -> int:
    """Return the bytes that a file of a size may unpack to.

    >>> of_file(1_000), of_file(100_000_000)
    (268435456, 2000000000)

    Raises:
      RecipeError: EDGEFM_UNPACK_LIMIT_MB is no whole number of 1 or more.
    """
    return max(_stated() << 20, _TIMES_THE_FILE * size_bytes)


def working(size_bytes: int) -> int:
    """Return the bytes that a library may take to build or run what a file of a size describes: 512 MB more."""
    return of_file(size_bytes) + (512 << 20)


def of_worker(size_bytes: int) -> int:
    """Return the bytes that a worker may take to load and run a model's file: 1.5 GB, or `working` where that is more.

    A worker holds nothing but the model, so that it stays below 2 GB with a small file, whatever that describes.

    >>> of_worker(1_000) >> 20, of_worker(100_000_000) >> 20
    (1536, 2419)
    """
    return max(_WORKER_BYTES, working(size_bytes))


def check(wanted: int, error: type[EdgefmError], *, size_bytes: int, what: str) -> None:
    """Raise an error where a file says that it unpacks to more than it may.

    Args:
      wanted: bytes that would be allocated.
      error: that is raised.
      size_bytes: of the file.
      what: it is, with its name, e.g. 'the array 'x' of data.npz'.
    Raises:
      EdgefmError: of the type `error`; its hint says how to raise the limit.
    """
    allowed = of_file(size_bytes)
    if wanted > allowed:
        raise error(
            f"{what} would take {_megabytes(wanted)} MB of memory; the file has {_megabytes(size_bytes)} MB, and "
            f"{_megabytes(allowed)} MB are allowed",
            hint=how_to_raise(wanted),
        )


def how_to_raise(wanted: int) -> str:
    """Return the hint that says how to allow so many bytes."""
    return f"If you know where the file comes from, and it is meant to be so large: set {raised(wanted)}."


def raised(wanted: int) -> str:
    """Return the variable, set so that so many bytes are allowed.

    >>> raised(300 << 20), raised(1 << 60)
    ('EDGEFM_UNPACK_LIMIT_MB=301', 'EDGEFM_UNPACK_LIMIT_MB=…')
    """
    return f"{VARIABLE}={(wanted >> 20) + 1 if wanted < 1 << 50 else '…'}"


def _stated() -> int:
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return UNPACKED_MB
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) > 0):
        raise RecipeError(f"{VARIABLE}={text} is not allowed: a whole number of megabytes, 1 or more, is expected")
    return int(text)


def _megabytes(count: int) -> str:
    """Return bytes as megabytes, also where they are far too many for a float.

    >>> _megabytes(300), _megabytes(5 << 20), _megabytes(10**400)
    ('less than 1', '5', 'more than 10^12')
    """
    megabytes = count >> 20
    if megabytes > 10**12:
        return "more than 10^12"
    return f"{megabytes:,}" if megabytes else "less than 1"
