"""How long the passes of a trial train."""

from __future__ import annotations

from dataclasses import dataclass

# Epochs of the other passes, in those of removing channels: a network from scratch gets twice as many.
_SCRATCH = 2
# Of finalists, in epochs of a trial.
LONGER = 2
_PARTS = {"prune": 2, "cluster": 4, "qat": 8}


@dataclass(frozen=True, kw_only=True)
class Epochs:
    """How long each pass trains.

    >>> Epochs.of(8), Epochs.of(1)
    (Epochs(scratch=16, slim=8, prune=4, cluster=2, qat=1), Epochs(scratch=2, slim=1, prune=1, cluster=1, qat=1))
    """

    scratch: int
    slim: int
    prune: int
    cluster: int
    qat: int

    @classmethod
    def of(cls, slim: int) -> Epochs:
        """Return the epochs of all passes where removing channels gets so many; 0 trains nothing."""
        parts = {name: max(min(1, slim), slim // part) for name, part in _PARTS.items()}
        return cls(scratch=_SCRATCH * slim, slim=slim, **parts)

    @classmethod
    def of_finalist(cls, slim: int) -> Epochs:
        """Return the epochs of a finalist, where removing channels gets so many in a whole trial."""
        return cls.of(LONGER * slim)
