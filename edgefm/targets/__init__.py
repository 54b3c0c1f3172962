"""Targets by address: where models are run. Listing them imports none; other packages add theirs by entry points.

An address is a kind and what the kind needs to know: 'host', 'ssh://pi@board', 'adb:SERIAL',
'qemu-aarch64:cortex-a72', 'browser', 'vela:ethos-u55-128', 'cortex-m:m4'. A kind is a module with one function::

    def target(rest: str) -> Target      # rest: the address behind the kind and its colon, '' where there is none

Another package offers one in its pyproject.toml::

    [project.entry-points."edgefm.targets"]
    my-board = "my_package.my_module"
"""

from __future__ import annotations

import importlib

from edgefm.core import plugins
from edgefm.core.errors import RecipeError, unknown_name
from edgefm.targets.base import Target, TargetError

ENTRY_POINT_GROUP = "edgefm.targets"

# Kind -> module. The ones that edgefm brings itself.
TARGETS: dict[str, str] = {
    "host": "edgefm.targets.host",
    "ssh": "edgefm.targets.ssh",
    "adb": "edgefm.targets.adb",
    "qemu-aarch64": "edgefm.targets.qemu_aarch64",
    "browser": "edgefm.targets.browser",
    "vela": "edgefm.targets.vela",
    "cortex-m": "edgefm.targets.cortex_m",
}

# What people call a target -> its address.
_OTHER_NAMES = {
    "android": "adb",
    "phone": "adb",
    "chrome": "browser",
    "chromium": "browser",
    "web": "browser",
    "localhost": "host",
    "local": "host",
    "here": "host",
    "pi": "ssh://pi@board",
    "rpi": "ssh://pi@board",
    "raspberry": "ssh://pi@board",
    "raspberrypi": "ssh://pi@board",
    "board": "ssh://pi@board",
    "arm64": "qemu-aarch64",
    "aarch64": "qemu-aarch64",
    "qemu": "qemu-aarch64",
    "ethos-u": "vela",
    "npu": "vela",
    "mcu": "cortex-m",
    "microcontroller": "cortex-m",
}


def modules() -> dict[str, str]:
    """Return the module of each known kind, edgefm's own first; none is imported."""
    return plugins.modules(ENTRY_POINT_GROUP, TARGETS)


def target(address: str) -> Target:
    """Return the target at an address.

    Raises:
      RecipeError: the kind is unknown, or what stands behind it is not understood.
      TargetError: the module of the kind cannot be imported.
    """
    kind, _, rest = address.partition(":")
    known = modules()
    if kind not in known:
        raise _unknown(address, known)
    try:
        make = importlib.import_module(known[kind]).target
    except (ImportError, AttributeError) as error:  # another package's
        raise TargetError(f"the target '{kind}' cannot be used: {known[kind]} fails: {error}") from error
    opened: Target = make(rest)
    return opened


def _unknown(address: str, known: dict[str, str]) -> RecipeError:
    """Return the error for an address of no known kind, with the address that is probably meant.

    >>> print(_unknown("pi@board", {"host": "", "ssh": ""}))
    unknown target 'pi@board'; did you mean 'ssh://pi@board'?
      Known: host, ssh.
    """
    kind = address.partition(":")[0]
    meant = f"ssh://{address}" if "@" in address and "/" not in address else _OTHER_NAMES.get(kind.lower())
    if meant is None:
        return unknown_name("target", kind, known)
    return RecipeError(f"unknown target '{address}'; did you mean '{meant}'?", hint=f"Known: {', '.join(known)}.")
