"""A board's processes and files: what is sent there, and a look at its Python, numpy and runtime first."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from edgefm.core.artefacts import sha256_bytes, sha256_file
from edgefm.core.documents import object_told
from edgefm.core.errors import ModelError
from edgefm.core.text import quoted
from edgefm.targets import bundle
from edgefm.targets.base import TargetError
from edgefm.targets.ssh import board_state
from edgefm.targets.ssh.address import Address
from edgefm.targets.ssh.board_worker import HOME, START, SshWorker
from edgefm.targets.ssh.connection import Connection, command

_LEAST_PYTHON = (3, 10)
_SHORT_SECONDS = 60.0
_BYTES_PER_SECOND = 50_000  # slower than this a transfer is given up

# Without single quotes and newlines, for any login shell.
_PUT = (
    'cat >"$1.part" || { rm -f "$1.part"; exit 66; }; '
    'h=$({ sha256sum <"$1.part" || shasum -a 256 <"$1.part"; } 2>/dev/null); '
    'case $h in "$2"*) mv -f "$1.part" "$1";; *) rm -f "$1.part"; echo "it arrived damaged" >&2; exit 65;; esac'
)
_GET = 'exec cat "$1"'
_KEPT = 'if [ -f "$HOME/.cache/edgefm/$1" ]; then echo yes; fi; cd "$HOME/.cache/edgefm" && pwd'
_RUN_PYTHON = HOME + 'shift; exec "$p" "$@"'
# What the login folder there holds is not imported: a program on standard input would look there first.
_NOT_FROM_HERE = b"""
import sys
sys.path[:] = [part for part in sys.path if part]
"""
# Runs under any Python since 2.7; prints one line of JSON.
_LOOK = b"""
import json, platform, sys
facts = {"python": platform.python_version(), "new": sys.version_info[:2] >= (%d, %d), "program": sys.executable}
if facts["new"]:
    try:
        import numpy
        facts["numpy"] = numpy.__version__
    except Exception as error:
        facts["no_numpy"] = "%%s: %%s" %% (type(error).__name__, error)
print(json.dumps(facts))
"""
# Runs with the worker's zip file on its path.
_TRY = b"""
import importlib, json, sys
sys.path.insert(0, sys.argv[1])
try:
    module = importlib.import_module(sys.argv[2])
    usable = module.availability()
    reason, install = getattr(usable, "reason", None), getattr(module, "INSTALL", None)
except Exception as error:
    reason, install = "%s: %s" % (type(error).__name__, error), None
