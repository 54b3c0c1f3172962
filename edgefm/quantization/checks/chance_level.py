"""Whether the given model answers labelled data better than one that never looks at its inputs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.data.label_scores import shares_of_area
from edgefm.data.quality import Quality
from edgefm.quantization.checks.given_model import GivenModel
from edgefm.statistics.chance import BETTER, UNCLEAR, WORSE, against_chance
from edgefm.statistics.estimates import Z
from edgefm.statistics.noninferiority import LEAST_SAMPLES_OF_A_MEAN, student_t

TRAINED_SO = "are the order of classes, the value range and the order of channels those of its training?"
# Of so many samples "not shown to be better" is enough; of fewer a useful model must be ruled out.
MANY_SAMPLES = 30
# Standard errors above chance that are as rare on one side.
_ONE_SIDED = 1.645
# An area under the ROC curve that few samples do not rule out for a model that is of use.
_USEFUL_AREA = 0.7


def chance_level(given: GivenModel, quality: Quality, *, classes: bool) -> str:
    """Return in words that the given model is not better than an answer without looking, or ''."""
    assert given.targets is not None and given.quality is not None
    count = len(given.targets)
    if classes and quality.name == "accuracy" and given.targets.ndim == 1:
        commonest = int(np.bincount(given.targets.astype(np.int64)).max())
        hits = round(given.quality * count)
        found = against_chance(hits, count, commonest)
        if found in (BETTER, UNCLEAR):
            return ""
        more = ", significantly more" if found == WORSE else ""
        right = f"{hits} of {count} samples are right; always the commonest class would have {commonest}{more}"
        return f"{right}: {TRAINED_SO}"
    if classes and given.targets.ndim == 2 and given.targets.dtype.kind in "iu":
        return _chance_of_labels(given.outputs[0].reshape(count, -1), given.targets)
    if quality.name == "mse" and given.targets.dtype.kind == "f":
        return _chance_of_numbers(given, quality)
    return ""


def _chance_of_numbers(given: GivenModel, quality: Quality) -> str:
    """Return in words that the given model errs more than always the mean target, or ''.

    With few samples only where that is significant: each target is held against the mean of the others, and Student's
    t tells whether the errors are greater.
    """
    assert given.targets is not None and given.quality is not None and quality.of_samples is not None
    count = len(given.targets)
    about_mean = np.square(given.targets - given.targets.mean(axis=0, dtype=np.float64)).reshape(count, -1).mean(axis=1)
    spread = float(about_mean.mean())
    if given.quality < spread or count < LEAST_SAMPLES_OF_A_MEAN:
        return ""
    if count < MANY_SAMPLES:
        more = quality.of_samples(given.outputs, given.targets) - about_mean * (count / (count - 1)) ** 2
        if more.mean() <= student_t(count - 1) * more.std(ddof=1) / math.sqrt(count):
            return ""
    return (
        f"the mean squared error is {given.quality:.4g} on {count} samples; always the mean target "
        f"has {spread:.4g}. Are its value range and its targets those of its training?"
    )


def _chance_of_labels(scores: NDArray[np.float32], targets: NDArray[Any]) -> str:
    """Return in words that the scores of labels are in no better order than chance, or ''.

    Under chance the area of a label with p samples and n others has the mean 0.5 and the variance
    (p + n + 1) / (12 p n). Source: Mann & Whitney 1947.
    """
    areas, variances = [], []
    for score, there in zip(scores.T, targets.T.astype(bool), strict=True):
        hits, others = int(there.sum()), int((~there).sum())
        if hits and others:
            areas.append(float(shares_of_area(score, there).mean()))
            variances.append((hits + others + 1) / (12 * hits * others))
    if not areas:
        return ""
    area, error = float(np.mean(areas)), math.sqrt(sum(variances)) / len(areas)
    if area - 0.5 > _ONE_SIDED * error or (len(targets) < MANY_SAMPLES and area + Z * error > _USEFUL_AREA):
        return ""
    return (
        f"the mean area under the ROC curve of {len(areas)} labels is {area:.2f} on {len(targets)} samples; chance has "
        "0.50. Are the order of labels, the value range and the order of channels those of its training?"
    )
