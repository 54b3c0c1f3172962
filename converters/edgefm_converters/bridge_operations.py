"""Operations of keras.ops in a Functional graph (`x + y`, keras.ops.relu(x)) as layers of tf_keras.

tfmot knows layers only. Each operation becomes a layer of the same name; what has no layer is an error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from edgefm.compression.graph import Call
from edgefm.errors import ModelError
from edgefm_converters.bridge_layers import no_counterpart

_MERGES = {"Add": "Add", "Subtract": "Subtract", "Multiply": "Multiply", "Maximum": "Maximum", "Minimum": "Minimum"}
_ACTIVATIONS = {
    "Relu": "relu",
    "Relu6": "relu6",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Silu": "silu",
    "Selu": "selu",
    "Exp": "exponential",
    "HardSigmoid": "hard_sigmoid",
    "HardSilu": "hard_silu",
    "HardTanh": "hard_tanh",
    "LogSigmoid": "log_sigmoid",
    "Mish": "mish",
}
_SAME = ("Cast", "Copy", "Identity", "StopGradient")
_RESHAPES = ("Reshape", "Squeeze", "ExpandDims")


def apply_operation(call: Call, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Return the output of the tf_keras layer that stands for an operation.

    Args:
      call: of an operation that is no layer.
      name: of the new layer.
      args: arguments, tensors of tf_keras in the place of those of Keras 3.
      kwargs: likewise.
    Raises:
      ModelError: no layer computes this.
    """
    import tf_keras

    layer, tensors = _layer(call, name, args, kwargs, tf_keras.layers)
    return layer(tensors)


def _layer(call: Call, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], layers: Any) -> tuple[Any, Any]:
    """Return a layer and what to call it with."""
    operation, kind = call.layer, type(call.layer).__name__
    values = [*args, *kwargs.values()]
    own = {"name": name, "dtype": "float32"}
    if kind in _MERGES or kind in ("Divide", "TrueDivide"):
        return _arithmetic(call, own, values[:2], layers)
    if kind == "Concatenate":
        return layers.Concatenate(axis=operation.axis, **own), list(values[0])
    first = values[0]
    if kind in ("Square", "Power"):
        if kind == "Power" and not (np.isscalar(values[1]) and values[1] == 2):
            raise no_counterpart(operation)
        return layers.Multiply(**own), [first, first]
    if kind == "Negative":
        return layers.Rescaling(-1.0, **own), first
    if kind in _SAME:
        if kind == "StopGradient" or (kind == "Cast" and operation.dtype not in ("float32", "float64")):
            raise no_counterpart(operation)
        return layers.Activation("linear", **own), first
    layer = (
        _activation(operation, kind, own, layers)
        or _pooling(call, kind, own, layers)
        or _moving(call, kind, own, kwargs, layers)
    )
    if layer is None:
        raise no_counterpart(operation)
    return layer, first


def _arithmetic(call: Call, own: Mapping[str, Any], values: list[Any], layers: Any) -> tuple[Any, Any]:
    kind, name = type(call.layer).__name__, own["name"]
    sent = [*call.arguments.args, *call.arguments.kwargs.values()]
    tensors = [isinstance(value, keras.KerasTensor) for value in sent[:2]]
    if all(tensors):
        if kind not in _MERGES:
            raise no_counterpart(call.layer)
        if len(values[0].shape) != len(values[1].shape):
            raise ModelError(
                f"the operation '{name}' ({kind}) takes tensors of shapes {tuple(values[0].shape)} and "
                f"{tuple(values[1].shape)}",
                hint="Give both the same number of axes, with a Reshape layer.",
            )
        return getattr(layers, _MERGES[kind])(**own), values
    tensor, constant = values if tensors[0] else values[::-1]
    number = np.asarray(constant, np.float64)
    shape = tuple(tensor.shape)
    if number.ndim > 1 or (number.ndim == 1 and number.size not in (1, shape[-1])):
        raise ModelError(
            f"the operation '{name}' ({kind}) takes a constant of shape {number.shape}",
            hint=f"A number, or one number a channel ({shape[-1]}), can be taken.",
        )
    if kind == "Maximum" and not number.any():
        return layers.ReLU(**own), tensor
    scale: Any = 1.0
    offset: Any = 0.0
    if kind == "Add":
        offset = number
    elif kind == "Subtract":
        scale, offset = (1.0, -number) if tensors[0] else (-1.0, number)
    elif kind == "Multiply":
        scale = number
    elif kind in ("Divide", "TrueDivide") and tensors[0]:
        scale = 1.0 / number
    else:
        raise no_counterpart(call.layer)
    return layers.Rescaling(np.asarray(scale).tolist(), np.asarray(offset).tolist(), **own), tensor


