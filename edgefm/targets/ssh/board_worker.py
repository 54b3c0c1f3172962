"""A worker on a board: started and ended there, its input and output through ssh."""

from __future__ import annotations

import subprocess
import threading
from contextlib import suppress
from typing import IO

from edgefm.targets.base import TargetError
from edgefm.targets.ssh.connection import Connection

_KILL_SECONDS = 5.0
_SIGNALS = range(129, 160)  # exit statuses of a shell whose command a signal ended

# A leading ~/ stands for the home folder there; the shell would not replace it in a quoted word.
HOME = 'p=$1; case $p in "~/"*) p="$HOME/${p#??}";; esac; '
# The worker's parent is a shell that tells by its exit status which signal ended it: ssh alone does not. A command
# in the background has no standard input, so it is handed over as number 3.
START = (
    HOME + 'cd "$3" || exit 1; exec 3<&0; "$p" "$2" "$3" <&3 3<&- & echo $! >"$4"; exec 3<&-; '
    'wait $!; c=$?; rm -f "$4"; exit $c'
)
_KILL = 'if [ -f "$1" ]; then kill -9 "$(cat "$1")"; fi'


class SshWorker(subprocess.Popen[str]):
    """The ssh process that a worker's input and output go through.

    Killing ssh would leave a worker that hangs running on the board, beside the next one that is measured.
    """

    def __init__(self, connection: Connection, line: str, note: str, log: IO[bytes]) -> None:
        super().__init__(
            [*connection.through, line],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        self._connection = connection
        self._note = note
        self._once = threading.Lock()

    def kill(self) -> None:
        """End the worker there, then ssh here."""
        if self._once.acquire(blocking=False) and self.poll() is None and self._connection.alive:
            with suppress(TargetError):  # lost or slow: what is left of it goes with the session folder
                self._connection.run(_KILL, self._note, doing="ending a worker", seconds=_KILL_SECONDS)
        super().kill()

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status; negative where a signal ended the worker there, as for a process here."""
        code = super().wait(timeout)
        return 128 - code if code in _SIGNALS else code
