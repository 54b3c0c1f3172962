"""Is a model no worse than a reference by more than a margin, and how many samples would it take to show that?

Non-inferiority is shown where the lower end of the interval of (model - reference) lies above minus the margin. "No
difference seen" shows nothing of the kind. Of several models that are tested, one is recommended: each is tested at a
level so strict that a wrong one is taken in at most 5 % of records (Bonferroni).

Source: Tango 1998, Statistics in Medicine 17:891-908; Piaggio et al. 2012, JAMA 308:2594-2604.
"""

from __future__ import annotations

import math
from statistics import NormalDist

from edgefm.statistics.estimates import Estimate, Z, tango_variance
from edgefm.statistics.round_comparison import POWER

WRONG_AT_MOST = 0.05
_STRICTEST_OF_ONE = 0.025
_Z_POWER = NormalDist().inv_cdf(POWER)
# More samples than this are no advice.
_MOST_SAMPLES = 10_000_000
# The series of Student's t is too short for fewer.
LEAST_SAMPLES_OF_A_MEAN = 6


def error(tests: int) -> float:
    """Return the one-sided error of each of some tests: 2.5 %, and less where 5 % are shared by more than two.

    >>> error(1), error(5)
    (0.025, 0.01)
    """
    return min(_STRICTEST_OF_ONE, WRONG_AT_MOST / max(1, tests))


def normal_point(tests: int) -> float:
    """Return the normal point that each of some tests goes by.

    >>> round(normal_point(1), 2), round(normal_point(10), 2)
    (1.96, 2.58)
    """
    return NormalDist().inv_cdf(1 - error(tests))


def discordant_share(discordant: int, total: int) -> float:
    """Return a share of discordant pairs to plan with: the upper end of Wilson's one-sided 80 % interval.

    With no discordant pair the observed share, 0, would plan for no samples at all.

    >>> round(discordant_share(0, 18), 3), round(discordant_share(300, 10_000), 3)
    (0.038, 0.031)
    """
    share, z2 = discordant / total, _Z_POWER**2
    spread = _Z_POWER * math.sqrt(share * (1 - share) / total + z2 / (4 * total * total))
    return min(1.0, (share + z2 / (2 * total) + spread) / (1 + z2 / total))


def samples_needed(variance: float, distance: float, *, z: float = Z) -> int | None:
    """Return how many pairs show with 80 % power that a difference lies on this side of a margin.

    Args:
      variance: of the difference within a pair.
      distance: between the true difference and the margin.
      z: normal point of the test.
    Returns:
      n = ((z + z_80) / distance)^2 * variance, or None where that is beyond 10 million.

    >>> samples_needed(0.024, 0.01)
    1884
    """
    if distance <= 0:
        return None
    samples = ((z + _Z_POWER) / distance) ** 2 * variance
    return math.ceil(samples) if samples <= _MOST_SAMPLES else None


def paired_samples_needed(share: float, margin: float, *, loss: float = 0.0, z: float = Z) -> int | None:
    """Return how many pairs of right and wrong answers show with 80 % power on which side of a margin a loss lies.

    Args:
      share: of discordant pairs.
      margin: loss that does no harm.
      loss: the true one.
      z: normal point of the test.
    Returns:
      n = ((z s_0 + z_80 s_1) / (margin - loss))^2, s_0 being the standard deviation were the loss the margin; None
      where that is beyond 10 million.

    >>> paired_samples_needed(0.024, 0.01), paired_samples_needed(0.004, 0.01)
    (2071, 722)

    Source: Nam 1997, Biometrics 53:1422-1430; Tango 1998.
    """
    distance = abs(margin - loss)
    if distance == 0:
        return None
    discordant = max(share, abs(loss))
    lost, won = (discordant + loss) / 2, (discordant - loss) / 2
    supposed = math.sqrt(max(0.0, tango_variance(won, lost, -margin)))
    true = math.sqrt(max(0.0, discordant - loss * loss))
    samples = ((z * supposed + _Z_POWER * true) / distance) ** 2
    return max(math.ceil(samples), least_samples(margin, z=z)) if samples <= _MOST_SAMPLES else None


def least_samples(margin: float, *, z: float = Z) -> int:
    """Return the least number of pairs that can show a loss of shares to be below a margin: with equal answers on all.

    Tango's interval of no discordant pair among n ends at z^2 / (n + z^2).

    >>> least_samples(0.01)
    381
    """
    return math.floor(z * z * (1 - margin) / margin) + 1


def widened(difference: Estimate, samples: int, *, share: bool, z: float = Z) -> Estimate:
    """Return a bootstrap interval of a mean difference at another level, that holds with few samples, too.

    Percentile intervals are too narrow by sqrt((n - 1) / n) and by z / t. Of shares, equal answers on all samples
    leave them without any width: they get at least that of Tango's interval.

    Args:
      difference: with its 95 % percentile interval.
      samples: number of pairs, at least 6.
      share: each sample's value lies in 0 to 1.
      z: normal point of the level that is wanted.
    Source: Hesterberg 2015, The American Statistician 69:371-386.
    """
    assert samples >= LEAST_SAMPLES_OF_A_MEAN
    factor = student_t(samples - 1, z=z) / Z * math.sqrt(samples / (samples - 1))
    low, high = (difference.value + factor * (end - difference.value) for end in (difference.low, difference.high))
    if share:
        least = z * z / (samples + z * z)
        low, high = min(low, difference.value - least), max(high, difference.value + least)
    return Estimate(difference.value, low, high)


def student_t(degrees: int, *, z: float = Z) -> float:
    """Return the point of Student's t with 5 or more degrees of freedom that is as rare as z is of the normal.

    >>> round(student_t(17), 3)
    2.11

    Source: Cornish-Fisher expansion, Abramowitz & Stegun 26.7.5.
    """
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return float(z + sum(term / degrees ** (power + 1) for power, term in enumerate(terms)))


def two_digits(count: int) -> int:
    """Return a count rounded up to two digits.

    >>> two_digits(1884), two_digits(381), two_digits(7)
    (1900, 390, 7)
    """
    unit = int(10 ** max(0, len(str(count)) - 2))
    return -(-count // unit) * unit
