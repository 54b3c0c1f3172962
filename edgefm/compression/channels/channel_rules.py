"""What each layer and operation of Keras 3 does to its channels: makes new ones, keeps them, or makes them one."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

from edgefm.keras_graph.augmentation import is_augmentation
from edgefm.keras_graph.folding import ChannelShift
from edgefm.keras_graph.graph import Call, is_graph
from edgefm.keras_graph.inference import channels_first

# Classes are compared exactly: a subclass may compute something else. These mix their input channels into new ones.
MIXING = {
    layers.Conv1D: "conv",
    layers.Conv2D: "conv",
    layers.Conv3D: "conv",
    layers.Conv1DTranspose: "transposed",
    layers.Conv2DTranspose: "transposed",
    layers.Conv3DTranspose: "transposed",
    layers.SeparableConv1D: "separable",
    layers.SeparableConv2D: "separable",
    layers.Dense: "dense",
}
_DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
# Weights of one number a channel.
_SCALING = (layers.BatchNormalization, ChannelShift, layers.PReLU)
# No weights; channel i of the output is computed from channel i of the input alone.
_CARRYING = (
    layers.Activation,
    layers.ReLU,
    layers.LeakyReLU,
    layers.ELU,
    layers.Dropout,
    layers.AlphaDropout,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.ActivityRegularization,
    layers.Identity,
    layers.Rescaling,
    layers.RepeatVector,
    *(
        getattr(layers, f"{kind}{axes}D")
        for kind in (
            "SpatialDropout",
            "MaxPooling",
            "AveragePooling",
            "GlobalMaxPooling",
            "GlobalAveragePooling",
            "ZeroPadding",
            "Cropping",
            "UpSampling",
        )
        for axes in (1, 2, 3)
    ),
)
_TYING = (layers.Add, layers.Subtract, layers.Multiply, layers.Average, layers.Maximum, layers.Minimum)
# Stateless operations of keras.ops, by the name of their class.
_TYING_OPERATIONS = {"Add", "Subtract", "Multiply", "Divide", "TrueDivide", "Maximum", "Minimum"}
_ELEMENTWISE = {
    "linear",
    "relu",
    "relu6",
    "leaky_relu",
    "elu",
    "selu",
    "celu",
    "gelu",
    "silu",
    "swish",
    "mish",
    "sigmoid",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "tanh",
    "tanh_shrink",
    "hard_shrink",
    "soft_shrink",
    "softplus",
    "softsign",
    "exponential",
    "log_sigmoid",
    "threshold",
}
_ELEMENTWISE_OPERATIONS = {
    "Relu",
    "Relu6",
    "LeakyRelu",
    "Elu",
    "Selu",
    "Gelu",
    "Silu",
    "Sigmoid",
    "HardSigmoid",
    "HardSilu",
    "Tanh",
    "Softplus",
    "Softsign",
    "Absolute",
    "Abs",
    "Negative",
    "Square",
    "Sqrt",
    "Rsqrt",
    "Exp",
    "Log",
    "Clip",
    "Cast",
    "MaxPool",
    "AveragePool",
}
_REDUCING_OPERATIONS = {"Mean", "Max", "Min", "Sum"}


def rule_of(call: Call) -> str | None:
    """Return by which rule a call gives its channels, or None for a call that is not understood.

    'mix' makes new channels, 'depthwise' repeats each, 'scale' and 'carry' keep them, with and without a weight a
    channel, 'tie' makes those of its inputs one; 'concatenate', 'reshape' and 'permute' say so themselves.
    """
    layer = call.layer
    kind = type(layer)
    if channels_first(call) or is_graph(layer) or any(len(shape) < 2 for shape in call.input_shapes):
        return None
    if not isinstance(layer, keras.Layer):
        return _operation_rule(call)
    if layer.dtype_policy.quantization_mode or getattr(layer, "lora_enabled", False):
        return None
    if kind in MIXING:
        return "mix"
    if kind in _DEPTHWISE and elementwise(layer):
        return "depthwise"
    if kind in _SCALING and _last_axis(call):
        return "scale"
    if is_augmentation(layer):
        return "carry"
    if kind in _CARRYING and elementwise(layer) and np.ndim(getattr(layer, "scale", 0)) == 0:
        return "carry" if np.ndim(getattr(layer, "offset", 0)) == 0 else None
    if kind in _TYING:
        return "tie"
    if kind is layers.Concatenate:
        return "concatenate"
    if kind in (layers.Flatten, layers.Reshape):
        return "reshape"
    return "permute" if kind is layers.Permute else None


def _operation_rule(call: Call) -> str | None:
    name = type(call.layer).__name__
    if not type(call.layer).__module__.startswith("keras.src.ops.") or _has_arrays(call):
        return None
    if name in _TYING_OPERATIONS:
        return "tie"
    if name in _ELEMENTWISE_OPERATIONS and getattr(call.layer, "data_format", None) != "channels_first":
        return "carry"
    if name in _REDUCING_OPERATIONS:
        axes = np.atleast_1d([] if call.layer.axis is None else call.layer.axis)
        last = len(call.input_shape) - 1
        return "carry" if axes.size and not {-1, last, 0, -last - 1} & {int(axis) for axis in axes} else None
    if name == "Concatenate":
        return "concatenate"
    return "reshape" if name == "Reshape" else None


def elementwise(layer: Any) -> bool:
    """Return whether the activation of a layer computes each value from itself alone."""
    function = getattr(layer, "activation", None)
    name = getattr(function, "__name__", "")
    return function is None or (name in _ELEMENTWISE and function is getattr(keras.activations, name, None))


def _last_axis(call: Call) -> bool:
    return getattr(call.layer, "axis", -1) in (-1, len(call.input_shape) - 1)


def _has_arrays(call: Call) -> bool:
    """Return whether a call takes constants of more than one number beside its symbolic tensors."""
    arguments = keras.tree.flatten((call.arguments.args, call.arguments.kwargs))
    return any(
        np.size(value) > 1
        for value in arguments
        if not isinstance(value, keras.KerasTensor | str | bool | int | float | type(None))
    )
