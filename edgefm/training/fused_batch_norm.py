"""Batch normalisation as one fused operator, for training on TensorFlow.

Keras 3 computes moments and normalisation with separate operators on every backend. TensorFlow has a fused one,
which makes a training step faster on a CPU; docs/figures.md says by how much (benchmarks/test_training_step.py).
The layers stay keras.layers.BatchNormalization: what they compute with is exchanged while a training runs.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras import layers, ops

# Precisions that the operator computes in; Keras computes in float32 in all of them, the operator's sums are float32.
_PRECISIONS = ("float32", "bfloat16")


@contextmanager
def fused_batch_norm(model: Any) -> Iterator[int]:
    """Let each BatchNormalization of a model that allows it run as tf.raw_ops.FusedBatchNormV3; yield their number.

    A layer allows it when it normalises the last axis of a 4-D input, has both scale and centre, computes in float32
    or bfloat16, and Keras runs on TensorFlow. Layers of models within the model are found too. The moving variance
    takes the biased variance of the batch, as Keras 3 does; the operator gives the unbiased one.
    """
    fused = [layer for layer in _all_layers(model) if _can_fuse(layer)] if _on_tensorflow() else []
    for layer in fused:
        # Beside Keras' own attributes, so that neither its files nor its class know of it.
        vars(layer)["call"] = functools.partial(_call, layer)
    try:
        yield len(fused)
    finally:
        for layer in fused:
            del vars(layer)["call"]


def _call(layer: Any, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
    """Return the normalised input; in training, also move the moving statistics."""
    if not training or not layer.trainable or mask is not None:
        return type(layer).call(layer, inputs, training=training, mask=mask)
    import tensorflow as tf

    outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
        inputs,
        ops.cast(layer.gamma, "float32"),
        ops.cast(layer.beta, "float32"),
        epsilon=layer.epsilon,
        is_training=True,
    )
    values = tf.cast(tf.size(inputs) // tf.shape(inputs)[-1], variance.dtype)
    variance = variance * (values - 1) / values
    for moving, batch in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        moving.assign(moving * layer.momentum + ops.cast(batch, moving.dtype) * (1.0 - layer.momentum))
    return outputs


def _on_tensorflow() -> bool:
    return bool(keras.config.backend() == "tensorflow")


def _all_layers(model: Any) -> list[Any]:
    return list(model._flatten_layers(include_self=False))


def _can_fuse(layer: Any) -> bool:
    return (
        type(layer) is layers.BatchNormalization
        and layer.built
        and layer.input_spec.ndim == 4
        and layer.axis in (-1, 3)
        and layer.scale
        and layer.center
        and layer.compute_dtype in _PRECISIONS
    )
