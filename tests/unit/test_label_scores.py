"""Measures of several labels a sample, against formulas that are written out here, value by value."""

from __future__ import annotations

import numpy as np
import pytest

from edgefm.core.errors import DataError, RecipeError
from edgefm.data.label_scores import average_precision, label_figures
from edgefm.data.quality import DEFAULTS, MEASURES, quality

RANDOM = np.random.default_rng(5)


def precision_at_each_threshold(scores: np.ndarray, positive: np.ndarray) -> float:
    """Return the sum of (R_k - R_(k-1)) P_k over the distinct scores, from the highest on."""
    total, recall_before = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        answered = [index for index in range(len(scores)) if scores[index] >= threshold]
        hits = sum(bool(positive[index]) for index in answered)
        recall = hits / int(positive.sum())
        total += (recall - recall_before) * hits / len(answered)
        recall_before = recall
    return total


def pairs_in_order(scores: np.ndarray, positive: np.ndarray) -> float:
    """Return the share of pairs of a positive and another sample in the right order, a tie counting half."""
    wins = [float(a > b) + 0.5 * float(a == b) for a in scores[positive] for b in scores[~positive]]
    return float(np.mean(wins))


def f1_of(answered: np.ndarray, positive: np.ndarray) -> float:
    true = int((answered & positive).sum())
    wrong = int((answered & ~positive).sum()) + int((~answered & positive).sum())
    return 0.0 if true + wrong == 0 else 2 * true / (2 * true + wrong)


@pytest.fixture(scope="module")
def answers() -> tuple[np.ndarray, np.ndarray]:
    """Scores with many ties, and labels that go with them."""
    scores = np.round(RANDOM.uniform(size=(80, 4)), 1).astype(np.float32)
    return scores, (scores + RANDOM.normal(0, 0.4, (80, 4)) > 0.6).astype(np.int64)


def test_average_precision_by_hand() -> None:
    # From the highest score on: yes, no, yes, yes: precisions 1, 2/3 and 3/4 at the three steps of recall.
    found = average_precision(np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, False, True, True]))
    assert found == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    # Equal scores are one step: the two in the middle raise recall from 1/2 to 1 at a precision of 2/3.
    found = average_precision(np.array([0.9, 0.5, 0.5, 0.1]), np.array([True, True, False, False]))
    assert found == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_measures_agree_with_formulas(answers: tuple[np.ndarray, np.ndarray]) -> None:
    scores, targets = answers
    positive, said = targets.astype(bool), scores > 0.5
    columns = range(scores.shape[1])
    expected = {
        "map": np.mean([precision_at_each_threshold(scores[:, at], positive[:, at]) for at in columns]),
        "f1": np.mean([f1_of(said[:, at], positive[:, at]) for at in columns]),
        "f1_micro": f1_of(said.reshape(-1), positive.reshape(-1)),
        "label_accuracy": np.mean(said == positive),
        "auc": np.mean([pairs_in_order(scores[:, at], positive[:, at]) for at in columns]),
    }
    assert set(expected) == set(MEASURES["multilabel"])
    for name, value in expected.items():
        assert quality(name, task="multilabel").function((scores,), targets) == pytest.approx(value, abs=1e-12), name
    rows = label_figures(scores, targets, ("a", "b", "c", "d"))
    for at, row in enumerate(rows):
        assert row["average_precision"] == pytest.approx(precision_at_each_threshold(scores[:, at], positive[:, at]))
        assert row["auc"] == pytest.approx(pairs_in_order(scores[:, at], positive[:, at]))
        assert row["f1"] == pytest.approx(f1_of(said[:, at], positive[:, at]))
        assert row["accuracy"] == pytest.approx((said[:, at] == positive[:, at]).mean())
        assert (row["label"], row["images"]) == ("abcd"[at], int(positive[:, at].sum()))


def test_logits_are_cut_at_zero_as_probabilities_at_a_half(answers: tuple[np.ndarray, np.ndarray]) -> None:
    targets = answers[1]
    logits = RANDOM.normal(size=targets.shape)
    shares = 1 / (1 + np.exp(-logits))
    for name in MEASURES["multilabel"]:
        measure = quality(name, task="multilabel")
        assert measure.at(0.0).function((logits,), targets) == pytest.approx(measure.function((shares,), targets)), name
    binary = quality("accuracy", task="classification")
    single, classes = logits[:, :1], targets[:, 0]
    assert binary.at(0.0).function((single,), classes) == np.mean((single[:, 0] > 0) == classes)
    assert binary.at(0.0).function((single,), classes) != binary.function((single,), classes)


def test_label_without_samples_is_left_out_of_map_and_counts_as_0_in_f1() -> None:
    scores, targets = np.array([[0.9, 0.2], [0.1, 0.3]]), np.array([[1, 0], [0, 0]])
    assert quality("map", task="multilabel").function((scores,), targets) == 1.0
    assert quality("f1", task="multilabel").function((scores,), targets) == 0.5
    with pytest.raises(DataError, match="needs positive samples"):
        quality("map", task="multilabel").function((scores,), np.zeros((2, 2), np.int64))
    last = label_figures(scores, targets, ("there", "never"))[1]
    assert (last["average_precision"], last["auc"], last["recall"]) == (None, None, None)


def test_scores_that_do_not_fit_the_labels_are_said() -> None:
    with pytest.raises(DataError, match="3 scores a sample, the targets have 2 labels"):
        quality("f1", task="multilabel").function((np.zeros((4, 3)),), np.zeros((4, 2), np.int64))
    with pytest.raises(DataError, match=r"needs rows of 0 and 1"):
        quality("f1", task="multilabel").function((np.zeros((4, 3)),), np.zeros(4, np.int64))
    with pytest.raises(RecipeError, match="does not fit the task 'classification'") as caught:
        quality("map", task="classification")
    assert caught.value.hint == "Allowed: accuracy, top5, auc, or module:function."
    assert DEFAULTS["multilabel"] == "f1"
