"""One ssh connection to a board: a master that is opened once, and the commands that go through it.

The system's `ssh` (OpenSSH) is used, with the user's own configuration and keys; it never asks for a password. The
master holds a session folder on the board: it lives as long as the master's standard input is open. When this
process ends, however that happens, the board ends the workers that are left and removes the folder by itself; where
the network or this machine goes, it does so when its sshd notices (sshd_config(5), ClientAliveInterval). All other
commands go through the master's socket (ssh_config(5), ControlMaster), so that none costs a handshake; they read no
configuration and never open a connection of their own.
"""

from __future__ import annotations

import os
import selectors
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO

from edgefm.core import scratch, subprocesses
from edgefm.core.errors import RecipeError
from edgefm.targets.base import TargetError
from edgefm.targets.ssh.address import Address

CONNECT_SECONDS = 10
# A board that answers nothing for 3 x 5 s is gone.
ALIVE_SECONDS, ALIVE_COUNT = 5, 3
_OPEN_SECONDS = 60.0
_END_SECONDS = 5.0
_FAILED = 255  # ssh's own exit status where it, not the command, failed
_MARK = "edgefm-session:"
_LONGEST_SOCKET = 80  # a socket's path holds 104 characters on some systems, and ssh adds 17 for a while

# Runs on the board as long as the master's input is open. Single quotes and newlines are left out: the login shell
# that takes the command apart may be any.
_HOLD = (
    'umask 077; c="$HOME/.cache/edgefm"; '
    'mkdir -p "$c" && d=$(mktemp -d "$c/session-XXXXXXXX") && mkdir "$d/scratch" || exit 1; '
    'find "$c" -maxdepth 1 -name "session-*" -mtime +1 -exec rm -rf {} + 2>/dev/null; '  # of a board that lost power
    f'echo "{_MARK}$d"; '
    "cat >/dev/null; "
    'for p in "$d"/*.pid; do if [ -f "$p" ]; then kill -9 "$(cat "$p")"; fi; done; '
    'rm -rf "$d"'
)

# What ssh says -> what to do. Source: OpenSSH's ssh.c, sshconnect.c and misc.c.
_HINTS = {
    "Could not resolve hostname": "Check the name, or give the board's address.",
    "Permission denied": "edgefm uses no passwords: install your key on the board with: ssh-copy-id",
    "Host key verification failed": "Connect once with ssh yourself and verify the board's host key.",
    "REMOTE HOST IDENTIFICATION HAS CHANGED": "The host key changed: if expected, run ssh-keygen -R HOST.",
    "Connection refused": "The machine is reachable, but no ssh server listens on this port.",
    "Connection timed out": "The machine does not answer: check that it is on and in this network.",
    "No route to host": "The machine does not answer: check that it is on and in this network.",
    "Session open refused": "The server allows too few sessions per connection: raise MaxSessions in its sshd_config.",
}


