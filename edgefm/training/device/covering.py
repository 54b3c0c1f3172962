"""Boxes of images erased, or exchanged with those of a second image; images mixed. On the device, with keras.ops.

The second image of each is the one before it in the batch, which is as good as any: the order of an epoch is random.
"""

from __future__ import annotations

from typing import Any

from keras import ops


def erased(images: Any, boxes: Any) -> Any:
    """Return images [b, h, w, c] with 0 inside boxes, int32 [b, 4]: top, bottom, left, right, ends exclusive.

    Source: Zhong et al. 2017, arXiv:1708.04896, with 0 (black, the background) for the erased pixels.
    """
    return ops.where(_inside(images, boxes), ops.zeros_like(images), images)


def exchanged(images: Any, boxes: Any, taken: Any) -> Any:
    """Return images [b, h, w, c] with pixels of the second of the images `taken` inside boxes, as `erased` takes them.

    Source: Yun et al. 2019, arXiv:1905.04899.
    """
    return ops.where(_inside(images, boxes), second(taken), images)


def mixed(values: Any, shares: Any) -> Any:
    """Return float32 values [b, ...] with a share, float32 [b], of the second one's; of images or of labels.

    Source: Zhang et al. 2018, arXiv:1710.09412.
    """
    weights = ops.reshape(shares, (values.shape[0], *(1 for _ in values.shape[1:])))
    return values + weights * (second(values) - values)


def second(values: Any) -> Any:
    """Return values [b, ...] of each one's second image."""
    return ops.roll(values, 1, axis=0)


def _inside(images: Any, boxes: Any) -> Any:
    count, height, width, _ = images.shape
    rows = ops.reshape(ops.arange(height, dtype="int32"), (1, height))
    columns = ops.reshape(ops.arange(width, dtype="int32"), (1, width))
    tall = ops.logical_and(rows >= boxes[:, 0:1], rows < boxes[:, 1:2])
    wide = ops.logical_and(columns >= boxes[:, 2:3], columns < boxes[:, 3:4])
    return ops.logical_and(ops.reshape(tall, (count, height, 1, 1)), ops.reshape(wide, (count, 1, width, 1)))
