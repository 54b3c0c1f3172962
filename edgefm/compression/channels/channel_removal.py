"""Surgery: a new Keras 3 model without some channels, its other weights as they were."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from edgefm.compression.channels.channel_groups import Axes, Channels, Marks
from edgefm.keras_graph.graph import Call, call_copy

Indices = NDArray[Any]
_DROPPING = (layers.Dropout, layers.SpatialDropout1D, layers.SpatialDropout2D, layers.SpatialDropout3D)


def without_channels(channels: Channels, removed: Collection[int]) -> Any:
    """Return a new keras.Model without some channels, and without the weights that made and took them.

    It computes what the whole model computes when nothing of these channels reaches a layer that takes them, up to
    the rounding of float32. Names of layers, inputs and outputs stay. Dropout gets rate 0: a smaller network that is
    trained on for a few epochs fits too little, not too much.

    Args:
      channels: of the whole model, which is not changed.
      removed: marks of groups that can lose channels; at least one mark of each group stays.
    """
    gone = np.array(sorted(removed), np.int64)
    for group in channels.groups:
        left = set(group.marks) - set(removed)
        assert left and (group.frozen is None or len(left) == group.channels), f"{group.layers} can't lose these"
    copies: dict[int, Any] = {}

    def call_with(call: Call, _: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        axes = channels.axes.get(id(call.layer))
        if axes is not None:
            config, weights = _cut(axes, staying(axes.taken, gone), staying(axes.given, gone))
            return call_copy(call, args, kwargs, copies=copies, config=config, weights=weights)
        kept = staying(channels.tensors[call.outputs[0]], gone)
        if isinstance(call.layer, _DROPPING):
            return call_copy(call, args, kwargs, copies=copies, config={"rate": 0.0})
        if type(call.layer) is layers.Reshape and None not in call.output_shape[1:]:
            shape = (*call.output_shape[1:-1], len(kept))
            return call_copy(call, args, kwargs, copies=copies, config={"target_shape": shape})
        if type(call.layer).__name__ == "Reshape" and None not in call.output_shape[1:]:
            return keras.ops.reshape(args[0], (-1, *call.output_shape[1:-1], len(kept)))
        return call_copy(call, args, kwargs, copies=copies)

    return channels.graph.rebuild(call_with)


def staying(marks: Marks, gone: Indices) -> Indices:
    """Return the places of the channels that stay, in their order.

    >>> staying(np.array([5, 6, 7, 5, 6, 7]), np.array([6])).tolist()
    [0, 2, 3, 5]
    """
    return np.flatnonzero(~np.isin(marks, gone))


def _cut(axes: Axes, kept_in: Indices, kept_out: Indices) -> tuple[dict[str, Any], list[NDArray[Any]]]:
    """Return the changes to a layer's configuration, and its weights, with the channels that stay."""
    layer = axes.call.layer
    arrays = [np.asarray(array) for array in layer.get_weights()]
    if len(kept_in) == len(axes.taken) and len(kept_out) == len(axes.given):
        return {}, arrays
    if axes.kind == "scaling":
        # PReLU has one number for all channels where it shares them.
        return {}, [array if array.shape[-1] == 1 else array[..., kept_in] for array in arrays]
    first, *others = arrays
    if axes.kind == "depthwise":
        return {}, [first[..., kept_in, :], *(bias[kept_out] for bias in others)]
    if axes.kind == "dense":
        return {"units": len(kept_out)}, [first[np.ix_(kept_in, kept_out)], *(bias[kept_out] for bias in others)]
    config = {"filters": len(kept_out)}
    if axes.kind == "separable":
        pointwise, *biases = others
        multiplier = first.shape[-1]
        rows = (kept_in[:, None] * multiplier + np.arange(multiplier)).reshape(-1)
        kernels = [first[..., kept_in, :], pointwise[..., rows, :][..., kept_out]]
        return config, [*kernels, *(bias[kept_out] for bias in biases)]
    rows, columns = (kept_out, kept_in) if axes.kind == "transposed" else (kept_in, kept_out)
    return config, [first[..., rows, :][..., columns], *(bias[kept_out] for bias in others)]
