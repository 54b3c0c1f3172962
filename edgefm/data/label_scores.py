"""How good answers are where a sample has several labels, each there or not: one score a label, [n, labels].

Per label, and over them: 'label_accuracy', the share of right answers of yes or no; 'f1', the harmonic mean of
precision and recall, its mean over the labels (macro) or of all answers together ('f1_micro'); 'map', the mean of the
average precisions; 'auc', the mean of the areas under the ROC curves. The first three need a threshold.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import DataError

_Outputs = tuple[NDArray[Any], ...]


def mean_average_precision(outputs: _Outputs, targets: NDArray[Any], _: float = 0.5) -> float:
    """Return the mean of the labels' average precisions, 0 to 1; labels without a positive sample are left out.

    >>> scores = np.array([[0.9, 0.2], [0.8, 0.7], [0.1, 0.6]])
    >>> round(mean_average_precision((scores,), np.array([[1, 0], [0, 1], [1, 0]])), 4)
    0.9167

    Raises:
      DataError: no label has a positive sample, or the outputs are no scores of the labels.
    """
    scores, wanted = _checked(outputs, targets)
    present = np.flatnonzero(wanted.any(axis=0))
    if not present.size:
        raise DataError(
            "the average precision needs positive samples, and no label has any",
            hint="Give test samples with labels, or use another measure: label_accuracy.",
        )
    return float(np.mean([average_precision(scores[:, place], wanted[:, place]) for place in present]))


def average_precision(scores: NDArray[Any], positive: NDArray[np.bool_]) -> float:
    """Return the area under the stepwise curve of precision over recall: sum of (R_k - R_(k-1)) P_k.

    P_k and R_k are of the answers "yes, from the k-th highest score on"; equal scores are one step.

    >>> average_precision(np.array([0.9, 0.8, 0.1]), np.array([True, False, True]))
    0.8333333333333333

    Source: as scikit-learn's average_precision_score; Manning et al. 2008, chapter 8.
    """
    order = np.argsort(-scores, kind="stable")
    sorted_scores, hits = scores[order], np.cumsum(positive[order])
    steps = np.append(np.flatnonzero(np.diff(sorted_scores)), len(scores) - 1)  # the last place of each score
    precision = hits[steps] / (steps + 1)
    recall = hits[steps] / hits[-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def macro_f1(outputs: _Outputs, targets: NDArray[Any], threshold: float = 0.5) -> float:
    """Return the mean of the labels' F1, 0 to 1; that of a label that is neither there nor answered is 0."""
    scores, wanted = _checked(outputs, targets)
    return float(np.mean(_f1(*_counts(scores > threshold, wanted, axis=0))))


def micro_f1(outputs: _Outputs, targets: NDArray[Any], threshold: float = 0.5) -> float:
    """Return the F1 of all answers of all labels together, 0 to 1."""
    scores, wanted = _checked(outputs, targets)
    return float(_f1(*_counts(scores > threshold, wanted, axis=None)))


def shares_of_right_labels(outputs: _Outputs, targets: NDArray[Any], threshold: float = 0.5) -> NDArray[np.float64]:
    """Return the share of right answers of yes or no of each sample, float64 [n]; the mean is the label accuracy."""
    scores, wanted = _checked(outputs, targets)
    share: NDArray[np.float64] = ((scores > threshold) == wanted).mean(axis=1)
    return share


def shares_of_auc(outputs: _Outputs, targets: NDArray[Any], _: float = 0.5) -> NDArray[np.float64]:
    """Return float64 [n] whose mean is the mean area under the ROC curve of the labels; see `shares_of_area`.

    Raises:
      DataError: a label that all or none of the samples have.
    """
    scores, wanted = _checked(outputs, targets)
    mean: NDArray[np.float64] = np.mean(
        [shares_of_area(scores[:, place], wanted[:, place]) for place in range(scores.shape[1])], axis=0
    )
    return mean


def label_figures(
    scores: NDArray[Any], targets: NDArray[Any], labels: tuple[str, ...], *, threshold: float = 0.5
) -> list[dict[str, Any]]:
    """Return the figures of each label as JSON; those that the samples cannot tell are None.

    Args:
      scores: [n, labels].
      targets: int64 [n, labels] of 0 and 1.
      labels: names.
      threshold: a score above it means yes.
    Returns:
      label, images (that have it), precision, recall, f1, accuracy, average_precision, auc.
    """
    scores, wanted = _checked((scores,), targets)
    rows = []
    for place, label in enumerate(labels):
        score, positive = scores[:, place], wanted[:, place]
        answered = score > threshold
        hits, count, said = int((answered & positive).sum()), int(positive.sum()), int(answered.sum())
        both = 0 < count < len(positive)
        rows.append(
            {
                "label": label,
                "precision": hits / said if said else None,
                "recall": hits / count if count else None,
                "f1": 2 * hits / (count + said) if count + said else None,
                "images": count,
                "accuracy": float((answered == positive).mean()),
                "average_precision": average_precision(score, positive) if count else None,
                "auc": float(shares_of_area(score, positive).mean()) if both else None,
            }
        )
    return rows


def shares_of_area(scores: NDArray[Any], positive: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return float64 [n] whose mean is the area: area + its structural components, weighted by n / samples of a kind.

    The component of a positive sample is the share of the others below it, that of another one the share of the
    positive ones above it. Source: DeLong et al. 1988, Biometrics 44:837-845.
    """
    hits, count = int(positive.sum()), len(scores)
    others = count - hits
    if hits == 0 or others == 0:
        raise DataError(
            "the AUC needs samples inside and outside each class; one class has none or all of the samples",
            hint="Give test samples of all classes, or use another measure of quality.",
        )
    ranks = _ranks(scores)
    beaten = (ranks[positive] - _ranks(scores[positive])) / others
    beaten_by = 1 - (ranks[~positive] - _ranks(scores[~positive])) / hits
    area = beaten.mean()
    shares = np.full(count, area)
    shares[positive] += (beaten - area) * count / hits
    shares[~positive] += (beaten_by - area) * count / others
    return shares


def _ranks(scores: NDArray[Any]) -> NDArray[np.float64]:
    """Return the rank of each score from 1; equal scores share the mean of their ranks."""
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks: NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2)[places.reshape(-1)]
    return ranks


def _counts(answered: NDArray[np.bool_], wanted: NDArray[np.bool_], *, axis: int | None) -> tuple[Any, Any, Any]:
    """Return how many labels are answered rightly, are there, and are answered."""
    return (answered & wanted).sum(axis=axis), wanted.sum(axis=axis), answered.sum(axis=axis)


def _f1(hits: Any, there: Any, answered: Any) -> Any:
    """Return 2 hits / (there + answered), 0 where nothing is there or answered."""
    return 2 * hits / np.maximum(there + answered, 1)


def _checked(outputs: _Outputs, targets: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return scores [n, labels] and whether each label is there, or raise a DataError where they do not fit."""
    scores = outputs[0].reshape(len(outputs[0]), -1)
    if targets.ndim != 2 or targets.dtype.kind not in "iub":
        raise DataError(
            f"the targets are {targets.dtype} {targets.shape}; this measure needs rows of 0 and 1, [n, labels]"
        )
    if scores.shape != targets.shape:
        raise DataError(
            f"the first output has {scores.shape[1]} scores a sample, the targets have {targets.shape[1]} labels",
            hint="The scores of the labels must be the model's first output.",
        )
    return scores, targets.astype(bool)
