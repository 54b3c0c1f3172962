from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgefm.core.errors import DataError, MeasureError, NoQualityError, RecipeError
from edgefm.data.quality import DEFAULTS, auc, predicted_classes, quality

RANDOM = np.random.default_rng(0)


def area_by_pairs(scores: NDArray[Any], positive: NDArray[Any]) -> float:
    """The definition: the share of pairs in which the positive sample has the higher score, ties half."""
    pairs = [(a > b) + (a == b) / 2 for a in scores[positive] for b in scores[~positive]]
    return float(np.mean(pairs))


def test_accuracy_is_the_share_of_highest_scores() -> None:
    scores = np.array([[0.1, 0.9, 0.0], [0.5, 0.5, 0.0], [0.2, 0.3, 0.5], [0.9, 0.05, 0.05]])
    measure = quality("accuracy", task="classification")
    assert (measure.unit, measure.higher_is_better) == ("%", True)
    assert measure.function((scores,), np.array([1, 0, 2, 2])) == 0.75  # the first of equal scores counts
    assert measure.loss(0.9, 0.85) == pytest.approx(5)


@pytest.mark.parametrize("shape", [(4, 1), (4,), (4, 1, 1)])
def test_accuracy_of_a_single_score_is_by_threshold(shape: tuple[int, ...]) -> None:
    scores = np.array([0.1, 0.5, 0.51, 0.9]).reshape(shape)
    assert predicted_classes((scores,)).tolist() == [0, 0, 1, 1]
    assert quality("accuracy", task="classification").function((scores,), np.array([0, 1, 1, 1])) == 0.75


def test_top5_agrees_with_sorting() -> None:
    scores, targets = RANDOM.integers(0, 6, (200, 12)) / 8, RANDOM.integers(0, 12, 200)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :5]
    wanted = np.mean([target in best for target, best in zip(targets, order, strict=True)])
    assert quality("top5", task="classification").function((scores,), targets) == wanted
    with pytest.raises(DataError, match="needs more than 5"):
        quality("top5", task="classification").function((scores[:, :5],), targets % 5)


@pytest.mark.parametrize("levels", [3, 10, 10**9], ids=["many-ties", "ties", "none"])
def test_auc_of_one_score_agrees_with_all_pairs(levels: int) -> None:
    scores, positive = RANDOM.integers(0, levels, 80) / levels, RANDOM.random(80) < 0.3
    wanted = area_by_pairs(scores, positive)
    assert auc((scores[:, np.newaxis],), positive.astype(np.int64)) == pytest.approx(wanted, abs=1e-12)
    two = np.stack([1 - scores, scores], axis=1)
    assert auc((two,), positive.astype(np.int64)) == pytest.approx(
        area_by_pairs(np.round(2 * scores - 1, 12), positive), abs=1e-9
    )


def test_auc_of_classes_is_the_mean_of_each_against_the_rest() -> None:
    scores, targets = RANDOM.integers(0, 20, (90, 4)) / 20, RANDOM.integers(0, 4, 90)
    wanted = np.mean([area_by_pairs(scores[:, place], targets == place) for place in range(4)])
    assert quality("auc", task="classification").function((scores,), targets) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("targets", [np.zeros(6, np.int64), np.array([0, 1, 0, 1, 0, 1])], ids=["one", "absent"])
def test_auc_without_samples_of_a_class_is_an_error(targets: NDArray[np.int64]) -> None:
    with pytest.raises(DataError, match="samples inside and outside each class"):
        auc((RANDOM.random((6, 3)),), targets)


@pytest.mark.parametrize("shape", [(5,), (5, 1), (5, 3), (5, 2, 4)])
def test_mse_is_the_mean_over_all_values(shape: tuple[int, ...]) -> None:
    found, wanted = RANDOM.normal(size=shape).astype(np.float32), RANDOM.normal(size=shape).astype(np.float32)
    measure = quality("mse", task="regression")
    assert (measure.unit, measure.higher_is_better) == ("", False)
    assert measure.function((found,), wanted) == pytest.approx(np.mean((found - wanted).astype(float) ** 2))
    assert measure.loss(0.5, 0.7) == pytest.approx(0.2)
    if shape == (5, 1):
        assert measure.function((found,), wanted[:, 0]) == measure.function((found,), wanted)


def test_of_samples_has_the_value_as_its_mean() -> None:
    scores, targets = RANDOM.random((80, 8)), np.arange(80) % 8
    for name in ("accuracy", "top5", "auc"):
        measure = quality(name, task="classification")
        assert measure.of_samples is not None
        assert measure.of_samples((scores,), targets).mean() == measure.function((scores,), targets)


