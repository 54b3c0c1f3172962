"""Child processes that end with the process that started them, even where that one is killed."""

from __future__ import annotations

import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG, _SIGKILL = 1, 9  # prctl(2), signal(7)


def end_with_parent() -> Callable[[], None] | None:
    """Return what Popen takes as `preexec_fn` for this; None where the system has nothing of the kind.

    It is safe in a process with one thread, as a worker is: between fork and exec it makes one system call.
    """
    if sys.platform != "linux":
        return None
    import ctypes

    prctl = ctypes.CDLL(None).prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, _SIGKILL)

    return ask
