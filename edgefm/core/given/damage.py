"""One boundary around the libraries that read files of others: whatever damage makes them raise becomes one message."""

from __future__ import annotations

import errno
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from edgefm.core.errors import EdgefmError

_SHOWN = 200
_UNPRINTABLE = re.compile(r"[^\x20-\x7e\xa0-\ud7ff\ue000-\U0010ffff]+")
# The system's own, not the file's; the command line explains them.
_OF_THE_SYSTEM = frozenset(
    (
        errno.EACCES,
        errno.EPERM,
        errno.ENOENT,
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EROFS,
        errno.EMFILE,
        errno.ENFILE,
        errno.EIO,
    )
)


@contextmanager
def told(error: type[EdgefmError], says: str, *, hint: str | None = None) -> Iterator[None]:
    """Raise one error for whatever a library raises while it reads a file.

    Damaged bytes make libraries raise nearly anything: RecursionError, MemoryError, OverflowError, UnicodeDecodeError,
    struct.error, zlib.error, TypeError. Put only the library's work inside. Its warnings are not shown.

    Args:
      error: that is raised.
      says: what is wrong, e.g. 'data.npz cannot be read as a .npz file'; the library's reason is put behind it.
      hint: what to do next.
    Raises:
      EdgefmError: of the type `error`. Errors of edgefm itself and of the system (no permission, a full disk) pass.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except EdgefmError:
        raise
    except OSError as caught:
        if caught.errno in _OF_THE_SYSTEM:
            raise
        raise error(f"{says}: {reason(caught)}", hint=hint) from caught
    except Exception as caught:
        raise error(f"{says}: {reason(caught)}", hint=hint) from caught


def reason(caught: BaseException) -> str:
    r"""Return what an exception says, on one line of printable characters, shortened.

    >>> reason(ValueError("bad\x1b[2J\nbytes"))
    'bad [2J bytes'
    >>> reason(MemoryError()), reason(RecursionError("maximum recursion depth exceeded"))
    ('it needs more memory than there is', 'it is nested too deeply')
    """
    if isinstance(caught, MemoryError):
        return "it needs more memory than there is"
    if isinstance(caught, RecursionError):
        return "it is nested too deeply"
    words = caught.message if isinstance(caught, EdgefmError) else str(caught)
    text = " ".join(_UNPRINTABLE.sub(" ", words).split())
    if isinstance(caught, KeyError):
        text = f"{text} is missing"
    return (text[:_SHOWN] + "…" if len(text) > _SHOWN else text) or type(caught).__name__
