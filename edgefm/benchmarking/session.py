"""What is known of one benchmark as a whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from edgefm.targets.base import Target


@dataclass(kw_only=True)
class BenchmarkSession:
    """What is known of one benchmark as a whole.

    Attributes:
      target: where it was measured.
      environment: of that machine, see `edgefm.core.environment`.
      states: of the place before the first round and after each one.
      stopped: why no further round was taken.
      seconds: that the rounds took.
      notes: what disturbed the whole benchmark.
    """

    target: Target
    environment: dict[str, Any]
    states: list[dict[str, Any]] = field(default_factory=list)
    stopped: str = "nothing was timed"
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
