"""Does a classifier answer better than one that never looks at its input?

Chance level is the share of samples that always the commonest class would have right: with 89 of 100 samples in one
class it is 0.89, not one over the number of classes. The tests are exact binomial ones, so that they hold for a handful
of samples, too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BETTER, NO_BETTER, WORSE, UNCLEAR = "better", "no better", "worse", "unclear"
# One-sided error of each test: together those of a 95 % interval.
_ERROR = 0.025
# Of the way from chance to always right: who is shown not to come so far is of no use.
_USEFUL = 0.4


def against_chance(hits: int, total: int, commonest: int) -> str:
    """Return how right answers compare with those of always the commonest class.

    Args:
      hits: samples that are right.
      total: all samples, > 0.
      commonest: samples that always the commonest class (of top 5: always the five commonest) would have right.
    Returns:
      'better' where that is shown; 'worse' where the opposite is; 'no better' where neither is shown and two fifths of
      the way from chance to always right are ruled out; 'unclear' where the samples are too few to tell.

    >>> against_chance(90, 100, 50), against_chance(50, 100, 50), against_chance(289, 400, 356), against_chance(3, 3, 2)
    ('better', 'no better', 'worse', 'unclear')

    Source: Clopper & Pearson 1934, Biometrika 26:404-413.
    """
    assert 0 <= hits <= total and 0 <= commonest <= total and total > 0
    # Samples of one class alone do not show that no other one occurs.
    chance = min(commonest, total - 1) / total
    if _binomial(total, chance)[hits:].sum() <= _ERROR:
        return BETTER
    if _binomial(total, chance)[: hits + 1].sum() <= _ERROR:
        return WORSE
    return NO_BETTER if _binomial(total, chance + _USEFUL * (1 - chance))[: hits + 1].sum() <= _ERROR else UNCLEAR


def _binomial(total: int, share: float) -> NDArray[np.float64]:
    """Return the chances of 0 to `total` hits, float64 [total + 1]; `share` lies below 1."""
    counts = np.arange(total + 1)
    if share == 0:
        return np.where(counts == 0, 1.0, 0.0)
    factorials = np.concatenate([[0.0], np.cumsum(np.log(counts[1:]))])
    ways = factorials[-1] - factorials - factorials[::-1]
    chances: NDArray[np.float64] = np.exp(ways + counts * np.log(share) + counts[::-1] * np.log1p(-share))
    return chances
