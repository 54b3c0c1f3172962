"""tf_keras (Keras 2) -> Keras 3, layer by layer: for models that were saved before Keras 3.

Keras 3 reads many old files itself, but stumbles over options that it no longer has (DepthwiseConv2D's `groups`),
over `x + y` in a Functional graph, and takes some activations for others of the same name (hard_sigmoid).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import keras
from keras import layers

from edgefm.core.errors import ModelError
from edgefm.core.silence import silenced
from edgefm_converters.bridge.bridge_layers import OF_TRAINING, SUPPORTED, check_means_nothing, statistics
from edgefm_converters.bridge.reverse_operations import SAVED_AGAIN, layer_name, operation_of

# Options that Keras 3 does not have, with the only value that means nothing.
_ONLY_KERAS_2: dict[str, Any] = {
    "adjustment": None,
    "batch_input_shape": ...,
    "dynamic": False,
    "force_generator": ...,
    "fused": ...,
    "implementation": ...,
    "rng_type": ...,
    "time_major": False,
    "virtual_batch_size": None,
}
# Options that some layers have in both, and these in Keras 2 only, where nothing else can be asked for.
_ALWAYS_THE_SAME: dict[str, tuple[str, Any]] = {
    "Conv1DTranspose": ("groups", 1),
    "Conv2DTranspose": ("groups", 1),
    "DepthwiseConv1D": ("groups", 1),
    "DepthwiseConv2D": ("groups", 1),
    "SeparableConv1D": ("groups", 1),
    "SeparableConv2D": ("groups", 1),
    "SpatialDropout1D": ("noise_shape", None),
    "SpatialDropout2D": ("noise_shape", None),
    "SpatialDropout3D": ("noise_shape", None),
}
_NAMES = {layer.__name__: layer for layer in SUPPORTED}
_RENAMED = {"SyncBatchNormalization": "BatchNormalization", "BatchNormalizationV1": "BatchNormalization"}


def keras_from_tf(tf_model: Any) -> Any:
    """Return a Functional Keras 3 model in float32 with the graph, the names and the weights of a tf_keras model.

    A '/' in a layer's name becomes '_': Keras 3 allows none.

    Args:
      tf_model: built Sequential or Functional tf_keras.Model; it is not changed.
    Raises:
      ModelError: a subclassed model, or a layer that Keras 3 does not have or computes in another way.
    """
    with silenced():
        return _model(tf_model)


def _model(tf_model: Any) -> Any:
    if not getattr(tf_model, "_is_graph_network", False) or not getattr(tf_model, "inputs", None):
        raise ModelError(
            f"'{tf_model.name}' is a subclassed model, or has no input shape: its graph cannot be read",
            hint="Build it as keras.Sequential with an Input, or as keras.Model(inputs, outputs).",
        )
    inputs = [
        keras.Input(batch_shape=tuple(tensor.shape), dtype="float32", name=layer_name(layer))
        for tensor, layer in zip(tf_model.inputs, tf_model._input_layers, strict=True)
    ]
    # Keras 2 takes a tensor out of its list at each use: a list that gives it again and again.
    known: defaultdict[str, list[Any]] = defaultdict(list)
    known.update({str(id(own)): _Always(new) for own, new in zip(tf_model.inputs, inputs, strict=True)})
    copies: dict[int, Any] = {}
    for depth in sorted(tf_model._nodes_by_depth, reverse=True):
        for node in tf_model._nodes_by_depth[depth]:
            if node.is_input:
                continue
            args, kwargs = node.map_arguments(known)
            output = _call(node, args, kwargs, copies)
            for key, tensor in zip(node.flat_output_ids, keras.tree.flatten(output), strict=True):
                known[key] = _Always(tensor)
    outputs = [known[str(id(tensor))].pop() for tensor in tf_model.outputs]
    return keras.Model(
        inputs if len(inputs) > 1 else inputs[0], outputs if len(outputs) > 1 else outputs[0], name=layer_name(tf_model)
    )


class _Always(list[Any]):
    """A list of one tensor that stays when it is taken."""

    def __init__(self, tensor: Any) -> None:
        super().__init__([tensor])

    def pop(self, index: Any = -1) -> Any:
        """Return the tensor."""
        return self[0]


def _call(node: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], copies: dict[int, Any]) -> Any:
    layer = node.layer
    if type(layer).__name__ == "TFOpLambda":
        return operation_of(node, args, kwargs)
    if id(layer) in copies:
        return copies[id(layer)](*args, **kwargs)
    if hasattr(layer, "_nodes_by_depth"):
        new = copies[id(layer)] = _model(layer)
        return new(*args, **kwargs)
    new = copies[id(layer)] = _layer(layer)
    options = {name: value for name, value in kwargs.items() if not (name == "mask" and value is None)}
    output = new(*args, **options)
    if type(new) is not layers.Normalization:
        new.set_weights(layer.get_weights())
    return output


def _layer(layer: Any) -> Any:
    class_name = type(layer).__name__
    name = _RENAMED.get(class_name, class_name)
    if name == "ThresholdedReLU":
        return layers.ReLU(threshold=float(layer.theta), name=layer_name(layer), dtype="float32")
    if name == "TfChannelShift":
        from edgefm.keras_graph.folding import ChannelShift

        return ChannelShift(name=layer_name(layer), dtype="float32")
    if name not in _NAMES or not type(layer).__module__.startswith("tf_keras."):
        raise ModelError(
            f"the layer '{layer.name}' ({class_name}) of Keras 2 has no counterpart in Keras 3 that is known to be the "
            "same",
            hint=SAVED_AGAIN,
        )
    config: dict[str, Any] = {}
    for key, value in layer.get_config().items():
        if key.endswith(OF_TRAINING) or (key, value) == _ALWAYS_THE_SAME.get(name):
            continue
        if key in _ONLY_KERAS_2:
            check_means_nothing(layer, key, value, _ONLY_KERAS_2, lacking="Keras 3", hint=SAVED_AGAIN)
            continue
        if key in ("activation", "recurrent_activation"):
            value = _activation(layer, value)
        config[key] = list(value) if isinstance(value, list) else value  # TensorFlow's own kind of list
    config["dtype"], config["name"] = "float32", layer_name(layer)
    if name.startswith("SpatialDropout"):
        config.pop("trainable")
    elif name == "BatchNormalization" and isinstance(config["axis"], list):
        (config["axis"],) = config["axis"]
    elif name == "LeakyReLU":
        config["negative_slope"] = float(config.pop("alpha"))
    elif name == "Normalization":
        config.update(statistics(layer))
    try:
        return _NAMES[name].from_config(config)
    except (TypeError, ValueError) as error:
        raise ModelError(f"Keras 3 cannot make the layer '{layer.name}' ({class_name}): {error}") from error


def _activation(layer: Any, value: Any) -> str:
    from edgefm_converters.bridge import tf_layers

    # A name stands in the table where Keras 3 computes the same by it; its hard_sigmoid is another one.
    if isinstance(value, str) and isinstance(tf_layers.ACTIVATIONS.get(value), str):
        return value
    own = {
        function: name for name, function in tf_layers.ACTIVATIONS.items() if callable(function) and name != "gelu_tanh"
    }
    function = getattr(layer, "activation", None)
    if function in own:
        return own[function]
    shown = value if isinstance(value, str) else getattr(function, "__name__", str(value))
    raise ModelError(
        f"the activation '{shown}' of the layer '{layer.name}' ({type(layer).__name__}) is not the same in Keras 3, or "
        "not known there",
        hint=SAVED_AGAIN,
    )