print(json.dumps({"reason": reason, "install": install}))
"""


class SshPlace:
    """Processes and files of a board."""

    def __init__(self, address: Address, *, name: str, module: str) -> None:
        """Connect and send what is missing there.

        Args:
          address: of the board.
          name: of the target, for errors.
          module: of the runtime.
        Raises:
          TargetError: it cannot be reached, or has no Python, numpy or runtime to use.
        """
        self.name = name
        self._python = os.environ.get("EDGEFM_SSH_PYTHON") or "python3"
        self._sent: dict[str, str] = {}
        self._hashes: dict[tuple[str, int, int], str] = {}
        self._started = 0
        self._connection = Connection(address, name=name)
        try:
            self._look()
            self._worker = self._send_worker()
            self._try(module)
        except BaseException:
            self._connection.close()
            raise

    @property
    def folder(self) -> str:
        """The session folder there."""
        return self._connection.folder

    def start(self, *, log: IO[bytes]) -> subprocess.Popen[str]:
        """Return a new worker process there; its `kill` ends it on the board too."""
        self._connection.check()
        self._started += 1
        note = f"{self.folder}/{self._started}.pid"
        return SshWorker(self._connection, command(START, self._python, self._worker, self.folder, note), note, log)

    def put(self, path: Path) -> str:
        """Send a file unless its content was sent before; return its path there."""
        try:
            stat = path.stat()
            key = (str(path.resolve()), stat.st_size, stat.st_mtime_ns)
            digest = self._hashes.get(key) or sha256_file(path)
        except OSError as error:
            raise ModelError(f"cannot read {path}: {error.strerror}") from error
        self._hashes[key] = digest
        if digest not in self._sent:
            folder = f"{self.folder}/{digest[:16]}"
            there = f"{folder}/{path.name}"
            self._connection.run('mkdir -p "$1"', folder, doing="making a folder", seconds=_SHORT_SECONDS)
            with path.open("rb") as file:
                self._send(file, there, digest, size=stat.st_size, doing=f"sending {path.name}")
            self._sent[digest] = there
        else:
            self._connection.check()
        return self._sent[digest]

    def scratch(self, name: str) -> str:
        """Return a path in the session folder."""
        return f"{self.folder}/scratch/{name}"

    def get(self, there: str, here: Path) -> None:
        """Fetch a file; it appears here whole or not at all."""
        part = here.with_name(here.name + ".part")
        try:
            with part.open("wb") as file:
                # How large it is is not known beforehand: a dead connection is noticed anyway.
                self._connection.run(_GET, there, doing=f"fetching {there}", seconds=3600, out=file)
            part.replace(here)
        finally:
            part.unlink(missing_ok=True)

    def state(self) -> Mapping[str, Any]:
        """Return load, temperature, frequency, governor and charge there, as far as it tells."""
        lines = self._connection.run(board_state.SCRIPT, doing="asking for its state", seconds=_SHORT_SECONDS)
        return board_state.read(lines.decode(errors="replace"))

    def __enter__(self) -> SshPlace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def _look(self) -> None:
        """Raise a TargetError where Python is missing there, too old, or without numpy."""
        hint = "Install Python on the board, or set EDGEFM_SSH_PYTHON to another interpreter."
        least = ".".join(map(str, _LEAST_PYTHON))
        try:
            python = self._run_python("-", data=_LOOK % _LEAST_PYTHON, doing=f"running {self._python}")
        except TargetError as error:
            self._connection.check()
            raise TargetError(
                f"{self.name}: '{self._python}' cannot be run on the board; Python {least} or newer is needed"
                f" ({error.message.removeprefix(self.name + ': ')})",
                hint=hint,
            ) from None
        if not python["new"]:
            raise TargetError(
                f"{self.name}: '{self._python}' is Python {python['python']}; {least} or newer is needed", hint=hint
            )
        if "no_numpy" in python:
            raise TargetError(
                f"{self.name}: '{self._python}' cannot import numpy ({python['no_numpy']})",
                hint=f"Install it on the board with: {_in_shell(self._python)} -m pip install numpy",
            )

    def _send_worker(self) -> str:
        """Return the path of the worker's zip file there; sent where this very content is not there yet."""
        content = bundle.content()
        digest = sha256_bytes(content)
        name = f"worker-{digest[:16]}.zip"
        listing = self._connection.run(_KEPT, name, doing="looking for the worker", seconds=_SHORT_SECONDS)
        *kept, cache = listing.decode(errors="replace").splitlines()
        there = f"{cache}/{name}"
        if not kept:
            # Sent under a name of this session, so that two at once do not write to one file.
            mine = f"{self.folder}/worker.zip"
            self._send(content, mine, digest, size=len(content), doing="sending the worker")
            self._connection.run('mv -f "$1" "$2"', mine, there, doing="placing the worker", seconds=_SHORT_SECONDS)
        return there

    def _try(self, module: str) -> None:
        """Raise a TargetError where the runtime cannot be used there."""
        trial = self._run_python("-", self._worker, module, data=_TRY, doing="trying the runtime")
        if trial["reason"] is not None:
            raise TargetError(
                f"{self.name}: the runtime cannot be used on the board: {trial['reason']}",
                hint=trial["install"] or f"Install it on the board, for '{self._python}'.",
            )

    def _run_python(self, *arguments: str, data: bytes, doing: str) -> dict[str, Any]:
        """Return the JSON that a program prints on its last line there."""
        printed = self._connection.run(
            _RUN_PYTHON, self._python, *arguments, data=_NOT_FROM_HERE + data, doing=doing, seconds=2 * _SHORT_SECONDS
        )
        lines = printed.decode(errors="replace").splitlines()
        answer = object_told(lines[-1]) if lines else None
        if answer is None:
            raise TargetError(f"{self.name}: {doing} gave {lines[-1:]} instead of a result")
        return answer

    def _send(self, data: bytes | IO[bytes], there: str, digest: str, *, size: int, doing: str) -> None:
        seconds = _SHORT_SECONDS + size / _BYTES_PER_SECOND
        self._connection.run(_PUT, there, digest, data=data, doing=doing, seconds=seconds)


def _in_shell(python: str) -> str:
    """Return a path as a shell there takes it; a leading ~/ stays what stands for the home folder."""
    return f"~/{quoted(python[2:])}" if python.startswith("~/") else quoted(python)
