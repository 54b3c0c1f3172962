"""Labels that are probably wrong, by confident learning: what a model is sure of against what the labels say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class LabelNoise:
    """Where labels and a model's confident answers disagree.

    Attributes:
      joint: int64 [classes, classes]: samples of a given label (row) that confidently belong to a class (column).
      thresholds: float64 [classes], mean probability of each class among the samples that bear it; NaN without any.
      candidates: int64 [k], samples off the diagonal whose label is not the model's answer, the most doubtful first.
      suggested: int64 [k], the class that each confidently belongs to.
      margins: float64 [k], probability of the given label minus that of the suggested class; the lower the surer.
    """

    joint: NDArray[np.int64]
    thresholds: NDArray[np.float64]
    candidates: NDArray[np.int64]
    suggested: NDArray[np.int64]
    margins: NDArray[np.float64]


def label_noise(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> LabelNoise:
    """Return the candidates for wrong labels.

    A sample confidently belongs to a class if the model gives it at least the probability that it gives, on average, to
    samples with that label; of several such classes the most probable one counts. Candidates confidently belong to
    another class than their label's, which is not the model's answer either. A model that is sure of wrong answers
    names right labels, too: look at them.

    >>> sure = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.1, 0.9], [0.05, 0.95]])
    >>> noise = label_noise(sure, np.array([0, 0, 1, 1, 0]))
    >>> noise.candidates.tolist(), noise.suggested.tolist(), noise.joint.tolist()
    ([4], [1], [[2, 1], [0, 1]])

    Args:
      probabilities: [n, classes] of samples that the model was not trained on.
      labels: int64 [n], the given labels.
    Raises:
      ValueError: the shapes do not fit, or a probability is not finite.
    Source: Northcutt et al. 2021, arXiv:1911.00068, equations 1 and 2.
    """
    sure = np.asarray(probabilities, np.float64)
    if sure.ndim != 2 or labels.shape != (len(sure),) or not np.isfinite(sure).all():
        raise ValueError(f"finite probabilities [n, classes] and labels [n] are expected, not {sure.shape}")
    classes = sure.shape[1]
    thresholds = np.full(classes, np.nan)
    for label in np.unique(labels):
        thresholds[label] = sure[labels == label, label].mean()
    above = sure >= np.where(np.isnan(thresholds), np.inf, thresholds)
    belongs = np.where(above, sure, -1.0).argmax(axis=1)
    counted = above.any(axis=1)
    joint = np.zeros((classes, classes), np.int64)
    np.add.at(joint, (labels[counted], belongs[counted]), 1)
    doubtful = np.flatnonzero(counted & (belongs != labels) & (sure.argmax(axis=1) != labels))
    margins = sure[doubtful, labels[doubtful]] - sure[doubtful, belongs[doubtful]]
    order = np.argsort(margins, kind="stable")
    return LabelNoise(
        joint=joint,
        thresholds=thresholds,
        candidates=doubtful[order].astype(np.int64),
        suggested=belongs[doubtful[order]].astype(np.int64),
        margins=margins[order],
    )
