"""A final training learns the validation images too: the data set for it, and a verdict that says so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgefm.data.dataset import Dataset
from edgefm.recipes import Training
from edgefm.training.verdict import FitVerdict

NOT_JUDGED = "not judged"


def learnt_by(recipe: Training, dataset: Dataset) -> Dataset:
    """Return the data set that a recipe's training is given.

    With `with_validation` its training split holds the validation images behind the training images, and the validation
    split stays as it is: figures on it are figures on images that are learnt. Otherwise it is the data set itself.
    """
    if not recipe.with_validation:
        return dataset
    train, validation = dataset.train, dataset.validation
    both = replace(
        train,
        images=np.concatenate([train.images, validation.images]),
        labels=np.concatenate([train.labels, validation.labels]),
    )
    return replace(dataset, train=both)


def judged(recipe: Training, verdict: FitVerdict) -> FitVerdict:
    """Return the verdict on a training; on one that learnt the validation images, that they say nothing."""
    if not recipe.with_validation:
        return verdict
    reason = (
        f"the validation images were learnt too; accuracy on them, {100 * verdict.validation_accuracy:.1f} %, says "
        "nothing about new pictures. The test images do, once"
    )
    return replace(verdict, name=NOT_JUDGED, reason=reason)
