"""Layers and activations of Keras 3 and edgefm that tf_keras lacks or defines otherwise, written for tf_keras.

They are registered, so that `tf_keras.models.clone_model`, saving and tfmot find them by name.
"""

from __future__ import annotations

from typing import Any

import keras  # before tf_keras: the other way round Keras would take it for its backend  # noqa: F401
import tensorflow as tf
import tf_keras

PACKAGE = "edgefm"


@tf_keras.saving.register_keras_serializable(package=PACKAGE)
class TfChannelShift(tf_keras.layers.Layer):
    """Adds a constant to each channel: y = x + shift, float32 [channels].

    The counterpart of `edgefm.keras_graph.folding.ChannelShift`.
    """

    def build(self, input_shape: Any) -> None:
        """Make the weight `shift`, zeros."""
        self.shift = self.add_weight(name="shift", shape=(input_shape[-1],), initializer="zeros", trainable=False)
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        """Return inputs + shift."""
        return inputs + tf.cast(self.shift, inputs.dtype)


def hard_sigmoid(x: Any) -> Any:
    """Return relu6(x + 3) / 6, as Keras 3 does; Keras 2 has another one: clip(0.2 x + 0.5, 0, 1)."""
    return tf.nn.relu6(x + 3.0) * (1.0 / 6.0)


def hard_silu(x: Any) -> Any:
    """Return x * relu6(x + 3) / 6, which TFLite has as HARD_SWISH."""
    return x * tf.nn.relu6(x + 3.0) * (1.0 / 6.0)


def gelu_tanh(x: Any) -> Any:
    """Return the tanh approximation of GELU, the default of keras.ops.gelu."""
    return tf.nn.gelu(x, approximate=True)


def celu(x: Any) -> Any:
    """Return max(0, x) + min(0, exp(x) - 1), which is ELU where alpha is 1."""
    return tf.nn.elu(x)


def log_sigmoid(x: Any) -> Any:
    """Return log(sigmoid(x))."""
    return tf.math.log_sigmoid(x)


def hard_tanh(x: Any) -> Any:
    """Return x clipped to [-1, 1]."""
    return tf.clip_by_value(x, -1.0, 1.0)


for function in (hard_sigmoid, hard_silu, gelu_tanh, celu, log_sigmoid, hard_tanh):
    tf_keras.saving.register_keras_serializable(package=PACKAGE)(function)

# Keras 3 name of an activation -> what computes the same in tf_keras.
ACTIVATIONS: dict[str, Any] = {
    **{
        name: name
        for name in (
            "elu",
            "exponential",
            "gelu",
            "leaky_relu",
            "linear",
            "log_softmax",
            "mish",
            "relu",
            "relu6",
            "selu",
            "sigmoid",
            "softmax",
            "softplus",
            "softsign",
            "swish",
            "tanh",
        )
    },
    "silu": "swish",
    "gelu_tanh": gelu_tanh,  # keras.ops.gelu only
    "hard_sigmoid": hard_sigmoid,
    "hard_silu": hard_silu,
    "hard_swish": hard_silu,
    "celu": celu,
    "log_sigmoid": log_sigmoid,
    "hard_tanh": hard_tanh,
}
