"""The ranges of a fake-quantised model's activations, measured on the float model before training starts.

tfmot starts every range at [-6, 6] and lets it follow the batches with a moving average of 0.999: after one epoch
much of the start is still there, and levels are lost on values that a ReLU never gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.compression.fake_quant import PREFIX, Place, ranged
from edgefm.compression.qat_graph import INPUT_LAYER
from edgefm.progress import Progress

Range = tuple[float, float]
_BATCH = 32
# The least width of a range: an output that is always 0 has one too.
_NARROWEST = 1e-6


def measured_ranges(
    tf_model: Any, found: Mapping[str, Place], inputs: NDArray[np.float32], *, label: str, progress: Progress
) -> dict[str, Range]:
    """Return the least and greatest value of each quantised output of the float model, 0 always within.

    Args:
      tf_model: the float tf_keras model.
      found: where its quantisers stand.
      inputs: float32 [n, ...], calibration inputs.
      label: of the progress.
      progress: receives progress.
    """
    import tensorflow as tf
    import tf_keras

    own = [place for place in ranged(found) if place.output == "own"]
    tensors = [tensor for place in own for tensor in _outputs(tf_model, place.layer)]
    sizes = [len(_outputs(tf_model, place.layer)) for place in own]
    probe = tf_keras.Model(tf_model.inputs, tensors)
    spec = tf.TensorSpec([None, *tf_model.inputs[0].shape[1:]], tf.float32)

    def extremes(batch: Any) -> Any:
        values = tf.nest.flatten(probe(batch, training=False))
        return tf.stack([tf.stack([tf.reduce_min(value), tf.reduce_max(value)]) for value in values])

    measure = tf.function(extremes, input_signature=[spec])

    low = np.zeros(len(tensors), np.float32)
    high = np.zeros(len(tensors), np.float32)
    for start in range(0, len(inputs), _BATCH):
        batch = measure(inputs[start : start + _BATCH]).numpy()
        low, high = np.minimum(low, batch[:, 0]), np.maximum(high, batch[:, 1])
        progress.step(label, min(start + _BATCH, len(inputs)), len(inputs))
    ranges: dict[str, Range] = {}
    for place, part in zip(own, np.split(np.arange(len(tensors)), np.cumsum(sizes)[:-1]), strict=True):
        ranges[place.layer] = _widened(float(low[part].min()), float(high[part].max()))
    for place in ranged(found):
        if place.output == "fixed" and place.limits is not None:
            ranges[place.layer] = place.limits
    for place in ranged(found):
        if place.output == "as_input" and place.source is not None:
            ranges[place.layer] = ranges[place.source]
    return ranges


def set_ranges(quantized: Any, ranges: Mapping[str, Range]) -> None:
    """Set the ranges of a fake-quantised model's outputs, by layer, and those of its kernels."""
    for layer in quantized.layers:
        name = layer.name.removeprefix(PREFIX)
        if name in ranges and hasattr(layer, "_output_quantizer_vars"):
            low, high = ranges[name]
            layer._output_quantizer_vars["min_var"].assign(low)
            layer._output_quantizer_vars["max_var"].assign(high)
    settle_kernels(quantized)


def settle_kernels(quantized: Any) -> None:
    """Set the ranges of a fake-quantised model's kernels by the weights that it has now.

    tfmot sets them in training before each step, so that they are those of the weights before the last step.
    """
    for layer in quantized.layers:
        for kernel, quantizer, variables in getattr(layer, "_weight_vars", ()):
            quantizer(kernel, True, variables)


def exactly(ranges: Mapping[str, Range], limits: Range) -> dict[str, Range]:
    """Return ranges with the model's input going exactly from `limits[0]` to `limits[1]`, 0 within."""
    return {**ranges, INPUT_LAYER: _widened(*limits)}


def _outputs(tf_model: Any, name: str) -> list[Any]:
    """Return the outputs of a layer, one a call."""
    layer = tf_model.get_layer(name)
    return [layer.get_output_at(index) for index in range(len(layer.inbound_nodes))]


def _widened(low: float, high: float) -> Range:
    return min(low, 0.0), max(high, 0.0, min(low, 0.0) + _NARROWEST)
