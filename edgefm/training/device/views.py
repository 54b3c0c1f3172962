"""A batch as a step sees it: its images augmented and its labels mixed, from the set on the device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras import ops

from edgefm.training.device.covering import erased, exchanged, mixed
from edgefm.training.device.moving import moved, turned


def view(images: Any, rows: Mapping[str, Any]) -> Any:
    """Return a batch of images as the rows of `epoch_chance` change them: moved, erased, mixed.

    Args:
      images: [b, h, w, c], as they are in the set.
      rows: of this batch, by name.
    Returns:
      float32 [b, h, w, c] of uint8 images, 0 to 255; else of the images' dtype where nothing computes with them.
    """
    if "turns" in rows:
        images = turned(images, rows["moves"], rows["turns"])
    elif "moves" in rows:
        images = moved(images, rows["moves"])
    if "erased" in rows:
        images = erased(images, rows["erased"])
    plain = images = model_inputs(images)
    if "shares" in rows:
        images = mixed(images, rows["shares"])
    if "exchanged" in rows:  # from what is shown of the second image alone: its label is all that is told of it
        images = exchanged(images, rows["exchanged"], plain)
    return images


def labels_seen(labels: Any, rows: Mapping[str, Any], *, classes: int, weights: Any = None) -> Any:
    """Return the share of each class in a batch, float32 [b, classes], of labels int32 [b].

    With the weight of each class, float32 [classes], it is the share times the weight of its class.
    """
    targets = ops.one_hot(labels, classes, dtype="float32")
    if weights is not None:
        targets = targets * weights
    return mixed(targets, rows["second"]) if "second" in rows else targets


def model_inputs(images: Any) -> Any:
    """Return what a model takes: uint8 pixels as float32, 0 to 255; other inputs as they are."""
    return ops.cast(images, "float32") if "uint8" in str(images.dtype) else images