def test_spread_of_auc_samples_is_the_spread_of_aucs() -> None:
    """The standard error from one sample agrees with how much the AUC of many samples scatters."""

    def draw(generator: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
        targets = (generator.random(150) < 0.3).astype(np.int64)
        return np.round(generator.normal(size=150) + 1.2 * targets, 1)[:, np.newaxis], targets

    generator = np.random.default_rng(5)
    areas = [auc((scores,), targets) for scores, targets in (draw(generator) for _ in range(600))]
    measure = quality("auc", task="classification")
    assert measure.of_samples is not None
    errors = []
    for _ in range(50):
        scores, targets = draw(generator)
        errors.append(measure.of_samples((scores,), targets).std() / np.sqrt(150))
    # Both are estimates: 600 draws know their spread to 3 %.
    assert np.mean(errors) == pytest.approx(np.std(areas), rel=0.1)


@pytest.mark.parametrize("task", DEFAULTS)
def test_default_measure_fits_its_task(task: str) -> None:
    assert quality(DEFAULTS[task], task=task).name == DEFAULTS[task]


@pytest.mark.parametrize(
    ("name", "task", "words"),
    [
        ("acuracy", "classification", "did you mean 'accuracy'"),
        ("mse", "classification", "'mse' does not fit the task 'classification'"),
        ("auc", "regression", "'auc' does not fit the task 'regression'"),
        ("accuracy", "reconstruction", "does not fit the task 'reconstruction'"),
        ("accuracy", "sorting", "unknown task 'sorting'"),
    ],
)
def test_measure_that_does_not_fit_is_an_error(name: str, task: str, words: str) -> None:
    with pytest.raises(RecipeError) as caught:
        quality(name, task=task)
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("name", "outputs", "targets", "words"),
    [
        ("accuracy", np.ones((4, 3)), np.array([0, 1, 2, 3]), "has 3 classes, the targets hold class 3"),
        ("accuracy", np.ones((4, 1)), np.array([0, 1, 2, 0]), "has 2 classes"),
        ("accuracy", np.ones((4, 3)), np.ones(4), "this measure needs classes"),
        ("mse", np.ones((4, 3)), np.ones((4, 2), np.float32), "has shape (3,) per sample, the targets (2,)"),
        ("mse", np.ones((4, 3)), np.ones((4, 3), np.uint8), "uint8 pixels"),
    ],
)
def test_measure_says_why_outputs_and_targets_do_not_fit(
    name: str, outputs: NDArray[Any], targets: NDArray[Any], words: str
) -> None:
    task = "regression" if name == "mse" else "classification"
    with pytest.raises(DataError) as caught:
        quality(name, task=task).function((outputs,), targets)
    assert words in caught.value.message


def test_own_measure_is_called_with_all_outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_measures.py").write_text(
        """
import numpy as np

def worst(outputs, targets):
    return np.abs(outputs[1][:, 0] - targets).max()

worst.higher_is_better = False

def share(outputs, targets):
    return 0.25

share.unit = "%"

def breaks(outputs, targets):
    return outputs[7]

def nan(outputs, targets):
    return float("nan")

def odd(outputs, targets):
    return 1.0

odd.unit = "kg"

def precision(outputs, targets):
    return 1 / sum([])
"""
    )
    monkeypatch.chdir(tmp_path)
    worst = quality("my_measures:worst", task="regression")
    outputs = (np.zeros((3, 2)), np.array([[1.0], [5.0], [2.0]]))
    assert worst.function(outputs, np.array([1.0, 2.0, 2.0])) == 3.0
    assert (worst.name, worst.higher_is_better, worst.unit) == ("my_measures:worst", False, "")
    share = quality("my_measures:share", task="classification")
    assert (share.higher_is_better, share.unit) == (True, "%")
    with pytest.raises(MeasureError, match=r"raised IndexError.*"):
        quality("my_measures:breaks", task="regression").function(outputs, np.zeros(3))
    for name, words in {"nan": "gave nan", "precision": "raised ZeroDivisionError"}.items():
        with pytest.raises(NoQualityError, match=words):
            quality(f"my_measures:{name}", task="regression").function(outputs, np.zeros(3))
    with pytest.raises(RecipeError, match="'kg'"):
        quality("my_measures:odd", task="regression")
    with pytest.raises(DataError, match="has no 'absent'"):
        quality("my_measures:absent", task="regression")
