"""A board that is reached by ssh: `ssh://user@board[:port]`.

It needs Python 3.10 or newer with numpy and a runtime; edgefm's worker is sent there (`edgefm.targets.bundle`) and
kept in ~/.cache/edgefm by the hash of its content. Model files go to a session folder there, which is removed at the
end, also where this process is killed; where the network goes, once the board's sshd notices (`connection`).

EDGEFM_SSH_OPTIONS: further options of ssh, e.g. '-i ~/.ssh/board_key'.
EDGEFM_SSH_PYTHON: the Python there, e.g. '~/venv/bin/python'; python3 where it is not set.
"""

from __future__ import annotations

from pathlib import Path

from edgefm import runtimes
from edgefm.runtimes.base import Availability, Available, Unavailable
from edgefm.targets.base import Figure, Mode, TargetError
from edgefm.targets.ssh.address import Address, parse
from edgefm.targets.ssh.connection import reach
from edgefm.targets.ssh.place import SshPlace


def target(rest: str) -> Ssh:
    """Return the board at an address.

    Args:
      rest: '//user@board' or '//user@board:port'.
    """
    return Ssh(parse(rest), name=f"ssh:{rest}")


class Ssh:
    """A board by its address."""

    mode: Mode = "measured"
    latency = True

    def __init__(self, address: Address, *, name: str) -> None:
        self.name = name
        self._address = address

    @property
    def runtimes(self) -> tuple[str, ...]:
        """All known runtimes that are libraries, whether installed there or not."""
        return tuple(name for name in runtimes.modules() if name not in runtimes.OF_TARGETS)

    def availability(self) -> Availability:
        """Return whether a command can be run there; what Python has there is seen when it is opened."""
        try:
            reach(self._address, name=self.name, seconds=3)
        except TargetError as error:
            return Unavailable(error.message)
        return Available()

    def open(self, runtime: str) -> SshPlace:
        """Return a place there, after a look at its Python, numpy and the runtime."""
        return SshPlace(self._address, name=self.name, module=runtimes.module_of(runtime))

    def figures(self, model: Path) -> tuple[Figure, ...]:
        """Nothing beside what workers measure."""
        return ()
