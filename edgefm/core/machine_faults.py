"""Faults of the machine, such as a full disk: what fails for them may work later, as it is."""

from __future__ import annotations

import errno
import os

# Not among them: what a library says of a damaged file, which may be an OSError, too.
_NAMES = ("ENOSPC", "EDQUOT", "EROFS", "EIO", "EMFILE", "ENFILE", "EACCES", "EPERM")
_NUMBERS = [getattr(errno, name) for name in _NAMES if hasattr(errno, name)]


def fault_behind(error: BaseException) -> OSError | None:
    """Return the fault of the machine that an error comes from; None where there is none.

    It is among the causes of the error, or in their texts: TensorFlow, and processes apart, tell no more of it.

    >>> fault_behind(ValueError("/tmp/model/variables: No space left on device"))
    OSError(28, 'No space left on device')
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _NUMBERS:
            return cause
        for number in _NUMBERS:
            if os.strerror(number) in str(cause):
                return OSError(number, os.strerror(number))
        cause = cause.__cause__ or cause.__context__
    return None
