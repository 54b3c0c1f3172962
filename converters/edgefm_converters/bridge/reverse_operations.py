"""Functions of TensorFlow in a Functional graph of Keras 2, as layers of Keras 3."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import keras
from keras import layers

from edgefm.core.documents import shown
from edgefm.core.errors import ModelError
from edgefm_converters.bridge.bridge_operations import Operation, as_layer

SAVED_AGAIN = "Replace the layer, or load the model where it was made and build it with Keras 3."

# Functions of TensorFlow in a Functional graph of Keras 2, as the operation of keras.ops that is the same.
_FUNCTIONS = {
    "__operators__.add": "Add",
    "math.add": "Add",
    "add": "Add",
    "math.subtract": "Subtract",
    "subtract": "Subtract",
    "math.multiply": "Multiply",
    "multiply": "Multiply",
    "math.truediv": "TrueDivide",
    "truediv": "TrueDivide",
    "math.divide": "TrueDivide",
    "math.maximum": "Maximum",
    "math.minimum": "Minimum",
    "math.negative": "Negative",
    "math.square": "Square",
    "concat": "Concatenate",
    "identity": "Identity",
    "nn.relu": "Relu",
    "nn.relu6": "Relu6",
    "nn.leaky_relu": "LeakyRelu",
    "nn.elu": "Elu",
    "nn.selu": "Selu",
    "nn.silu": "Silu",
    "nn.swish": "Silu",
    "nn.softmax": "Softmax",
    "nn.softplus": "Softplus",
    "math.sigmoid": "Sigmoid",
    "sigmoid": "Sigmoid",
    "math.tanh": "Tanh",
    "math.exp": "Exp",
    "math.reduce_mean": "Mean",
    "math.reduce_max": "Max",
    "reshape": "Reshape",
    "squeeze": "Squeeze",
    "expand_dims": "ExpandDims",
    "transpose": "Transpose",
    "compat.v1.transpose": "Transpose",
    "pad": "Pad",
    "compat.v1.pad": "Pad",
    "cast": "Cast",
}


# Layers of tf_keras that look up what they call by a name in the file, or that call it while the model is built:
# `io.write_file`, say. Keras 3 has none of them.
_CALLING = (
    *("SlicingOpLambda", "ClassMethod", "InstanceMethod", "InstanceProperty", "TensorFlowOpLayer"),
    *("ResidualWrapper", "DropoutWrapper", "DeviceWrapper", "_RNNCellWrapper"),
    *("DenseFeatures", "SequenceFeatures", "AddLoss", "AddMetric"),
)
_MODULES = ("keras", "tf_keras", "builtins")


def check_functions(entries: Iterable[Mapping[str, Any]], *, source: str) -> None:
    """Raise a ModelError where a stored model calls what `keras_from_tf` will refuse, before tf_keras builds it.

    tf_keras calls functions of TensorFlow by their names, and imports whatever module a class is said to be in.

    Args:
      entries: objects of its configuration that name a class.
      source: what is loaded, in the error.
    """
    for entry in entries:
        kind, name = str(entry.get("class_name")).split(">")[-1], str(entry.get("name"))
        if kind == "TFOpLambda":
            config = entry.get("config")
            function = str(config.get("function") if isinstance(config, dict) else None)
            if function not in _FUNCTIONS:
                raise ModelError(_no_layer_for(function, name, source), hint=SAVED_AGAIN)
        elif kind in _CALLING:
            raise ModelError(
                f"{source} holds a {kind} ('{name}'), which calls by name: Keras 3 has no such layer", hint=SAVED_AGAIN
            )
        module = entry.get("module")
        if module is not None and str(module).split(".")[0] not in _MODULES:
            raise ModelError(
                f"{source} has a class of the module {shown(module)}, which is not imported: it is none of Keras",
                hint="Only layers that come with Keras can be converted.",
            )


def layer_name(layer: Any) -> str:
    """Return a name that Keras 3 allows."""
    return str(layer.name).replace("/", "_")


def operation_of(node: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Return the output of the Keras 3 layer that stands for a function of TensorFlow."""
    layer = node.layer
    kind = _FUNCTIONS.get(str(layer.symbol))
    counterpart = None
    if kind is not None:
        arguments = {name: value for name, value in kwargs.items() if name != "name" and value is not None}
        names = {"Concatenate": ("axis",), "Cast": ("dtype",), "Transpose": ("axes",), "Pad": ("pad_width",)}
        values, rest = ([*args[0]], args[1:]) if kind == "Concatenate" else ([args[0]], args[1:])
        if kind in ("Add", "Subtract", "Multiply", "TrueDivide", "Maximum", "Minimum"):
            values += [*rest, *(arguments.pop(key) for key in ("y",) if key in arguments)]
            rest = ()
        options = dict(zip(names.get(kind, ("axis", "keepdims")), rest, strict=False)) | _options(kind, arguments)
        counterpart = as_layer(
            Operation(
                kind=kind,
                name=layer.name,
                values=tuple(values),
                tensors=tuple(isinstance(value, keras.KerasTensor) for value in values),
                options=options,
                input_shape=tuple(node.keras_inputs[0].shape),
                output_shape=tuple(keras.tree.flatten(node.outputs)[0].shape),
            )
        )
    if counterpart is None:
        raise ModelError(_no_layer_for(str(layer.symbol), layer.name, "the model"), hint=SAVED_AGAIN)
    return getattr(layers, counterpart.kind)(name=layer_name(layer), dtype="float32", **counterpart.options)(
        counterpart.takes
    )


def _no_layer_for(function: str, name: str, source: str) -> str:
    return f"{source} calls tf.{function} ('{name}'), for which Keras 3 has no layer that is known to be the same"


def _options(kind: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments of TensorFlow's functions by the names of keras.ops, defaults filled in."""
    renamed = {"perm": "axes", "paddings": "pad_width", "alpha": "negative_slope" if kind == "LeakyRelu" else "alpha"}
    options = {renamed.get(name, name): value for name, value in arguments.items()}
    defaults: Mapping[str, Mapping[str, Any]] = {
        "Elu": {"alpha": 1.0},
        "LeakyRelu": {"negative_slope": 0.2},
        "Softmax": {"axis": -1},
        "Mean": {"axis": None, "keepdims": False},
        "Max": {"axis": None, "keepdims": False},
        "Transpose": {"axes": None},
    }
    if kind == "Pad":
        options["mode"] = str(options.get("mode", "CONSTANT")).lower()
    if kind == "Cast" and "dtype" in options:
        options["dtype"] = getattr(options["dtype"], "name", options["dtype"])
    return {**defaults.get(kind, {}), **options}
