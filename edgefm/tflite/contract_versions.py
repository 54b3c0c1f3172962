"""What contracts of older versions said of pictures, told as steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from edgefm.core.picture_steps import LETTERBOX, PictureSteps
from edgefm.core.task_names import FASHION_MNIST_LABELS


def former_pictures(preprocessing: Mapping[str, Any], labels: Sequence[str]) -> PictureSteps:
    """Return how pictures get in by a contract of version 1 or 2.

    One that does not say so was written when all pictures were fitted in with their aspect kept. One that does not say
    whether the training pictures show bright things on a dark background tells it by its labels: those of Fashion-MNIST
    do.

    >>> former_pictures({"picture_fit": "stretch", "dark_background": True}, ("a", "b")).invert
    'light_border'
    """
    dark = preprocessing.get("dark_background")
    if dark is None:
        dark = tuple(labels) == FASHION_MNIST_LABELS
    pictures = PictureSteps() if preprocessing.get("picture_fit") == "stretch" else LETTERBOX
    return replace(pictures, invert="light_border" if dark else "asked")
