"""Confident learning against plain loops, and on labels that were changed on purpose."""

from __future__ import annotations

import numpy as np
import pytest

from edgefm.data.folds import stratified_folds
from edgefm.statistics.label_noise import label_noise

# Measured with the planted labels below over seeds 0 to 199: at least 0.875 of them are found, 0.97 on average; of the
# candidates at least 0.886 are planted, 0.98 on average. By chance a tenth would be.
RECALL, PRECISION = 0.85, 0.85


def _by_loops(sure: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, set[int]]:
    """Return the confident joint and the candidates as equations 1 and 2 of Northcutt et al. say it."""
    classes = sure.shape[1]
    thresholds = [np.mean([p[j] for p, y in zip(sure, labels, strict=True) if y == j]) for j in range(classes)]
    joint, candidates = np.zeros((classes, classes), int), set()
    for index, (p, y) in enumerate(zip(sure, labels, strict=True)):
        confident = [j for j in range(classes) if p[j] >= thresholds[j]]
        if confident:
            best = max(confident, key=lambda j: p[j])
            joint[y, best] += 1
            if best != y and max(range(classes), key=lambda j: p[j]) != y:
                candidates.add(index)
    return joint, candidates


@pytest.mark.parametrize("seed", range(5))
def test_joint_and_candidates_are_those_of_plain_loops(seed: int) -> None:
    generator = np.random.default_rng(seed)
    sure = generator.dirichlet(np.full(4, 0.4), 150)
    labels = np.where(generator.random(150) < 0.8, sure.argmax(axis=1), generator.integers(0, 4, 150))
    noise = label_noise(sure, labels)
    joint, candidates = _by_loops(sure, labels)
    assert np.array_equal(noise.joint, joint)
    assert set(noise.candidates.tolist()) == candidates
    assert (np.diff(noise.margins) >= 0).all()


def _out_of_fold(features: np.ndarray, labels: np.ndarray, classes: int, seed: int) -> np.ndarray:
    """Return probabilities of Gaussians around class means that each sample had no part in."""
    fold = stratified_folds(labels, 5, seed=seed)
    sure = np.zeros((len(labels), classes))
    for index in range(5):
        learnt = fold != index
        means = np.array([features[learnt & (labels == label)].mean(axis=0) for label in range(classes)])
        distances = ((features[~learnt, None, :] - means) ** 2).sum(axis=-1)
        powers = np.exp(-(distances - distances.min(axis=1, keepdims=True)) / 2)
        sure[~learnt] = powers / powers.sum(axis=1, keepdims=True)
    return sure


@pytest.mark.parametrize("seed", range(10))
def test_planted_wrong_labels_are_found_with_few_false_alarms(seed: int) -> None:
    generator = np.random.default_rng(seed)
    truth = np.repeat(np.arange(5), 80)
    features = generator.normal(size=(400, 8)) + 4 * np.eye(8)[truth]
    planted = generator.choice(400, 40, replace=False)
    labels = truth.copy()
    labels[planted] = (truth[planted] + generator.integers(1, 5, 40)) % 5
    noise = label_noise(_out_of_fold(features, labels, 5, seed), labels)
    hits = len(set(noise.candidates.tolist()) & set(planted.tolist()))
    assert hits >= RECALL * 40
    assert hits >= PRECISION * len(noise.candidates)
    right = noise.suggested == truth[noise.candidates]
    assert right.mean() >= 0.85


def test_a_class_that_no_sample_bears_is_never_suggested() -> None:
    sure = np.array([[0.1, 0.1, 0.8], [0.7, 0.2, 0.1], [0.2, 0.7, 0.1], [0.3, 0.6, 0.1]])
    noise = label_noise(sure, np.array([0, 0, 1, 1]))
    assert np.isnan(noise.thresholds[2]) and 2 not in noise.suggested


@pytest.mark.parametrize(
    ("sure", "labels"),
    [(np.ones(3), np.zeros(3, int)), (np.ones((3, 2)), np.zeros(2, int)), (np.full((2, 2), np.nan), np.zeros(2, int))],
)
def test_what_does_not_fit_is_refused(sure: np.ndarray, labels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected"):
        label_noise(sure, labels)
