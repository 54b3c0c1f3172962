"""Layers and operations of Keras 3 that run as they are inside a tf_keras model: attention, slices, embeddings.

tfmot needs a tf_keras graph, not tf_keras layers throughout: on the TensorFlow backend a layer of Keras 3 takes and
gives the same tensors. What has no counterpart is carried in a wrapper that holds a copy of it; its weights are the
wrapper's, so that they are trained, counted and brought back like any others. tfmot leaves it in float32.
"""

from __future__ import annotations

from typing import Any

import keras  # before tf_keras: the other way round Keras would take it for its backend
import tf_keras

from edgefm.core.errors import ModelError
from edgefm_converters.bridge.tf_layers import PACKAGE

# What moves values about and computes nothing: its output has the range of its input.
_MOVES_VALUES = ("GetItem", "CenterCrop", "Flip", "Roll", "Cropping3D", "Squeeze", "ExpandDims", "Reshape", "Transpose")


class CarriedCall:
    """A layer or operation of Keras 3, and the arguments of the call that it stands for, symbolic tensors within.

    It is a plain object: tf_keras neither tracks its parts nor writes them into a configuration.
    """

    def __init__(self, layer: Any, arguments: Any) -> None:
        self.layer = layer
        self.arguments = arguments

    def copy(self) -> CarriedCall:
        """Return the same with a layer of its own; what has no weights is shared."""
        if not isinstance(self.layer, keras.Layer) or not self.layer.weights:
            return self
        layer = type(self.layer).from_config(self.layer.get_config())
        layer(*self.arguments.args, **self.arguments.kwargs)  # builds it; nothing is computed
        layer.set_weights(self.layer.get_weights())
        return CarriedCall(layer, self.arguments)

    def outputs(self) -> list[Any]:
        """Return what is known of its outputs: shapes and dtypes."""
        return list(keras.tree.flatten(self.layer.compute_output_spec(*self.arguments.args, **self.arguments.kwargs)))

    def __call__(self, tensors: Any) -> Any:
        """Return what it gives for other tensors, in the order of the call."""
        given = {id(own): tensor for own, tensor in zip(self.arguments.keras_tensors, tensors, strict=True)}
        args, kwargs = self.arguments.fill_in(given)
        if "training" in kwargs:  # noted with the default of the layer; a model that is asked goes by its own
            kwargs["training"] = False
        return self.layer(*args, **kwargs)


@tf_keras.saving.register_keras_serializable(package=PACKAGE)
class TfCarried(tf_keras.layers.Layer):
    """A tf_keras layer that computes what a layer or an operation of Keras 3 computes at inference.

    Attributes:
      carried_kind: class of what it holds.
      moves_values: it computes nothing, and its output has the range of its input.
      gives_floats: all of its outputs are floats, which can have a range.
    """

    def __init__(self, *, held: CarriedCall, name: str, trainable: bool = True, dtype: Any = "float32") -> None:
        super().__init__(name=name, dtype=dtype, trainable=trainable, autocast=False)
        outputs = held.outputs()
        self.carried_kind = type(held.layer).__name__
        self.gives_floats = all("float" in str(tensor.dtype) for tensor in outputs)
        self.moves_values = self.carried_kind in _MOVES_VALUES and len(outputs) == 1
        self._held = held.copy()
        if isinstance(self._held.layer, keras.Layer):
            self._trainable_weights += [weight.value for weight in self._held.layer.trainable_weights]
            self._non_trainable_weights += [weight.value for weight in self._held.layer.non_trainable_weights]

    def call(self, inputs: Any) -> Any:
        """Return what the held layer gives for its tensors, one or a list in the order of the call."""
        return self._held(inputs if isinstance(inputs, (list, tuple)) else [inputs])

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor; `held` is an object: they serve copies in this process only."""
        return {**super().get_config(), "held": self._held}


def carried(layer: Any, arguments: Any, *, name: str) -> Any:
    """Return a tf_keras layer that carries a layer or an operation of Keras 3.

    Args:
      layer: of Keras 3; a layer with weights is copied.
      arguments: of its call in the graph of Keras 3, symbolic tensors within.
      name: of the new layer.
    Raises:
      ModelError: Keras runs on another backend than TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise ModelError(
            f"'{layer.name}' ({type(layer).__name__}) has no counterpart in tf_keras, and can be carried only where "
            f"Keras runs on TensorFlow; it runs on {keras.backend.backend()}",
            hint="Set KERAS_BACKEND=tensorflow and load the model again.",
        )
    return TfCarried(held=CarriedCall(layer, arguments), name=name)
