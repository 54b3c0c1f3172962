"""Operations in a graph (`x + y`, keras.ops.relu(x), tf.concat) as layers that Keras 3 and tf_keras both have.

tfmot knows layers only. Each operation becomes one layer of its own name; what has no layer is carried as it is, see
`bridge.carried`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from edgefm.core.errors import ModelError
from edgefm.keras_graph.graph import Call

Shape = tuple[int | None, ...]

_MERGES = ("Add", "Subtract", "Multiply", "Maximum", "Minimum")
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
}
_SAME = ("Copy", "Identity")
_RESHAPES = ("Reshape", "Squeeze", "ExpandDims")


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One call of an operation.

    Attributes:
      kind: as the classes of keras.ops are called, e.g. 'TrueDivide'.
      name: of the layer that will stand for it.
      values: its tensors, and the constants between them, in order.
      tensors: which of the values are tensors.
      options: its other arguments by the names of keras.ops.
      input_shape: of the first tensor, batch first, None where it is not fixed.
      output_shape: likewise.
    """

    kind: str
    name: str
    values: tuple[Any, ...]
    tensors: tuple[bool, ...]
    options: Mapping[str, Any]
    input_shape: Shape
    output_shape: Shape


@dataclass(frozen=True, kw_only=True)
class AsLayer:
    """A layer by its class and options, which Keras 3 and tf_keras share, and what it is called with."""

    kind: str
    options: Mapping[str, Any]
    takes: Any


