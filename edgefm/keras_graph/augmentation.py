"""Layers of Keras that change their input in training only: augmentation. At inference they are not there."""

from __future__ import annotations

from typing import Any

from keras import layers

# They crop to another size at inference too, or work on labels as well.
_NOT_ALONE = ("RandomCrop",)


def is_augmentation(layer: Any) -> bool:
    """Return whether a layer is one of Keras's own that gives back its input at inference.

    >>> is_augmentation(layers.RandomFlip()), is_augmentation(layers.Resizing(2, 2))
    (True, False)
    """
    kind = type(layer)
    named = kind.__name__.startswith("Random") or kind.__name__ in ("AugMix", "RandAugment")
    return named and kind is getattr(layers, kind.__name__, None) and kind.__name__ not in _NOT_ALONE
