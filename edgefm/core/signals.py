"""Signals that ask a command to end: it ends as with Ctrl-C, cleans up, and says by its exit code which one it was."""

from __future__ import annotations

import os
import signal
import sys
import time
from types import FrameType

# SIGTERM comes from schedulers, containers and `timeout`, SIGHUP from a terminal or an ssh connection that closes.
_NAMES = ("SIGTERM", "SIGHUP")
_SAME_REQUEST_SECONDS = 5.0
_REPEATED_SECONDS = 1.0
NOBODY_READS = 128 + 13  # as a program that SIGPIPE ended; Windows has no name for it


class Stopped(KeyboardInterrupt):
    """A signal asked this process to end."""


class _Received:
    number: int | None = None
    at: float = 0.0
    looked: bool = False


def listen() -> None:
    """Raise `Stopped` in the main thread on SIGTERM and SIGHUP, but for those that were set to be ignored (nohup).

    Ctrl-C raises KeyboardInterrupt as ever, and is remembered, too. Where the exception is swallowed (a library takes
    it for an ImportError of something optional, or it comes in a callback of native code), it is raised again.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    for name in _NAMES:
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _stop)
    sys.unraisablehook = _unraisable


def listen_no_more() -> None:
    """Do not raise again what was swallowed: everything is done."""
    if _Received.number is not None:
        _repeat(0.0)


def was_asked_to_stop() -> bool:
    """Return whether a signal asked for the end: what fails from then on may be its doing.

    A library that is just being imported can turn the exception of a signal into an ImportError.
    """
    return _Received.number is not None


def how_stopped() -> tuple[str, int]:
    """Return who stopped this process, in words, and the exit code for it: 128 and the signal's number."""
    _repeat(0.0)
    if _Received.number in (None, signal.SIGINT):
        return "stopped by the user", 128 + signal.SIGINT
    return f"stopped by {signal.Signals(_Received.number).name}", 128 + _Received.number


def all_is_read() -> bool:
    """Return whether what was printed has reached its reader; what is still written goes nowhere where it has not.

    `edgefm ... | head` is no error: the reader has seen enough.
    """
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and not stream.closed:
                stream.flush()
    except BrokenPipeError:
        let_go_of_the_terminal()
        return False
    return True


def _unraisable(found: sys.UnraisableHookArgs) -> None:
    """Say what a callback or a finaliser could not raise, but for a stop: that is raised again."""
    if not isinstance(found.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(found)


def _interrupt(number: int, frame: FrameType | None) -> None:
    _Received.number = _Received.number or number
    _repeat(_REPEATED_SECONDS)
    raise KeyboardInterrupt


def _repeat(seconds: float) -> None:
    """Look every so many seconds whether a stop has been swallowed; 0 ends that. Windows has no such timer."""
    _Received.looked = False
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, _stop_again)
        signal.setitimer(signal.ITIMER_REAL, seconds, seconds)


def _stop_again(number: int, frame: FrameType | None) -> None:
    """Raise what asked for the end again, unless that is on its way out, and things are cleaned up behind it."""
    on_its_way = sys.exception()
    while on_its_way is not None:
        if isinstance(on_its_way, KeyboardInterrupt):
            return
        on_its_way = on_its_way.__context__
    _Received.looked = not _Received.looked
    if _Received.looked:
        # It may have been raised just now and not have reached its handler: a machine that stood still for a second
        # rings as soon as it goes on. The next time it has.
        return
    raise Stopped


def _stop(number: int, frame: FrameType | None) -> None:
    """Raise `Stopped`; what comes again at once (`timeout` sends twice) must not cut off the cleaning up."""
    now = time.monotonic()
    if _Received.number is not None and now - _Received.at < _SAME_REQUEST_SECONDS:
        return
    _Received.number, _Received.at = number, now
    if signal.Signals(number).name == "SIGHUP":
        let_go_of_the_terminal()
    _repeat(_REPEATED_SECONDS)
    raise Stopped


def let_go_of_the_terminal() -> None:
    """Send what is still written nowhere: the terminal is gone, and an error there would cut off the cleaning up."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)