def apply_operation(call: Call, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Return the output of the tf_keras layer that stands for an operation of keras.ops.

    Args:
      call: of an operation that is no layer.
      name: of the new layer.
      args: arguments, tensors of tf_keras in the place of those of Keras 3.
      kwargs: likewise.
    """
    import tf_keras

    from edgefm_converters.bridge import tf_layers

    sent = [*call.arguments.args, *call.arguments.kwargs.values()]
    values = [*args, *kwargs.values()]
    if values and isinstance(values[0], (list, tuple)):  # Concatenate takes a list
        sent, values = [*sent[0]], [*values[0]]
    operation = Operation(
        kind=type(call.layer).__name__,
        name=name,
        values=tuple(values),
        tensors=tuple(isinstance(value, keras.KerasTensor) for value in sent),
        options={**vars(call.layer), **call.arguments.kwargs},
        input_shape=call.input_shape,
        output_shape=call.output_shape,
    )
    try:
        counterpart = as_layer(operation)
    except ModelError:
        counterpart = None  # a layer of that kind takes other shapes
    if counterpart is None:
        from edgefm_converters.bridge.carried import carried

        return carried(call.layer, call.arguments, name=name)(tensors_of(call, args, kwargs))
    options = dict(counterpart.options)
    if counterpart.kind == "Activation":
        options["activation"] = tf_layers.ACTIVATIONS[options["activation"]]
    elif counterpart.kind == "LeakyReLU":
        options["alpha"] = options.pop("negative_slope")
    return getattr(tf_keras.layers, counterpart.kind)(name=name, dtype="float32", **options)(counterpart.takes)


def tensors_of(call: Call, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Return what stands in a replayed call where symbolic tensors stood: one, or a list in their order."""
    sent = keras.tree.flatten((call.arguments.args, call.arguments.kwargs))
    given = keras.tree.flatten((args, dict(kwargs)))
    tensors = [new for old, new in zip(sent, given, strict=True) if isinstance(old, keras.KerasTensor)]
    return tensors if len(tensors) > 1 else tensors[0]


def as_layer(operation: Operation) -> AsLayer | None:
    """Return the layer that computes the same as an operation, or None where there is none.

    Raises:
      ModelError: there would be one for other shapes of its arguments; it says which.
    """
    kind, options = operation.kind, operation.options
    if kind in (*_MERGES, "Divide", "TrueDivide"):
        return _arithmetic(operation)
    if kind == "Concatenate" and all(operation.tensors):
        return AsLayer(kind=kind, options={"axis": int(options["axis"])}, takes=list(operation.values))
    first = operation.values[0]
    if kind == "Square" or (kind == "Power" and np.isscalar(operation.values[1]) and operation.values[1] == 2):
        return AsLayer(kind="Multiply", options={}, takes=[first, first])
    for find in (_activation, _pooling, _moving):
        counterpart = find(operation)
        if counterpart is not None:
            return AsLayer(kind=counterpart[0], options=counterpart[1], takes=first)
    return None


def _arithmetic(operation: Operation) -> AsLayer | None:
    kind, values, tensors = operation.kind, operation.values[:2], operation.tensors[:2]
    if all(tensors):
        if kind not in _MERGES:
            return None
        if len(values[0].shape) != len(values[1].shape):
            raise ModelError(
                f"the operation '{operation.name}' ({kind}) takes tensors of shapes {tuple(values[0].shape)} and "
                f"{tuple(values[1].shape)}",
                hint="Give both the same number of axes, with a Reshape layer.",
            )
        return AsLayer(kind=kind, options={}, takes=list(values))
    tensor, constant = values if tensors[0] else values[::-1]
    number = np.asarray(constant, np.float64)
    channels = operation.input_shape[-1]
    if number.ndim > 1 or (number.ndim == 1 and number.size not in (1, channels)):
        raise ModelError(
            f"the operation '{operation.name}' ({kind}) takes a constant of shape {number.shape}",
            hint=f"A number, or one number a channel ({channels}), can be taken.",
        )
    if kind == "Maximum" and not number.any():
        return AsLayer(kind="ReLU", options={}, takes=tensor)
    unit, zero = np.float64(1), np.float64(0)
    maps = {
        "Add": (unit, number),
        "Subtract": (unit, -number) if tensors[0] else (-unit, number),
        "Multiply": (number, zero),
    }
    if kind in ("Divide", "TrueDivide") and tensors[0] and number.all():
        maps[kind] = (1.0 / number, zero)
    if kind not in maps:
        return None
    scale, offset = maps[kind]
    return AsLayer(kind="Rescaling", options={"scale": scale.tolist(), "offset": offset.tolist()}, takes=tensor)


def _activation(operation: Operation) -> tuple[str, dict[str, Any]] | None:
    kind, options = operation.kind, operation.options
    if kind in _SAME or (kind == "Cast" and options["dtype"] == "float32"):
        return "Activation", {"activation": "linear"}
    if kind in _ACTIVATIONS:
        return "Activation", {"activation": _ACTIVATIONS[kind]}
    if kind == "Gelu":
        return "Activation", {"activation": "gelu_tanh" if options["approximate"] else "gelu"}
    if kind == "LogSoftmax" and options["axis"] == -1:
        return "Activation", {"activation": "log_softmax"}
    if kind == "Negative":
        return "Rescaling", {"scale": -1.0}
    if kind == "Elu":
        return "ELU", {"alpha": float(options["alpha"])}
    if kind == "LeakyRelu":
        return "LeakyReLU", {"negative_slope": float(options["negative_slope"])}
    if kind == "ReLU":
        return kind, {name: options[name] for name in ("max_value", "negative_slope", "threshold")}
    if kind == "Clip" and isinstance(options["x_max"], (int, float)) and options["x_min"] == 0:
        return "ReLU", {"max_value": float(options["x_max"])}
    if kind == "Softmax":
        return kind, {"axis": options["axis"]}
    return None


def _pooling(operation: Operation) -> tuple[str, dict[str, Any]] | None:
    kind, options, rank = operation.kind, operation.options, len(operation.input_shape)
    if kind in ("AveragePool", "MaxPool") and options["data_format"] != "channels_first" and rank in (3, 4):
        size = options["pool_size"]
        return f"{'Average' if kind == 'AveragePool' else 'Max'}Pooling{rank - 2}D", {
            "pool_size": size,
            "strides": options["strides"] or size,
            "padding": options["padding"],
        }
    if kind in ("Mean", "Max") and rank in (3, 4) and options.get("initial") is None:
        axes = options["axis"] if isinstance(options["axis"], (list, tuple)) else [options["axis"]]
        if None not in axes and sorted(axis % rank for axis in axes) == list(range(1, rank - 1)):
            name = f"Global{'Average' if kind == 'Mean' else 'Max'}Pooling{rank - 2}D"
            return name, {"keepdims": bool(options["keepdims"])}
    return None


def _moving(operation: Operation) -> tuple[str, dict[str, Any]] | None:
    """Return the layer for an operation that moves values about, or None."""
    kind, options, shape, target = operation.kind, operation.options, operation.input_shape, operation.output_shape
    if kind in _RESHAPES and target[:1] == shape[:1] and None not in (*target[1:], *shape[1:]):
        return ("Reshape", {"target_shape": target[1:]}) if _size(target) == _size(shape) else None
    if kind == "Transpose" and options["axes"] is not None:
        axes = [int(axis) % len(shape) for axis in options["axes"]]
        return ("Permute", {"dims": tuple(axes[1:])}) if axes[0] == 0 else None
    if kind == "Pad" and options["mode"] == "constant" and not options.get("constant_values"):
        widths = [tuple(int(side) for side in width) for width in options["pad_width"]]
        if len(widths) in (3, 4) and widths[0] == widths[-1] == (0, 0):
            inner = widths[1] if len(widths) == 3 else tuple(widths[1:-1])
            return f"ZeroPadding{len(widths) - 2}D", {"padding": inner}
    if (
        kind == "Resize"
        and not options["antialias"]
        and not options["pad_to_aspect_ratio"]
        and options["data_format"] != "channels_first"
    ):
        height, width = options["size"]
        return "Resizing", {
            "height": height,
            "width": width,
            "interpolation": options["interpolation"],
            "crop_to_aspect_ratio": options["crop_to_aspect_ratio"],
        }
    return None


def _size(shape: Shape) -> int:
    return math.prod(length or 0 for length in shape[1:])
