"""What is wrong with answers, told from a handful of samples on, and nothing of sound ones."""

from __future__ import annotations

import doctest
from typing import Any

import numpy as np
import pytest
from scipy import stats

from edgefm.data.quality import quality
from edgefm.quantization.checks import findings as checks
from edgefm.quantization.checks.columns import columns
from edgefm.quantization.checks.findings import of_file, of_given_model
from edgefm.quantization.checks.given_model import GivenModel
from edgefm.statistics import chance


def given(outputs: np.ndarray, targets: np.ndarray | None = None, *, task: str = "regression") -> GivenModel:
    value = None if targets is None else quality(_measure(task), task=task).function((outputs,), targets)
    return GivenModel(
        inputs=np.zeros((len(outputs), 1), np.float32),
        outputs=(outputs.astype(np.float32),),
        targets=targets,
        quality=value,
    )


def _measure(task: str) -> str:
    return {"regression": "mse", "classification": "accuracy", "multilabel": "auc"}[task]


def on_file(answers: np.ndarray, model: GivenModel, *, classes: bool = False, **changes: Any) -> list[str]:
    outputs = [answers.astype(np.float32)]
    defaults: dict[str, Any] = {"classes": classes, "trained": False, "several": False, "threshold": 0.5, **changes}
    return [found.code for found in of_file("int8", columns(model.outputs, outputs), outputs, model, **defaults)]


def on_model(model: GivenModel, task: str) -> list[str]:
    measure = quality(_measure(task), task=task)
    return [found.code for found in of_given_model(model, quality=measure, classes=task != "regression")]


def rounded(values: np.ndarray, *, span: float) -> np.ndarray:
    """Return values on the 256 levels of a scale that spans so much."""
    return np.round(values * 255 / span) * span / 255


def two_ranges(samples: int) -> np.ndarray:
    random = np.random.default_rng(samples)
    return np.stack([random.uniform(0, 1, samples), random.uniform(0, 2000, samples)], axis=1)


@pytest.mark.parametrize("samples", [5, 8, 12, 25, 29, 30, 31, 100])
def test_column_that_a_file_has_lost_is_found_from_five_samples_on(samples: int) -> None:
    wanted = two_ranges(samples)
    assert on_file(rounded(wanted, span=2000), given(wanted, wanted.astype(np.float32))) == ["few_levels"]
    sound = np.stack([rounded(wanted[:, 0], span=1), rounded(wanted[:, 1], span=2000)], axis=1)
    assert on_file(sound, given(wanted)) == []


def test_few_levels_of_25_samples_are_found() -> None:
    wanted = two_ranges(25)
    assert on_file(rounded(wanted, span=255 / 3), given(wanted)) == ["few_levels"]  # four levels


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_of_fewer_samples_nothing_is_said_of_columns(samples: int) -> None:
    wanted = two_ranges(samples)
    assert on_file(rounded(wanted, span=2000), given(wanted)) == []


def test_sound_files_on_few_samples_are_no_findings() -> None:
    """300 tries each: linear outputs, outputs of a ReLU that are mostly 0, sure scores of a softmax."""
    random = np.random.default_rng(0)
    for samples in (5, 7, 12, 29):
        wrong = 0
        for _ in range(300):
            normal = random.normal(size=(samples, 4)) * random.uniform(5, 50, 4)
            rare = np.maximum(0, random.normal(size=(samples, 4)) - 1.5)
            logits = 12 * random.normal(size=(samples, 4))
            scores = np.exp(logits - logits.max(axis=1, keepdims=True))
            scores /= scores.sum(axis=1, keepdims=True)
            wrong += bool(on_file(rounded(normal, span=8 * normal.std()), given(normal)))
            wrong += bool(on_file(rounded(rare, span=3.0), given(rare)))
            wrong += bool(on_file(rounded(scores, span=1.0), given(scores), classes=True))
        assert wrong <= 5, samples


def test_sure_scores_that_a_file_rounds_to_one_are_no_finding() -> None:
    scores = 1 - np.linspace(1e-5, 1e-3, 12)
    sure = np.stack([scores, 1 - scores], axis=1)
    assert on_file(rounded(sure, span=1), given(sure), classes=True) == []


def test_float_rounding_is_no_variation() -> None:
    noisy = 1000 + np.random.default_rng(0).normal(size=(40, 1)) * 1e-4
    wanted = np.concatenate([noisy, np.linspace(0, 2000, 40)[:, np.newaxis]], axis=1)
    assert on_file(rounded(wanted, span=2000), given(wanted)) == []


