"""Whether measured accuracies agree with a figure that somebody claims."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgefm.statistics.estimates import Estimate
from edgefm.statistics.noninferiority import student_t

# 97.5 % points of Student's t with 1 to 4 degrees of freedom; `student_t` gives the others.
_T = (12.706, 4.303, 3.182, 2.776)
_POINTS = 100.0
_ROUNDING = 1e-9  # far below one image in points
_NARROW = 0.01  # in points: of such a range two decimals do not show on which side a figure is

REPRODUCED, EXCEEDED, NOT_REPRODUCED = "reproduced", "exceeded", "not reproduced"
NOT_CREDIBLE, NO_CLAIM, NOTHING = "not credible", "no claim", "not measured"
RULE = (
    "The 95 % interval of the mean of the seeds (Student's t; with one seed the figure alone) is held against the "
    "claim, give or take the standard error of a share of so many images, one image at least. Where both overlap, the "
    "claim is reproduced; above it is exceeded; below it is not reproduced, or, where something speaks against the "
    "claim itself, not credible."
)


@dataclass(frozen=True, kw_only=True)
class ClaimVerdict:
    """What measured figures say of a claim.

    Attributes:
      name: 'reproduced', 'exceeded', 'not reproduced', 'not credible', 'no claim' or 'not measured'.
      reason: the figures that decide, in one sentence.
    """

    name: str
    reason: str

    def to_json(self) -> dict[str, str]:
        """Return the verdict as a JSON object."""
        return {"name": self.name, "reason": self.reason}


def mean_of_seeds(values: Sequence[float]) -> Estimate:
    """Return the mean of figures that differ by their seed, with Student's 95 % interval.

    Of one figure nothing is known of the spread: the interval is the figure itself.

    >>> mean_of_seeds([90.0, 91.0, 92.0])
    Estimate(value=91.0, low=88.5..., high=93.4...)

    Args:
      values: one a seed, at least one.
    """
    assert values
    mean, count = float(np.mean(values)), len(values)
    if count == 1:
        return Estimate(mean, mean, mean)
    point = _T[count - 2] if count - 2 < len(_T) else student_t(count - 1)
    half = point * float(np.std(values, ddof=1)) / math.sqrt(count)
    return Estimate(mean, mean - half, mean + half)


def standard_error(percent: float, samples: int) -> float:
    """Return the standard error, in points, of an accuracy in percent on so many samples: at least one of them.

    >>> round(standard_error(90.0, 10_000), 3)
    0.3
    """
    share = min(max(percent / _POINTS, 0.0), 1.0)
    return _POINTS * max(math.sqrt(share * (1 - share) / samples), 1 / samples)


def judge_claim(
    values: Sequence[float], claim: float | tuple[float, float] | None, *, samples: int, doubt: str = ""
) -> ClaimVerdict:
    """Return what measured accuracies say of a claimed one, by `RULE`.

    >>> judge_claim([91.0], 93.3, samples=12_000).name
    'not reproduced'

    Args:
      values: accuracies in percent, one a seed; empty where none could be measured.
      claim: in percent, a range as (low, high); None where there is none.
      samples: number of images that the accuracies were measured on.
      doubt: why the claim is not credible; '' where it may be true.
    """
    if claim is None:
        return ClaimVerdict(name=NO_CLAIM, reason="no figure is claimed")
    if not values:
        return ClaimVerdict(name=NOTHING, reason="no seed gave a figure")
    low, high = claim if isinstance(claim, tuple) else (claim, claim)
    least = max(low - standard_error(low, samples), 0.0)
    most = min(high + standard_error(high, samples), _POINTS)
    mean = mean_of_seeds(values)
    digits = 3 if most - least < _NARROW else 2
    reason = (
        f"{_measured(mean, len(values), digits)} against {figure(claim)} %, with its standard error "
        f"{least:.{digits}f} to {most:.{digits}f}"
    )
    if mean.low > most + _ROUNDING:
        return ClaimVerdict(name=EXCEEDED, reason=reason)
    if mean.high >= least - _ROUNDING:
        return ClaimVerdict(name=REPRODUCED, reason=reason)
    if doubt:
        return ClaimVerdict(name=NOT_CREDIBLE, reason=f"{reason}; {doubt}")
    return ClaimVerdict(name=NOT_REPRODUCED, reason=reason)


def figure(claim: float | tuple[float, float] | None) -> str:
    """Return a claimed figure as a text.

    >>> figure(93.3), figure((88.01, 89.58)), figure(None)
    ('93.3', '88.01 to 89.58', '-')
    """
    if claim is None:
        return "-"
    return " to ".join(f"{value:g}" for value in (claim if isinstance(claim, tuple) else (claim,)))


def _measured(mean: Estimate, seeds: int, digits: int) -> str:
    if seeds == 1:
        return f"{mean.value:.{digits}f} % (one seed)"
    return f"{mean.value:.{digits}f} % ({mean.low:.{digits}f} to {mean.high:.{digits}f}, {seeds} seeds)"
