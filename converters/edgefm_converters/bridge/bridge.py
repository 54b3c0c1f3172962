"""Keras 3 <-> tf_keras (Keras 2), layer by layer: tensorflow-model-optimization knows tf_keras only.

A model goes over as its graph and its weights; what belongs to a training (initialisers, regularisers,
constraints, optimiser, augmentation) stays behind. On the way back only weights travel, into the graph of the model
that was sent. Nothing else is dropped: a layer without a counterpart is carried as it is, see `bridge.carried`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from edgefm.core.errors import ModelError, missing_extra
from edgefm.core.silence import silenced
from edgefm.keras_graph.ends import check_name
from edgefm.keras_graph.graph import Call, Graph, call_copy, is_graph

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Two float32 implementations of one graph differ by rounding: some 1e-6 of the outputs' size.
RELATIVE_TOLERANCE = 1e-4
_BATCH = 250


def __getattr__(name: str) -> Any:
    """Return TfChannelShift, whose class needs tf_keras, on first use (PEP 562)."""
    if name == "TfChannelShift":
        import_tf_keras()
        from edgefm_converters.bridge.tf_layers import TfChannelShift

        return TfChannelShift
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def to_tf_keras(model: Any) -> Any:
    """Return a tf_keras.Model in float32 with the graph, the names and the weights of a Keras 3 model.

    Args:
      model: built Sequential or Functional keras.Model; it is not changed. A model within it that is called once is
        opened up; a layer that is called twice stays one layer.
    Returns:
      a Functional tf_keras.Model, not compiled, whose layers keep their names; an operation of keras.ops becomes
      a layer of its name.
    Raises:
      ModelError: a subclassed model, or a layer that is quantised already or has its channels first; it is named.
      RuntimeUnavailableError: tf_keras is not installed.
    """
    tf_keras = import_tf_keras()
    with silenced():
        return _to_tf_keras(model, tf_keras)


def from_tf_keras(tf_model: Any, like: Any) -> Any:
    """Return a new Keras 3 model: the graph of `like` with the weights of `tf_model`, found by the layers' names.

    Args:
      tf_model: from `to_tf_keras(like)`, trained since; wrappers of tfmot stripped.
      like: the Keras 3 model that was sent; it is not changed.
    Raises:
      ModelError: the layers with weights are not the same, or their weights have other shapes.
    """
    graph = Graph(like)
    trained = {layer.name: layer for layer in tf_model.layers}
    expected = {call.name for call in graph.calls if getattr(call.layer, "weights", ())}
    strangers = [name for name, layer in trained.items() if layer.weights and name not in expected]
    lost = sorted(expected - set(trained))
    if strangers or lost:
        raise ModelError(
            f"the tf_keras model does not belong to '{like.name}': "
            + "; ".join(
                f"{what} {', '.join(map(repr, names))}"
                for what, names in (("it lacks the layers", lost), ("it has the other layers", strangers))
                if names
            ),
            hint="Strip wrappers first, and change no layer's name between the two directions.",
        )
    copies: dict[int, Any] = {}

    def call_with(call: Call, first: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if call.name not in expected or isinstance(call.layer, keras.layers.Normalization):
            return call_copy(call, args, kwargs, copies=copies)
        if is_graph(call.layer):
            if id(call.layer) not in copies:
                copies[id(call.layer)] = from_tf_keras(trained[call.name], call.layer)
            return copies[id(call.layer)](*args, **kwargs)
        weights = trained[call.name].get_weights()
        _check_shapes(call.layer, weights)
        return call_copy(call, args, kwargs, copies=copies, weights=weights)

    with silenced():
        return graph.rebuild(call_with)


def parity(model: Any, tf_model: Any, inputs: NDArray[np.float32]) -> dict[str, Any]:
    """Return {"images", "max_abs_difference"} of the outputs of a model and of its bridged copy, at inference.

    Args:
      model: keras.Model.
      tf_model: tf_keras.Model.
      inputs: float32 [n, ...], real ones: values in the range that the model was trained on.
    """
    difference = 0.0
    for original, copied in _output_pairs(model, tf_model, inputs):
        difference = max(difference, float(np.max(np.abs(original - copied), initial=0.0)))
    return {"images": len(inputs), "max_abs_difference": difference}


def check_parity(model: Any, tf_model: Any, inputs: NDArray[np.float32]) -> dict[str, Any]:
    """Return `parity`, or raise a ModelError where the outputs differ by more than rounding.

    The limit is RELATIVE_TOLERANCE of the largest output, or of 1 where the outputs are smaller.
    """
    measured = parity(model, tf_model, inputs)
    size = max((float(np.max(np.abs(original), initial=0.0)) for original, _ in _output_pairs(model, tf_model, inputs)))
    limit = RELATIVE_TOLERANCE * max(1.0, size)
    if not measured["max_abs_difference"] <= limit:
        raise ModelError(
            f"the tf_keras copy of '{model.name}' computes something else: its outputs differ by up to "
            f"{measured['max_abs_difference']:.2g} on {len(inputs)} inputs; {limit:.2g} is allowed"
        )
    return measured


def _to_tf_keras(model: Any, tf_keras: Any) -> Any:
    from edgefm_converters.bridge.bridge_layers import NoCounterpartError, tf_layer
    from edgefm_converters.bridge.bridge_operations import apply_operation, tensors_of
    from edgefm_converters.bridge.carried import carried

    graph = Graph(model)
    inputs = [
        tf_keras.Input(tuple(tensor.shape[1:]), batch_size=tensor.shape[0], dtype="float32", name=tensor.name)
        for tensor in model.inputs
    ]
    copies: dict[int, Any] = {}
    carried_copies: set[int] = set()
    taken = {tensor.name for tensor in model.inputs}
    taken |= {call.name for call in graph.calls if isinstance(call.layer, keras.Layer)}

    def call_with(call: Call, first: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        layer = call.layer
        check_name(call.name, f"the layer '{call.name}'", first=True)
        if not isinstance(layer, keras.Layer):
            return apply_operation(call, _free_name(call.name, taken), args, kwargs)
        if id(layer) in carried_copies:
            return copies[id(layer)](tensors_of(call, args, kwargs))
        if id(layer) in copies:
            return copies[id(layer)](*args, **kwargs)
        try:
            new = copies[id(layer)] = _to_tf_keras(layer, tf_keras) if is_graph(layer) else tf_layer(layer)
        except NoCounterpartError:
            carried_copies.add(id(layer))
            copies[id(layer)] = carried(layer, call.arguments, name=call.name)
            return copies[id(layer)](tensors_of(call, args, kwargs))
        output = new(*args, **kwargs)
        if not is_graph(layer) and not isinstance(layer, keras.layers.Normalization):
            new.set_weights(layer.get_weights())
        return output

    outputs = graph.replay(inputs, call_with)
    return tf_keras.Model(
        inputs if len(inputs) > 1 else inputs[0], outputs if len(outputs) > 1 else outputs[0], name=model.name
    )


def _free_name(name: str, taken: set[str]) -> str:
    """Return a name for an operation that no layer has, and take it."""
    free, number = name, 1
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    taken.add(free)
    return free


def _output_pairs(model: Any, tf_model: Any, inputs: NDArray[np.float32]) -> Any:
    for start in range(0, len(inputs), _BATCH):
        batch = np.asarray(inputs[start : start + _BATCH], np.float32)
        originals = keras.tree.flatten(model(batch, training=False))
        copies = keras.tree.flatten(tf_model(batch, training=False))
        for original, copy in zip(originals, copies, strict=True):
            yield np.asarray(original, np.float32), np.asarray(copy, np.float32)


def _check_shapes(layer: Any, weights: list[NDArray[Any]]) -> None:
    own, theirs = [tuple(weight.shape) for weight in layer.weights], [weight.shape for weight in weights]
    if own != theirs:
        raise ModelError(
            f"the weights of the layer '{layer.name}' ({type(layer).__name__}) have the shapes {own} in Keras 3 and "
            f"{theirs} in tf_keras",
            hint="Give the model that was bridged as `like`.",
        )


def import_tf_keras() -> Any:
    """Return the module tf_keras, or raise a RuntimeUnavailableError where it is not installed."""
    with silenced():
        try:
            import tf_keras
        except ImportError as error:
            raise missing_extra("tf_keras", "compress") from error
    return tf_keras
