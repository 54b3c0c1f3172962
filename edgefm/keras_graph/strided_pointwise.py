"""Convolutions whose kernel is one pixel and whose stride is more, computed on the pixels that they read.

TensorFlow's oneDNN kernels give wrong gradients for them, or write outside their memory (TensorFlow 2.21 on a CPU,
float32; tests/integration/test_strided_pointwise.py has the cases). Taking the pixels first and then stepping by one is
the same function, and all other strides are right.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_KINDS = frozenset(
    {"Conv1D", "Conv2D", "Conv3D", "DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D"}
)
_TRANSPOSED = frozenset({"Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"})


@contextmanager
def strided_pointwise(model: Any) -> Iterator[int]:
    """Let the strided convolutions of one pixel in a model of keras or tf_keras step by one; yield their number.

    What the layers are, and what is saved of them, stays. A function that was traced before keeps its steps.
    """
    found = [layer for layer in model._flatten_layers(include_self=False) if _is_strided_pointwise(layer)]
    for layer in found:
        # Beside the attributes that Keras tracks, so that neither its files nor its class know of it.
        vars(layer)["call"] = functools.partial(
            _call_transposed if type(layer).__name__ in _TRANSPOSED else _call, layer
        )
    try:
        yield len(found)
    finally:
        for layer in found:
            del vars(layer)["call"]


def _call(layer: Any, inputs: Any, *arguments: Any, **named: Any) -> Any:
    """Return what a convolution answers, of each pixel that its stride reaches."""
    steps = [slice(None, None, stride) for stride in layer.strides]
    first = (slice(None), slice(None)) if layer.data_format == "channels_first" else (slice(None),)
    with _exchanged(layer, strides=(1,) * len(steps)):
        return type(layer).call(layer, inputs[(*first, *steps)], *arguments, **named)


def _call_transposed(layer: Any, inputs: Any, *arguments: Any, **named: Any) -> Any:
    """Return what a transposed convolution answers: each pixel's answer, and zeros up to the next one's."""
    import tensorflow as tf

    strides = layer.strides
    with _exchanged(layer, strides=(1,) * len(strides), use_bias=False, activation=None):
        outputs = type(layer).call(layer, inputs, *arguments, **named)
    for axis, stride in enumerate(strides, start=1):
        outputs = tf.stack([outputs, *[tf.zeros_like(outputs)] * (stride - 1)], axis=axis + 1)
        shape = tf.unstack(tf.shape(outputs))
        shape[axis : axis + 2] = [shape[axis] * stride]
        outputs = tf.reshape(outputs, shape)
    outputs = tf.ensure_shape(outputs, layer.compute_output_shape(inputs.shape))
    if layer.use_bias:
        outputs = outputs + tf.cast(tf.convert_to_tensor(layer.bias), outputs.dtype)
    return outputs if layer.activation is None else layer.activation(outputs)


@contextmanager
def _exchanged(layer: Any, **values: Any) -> Iterator[None]:
    before = {name: getattr(layer, name) for name in values}
    vars(layer).update(values)
    try:
        yield
    finally:
        vars(layer).update(before)


def _is_strided_pointwise(layer: Any) -> bool:
    if not type(layer).__module__.startswith(("keras.", "tf_keras.")):
        return False
    name = type(layer).__name__
    if name not in _KINDS and not (
        name in _TRANSPOSED and layer.data_format == "channels_last" and layer.output_padding is None
    ):
        return False
    if name in _TRANSPOSED and max(layer.kernel_size) > 1:
        return False
    sides = zip(layer.kernel_size, layer.strides, strict=True)
    return any(stride > 1 for stride in layer.strides) and all(size == 1 or stride == 1 for size, stride in sides)
