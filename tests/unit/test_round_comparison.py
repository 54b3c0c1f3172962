from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgefm.benchmarking import record as records
from edgefm.statistics import rank_tests
from edgefm.statistics.estimates import Estimate, percentiles
from edgefm.statistics.pairing import shared
from edgefm.statistics.round_comparison import (
    VERDICTS,
    LatencyComparison,
    compare_paired,
    compare_turns,
    compare_unpaired,
    time_ratio,
    verdict,
)
from tests.fixtures.shipping_cases import CASES, write_run

Rounds = list[list[int]]
_TRIALS = 200
_SAMPLES = 11


def _rounds(
    generator: np.random.Generator,
    n: int,
    *,
    slow: float = 1.0,
    spread: float = 0.01,
    common: NDArray[np.float64] | None = None,
    disturbed: float = 0.0,
) -> Rounds:
    """Return log-normal samples of rounds that differ by `spread`; some rounds are 1.2 to 2 times as long."""
    levels = 50_000 * slow * generator.lognormal(0, spread, n) * (1.0 if common is None else common)
    levels = np.where(generator.random(n) < disturbed, levels * generator.uniform(1.2, 2, n), levels)
    return [[int(level * x) for x in generator.lognormal(0, 0.015, _SAMPLES)] for level in levels]


def _paired(
    generator: np.random.Generator, *, slow: float = 1.0, n: int = 15, disturbed: float = 0.0
) -> tuple[Rounds, Rounds]:
    """Return rounds of two models under one drift of the machine: a ramp of 10 % and a random walk of 2 % a round."""
    drift = np.exp(np.linspace(0, 0.1, n) + np.cumsum(generator.normal(0, 0.02, n)))
    return (
        _rounds(generator, n, slow=slow, common=drift, disturbed=disturbed),
        _rounds(generator, n, common=drift, disturbed=disturbed),
    )


def _share(trials: int, found: Callable[[int], bool]) -> float:
    return sum(found(trial) for trial in range(trials)) / trials


def _alarm(comparison: LatencyComparison) -> bool:
    return comparison.verdict in ("faster", "slower")


@pytest.mark.parametrize("disturbed", [0.0, 0.1])
def test_compare_paired_of_equal_models_alarms_in_at_most_5_percent(disturbed: float) -> None:
    generator = np.random.default_rng(1)
    rate = _share(_TRIALS, lambda _: _alarm(compare_paired(*_paired(generator, disturbed=disturbed))))
    assert rate <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / _TRIALS)


def test_compare_unpaired_of_equal_models_alarms_in_at_most_5_percent() -> None:
    generator = np.random.default_rng(2)
    rate = _share(_TRIALS, lambda _: _alarm(compare_unpaired(_rounds(generator, 15), _rounds(generator, 12))))
    assert rate <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / _TRIALS)


@pytest.mark.parametrize(("disturbed", "least"), [(0.0, 0.9), (0.05, 0.75)])
def test_compare_paired_finds_a_slowdown_of_3_percent(disturbed: float, least: float) -> None:
    generator = np.random.default_rng(3)
    trials = 100
    rate = _share(
        trials, lambda _: compare_paired(*_paired(generator, slow=1.03, disturbed=disturbed)).verdict == "slower"
    )
    assert rate >= least


def test_compare_unpaired_finds_a_slowdown_of_3_percent() -> None:
    generator = np.random.default_rng(4)
    rate = _share(
        100, lambda _: compare_unpaired(_rounds(generator, 15, slow=1.03), _rounds(generator, 15)).verdict == "slower"
    )
    assert rate >= 0.9


@pytest.mark.parametrize("n", [6, 9, 15])
def test_compare_paired_smallest_difference_is_found_in_about_80_percent(n: int) -> None:
    generator = np.random.default_rng(5)
    told = [compare_paired(*_constant(generator.lognormal(0, 0.014, n))).smallest_difference for _ in range(100)]
    typical = float(np.median(np.array(told, float)))
    logs = generator.normal(math.log1p(typical), 0.014, (2000, n))
    power = np.mean([rank_tests.signed_rank(row.tolist()).p < 0.05 for row in logs])
    assert 0.68 < power < 0.9  # six rounds know little of their own spread


