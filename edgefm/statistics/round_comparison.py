"""Is one model faster than another? The answer is sought over rounds, not over the samples within them.

Samples of a round share a process, its place in memory, and what the machine was doing; a thousand of them say
hardly more of another round than one does. So a round counts as one value, its median, and chance is what makes
rounds differ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from edgefm.statistics import pairing, rank_tests
from edgefm.statistics.estimates import LEAST_NS, Estimate, Samples

ALPHA = 0.05
POWER = 0.8
FASTER, SLOWER, EQUIVALENT = "faster", "slower", "equivalent"
UNDECIDED, TOO_FEW = "no difference seen", "too few rounds"
VERDICTS = (FASTER, SLOWER, EQUIVALENT, UNDECIDED, TOO_FEW)
# z for 5 % two-sided plus z for 80 %: a difference of so many standard errors is found in 80 % of runs.
_ERRORS_TO_SEE = NormalDist().inv_cdf(1 - ALPHA / 2) + NormalDist().inv_cdf(POWER)


@dataclass(frozen=True, kw_only=True)
class LatencyComparison:
    """How the latency of a model differs from that of a reference.

    Attributes:
      round_ratio: the middle ratio of round medians (Hodges and Lehmann's estimate), with the 95 % interval that the
        test leaves open: 1 lies outside where p is below 5 %. On a machine that drifts it is the narrower one, for
        each round is compared with its like; verdicts go by it. With too few rounds: from least to greatest.
      p: two-sided; what chance alone would give, were there no difference.
      test: by which p was found.
      effect: rank-biserial correlation: 1 where every round is slower than the reference's, -1 where every one is
        faster, 0 where as many are.
      smallest_difference: relative; a true difference of this size would have been found in 80 % of such runs. None
        with too few rounds.
      rounds: of the model.
      reference_rounds: of the reference.
      margin: relative difference that was called harmless.
      verdict: one of `VERDICTS`.
    """

    round_ratio: Estimate
    p: float
    test: str
    effect: float
    smallest_difference: float | None
    rounds: int
    reference_rounds: int
    margin: float
    verdict: str

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as a JSON object."""
        return {**asdict(self), "round_ratio": self.round_ratio.to_json()}


def time_ratio(row: Mapping[str, Any], other: Mapping[str, Any]) -> Estimate | None:
    """Return the time of one inference of a record's row over another's, with its 95 % interval.

    It is the one ratio that tables, sentences and verdicts show: the `round_ratio` of `compare_paired` over the rounds
    that `pairing.shared` takes; None where the two share no round.
    """
    pairs = pairing.shared(row["rounds"], other["rounds"])
    if not pairs:
        return None
    return _ratio(rank_tests.shift(_log_ratios(*_samples(pairs))))


def compare_turns(pairs: Sequence[pairing.Pair], *, margin: float = 0.0) -> LatencyComparison:
    """Return how a model compares with a reference over pairs of their turns, at least one: see `compare_paired`."""
    return compare_paired(*_samples(pairs), margin=margin)


def compare_paired(
    rounds: Sequence[Samples], reference: Sequence[Samples], *, margin: float = 0.0
) -> LatencyComparison:
    """Return how a model compares with a reference that was measured in the same rounds.

    Round i of both ran at about the same time, each in a process of its own, in random order; what slowed both down
    cancels in their ratio. The test is the sign-flip permutation test on the ranks of the logarithms of the ratios of
    round medians (`rank_tests.signed_rank`). A model is 'faster' or 'slower' where p is below 5 % and the interval of
    `round_ratio` leaves out 1: two equal models are so called in at most 5 % of runs, for p alone keeps to that. It
    takes six rounds: with five, p cannot fall below 2 / 2^5.

    Args:
      rounds: nanoseconds of each invoke of each round.
      reference: the same of the reference, as many rounds.
      margin: relative difference that does no harm; where the whole interval lies within 1 - margin to 1 + margin,
        the verdict is 'equivalent', whatever p is.
    """
    assert len(rounds) == len(reference) > 0 and all(map(len, rounds)) and all(map(len, reference))
    logs = _log_ratios(rounds, reference)
    return _comparison(
        rank_tests.signed_rank(logs),
        test="signed-rank, exact over all sign flips, of log ratios of round medians",
        shift=rank_tests.shift(logs),
        rounds=len(rounds),
        reference_rounds=len(reference),
        margin=margin,
        least_p=2 / 2 ** len(rounds),
    )


def compare_unpaired(
    rounds: Sequence[Samples], reference: Sequence[Samples], *, margin: float = 0.0
) -> LatencyComparison:
    """Return how a model compares with a reference that was measured at another time.

    The test is Mann and Whitney's over round medians. It takes the rounds of each for independent draws of one
    state of the machine: a machine that was slower on the day of one of them is told as a slower model. Measure both
    in one run where it matters.

    Args:
      rounds: nanoseconds of each invoke of each round.
      reference: the same of the reference.
      margin: see `compare_paired`.
    """
    assert len(rounds) and len(reference) and all(map(len, rounds)) and all(map(len, reference))
    first, second = _log_medians(rounds), _log_medians(reference)
    test = rank_tests.mann_whitney(first, second)
    return _comparison(
        test,
        test=f"Mann-Whitney, {'exact' if test.exact else 'normal approximation'}, of round medians",
        shift=rank_tests.shift_between(first, second),
        rounds=len(rounds),
        reference_rounds=len(reference),
        margin=margin,
        least_p=2 / math.comb(len(rounds) + len(reference), len(rounds)),
    )


def verdict(ratio: Estimate, p: float, *, margin: float = 0.0, enough: bool = True) -> str:
    """Return what a ratio and a p mean, one of `VERDICTS`.

    Args:
      ratio: with its 95 % interval.
      p: two-sided; raised already where there are several comparisons.
      margin: see `compare_paired`.
      enough: rounds for p to reach 5 % at all.
    """
    if not enough:
        return TOO_FEW
    if margin and 1 - margin < ratio.low and ratio.high < 1 + margin:
        return EQUIVALENT
    if p < ALPHA and ratio.low > 1:
        return SLOWER
    if p < ALPHA and ratio.high < 1:
        return FASTER
    return UNDECIDED


def _comparison(
    outcome: rank_tests.RankTest,
    *,
    test: str,
    shift: rank_tests.Shift,
    rounds: int,
    reference_rounds: int,
    margin: float,
    least_p: float,
) -> LatencyComparison:
    enough = least_p < ALPHA
    round_ratio = _ratio(shift)
    return LatencyComparison(
        round_ratio=round_ratio,
        p=outcome.p,
        test=test,
        effect=outcome.effect,
        # In logarithms a difference of d is a ratio of e^d. Source: Lachin 1981, Controlled Clinical Trials 2:93-113.
        smallest_difference=None if shift.error is None else math.expm1(_ERRORS_TO_SEE * shift.error),
        rounds=rounds,
        reference_rounds=reference_rounds,
        margin=margin,
        verdict=verdict(round_ratio, outcome.p, margin=margin, enough=enough),
    )


def _ratio(shift: rank_tests.Shift) -> Estimate:
    return Estimate(math.exp(shift.value), math.exp(shift.low), math.exp(shift.high))


def _samples(pairs: Sequence[pairing.Pair]) -> tuple[list[Samples], list[Samples]]:
    return [mine["invoke_ns"] for mine, _ in pairs], [theirs["invoke_ns"] for _, theirs in pairs]


def _log_ratios(rounds: Sequence[Samples], reference: Sequence[Samples]) -> list[float]:
    return [mine - other for mine, other in zip(_log_medians(rounds), _log_medians(reference), strict=True)]


def _log_medians(rounds: Sequence[Samples]) -> list[float]:
    # A clock too coarse for the model gives 0.
    return [math.log(max(float(np.median(samples)), LEAST_NS)) for samples in rounds]
