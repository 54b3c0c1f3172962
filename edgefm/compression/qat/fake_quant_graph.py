"""The tf_keras graph that imitates int8: each layer wrapped by tfmot as `fake_quant.places` says."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from edgefm.compression.qat.fake_quant import PREFIX, LayerQuantization
from edgefm.core.errors import ModelError


def quantized(
    tf_model: Any,
    layers: Mapping[str, LayerQuantization],
    *,
    frozen: Sequence[str] = (),
    preserve_sparsity: bool = False,
    preserve_clusters: bool = False,
    per_channel: bool = True,
) -> Any:
    """Return a new tf_keras model whose layers are wrapped by tfmot as `layers` says; ranges are still to be set.

    Args:
      tf_model: what `places` was given; it is not changed.
      layers: its result.
      frozen: layers that must not learn.
      preserve_sparsity: weights that are zero stay zero.
      preserve_clusters: weights of a kernel that are equal stay equal.
      per_channel: each output channel of a convolution has a scale of its own.
    Raises:
      ModelError: tfmot refuses the graph.
    """
    import keras  # before tf_keras and tfmot  # noqa: F401
    import numpy as np
    import tensorflow_model_optimization
    import tf_keras

    from edgefm.compression.qat import fake_quant_layers as own
    from edgefm.core.silence import silenced

    tfmot = tensorflow_model_optimization.quantization.keras

    def annotated(layer: Any) -> Any:
        place = layers[layer.name]
        joins = place.float32 and type(layer) is tf_keras.layers.Concatenate
        copied = own.FloatConcatenate if joins else layer.__class__
        if place.kernel is None and place.output == "none":
            return copied.from_config(layer.get_config())
        sparse = clustered = False
        if place.kernel is not None:
            kernel = getattr(layer, place.kernel).numpy()
            sparse = preserve_sparsity and not kernel.all()
            values = len(np.unique(kernel))
            clustered = preserve_clusters and 1 < values <= min(own.MOST_CLUSTERS, kernel.size // 2)
        config = own.LayerConfig(
            kernel=place.kernel,
            by="tensor" if clustered else _scales_by(layer, per_channel=per_channel),
            preserve_sparsity=sparse,
            preserve_clusters=clustered,
            output=place.output,
            float32=bool(place.float32),
        )
        return tfmot.quantize_annotate_layer(copied.from_config(layer.get_config()), config)

    with silenced(), tfmot.quantize_scope(own.CUSTOM_OBJECTS):
        try:
            marked = tf_keras.models.clone_model(tf_model, clone_function=annotated)
            marked.set_weights(tf_model.get_weights())
            wrapped = tfmot.quantize_apply(marked, own.Scheme(), quantized_layer_name_prefix=PREFIX)
        except (ValueError, RuntimeError, TypeError, AttributeError) as error:
            raise _refused(tf_model, error) from error
    for layer in wrapped.layers:
        if layer.name.removeprefix(PREFIX) in frozen:
            _freeze(layer)
    return wrapped


def _freeze(layer: Any) -> None:
    """Keep a layer from learning; tfmot's wrapper makes its kernel trainable whatever the layer says."""
    layer.trainable = False
    if hasattr(layer, "_weight_vars"):
        layer._non_trainable_weights.extend(layer._trainable_weights)
        layer._trainable_weights.clear()


def _scales_by(layer: Any, *, per_channel: bool) -> str:
    kind = type(layer).__name__
    if kind == "DepthwiseConv2D":
        return "depthwise"
    # A Conv1D is left as one only where it pads causally; the converter takes no scales by channel for it.
    return "channel" if per_channel and kind == "Conv2D" else "tensor"


def _refused(tf_model: Any, error: Exception) -> ModelError:
    named = next((layer for layer in tf_model.layers if re.search(rf"\b{re.escape(layer.name)}\b", str(error))), None)
    which = f"the model '{tf_model.name}'" if named is None else f"the layer '{named.name}' ({type(named).__name__})"
    return ModelError(
        f"tensorflow-model-optimization cannot quantise {which}: {str(error).splitlines()[0][:300]}",
        hint="Replace the layer, or name it in `exclude` of the qat recipe: it stays float32 then.",
    )
