"""The fake quantisers: what tfmot's wrapper calls on a kernel and on a layer's output.

Imports tensorflow-model-optimization: import it inside functions, after keras and tf_keras.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras  # before tf_keras: the other way round Keras would take it for its backend  # noqa: F401
import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras

from edgefm_converters.tflite import float_barrier

_LastValueQuantizer: Any = tfmot.quantization.keras.quantizers.LastValueQuantizer
_MovingAverageQuantizer: Any = tfmot.quantization.keras.quantizers.MovingAverageQuantizer
_Quantizer: Any = tfmot.quantization.keras.quantizers.Quantizer
_QuantizeConfig: Any = tfmot.quantization.keras.QuantizeConfig
_QuantizeLayoutTransform: Any = tfmot.quantization.keras.QuantizeLayoutTransform
_QuantizeRegistry: Any = tfmot.quantization.keras.QuantizeRegistry
_QuantizeScheme: Any = tfmot.quantization.keras.QuantizeScheme
# A kernel with more different values than a recipe can ask for was never clustered.
MOST_CLUSTERS = 256


class KernelQuantizer(_LastValueQuantizer):
    """Rounds a kernel to 255 levels around 0: q in [-127, 127], scale = max |w| / 127.

    Attributes:
      by: 'tensor'; 'channel': one scale for each index of the last axis; 'depthwise': one for each of the last two.
      preserve_sparsity: weights that are zero when training starts stay zero.
      preserve_clusters: weights that are equal when training starts stay equal: their common value is learnt, its
        gradient the sum of theirs (Han et al. 2016, arXiv:1510.00149). The scale is the tensor's, since scales by
        channel would make one value into many levels: 16 values of a [3, 3, 64, 128] kernel with 80 % zeros took 90
        levels and 19.2 KB of gzip by channel, 16 levels and 16.2 KB by tensor. tfmot's own quantiser for this has
        scales by channel, and learns values for each channel where all channels happen to have equally many.
    """

    def __init__(self, *, by: str, preserve_sparsity: bool, preserve_clusters: bool) -> None:
        super().__init__(num_bits=8, per_axis=by != "tensor", symmetric=True, narrow_range=True)
        self.by = by
        self.preserve_sparsity = preserve_sparsity
        self.preserve_clusters = preserve_clusters

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        """Return the variables `min_var` and `max_var`, and what preserves zeros and clusters."""
        kernel = getattr(layer.layer, name).numpy()
        variables = super().build(self._rows(tensor_shape), name, layer)
        if self.preserve_sparsity:
            variables["mask"] = tf.constant(kernel != 0, tf.float32)
        if self.preserve_clusters:
            values, index = np.unique(kernel, return_inverse=True)
            variables["index"] = tf.constant(index.reshape(kernel.shape), tf.int32)
            initial = tf_keras.initializers.Constant(values)
            variables["values"] = layer.add_weight(f"{name}_values", shape=values.shape, initializer=initial)
        return variables

    def __call__(self, inputs: Any, training: bool, weights: dict[str, Any], **kwargs: Any) -> Any:
        """Return the kernel rounded; in training its range follows it."""
        kernel = inputs
        if training and "values" in weights:
            kernel = tf.gather(weights["values"], weights["index"])
        if training and "mask" in weights:
            kernel = kernel * weights["mask"]
        if training and "values" in weights:
            inputs.assign(kernel)
        rounded = super().__call__(tf.reshape(kernel, self._rows(kernel.shape)), training, weights, **kwargs)
        return tf.reshape(rounded, kernel.shape)

    def _rows(self, shape: Sequence[int]) -> Any:
        if self.by != "depthwise":
            return shape
        return tf.TensorShape([*shape[:-2], 1, shape[-2] * shape[-1]])

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {name: getattr(self, name) for name in ("by", "preserve_sparsity", "preserve_clusters")}


class RangeQuantizer(_MovingAverageQuantizer):
    """Rounds a layer's output to 256 levels of a range that was set before training and stays.

    Attributes:
      behind_float32: the layer stays float32. TensorFlow's converter would quantise it all the same, because it finds
        a range on both sides; so the converter is shown a barrier (see `edgefm_converters.tflite.float_barrier`).
    """

    def __init__(self, *, behind_float32: bool = False) -> None:
        super().__init__(num_bits=8, per_axis=False, symmetric=False, narrow_range=False)
        self.behind_float32 = behind_float32

    def __call__(self, inputs: Any, training: bool, weights: dict[str, Any], **kwargs: Any) -> Any:
        """Return the output rounded; tfmot moves the range where it is told that this is training."""
        guarded = float_barrier.barrier(inputs) if self.behind_float32 else inputs
        return super().__call__(guarded, False, weights, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {"behind_float32": self.behind_float32}


class FloatConcatenate(tf_keras.layers.Concatenate):
    """A Concatenate whose inputs the converter does not bring to one scale: it is shown a barrier at each."""

    def call(self, inputs: Sequence[Any]) -> Any:
        """Return the inputs joined."""
        return super().call([float_barrier.barrier(tensor) for tensor in inputs])


class FloatOutput(_Quantizer):
    """Rounds nothing, and shows the converter a barrier, so that it does not round either."""

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        """Return no variables."""
        return {}

    def __call__(self, inputs: Any, training: bool, weights: dict[str, Any], **kwargs: Any) -> Any:
        """Return the output."""
        return float_barrier.barrier(inputs)

    def get_config(self) -> dict[str, Any]:
        """Return no arguments."""
        return {}


class LayerConfig(_QuantizeConfig):
    """Says to tfmot's wrapper which kernel and which output of a layer are quantised.

    Attributes:
      kernel: attribute that holds the kernel; None where there is none.
      by: see `KernelQuantizer`.
      preserve_sparsity: see `KernelQuantizer`.
      preserve_clusters: see `KernelQuantizer`.
      output: 'none' leaves the output as it is; 'float' too, and keeps the converter from rounding it.
      float32: whether the layer stays float32.
    """

    def __init__(
        self,
        *,
        kernel: str | None,
        by: str = "tensor",
        preserve_sparsity: bool = False,
        preserve_clusters: bool = False,
        output: str = "none",
        float32: bool = False,
    ) -> None:
        self.kernel = kernel
        self.by = by
        self.preserve_sparsity = preserve_sparsity
        self.preserve_clusters = preserve_clusters
        self.output = output
        self.float32 = float32

    def get_weights_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
        """Return the kernel and its quantiser."""
        if self.kernel is None:
            return []
        quantizer = KernelQuantizer(
            by=self.by, preserve_sparsity=self.preserve_sparsity, preserve_clusters=self.preserve_clusters
        )
        return [(getattr(layer, self.kernel), quantizer)]

    def set_quantize_weights(self, layer: Any, quantize_weights: list[Any]) -> None:
        """Put the rounded kernel in the place of the kernel."""
        for weight in quantize_weights:
            setattr(layer, str(self.kernel), weight)

    def get_activations_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
        """Return nothing: activations that need a range are layers."""
        return []

    def set_quantize_activations(self, layer: Any, quantize_activations: list[Any]) -> None:
        """Do nothing; the statement is for AutoGraph, which cannot take a body of a docstring alone."""
        return

    def get_output_quantizers(self, layer: Any) -> list[Any]:
        """Return the output's quantiser."""
        if self.output == "none":
            return []
        return [FloatOutput() if self.output == "float" else RangeQuantizer(behind_float32=self.float32)]

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        names = ("kernel", "by", "preserve_sparsity", "preserve_clusters", "output", "float32")
        return {name: getattr(self, name) for name in names}


class _NoTransforms(_QuantizeLayoutTransform):
    def apply(self, model: Any, layer_quantize_map: Any) -> tuple[Any, Any]:
        return model, layer_quantize_map


class _EmptyRegistry(_QuantizeRegistry):
    """Knows no layer: tfmot would quantise the output of one that was left alone for the sake of the next."""

    def supports(self, layer: Any) -> bool:
        return False

    def get_quantize_config(self, layer: Any) -> None:
        return None


class Scheme(_QuantizeScheme):
    """tfmot's scheme without its graph transformations: every layer brings its own configuration."""

    def get_layout_transformer(self) -> Any:
        """Return a transformation that changes nothing."""
        return _NoTransforms()

    def get_quantize_registry(self) -> Any:
        """Return a registry that knows no layer."""
        return _EmptyRegistry()


_OWN = (KernelQuantizer, RangeQuantizer, FloatConcatenate, FloatOutput, LayerConfig)
CUSTOM_OBJECTS = {cls.__name__: cls for cls in _OWN}