@pytest.mark.parametrize(
    ("hits", "total", "commonest", "right"),
    [
        pytest.param(0, 28, 15, ["chance_level"], id="none-of-28"),
        pytest.param(0, 6, 3, ["chance_level"], id="none-of-6"),
        pytest.param(2, 20, 3, ["chance_level"], id="ten-percent-of-ten-classes"),
        pytest.param(14, 28, 14, ["chance_level"], id="half-of-28-of-two-classes"),
        pytest.param(289, 400, 356, ["chance_level"], id="worse-than-the-commonest"),
        pytest.param(356, 400, 356, ["chance_level"], id="as-the-commonest"),
        pytest.param(27, 28, 15, [], id="27-of-28"),
        pytest.param(3, 3, 2, [], id="three-of-three"),
        pytest.param(4, 5, 2, [], id="four-of-five"),
        pytest.param(28, 28, 28, [], id="right-on-one-class"),
        pytest.param(29, 30, 27, [], id="good-on-an-imbalanced-set"),
    ],
)
def test_chance_is_judged_at_any_number_of_samples(hits: int, total: int, commonest: int, right: list[str]) -> None:
    others = np.arange(total - commonest) % max(1, (total - commonest) // max(1, commonest - 1) + 1) + 1
    labels = np.concatenate([np.zeros(commonest, np.int64), others])
    classes = max(2, int(labels.max()) + 1)
    said = labels.copy()
    wrong = np.random.default_rng(0).permutation(total)[hits:]
    said[wrong] = (said[wrong] + 1) % classes
    assert np.bincount(labels).max() == commonest
    scores = 0.9 * np.eye(classes)[said] + np.linspace(0, 0.05, total)[:, np.newaxis]
    assert on_model(given(scores, labels, task="classification"), "classification") == right


def test_chance_tests_are_those_of_scipy() -> None:
    random = np.random.default_rng(0)
    for _ in range(300):
        total = int(random.integers(2, 200))
        hits, commonest = (int(random.integers(0, total)) for _ in range(2))
        interval = stats.binomtest(hits, total).proportion_ci(0.95, method="exact")
        level = commonest / total
        useful = level + 0.4 * (1 - level)
        right = "better" if interval.low > level else "worse" if interval.high < level else None
        right = right or ("no better" if interval.high < useful else "unclear")
        assert chance.against_chance(hits, total, commonest) == right


def test_numbers_that_are_worse_than_the_mean_are_found_among_few() -> None:
    random = np.random.default_rng(0)
    wanted = random.normal(size=(12, 3)).astype(np.float32)
    assert on_model(given(wanted + 9, wanted), "regression") == ["chance_level"]
    assert on_model(given(wanted + 0.1, wanted), "regression") == []
    wrong = 0
    for _ in range(200):  # half of the variance explained
        wanted = random.normal(size=(7, 1)).astype(np.float32)
        answers = wanted / 2 + random.normal(size=wanted.shape) / 2
        wrong += bool(on_model(given(answers, wanted), "regression"))
    assert wrong <= 4


def test_reversed_labels_are_found_among_few() -> None:
    random = np.random.default_rng(0)
    targets = (random.uniform(size=(24, 3)) > 0.5).astype(np.int64)
    scores = np.clip(targets + random.normal(size=targets.shape) / 5, 0, 1)
    assert on_model(given(1 - scores, targets, task="multilabel"), "multilabel") == ["chance_level"]
    assert on_model(given(scores[:6], targets[:6], task="multilabel"), "multilabel") == []


def test_unit_that_has_died_is_found_among_few_where_its_targets_vary() -> None:
    wanted = two_ranges(12).astype(np.float32)
    dead = wanted * [1, 0] + [0, 7]
    ask = of_given_model(given(dead, wanted), quality=None, classes=False)
    assert [found.code for found in ask] == ["dead_column"] and "column 1 of output 0 is 7" in ask[0].message


def test_column_that_nothing_is_asked_of_is_no_finding() -> None:
    """A border of a picture: its targets are 0, the ReLU gives 0, or next to it, which int8 rounds off."""
    random = np.random.default_rng(0)
    for samples in (12, 45, 200):
        wanted = np.zeros((samples, 3), np.float32)
        wanted[:, 2] = random.uniform(0, 1, samples)
        touched = wanted.copy()
        touched[:, 1] = 1e-3 * random.uniform(0, 1, samples)
        model = given(touched, wanted)
        assert on_model(model, "regression") == []
        assert on_file(rounded(touched, span=1), model) == []
        assert on_file(rounded(touched, span=1), given(touched)) == ["few_levels"]  # nobody says that it is not asked
        wanted[:, 0] = random.uniform(0, 1, samples)
        found = of_given_model(given(touched, wanted), quality=None, classes=False)
        assert [finding.code for finding in found] == ["dead_column"] and "column 0" in found[0].message


def test_class_that_does_not_occur_is_no_dead_unit() -> None:
    scores = np.stack([np.linspace(0.9, 0.1, 40), np.linspace(0.1, 0.9, 40), np.zeros(40)], axis=1)
    assert on_model(given(scores, np.arange(40) // 20, task="classification"), "classification") == []
    labels = np.arange(40) // 20
    labels[:3] = 2
    assert on_model(given(scores, labels, task="classification"), "classification") == ["dead_column"]


def test_examples_in_the_documentation() -> None:
    for module in (checks, chance):
        assert doctest.testmod(module).failed == 0 < doctest.testmod(module).attempted