def explain(name: str, stderr: str, fallback: str) -> TargetError:
    """Return the error for what ssh or the board wrote to its standard error."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip() and not line.startswith("Warning:")]
    for words, hint in _HINTS.items():
        matching = [line for line in lines if words in line]
        if matching:
            return TargetError(f"{name}: {matching[-1]}", hint=hint)
    return TargetError(f"{name}: {lines[-1] if lines else fallback}")


def reach(address: Address, *, name: str, seconds: int) -> None:
    """Raise a TargetError where nothing can be run at an address."""
    options = [*_given_options(), "-o", f"ConnectTimeout={seconds}"]
    line = [*_ssh(name), *_fixed_options(None), *options, *_last_options(None)]
    try:
        result = subprocesses.run([*line, *address.arguments, "exit 0"], seconds=2 * seconds)
    except subprocesses.TimeLimitError:
        raise TargetError(f"{name}: no answer for {2 * seconds} s") from None
    except subprocesses.CommandError as error:
        raise TargetError(f"{name}: {error.message}", hint=error.hint) from None
    if result.code:
        raise explain(name, result.errors, "it cannot be reached")


class Connection:
    """An open connection. `close` ends it and removes its folder on the board."""

    def __init__(self, address: Address, *, name: str) -> None:
        """Connect, and make the session folder there.

        Args:
          address: of the board.
          name: of the target, for errors.
        Raises:
          TargetError: it cannot be reached, or has no room for a folder.
        """
        self._name = name
        self._address = address
        self._ssh = _ssh(name)
        options = _given_options()
        self._here = _short_folder()
        self._socket = str(self._here / "s")
        self._log = self._here / "log"
        line = [
            *self._ssh,
            *_fixed_options(self._socket),
            *options,
            *["-o", f"ConnectTimeout={CONNECT_SECONDS}"],
            *["-o", f"ServerAliveInterval={ALIVE_SECONDS}", "-o", f"ServerAliveCountMax={ALIVE_COUNT}"],
            *_last_options(self._socket),
            *address.arguments,
            command(_HOLD),
        ]
        try:
            with self._log.open("wb") as log:
                # A session of its own: Ctrl-C is this process's to handle.
                self._master = subprocess.Popen(
                    line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
                )
            self.folder = self._greeting()
        except BaseException:
            self.close()
            raise

    def _greeting(self) -> str:
        """Return the session folder that the board tells."""
        assert self._master.stdout is not None
        seen, until = b"", time.monotonic() + _OPEN_SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(self._master.stdout, selectors.EVENT_READ)
            while b"\n" not in seen or not Path(self._socket).exists():
                wait = 0.01 if b"\n" in seen else until - time.monotonic()
                if time.monotonic() > until:
                    raise TargetError(f"{self._name}: no answer for {_OPEN_SECONDS:g} s")
                if selector.select(max(wait, 0)):
                    piece = os.read(self._master.stdout.fileno(), 65536)
                    if not piece:
                        self._master.wait()
                        raise explain(self._name, self._logged(), "ssh ended without an error message")
                    seen += piece
        line = seen.decode(errors="replace").splitlines()[0]
        if not line.startswith(_MARK):
            raise TargetError(
                f"{self._name}: the login shell on the board prints {line[:80]!r} before a command runs",
                hint="Remove the output from its start-up files for non-interactive shells.",
            )
        return line.removeprefix(_MARK)

    @property
    def alive(self) -> bool:
        """Whether the connection still stands, as far as ssh has noticed."""
        return self._master.poll() is None

    def check(self) -> None:
        """Raise a TargetError where the connection was lost."""
        if not self.alive:
            raise self._lost("")

    def run(
        self,
        script: str,
        *arguments: str,
        doing: str,
        seconds: float,
        data: bytes | IO[bytes] | None = None,
        out: IO[bytes] | None = None,
    ) -> bytes:
        """Return the standard output of a shell script there.

        Args:
          script: for `sh`, without single quotes and newlines.
          arguments: $1, $2, …
          doing: what this is, for the error.
          seconds: it may take.
          data: its standard input.
          out: takes its output instead.
        Raises:
          TargetError: it failed, took too long, or the connection was lost.
        """
        self.check()
        try:
            line = [*self.through, command(script, *arguments)]
            result = subprocesses.run(line, seconds=seconds, stdin=data, out=out)
        except subprocesses.TimeLimitError:
            self.check()
            raise TargetError(f"{self._name}: {doing} took longer than {seconds:g} s") from None
        except subprocesses.CommandError as failure:
            raise TargetError(f"{self._name}: {doing} failed: {failure.message}", hint=failure.hint) from None
        if result.code:
            if result.code == _FAILED and self._ended():
                raise self._lost(doing)
            error = explain(self._name, result.errors, f"exit status {result.code}")
            reason = error.message.removeprefix(f"{self._name}: ")
            raise TargetError(f"{self._name}: {doing} failed: {reason}", hint=error.hint)
        return result.raw

    @property
    def through(self) -> list[str]:
        """The start of a command line that goes through the connection, and fails where it does not stand."""
        socket = ["-S", self._socket, "-o", "ControlMaster=no", "-o", "ProxyCommand=false", "-o", "BatchMode=yes"]
        return [*self._ssh, "-F", os.devnull, *socket, "-T", "--", self._address.host]

    def close(self) -> None:
        """End the connection; the board clears up by itself when it notices."""
        master = getattr(self, "_master", None)
        if master is not None:
            assert master.stdin is not None and master.stdout is not None
            master.stdin.close()
            try:
                master.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(master.pid, signal.SIGKILL)  # with a ProxyCommand of the user's
                master.wait()
            master.stdout.close()
        scratch.remove(self._here)

    def _ended(self) -> bool:
        """Return whether the master ends now: its clients notice a little earlier."""
        try:
            self._master.wait(1.0)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _lost(self, doing: str) -> TargetError:
        lines = [line.strip() for line in self._logged().splitlines() if line.strip()]
        why = f" ({lines[-1]})" if lines else ""
        during = f" while {doing}" if doing else ""
        return TargetError(f"{self._name}: the connection was lost{during}{why}")

    def _logged(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""


def command(script: str, *arguments: str) -> str:
    """Return a command line for the login shell there that runs a script by `sh`.

    >>> print(command('cat "$1"', "a picture"))
    exec sh -c 'cat "$1"' sh 'a picture'
    """
    assert "'" not in script and "\n" not in script, script
    return f"exec sh -c '{script}' sh {shlex.join(arguments)}".rstrip()


def _ssh(name: str) -> list[str]:
    program = shutil.which("ssh")
    if program is None:
        raise TargetError(f"{name}: the program 'ssh' is not installed", hint="Install OpenSSH's client.")
    return [program]


def _given_options() -> list[str]:
    """Return the user's options in EDGEFM_SSH_OPTIONS, e.g. '-i key -J gateway'."""
    options = os.environ.get("EDGEFM_SSH_OPTIONS", "")
    try:
        return shlex.split(options)
    except ValueError as error:
        raise RecipeError(f"EDGEFM_SSH_OPTIONS cannot be parsed: {error}: {options}") from None


def _fixed_options(socket: str | None) -> list[str]:
    """Return the options that must hold whatever else is given; with a socket, those of a master.

    Of an option after -o ssh takes the first value that it meets: these stand before the user's.
    """
    options = ["BatchMode=yes", "RequestTTY=no", "RemoteCommand=none", "ClearAllForwardings=yes", "ControlPersist=no"]
    options += ["ControlMaster=no", "ControlPath=none"] if socket is None else ["ControlMaster=yes"]
    return [part for option in options for part in ("-o", option)]


def _last_options(socket: str | None) -> list[str]:
    """Return those of them that ssh takes the last value of, behind the user's."""
    return ["-T", "-S", "none" if socket is None else socket]


def _short_folder() -> Path:
    """Return a new private folder whose path leaves room for a socket's name."""
    folder = scratch.make("ssh")
    if len(str(folder)) > _LONGEST_SOCKET:
        scratch.remove(folder)
        folder = Path(tempfile.mkdtemp(prefix="edgefm-ssh-", dir=Path("/tmp")))
    return folder
