"""What a target is: a place where models are run, or estimated, and what its figures are worth."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Protocol

from edgefm.core.errors import EdgefmError
from edgefm.runtimes.base import Availability

# measured: read from a clock or a counter on the real thing; simulated: counted in an emulator that runs the real
# code; estimated: computed from a model of the hardware.
Mode = Literal["measured", "simulated", "estimated"]


class TargetError(EdgefmError):
    """A target cannot be reached, went away in the middle, or cannot do what was asked of it."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure of a model on a target, or why it could not be had.

    Attributes:
      name: with its unit, e.g. 'instructions', 'latency_ns', 'arena_bytes'.
      value: None where it could not be had.
      mode: what the figure is worth.
      reason: why there is no value; None where there is one.
      details: what it depends on, e.g. {'system_config': …, 'memory_mode': …}.
    """

    name: str
    value: float | None
    mode: Mode
    reason: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert (self.value is None) != (self.reason is None), "a figure has a value or the reason why there is none"

    def to_json(self) -> dict[str, Any]:
        """Return the figure as a JSON object."""
        return {**asdict(self), "details": dict(self.details)}


class Place(Protocol):
    """An opened target: where worker processes run and model files lie. A context manager; it cleans up at the end.

    Every method raises a TargetError where the target went away.
    """

    def start(self, *, log: IO[bytes]) -> subprocess.Popen[str]:
        """Return a new worker process (`edgefm.worker.worker`), its standard input and output piped as text.

        Args:
          log: takes its standard error.
        """

    def put(self, path: Path) -> str:
        """Make a file of this machine readable there and return its path there; the same content is sent once."""

    def scratch(self, name: str) -> str:
        """Return a path there that a worker may write to."""

    def get(self, there: str, here: Path) -> None:
        """Copy a file that a worker wrote to this machine."""

    def state(self) -> Mapping[str, Any]:
        """Return what may disturb a measurement there, as far as the place tells: load, temperature, frequency.

        Keys: 'load_average', 'temperature_c', 'frequency_khz', 'governor', 'battery_percent'; an absent one is
        not known. It is asked before and after each round.
        """

    def __enter__(self) -> Place: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Target(Protocol):
    """A target by its address, e.g. 'host', 'ssh://pi@board', 'qemu-aarch64:cortex-a72'."""

    @property
    def name(self) -> str:
        """The address, as it was given; it stands in records."""

    @property
    def mode(self) -> Mode:
        """What its figures are worth."""

    @property
    def latency(self) -> bool:
        """Whether the time of a call there is the latency of the model."""

    @property
    def runtimes(self) -> tuple[str, ...]:
        """Runtimes that can be used there, the default first; empty where nothing is run (figures alone)."""

    def availability(self) -> Availability:
        """Return whether the target can be used from here now, and why not; takes a few seconds at most."""

    def open(self, runtime: str) -> Place:
        """Return the place where workers with this runtime run.

        Raises:
          TargetError: it cannot be reached, or runs nothing.
        """

    def figures(self, model: Path) -> tuple[Figure, ...]:
        """Return what is known of a model there beside what its workers measure; empty where that is all.

        Raises:
          ModelError: the model cannot be handled there.
          TargetError: the target cannot be used.
        """
