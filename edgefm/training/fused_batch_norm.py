"""Batch normalisation as one fused operator, for training on TensorFlow.

Keras 3 computes moments and normalisation with separate operators on every backend. TensorFlow has a fused one,
which makes a training step faster on a CPU; docs/figures.md says by how much (benchmarks/test_training_step.py).
The model that is saved holds plain keras.layers.BatchNormalization.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers


class FusedBatchNormalization(layers.BatchNormalization):
    """keras.layers.BatchNormalization over the last axis of a 4-D input, as tf.raw_ops.FusedBatchNormV3.

    The moving variance takes the unbiased batch variance, as tf_keras does; Keras 3 takes the biased one. With
    the n*h*w values of an image batch the two differ by less than 1e-3 of the variance.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Return the normalised input; in training, also move the moving statistics."""
        import tensorflow as tf

        if not training or not self.trainable:
            return super().call(inputs, training=training, mask=mask)
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs, self.gamma.value, self.beta.value, epsilon=self.epsilon, is_training=True
        )
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + batch * (1.0 - self.momentum))
        return outputs


def with_fused_batch_norm(model: Any) -> Any:
    """Return a copy of the model, new weights, with each BatchNormalization that allows it fused.

    A layer allows it when it normalises the last axis of a 4-D input and has both scale and centre, and when
    Keras runs on TensorFlow in float32. The order of the weights is that of `model`.
    """
    policy = keras.config.dtype_policy().name
    if keras.config.backend() != "tensorflow" or policy != "float32":
        return model

    def replace(layer: Any) -> Any:
        if type(layer) is layers.BatchNormalization and _can_fuse(layer):
            return FusedBatchNormalization.from_config(layer.get_config())
        return layer.__class__.from_config(layer.get_config())

    copy = keras.models.clone_model(model, clone_function=replace)
    copy.set_weights(model.get_weights())
    return copy


def _can_fuse(layer: Any) -> bool:
    rank = len(layer.input.shape)
    return rank == 4 and layer.axis in (-1, 3) and layer.scale and layer.center
