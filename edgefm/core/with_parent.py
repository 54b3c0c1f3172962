"""Child processes that end with the process that started them, even where that one is killed, and serve it alone.

Run as a module, it becomes another one (`command`): what a servant imports takes longer than its parent may live.
"""

from __future__ import annotations

import os
import runpy
import select
import signal
import sys
from collections.abc import Callable

from edgefm.core.subprocesses import python_module

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


def command(module: str) -> list[str]:
    """Return the command line of a module that ends with its parent from its first moment on, before its imports."""
    return python_module(__name__, module)


def serve_parent() -> tuple[int, int]:
    """Make this process its parent's servant, and return the channel: what requests come from, and answers go to.

    Ctrl-C is left to the parent, no core file is written, and this process ends with the parent even from within native
    code. What native code prints to standard output joins standard error, so that the channel stays clean.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end = end_with_parent()
    if end is not None:
        end()
    try:
        import resource
    except ImportError:  # Windows
        pass
    else:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.stdout.flush()
    requests, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    return requests, answers


def become(module: str) -> None:
    """Run a module in this process, as `python -m` would; the process ends with its parent."""
    end = end_with_parent()
    if end is not None:
        end()
        _end_if_alone()
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _end_if_alone() -> None:
    """End where nobody holds the other end of standard input any more and nothing was asked: that parent is gone."""
    waiting = select.poll()
    waiting.register(0, select.POLLIN)
    if any(event & select.POLLHUP and not event & select.POLLIN for _, event in waiting.poll(0)):
        os._exit(0)


if __name__ == "__main__":
    become(sys.argv.pop(1))
