"""A trial: a point of the space, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

RUNNING, FINISHED, FAILED = "running", "finished", "failed"
# What a search makes small, by the names of figures: accuracy x latency x download.
OBJECTIVES = ("accuracy_loss", "p50_ratio", "download_bytes")
Figures = Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What a trial's file was like after some epochs of fine-tuning.

    Attributes:
      epochs: of removing channels; those of the other passes follow from it.
      figures: of the file, on validation samples; by the names in `edgefm.searching.budget.KEYS`.
    """

    epochs: int
    figures: Figures = field(hash=False)

    @property
    def costs(self) -> tuple[float, ...]:
        """The objectives, less is better."""
        return tuple(float(self.figures[name] or 0.0) for name in OBJECTIVES)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a trial.

    Attributes:
      stages: from few epochs to many; at least one.
      complete: it went through all stages; else it was stopped as a weak one.
      seconds: it took.
    """

    stages: tuple[Stage, ...]
    complete: bool
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as a JSON object."""
        return {"stages": [asdict(stage) for stage in self.stages], "complete": self.complete, "seconds": self.seconds}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Outcome:
        """Return the outcome that `to_json` wrote."""
        stages = tuple(Stage(epochs=stage["epochs"], figures=stage["figures"]) for stage in value["stages"])
        return cls(stages=stages, complete=bool(value["complete"]), seconds=float(value["seconds"]))


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A point that was begun.

    Attributes:
      index: place in the search, from 0; what is tried there follows from it, the seed, and the trials before.
      params: of the point, see `Space.distributions`.
      state: 'running', 'finished' or 'failed'.
      outcome: of a finished one.
      reason: why it failed.
      elapsed: seconds that the search had taken at its end, over all of its processes.
    """

    index: int
    params: Mapping[str, Any] = field(hash=False)
    state: str = RUNNING
    outcome: Outcome | None = None
    reason: str = ""
    elapsed: float = 0.0

    @property
    def ended(self) -> bool:
        """Whether it will not be done again."""
        return self.state != RUNNING

    @property
    def figures(self) -> Figures:
        """Of its last stage; {} where there is none."""
        return self.outcome.stages[-1].figures if self.outcome else {}

    @property
    def costs(self) -> tuple[float, ...] | None:
        """Objectives of its last stage; None where there is none."""
        return self.outcome.stages[-1].costs if self.outcome else None

    @property
    def complete(self) -> bool:
        """Whether it went through all stages."""
        return self.outcome is not None and self.outcome.complete


def complete_ones(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials that went through all stages."""
    return [trial for trial in trials if trial.complete]
