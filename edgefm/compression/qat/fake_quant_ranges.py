"""The ranges of a fake-quantised model's activations, measured on the float model before training and kept.

tfmot starts every range at [-6, 6] and lets it follow the batches with a moving average of 0.999: after one epoch
much of the start is still there, and levels are lost on values that a ReLU never gives. Here a range goes from the
mean of the batches' least values to the mean of their greatest; rarer values are clipped for finer levels.

Accuracy of the int8 file on the 12,000 validation images, Enhanced CNN, one epoch of 6,000 images, mean of seeds 0 to
2, without training 93.38 %: tfmot's start 93.35 (93.33 to 93.38); least and greatest of all calibration images, kept
93.46 (93.43 to 93.49); as here 93.50 (93.48 to 93.52); extremes of all calibration samples, then moving 93.51 (93.50
to 93.52). The last two cannot be told apart (a standard error is 0.22 points, of paired differences about 0.05), and
a range that is kept stays the same for an average pooling and what it pools.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.compression.qat.fake_quant import PREFIX, LayerQuantization, ranged
from edgefm.compression.qat.qat_graph import INPUT_LAYER
from edgefm.core.progress import Progress

Range = tuple[float, float]
_BATCH = 64
# The least width of a range: an output that is always 0 has one too.
_NARROWEST = 1e-6


def measured_ranges(
    tf_model: Any,
    layers: Mapping[str, LayerQuantization],
    inputs: NDArray[np.float32],
    *,
    label: str,
    progress: Progress,
) -> dict[str, Range]:
    """Return the range of each quantised output of the float model, 0 always within; the model's ends are not clipped.

    Args:
      tf_model: the float tf_keras model.
      layers: where its quantisers stand.
      inputs: float32 [n, ...], calibration inputs.
      label: of the progress.
      progress: receives progress.
    """
    import tensorflow as tf
    import tf_keras

    own = [place for place in ranged(layers) if place.output == "own"]
    tensors = [tensor for place in own for tensor in _outputs(tf_model, place.layer)]
    sizes = [len(_outputs(tf_model, place.layer)) for place in own]
    probe = tf_keras.Model(tf_model.inputs, tensors)
    spec = tf.TensorSpec([None, *tf_model.inputs[0].shape[1:]], tf.float32)

    def extremes(batch: Any) -> Any:
        values = tf.nest.flatten(probe(batch, training=False))
        return tf.stack([tf.stack([tf.reduce_min(value), tf.reduce_max(value)]) for value in values])

    measure = tf.function(extremes, input_signature=[spec], autograph=False)
    ends_of_model = {INPUT_LAYER, *(tensor._keras_history.layer.name for tensor in tf_model.outputs)}
    batches = []
    for start in range(0, len(inputs), _BATCH):
        batches.append(measure(inputs[start : start + _BATCH]).numpy())
        progress.step(label, min(start + _BATCH, len(inputs)), len(inputs))
    found_ends = np.stack(batches)  # [batches, tensors, 2]
    ranges: dict[str, Range] = {}
    for place, part in zip(own, np.split(found_ends, np.cumsum(sizes)[:-1], axis=1), strict=True):
        low, high = part[..., 0].min(axis=1), part[..., 1].max(axis=1)
        whole = place.layer in ends_of_model
        ranges[place.layer] = _widened(
            float(low.min() if whole else np.minimum(low, 0).mean()),
            float(high.max() if whole else np.maximum(high, 0).mean()),
        )
    for place in ranged(layers):
        if place.output == "fixed" and place.limits is not None:
            ranges[place.layer] = place.limits
    for place in ranged(layers):
        if place.output == "shared" and place.source is not None:
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
