"""Branches of a tf_keras graph whose ranges are too different for the one scale of the Concatenate that joins them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.compression.qat.qat_graph import activation_name
from edgefm_converters.tflite.shared_scales import Range, lost_ranges, sentence

_STEPS = 255
_BATCH = 64
# Each of their outputs depends on all channels, or has levels that TFLite fixes.
_MIXES = ("Conv1D", "Conv2D", "Conv2DTranspose", "Dense", "Softmax")
_FIXED = ("softmax", "sigmoid")


def lost_branches(tf_model: Any, inputs: NDArray[np.float32]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the layers that must stay float32 for the sake of a small branch, with the reason.

    These are each Concatenate in whose range an input would keep fewer than 16 levels, and the layers that take its
    values up to the next that mix them; see `edgefm_converters.tflite.shared_scales`.

    Args:
      tf_model: the float tf_keras model.
      inputs: float32 [n, ...], calibration inputs.
    Returns:
      {layer: reason}; and those of them that hold the joined values, whose output must not be rounded.
    """
    joins = [layer for layer in tf_model.layers if type(layer).__name__ == "Concatenate"]
    if not joins:
        return {}, ()
    ranges = _ranges(tf_model, joins, inputs)
    reasons: dict[str, str] = {}
    for layer in joins:
        for feeders in ranges[layer.name]:
            shared = min(low for low, _ in feeders.values()), max(high for _, high in feeders.values())
            lost = lost_ranges(feeders, shared, steps=_STEPS)
            if lost:
                reason = sentence(layer.name, shared, lost).partition("float32: ")[2]
                reasons[layer.name] = reason
                for name in _behind(layer):
                    reasons.setdefault(name, f"it works on '{layer.name}', where {reason}")
    holding = {layer.name for layer in tf_model.layers if not _mixes(layer)}
    return reasons, tuple(name for name in reasons if name in holding)


def _ranges(tf_model: Any, joins: list[Any], inputs: NDArray[np.float32]) -> dict[str, list[dict[str, Range]]]:
    """Return the range of each input of each layer, 0 within: {layer: [{feeder: range} a call]}."""
    import tf_keras

    calls = [(layer, index) for layer in joins for index in range(len(layer.inbound_nodes))]
    tensors = [tensor for layer, index in calls for tensor in layer.get_input_at(index)]
    probe = tf_keras.Model(tf_model.inputs, tensors)
    low: NDArray[np.float64] = np.zeros(len(tensors))
    high: NDArray[np.float64] = np.zeros(len(tensors))
    for start in range(0, len(inputs), _BATCH):
        outputs = probe(inputs[start : start + _BATCH], training=False)
        values = [output.numpy() for output in (outputs if isinstance(outputs, list) else [outputs])]
        low = np.minimum(low, [value.min() for value in values])
        high = np.maximum(high, [value.max() for value in values])
    ranges: dict[str, list[dict[str, Range]]] = {layer.name: [] for layer in joins}
    place = 0
    for layer, index in calls:
        feeders = {}
        for tensor in layer.get_input_at(index):
            feeders[tensor._keras_history.layer.name] = float(low[place]), float(high[place])
            place += 1
        ranges[layer.name].append(feeders)
    return ranges


def _behind(layer: Any) -> list[str]:
    """Return the layers that take a layer's values, up to the next ones that mix them."""
    names: list[str] = []
    todo = [node.layer for node in layer.outbound_nodes]
    while todo:
        taker = todo.pop()
        if taker.name in names:
            continue
        names.append(taker.name)
        if not _mixes(taker):
            todo += [node.layer for node in taker.outbound_nodes]
    return names


def _mixes(layer: Any) -> bool:
    kind = type(layer).__name__
    return kind in _MIXES or (kind == "Activation" and activation_name(layer) in _FIXED)
