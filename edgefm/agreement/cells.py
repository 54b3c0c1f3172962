"""The cells of the matrix: a runtime with its kernel set on a target."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass

from edgefm import runtimes, targets
from edgefm.core.errors import EdgefmError, RecipeError
from edgefm.runtimes.base import Unavailable
from edgefm.targets.base import Target

HOST = "host"
ALL = "all"
# Targets that need an address or a device of the user's, and the slowest one: only when they are named.
_ONLY_NAMED = ("ssh", "adb", "cortex-m")
_RUNS_NOTHING = "no model is run there: it only estimates"
# What a kernel set is where a runtime is named without one.
_DEFAULT_KERNELS = {"litert": "xnnpack", "tflite-runtime": "xnnpack"}
_ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}
_OF_KINDS = {"qemu-aarch64": "aarch64", "browser": "wasm", "cortex-m": "thumb"}


@dataclass(frozen=True, kw_only=True)
class AgreementCell:
    """A runtime with its kernel set on a target.

    Attributes:
      runtime: as a user writes it, e.g. 'litert:reference'.
      target: address, e.g. 'host', 'qemu-aarch64:cortex-a72'.
      mode: what the target's figures are worth: 'measured', 'simulated' or 'estimated'.
    """

    runtime: str
    target: str
    mode: str = "measured"

    @property
    def name(self) -> str:
        """Name for a person: the runtime, and the target where it is not this machine."""
        return self.runtime if self.on_host else f"{self.runtime} @ {self.target}"

    @property
    def on_host(self) -> bool:
        """Whether it runs on this machine itself."""
        return self.target == HOST

    @property
    def architecture(self) -> str | None:
        """Instruction set that the kernels are built for, e.g. 'x86_64', 'aarch64'; None where it is not known."""
        if self.on_host:
            machine = platform.machine().lower()
            return _ARCHITECTURES.get(machine, machine)
        return _OF_KINDS.get(self.target.partition(":")[0])

    @property
    def name_of_runtime(self) -> str:
        """The runtime without its kernel set."""
        return runtimes.split(self.runtime)[0]

    @property
    def kernels(self) -> str | None:
        """The kernel set; None where the runtime has but one and it has no name."""
        bare, kernels = runtimes.split(self.runtime)
        return kernels or _DEFAULT_KERNELS.get(bare)


@dataclass(frozen=True, kw_only=True)
class Absent:
    """A target or runtime that cannot take part, and why."""

    name: str
    reason: str


def cells(
    *, runtime: Sequence[str] = (), target: Sequence[str] = ()
) -> tuple[tuple[AgreementCell, ...], tuple[Absent, ...]]:
    """Return the cells of this machine and of some targets, and what cannot take part.

    Whether a runtime is installed is found out when it is asked, in a process of its own. Other targets take part
    with the default kernel set of each runtime: an emulator is slow.

    Args:
      runtime: only these: 'litert' with all its kernel sets, or 'litert:reference', on all targets; () takes all
        that are known.
      target: addresses beside this machine; 'all' is every kind that runs models, is fast enough and
        needs no address.
    Raises:
      RecipeError: an unknown runtime, kernel set or target.
    """
    for name in runtime:
        bare, kernels = runtimes.split(name)
        known = _kernel_sets(bare)
        if kernels is not None and kernels not in known:
            raise RecipeError(
                f"{bare} has no kernel set '{kernels}'", hint=f"Known: {', '.join(known) or 'one without a name'}."
            )
    listed: list[AgreementCell] = []
    absent: list[Absent] = []
    for address in _addresses(target):
        place = _usable(address)
        if isinstance(place, Absent):
            if place.reason != _RUNS_NOTHING or address in target:
                absent.append(place)
            continue
        for name in place.runtimes:
            if address == HOST and name in runtimes.OF_TARGETS:
                continue
            try:
                sets = _spelt(name)
            except RecipeError as error:  # a target of another package may name a runtime that is not there
                absent.append(Absent(name=address, reason=error.message))
                continue
            listed += [
                AgreementCell(runtime=spelt, target=address, mode=place.mode)
                for spelt in (sets if runtime or address == HOST else sets[:1])
                if not runtime or spelt in runtime or runtimes.split(spelt)[0] in runtime
            ]
    return tuple(dict.fromkeys(listed)), tuple(absent)


def _usable(address: str) -> Target | Absent:
    """Return a target that models can be run on now, or why not: whatever one of another package raises is a reason.

    Raises:
      RecipeError: an unknown target, or an address that is not understood.
    """
    try:
        place = targets.target(address)
        if not place.runtimes:
            return Absent(name=address, reason=_RUNS_NOTHING)
        usable = place.availability()
    except RecipeError:
        raise
    except EdgefmError as error:
        return Absent(name=address, reason=error.message)
    except Exception as error:
        return Absent(name=address, reason=f"{type(error).__name__}: {error}")
    return Absent(name=address, reason=usable.reason) if isinstance(usable, Unavailable) else place


def _addresses(addresses: Sequence[str]) -> list[str]:
    """Return the addresses to look at, this machine first, each once."""
    wanted = [HOST]
    for address in addresses:
        wanted += [kind for kind in targets.modules() if kind not in _ONLY_NAMED] if address == ALL else [address]
    return list(dict.fromkeys(wanted))


def _spelt(name: str) -> tuple[str, ...]:
    """Return a runtime's names with each of its kernel sets."""
    bare, kernels = runtimes.split(name)
    if kernels is not None:
        return (name,)
    return tuple(f"{bare}:{kernel_set}" for kernel_set in _kernel_sets(bare)) or (bare,)


def _kernel_sets(bare: str) -> tuple[str, ...]:
    """Return a runtime's kernel sets; () where its module cannot be imported here, which its cell will tell."""
    runtimes.module_of(bare)
    try:
        return runtimes.kernels_of(runtimes.runtime(bare))
    except Exception:  # a module of another package may raise anything
        return ()