def _activation(operation: Any, kind: str, own: Mapping[str, Any], layers: Any) -> Any:
    from edgefm_converters import tf_layers

    if kind in _ACTIVATIONS:
        return layers.Activation(tf_layers.ACTIVATIONS[_ACTIVATIONS[kind]], **own)
    if kind == "Gelu":
        return layers.Activation(tf_layers.gelu_tanh if operation.approximate else "gelu", **own)
    if kind == "Elu":
        return layers.ELU(float(operation.alpha), **own)
    if kind == "LeakyRelu":
        return layers.LeakyReLU(float(operation.negative_slope), **own)
    if kind == "ReLU":
        return layers.ReLU(operation.max_value, operation.negative_slope, operation.threshold, **own)
    if kind == "Clip" and operation.x_min == 0:
        return layers.ReLU(max_value=float(operation.x_max), **own)
    if kind == "Softmax":
        return layers.Softmax(operation.axis, **own)
    if kind == "LogSoftmax" and operation.axis == -1:
        return layers.Activation("log_softmax", **own)
    return None


def _pooling(call: Call, kind: str, own: Mapping[str, Any], layers: Any) -> Any:
    operation, rank = call.layer, len(call.input_shape)
    if kind in ("AveragePool", "MaxPool") and operation.data_format != "channels_first" and rank in (3, 4):
        layer = getattr(layers, f"{'Average' if kind == 'AveragePool' else 'Max'}Pooling{rank - 2}D")
        return layer(operation.pool_size, operation.strides or operation.pool_size, operation.padding, **own)
    if kind in ("Mean", "Max") and rank in (3, 4) and getattr(operation, "initial", None) is None:
        axes = operation.axis if isinstance(operation.axis, (list, tuple)) else [operation.axis]
        if None not in axes and sorted(axis % rank for axis in axes) == list(range(1, rank - 1)):
            layer = getattr(layers, f"Global{'Average' if kind == 'Mean' else 'Max'}Pooling{rank - 2}D")
            return layer(keepdims=bool(operation.keepdims), **own)
    return None


def _moving(call: Call, kind: str, own: Mapping[str, Any], kwargs: Mapping[str, Any], layers: Any) -> Any:
    """Return the layer for an operation that moves values about, or None."""
    operation, shape = call.layer, call.input_shape
    if kind in _RESHAPES:
        given = call.output_shape
        if given[:1] == shape[:1] and None not in (*given[1:], *shape[1:]) and _size(given) == _size(shape):
            return layers.Reshape(given[1:], **own)
    if kind == "Transpose" and operation.axes is not None:
        axes = [axis % len(shape) for axis in operation.axes]
        if axes[0] == 0:
            return layers.Permute(tuple(axes[1:]), **own)
    if kind == "Pad" and operation.mode == "constant" and not kwargs.get("constant_values"):
        widths = [tuple(int(side) for side in width) for width in operation.pad_width]
        if len(widths) in (3, 4) and widths[0] == widths[-1] == (0, 0):
            inner = widths[1] if len(widths) == 3 else tuple(widths[1:-1])
            return getattr(layers, f"ZeroPadding{len(widths) - 2}D")(inner, **own)
    if (
        kind == "Resize"
        and not operation.antialias
        and not operation.pad_to_aspect_ratio
        and operation.data_format != "channels_first"
    ):
        return layers.Resizing(*operation.size, operation.interpolation, operation.crop_to_aspect_ratio, **own)
    return None


def _size(shape: tuple[int | None, ...]) -> int:
    return math.prod(length or 0 for length in shape[1:])