def _constant(ratios: NDArray[np.float64]) -> tuple[Rounds, Rounds]:
    return [[round(1e9 * ratio)] for ratio in ratios], [[10**9] for _ in ratios]


def test_compare_paired_sees_what_ranks_see_and_means_do_not() -> None:
    # One round of the reference was disturbed for ten times its length: the mean of the logarithms says 'faster'.
    generator = np.random.default_rng(6)
    mine, other = _paired(generator, slow=1.03)
    other[4] = [10 * x for x in other[4]]
    logs = [math.log(np.median(a) / np.median(b)) for a, b in zip(mine, other, strict=True)]
    assert np.mean(logs) < 0
    found = compare_paired(mine, other)
    assert found.verdict == "slower" and found.p < 0.02


@pytest.mark.parametrize("n", [1, 2, 5])
def test_compare_paired_with_fewer_than_six_rounds_says_too_few(n: int) -> None:
    found = compare_paired([[200, 201, 202]] * n, [[100, 101, 102]] * n)
    assert found.verdict == "too few rounds"
    assert found.p >= 0.05 and found.smallest_difference is None
    assert found.effect == 1 and found.round_ratio.value == pytest.approx(201 / 101)


def test_compare_paired_with_six_rounds_can_decide() -> None:
    mine, other = [[200 + i] for i in range(6)], [[100 + i] for i in range(6)]
    assert compare_paired(mine, other).verdict == "slower"
    assert compare_paired(other, mine).verdict == "faster"
    assert compare_paired(other, mine).effect == -1


@pytest.mark.parametrize(
    ("m", "n", "enough"), [(3, 3, False), (3, 4, False), (4, 4, True), (2, 8, True), (1, 30, False)]
)
def test_compare_unpaired_says_too_few_where_p_cannot_reach_5_percent(m: int, n: int, enough: bool) -> None:
    found = compare_unpaired([[200 + i] for i in range(m)], [[100 + i] for i in range(n)])
    assert (found.verdict != "too few rounds") == enough
    assert (found.rounds, found.reference_rounds) == (m, n)


def test_compare_paired_of_identical_samples_sees_no_difference() -> None:
    rounds = [[100, 101, 102]] * 10
    found = compare_paired(rounds, rounds)
    assert (found.verdict, found.p, found.effect) == ("no difference seen", 1.0, 0.0)
    assert found.round_ratio == Estimate(1.0, 1.0, 1.0)


def test_compare_paired_with_a_coarse_clock_gives_no_infinity() -> None:
    found = compare_paired([[0, 1, 1]] * 8, [[1, 1, 1]] * 8)
    assert found.p == 1.0


def test_compare_paired_within_the_margin_is_equivalent() -> None:
    generator = np.random.default_rng(7)
    mine, other = _paired(generator, slow=1.004)
    assert compare_paired(mine, other, margin=0.05).verdict == "equivalent"
    slower = compare_paired(*_paired(generator, slow=1.06), margin=0.05)
    assert slower.verdict == "slower"


@pytest.mark.parametrize(
    ("ratio", "p", "margin", "wanted"),
    [
        pytest.param((1.1, 1.05, 1.2), 0.01, 0.0, "slower", id="slower"),
        pytest.param((0.9, 0.8, 0.95), 0.01, 0.0, "faster", id="faster"),
        pytest.param((1.1, 1.05, 1.2), 0.06, 0.0, "no difference seen", id="p-alone-says-no"),
        pytest.param((1.1, 0.99, 1.2), 0.01, 0.0, "no difference seen", id="interval-alone-says-no"),
        pytest.param((1.01, 1.005, 1.02), 0.01, 0.03, "equivalent", id="significant-yet-harmless"),
        pytest.param((1.0, 0.96, 1.02), 0.9, 0.03, "no difference seen", id="too-wide-for-equivalence"),
        pytest.param((0.9, 0.8, 1.1), 0.9, 0.03, "no difference seen", id="undecided"),
    ],
)
def test_verdict_of_typed_cases(ratio: tuple[float, float, float], p: float, margin: float, wanted: str) -> None:
    assert verdict(Estimate(*ratio), p, margin=margin) == wanted


