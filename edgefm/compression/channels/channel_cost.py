"""What a model costs with some of its channels: multiply-accumulates and bytes, counted from the Keras graph."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import keras
import numpy as np

from edgefm.compression.channels.channel_groups import Axes, Channels, channels_of
from edgefm.compression.channels.channel_removal import staying
from edgefm.keras_graph.graph import Call, is_graph

_BIAS_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Cost of one inference.

    Attributes:
      macs: multiply-accumulates, as `edgefm.tflite.graph.macs_of` counts them; layers of other kinds than
        convolutions and dense ones count as 0. None where a size is not fixed.
      weight_bytes: of the weights in a full-integer file: one byte a weight, four a bias, which each output channel
        has once batch normalisation is folded.
    """

    macs: int | None
    weight_bytes: int


def cost_of(channels: Channels, removed: Collection[int] = ()) -> Cost:
    """Return what a model costs without some channels; nothing is built for it.

    Args:
      channels: of the whole model.
      removed: marks of the channels that are gone.
    """
    gone = np.array(sorted(removed), np.int64)
    macs: int | None = 0
    weight_bytes = 0
    seen: set[int] = set()
    for call in channels.graph.calls:
        axes = channels.axes.get(id(call.layer))
        if axes is not None:
            c_in, c_out = len(staying(axes.taken, gone)), len(staying(axes.given, gone))
            kernels, biases = _sizes(axes, c_in, c_out)
            length = _positions(call, axes)
            macs = None if macs is None or length is None else macs + length * sum(kernels)
            own_bytes = sum(kernels) + _BIAS_BYTES * biases
        elif is_graph(call.layer):
            inner = cost_of(channels_of(call.layer))
            macs = None if macs is None or inner.macs is None else macs + inner.macs
            own_bytes = inner.weight_bytes
        else:
            own_bytes = call.layer.count_params() if isinstance(call.layer, keras.Layer) else 0
        if id(call.layer) not in seen:
            weight_bytes += own_bytes
            seen.add(id(call.layer))
    return Cost(macs=macs, weight_bytes=weight_bytes)


def _sizes(axes: Axes, c_in: int, c_out: int) -> tuple[list[int], int]:
    """Return the number of weights of each kernel, and of biases."""
    if axes.kind == "scaling":
        return [], 0  # folded away
    kernel = axes.call.layer.weights[0].shape
    if axes.kind == "depthwise":
        return [math.prod(kernel[:-2]) * c_out], c_out
    if axes.kind == "separable":
        between = c_in * kernel[-1]
        return [math.prod(kernel[:-2]) * between, between * c_out], between + c_out
    # A grouped convolution loses no channels: each of its filters sees the same part as before.
    part = c_in // getattr(axes.call.layer, "groups", 1)
    return [math.prod(kernel[:-2]) * part * c_out], c_out


def _positions(call: Call, axes: Axes) -> int | None:
    """Return how often each weight of a kernel is multiplied in one inference."""
    shape = call.input_shape if axes.kind == "transposed" else call.output_shape
    lengths = [length for length in shape[1:-1] if length is not None]
    return math.prod(lengths) if len(lengths) == len(shape) - 2 else None
