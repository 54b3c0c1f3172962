"""A process that keeps ChromeDriver and everything it starts, and ends them all when its own parent is gone.

A worker may be killed at any moment and then cleans up nothing; Chromium's processes outlive their driver, and some
leave their parent on purpose. So a guard stands between: it has a session of its own, adopts what its descendants
leave behind (PR_SET_CHILD_SUBREAPER, Linux), and waits for the end of its standard input, which comes when the
worker closes it or dies. Then it kills all descendants and removes the folder that held their temporary files.

Run as a module with the path of ChromeDriver; it answers with one JSON object: {"port": …} or {"reason": …}.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from edgefm.core import scratch
from edgefm.core.given import memory

_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
_START_SECONDS = 60.0
_END_SECONDS = 10.0
_PORT_TAKEN = "port not available"
_STARTED = re.compile(r"started successfully on port (\d+)")


def main() -> None:
    """Serve until standard input ends."""
    if importlib.util.find_spec("psutil") is None:
        _say({"reason": "the Python package psutil is not installed; the browser cannot be stopped without it"})
        return
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, _leave)
    _adopt()
    memory.lift()  # of a worker: it is for models, not for a browser
    folder = scratch.make("browser")
    try:
        _keep(sys.argv[1], folder)
    finally:
        _end_all()
        scratch.remove(folder)


def _keep(driver: str, folder: Path) -> None:
    """Start the driver, say its port, and wait until nobody needs it."""
    log = folder / "chromedriver.log"
    home = folder / "home"
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
    # Whatever the browser writes goes into the folder: profile, caches, sockets.
    environment = {**kept, "TMPDIR": str(folder), "HOME": str(home)}
    deadline = time.monotonic() + _START_SECONDS
    process = _started(driver, log, environment)
    while True:
        code = process.poll()  # before its last words are read
        text = log.read_text(encoding="utf-8", errors="replace")
        started = _STARTED.search(text)
        if started:
            _say({"port": int(started[1]), "profile": str(folder / "profile")})
            while os.read(0, 4096):
                continue
            return
        if code is not None and _PORT_TAKEN in text and time.monotonic() < deadline:
            process = _started(driver, log, environment)
        elif code is not None or time.monotonic() > deadline:
            lines = text.strip().splitlines()
            _say({"reason": f"{driver} did not start: {lines[-1] if lines else f'exit code {code}'}"})
            return
        if select.select([0], [], [], 0.01)[0]:  # nothing is ever sent: this is the end
            return


def _started(driver: str, log: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start the driver on a free port, its output in a new log.

    It takes a free port of IPv6 and then the same one of IPv4, which another program may have: then it ends.
    """
    with log.open("wb") as output:
        return subprocess.Popen(
            [driver, "--port=0"], stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment
        )


def _say(answer: dict[str, object]) -> None:
    print(json.dumps(answer), flush=True)


def _adopt() -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end_all() -> None:
    """Kill all descendants, those that appear meanwhile too, and reap them: the orphans among them are ours."""
    import psutil

    deadline = time.monotonic() + _END_SECONDS
    while time.monotonic() < deadline:
        descendants = psutil.Process().children(recursive=True)
        for process in descendants:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if not _reap() and not descendants:
            return
        time.sleep(0.005)


def _reap() -> bool:
    """Reap the children that have ended; return whether there are others."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue
    except ChildProcessError:
        return False
    return True


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main()