def test_compare_paired_round_ratio_is_not_blurred_by_drift() -> None:
    # The ratio of the p50 of all samples, drawn anew by rounds, compares each round with all.
    generator, widths = np.random.default_rng(9), []
    for _ in range(30):
        mine, other = (np.array(rounds) for rounds in _paired(generator, slow=1.03))
        drawn = generator.integers(0, len(mine), (1000, len(mine)))
        pooled = np.median(mine[drawn], axis=(1, 2)) / np.median(other[drawn], axis=(1, 2))
        found = compare_paired(mine, other).round_ratio  # type: ignore[arg-type]  # an array of rounds is one, too
        widths.append((found.high - found.low, np.ptp(np.quantile(pooled, (0.025, 0.975)))))
    by_rounds, by_pool = np.median(widths, axis=0)
    assert by_rounds < 0.75 * by_pool


def test_compare_paired_cancels_what_slows_both_down() -> None:
    generator = np.random.default_rng(0)
    drift = generator.uniform(1, 3, 12)
    reference = [[int(1000 * d * x) for x in generator.normal(1, 0.001, 50)] for d in drift]
    half = [[sample // 2 for sample in samples] for samples in reference]
    found = compare_paired(half, reference).round_ratio
    assert found.value == pytest.approx(0.5, abs=1e-3)
    assert found.high - found.low < 2e-3
    apart = percentiles(half)["p50"]
    assert (apart.high - apart.low) / apart.value > 0.1


def test_compare_unpaired_takes_different_numbers_of_rounds_and_keeps_what_differs_between_them() -> None:
    assert compare_unpaired([[20]] * 3, [[10]] * 7).round_ratio.value == pytest.approx(2)
    # The same rounds on both sides: together the ratio is always 1, apart it is not.
    generator = np.random.default_rng(0)
    rounds = [[int(1000 * level * x) for x in generator.normal(1, 0.01, 20)] for level in generator.uniform(1, 2, 12)]
    assert compare_paired(rounds, rounds).round_ratio == Estimate(1.0, 1.0, 1.0)
    apart = compare_unpaired(rounds, rounds).round_ratio
    assert apart.value == 1.0 and apart.low < 0.95 and apart.high > 1.05


@pytest.mark.parametrize("version", [1, 2, 3])
def test_time_ratio_of_a_record_of_any_version_is_the_round_ratio_of_the_pairs(version: int, tmp_path: Path) -> None:
    run = write_run(replace(CASES[0], version=version), tmp_path)
    base, other, *_ = records.read(run / "02-benchmark" / "record.json")["models"]
    pairs = shared(other["rounds"], base["rounds"])
    found = time_ratio(other, base)
    assert found == compare_turns(pairs).round_ratio
    assert found != Estimate(**other["against_reference"]["latency_ratio"]), "the file's own was made up"
    assert time_ratio({"rounds": []}, base) is None


def test_compare_takes_arrays_as_it_takes_lists() -> None:
    generator = np.random.default_rng(11)
    mine, other = _paired(generator)
    arrays = [[np.array(samples, np.int64) for samples in rounds] for rounds in (mine, other)]
    assert compare_paired(*arrays) == compare_paired(mine, other)
    assert compare_unpaired(*arrays) == compare_unpaired(mine, other)


def test_compare_round_ratio_interval_covers_the_truth() -> None:
    generator = np.random.default_rng(10)
    found = [compare_paired(*_constant(1.02 * generator.lognormal(0, 0.014, 15))).round_ratio for _ in range(400)]
    inside = np.mean([one.low <= 1.02 <= one.high for one in found])
    assert inside >= 0.95 - 2 * math.sqrt(0.05 * 0.95 / 400)


def test_comparison_to_json_is_json_with_all_fields() -> None:
    found = json.loads(json.dumps(compare_paired([[2]] * 7, [[1]] * 7).to_json(), allow_nan=False))
    assert set(found) == {
        "round_ratio", "p", "test", "effect", "smallest_difference", "rounds", "reference_rounds", "margin",
        "verdict",
    }  # fmt: skip
    assert found["round_ratio"]["value"] == pytest.approx(2)
    assert found["verdict"] in VERDICTS
