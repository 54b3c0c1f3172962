"""What the layers of Keras compute at inference, as far as folding needs to know."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers

from edgefm.keras_graph.affine import Affine, Linear
from edgefm.keras_graph.augmentation import is_augmentation
from edgefm.keras_graph.graph import Call

# Classes are compared exactly: a subclass may compute something else.
_LINEAR = {
    layers.Conv1D: "conv",
    layers.Conv2D: "conv",
    layers.DepthwiseConv2D: "depthwise",
    layers.SeparableConv2D: "separable",
    layers.Dense: "dense",
}
_NOTHING_AT_INFERENCE = (
    layers.Dropout,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.ActivityRegularization,
    layers.Identity,
)
MAXIMA = (layers.MaxPooling1D, layers.MaxPooling2D, layers.GlobalMaxPooling1D, layers.GlobalMaxPooling2D)
MEANS = (
    layers.AveragePooling1D,
    layers.AveragePooling2D,
    layers.GlobalAveragePooling1D,
    layers.GlobalAveragePooling2D,
)


@dataclass(frozen=True)
class Stop:
    """Where a walk through the graph ended without reaching a linear layer, and why."""

    reason: str


def affine_of(call: Call) -> Affine | Stop:
    """Return what a BatchNormalization or Rescaling computes at inference, or why it cannot be taken."""
    layer, channels = call.layer, call.input_shape[-1]
    if call.shared:
        return Stop("it is called more than once")
    if channels is None:
        return Stop("its number of channels is not fixed")
    if not call.input_dtype.startswith(("float", "bfloat")):
        return Stop(f"it turns {call.input_dtype} into numbers that the next layer can take")
    if type(layer) is layers.Rescaling:
        scale = np.broadcast_to(np.asarray(layer.scale, np.float64), (channels,))
        return Affine(scale=scale, shift=np.broadcast_to(np.asarray(layer.offset, np.float64), (channels,)))
    if call.trains:
        return Stop("it is called with training=True and normalises by each batch")
    if layer.axis not in (-1, len(call.input_shape) - 1):
        return Stop(f"it normalises axis {layer.axis}, not the last one")
    mean, variance = (np.asarray(value, np.float64) for value in (layer.moving_mean, layer.moving_variance))
    gamma = np.asarray(layer.gamma, np.float64) if layer.scale else np.ones_like(mean)
    beta = np.asarray(layer.beta, np.float64) if layer.center else np.zeros_like(mean)
    scale = gamma / np.sqrt(variance + layer.epsilon)
    return Affine(scale=scale, shift=beta - mean * scale)


def linear_of(call: Call) -> Linear:
    """Return the weights of a call for which `is_linear` holds; a missing bias as zeros."""
    layer = call.layer
    arrays = [np.asarray(value, np.float64) for value in layer.get_weights()]
    kind: Any = _LINEAR[type(layer)]
    if layer.use_bias:
        *kernels, bias = arrays
    else:
        kernels = arrays
        last = kernels[-1].shape
        bias = np.zeros(last[-2] * last[-1] if kind == "depthwise" else last[-1])
    return Linear(kind=kind, kernels=tuple(kernels), bias=bias, groups=getattr(layer, "groups", 1))


def is_linear(call: Call) -> bool:
    """Return whether a call is a layer with a float kernel that can be changed."""
    layer = call.layer
    if type(layer) not in _LINEAR or layer.dtype_policy.quantization_mode or getattr(layer, "lora_enabled", False):
        return False
    return not channels_first(call)


def activation(call: Call) -> str:
    """Return 'linear', 'relu' (s * f(x) = f(s * x) for s >= 0) or 'other'."""
    function = getattr(call.layer, "activation", None)
    if function in (None, keras.activations.linear):
        return "linear"
    return "relu" if function in (keras.activations.relu, keras.activations.leaky_relu) else "other"


def is_relu(call: Call) -> bool:
    """Return whether a call is an activation layer that a scale >= 0 commutes with."""
    layer = call.layer
    if type(layer) is layers.ReLU:
        return layer.max_value is None and not np.any(layer.threshold)
    return type(layer) is layers.LeakyReLU or (type(layer) is layers.Activation and activation(call) == "relu")


def does_nothing(call: Call) -> bool:
    """Return whether a call gives back its input at inference."""
    layer = call.layer
    if is_augmentation(layer):  # Keras notes training=True in its calls, and goes by what the model is asked for
        return bool(call.inputs)
    if call.trains or not call.inputs:
        return False
    return type(layer) in _NOTHING_AT_INFERENCE or (
        type(layer) is layers.Activation and layer.activation is keras.activations.linear
    )


def pads_nothing(call: Call) -> bool:
    """Return whether a pooling or linear layer sees only values of its input."""
    return getattr(call.layer, "padding", "valid") == "valid"


def pads_zeros(call: Call) -> bool:
    """Return whether a linear layer pads its input; a 1x1 kernel never does."""
    layer = call.layer
    return type(layer) is not layers.Dense and not pads_nothing(call) and any(size > 1 for size in layer.kernel_size)


def channels_first(call: Call) -> bool:
    """Return whether a layer takes its channels on axis 1."""
    return getattr(call.layer, "data_format", None) == "channels_first"


def positions(call: Call) -> int | None:
    """Return how many positions of the input Flatten puts in a row, or None where that is not fixed."""
    lengths = [length for length in call.input_shape[1:-1] if length is not None]
    return math.prod(lengths) if len(lengths) == len(call.input_shape) - 2 else None
