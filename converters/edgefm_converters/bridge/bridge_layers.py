"""Which layers of Keras 3 have a counterpart in tf_keras, and how their configurations differ.

The table is a list of what is known to compute the same: a class that is not in it is an error, never a guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import layers

from edgefm.core.errors import ModelError
from edgefm.keras_graph.augmentation import is_augmentation
from edgefm.keras_graph.folding import ChannelShift

# How weights are initialised, regularised and constrained belongs to a training, not to a network.
OF_TRAINING = ("initializer", "regularizer", "constraint")

# Options of Keras 3 that tf_keras does not have, with the only value that means the same there.
_ONLY_KERAS_3: dict[str, Any] = {
    "quantization_config": None,
    "rms_scaling": False,
    "renorm": False,
    "renorm_clipping": None,
    "renorm_momentum": ...,  # without renorm it means nothing
    "zero_output_for_mask": False,
    "pad_to_aspect_ratio": False,
    "fill_mode": ...,  # without padding to the aspect ratio it means nothing
    "fill_value": ...,
    "antialias": False,
    "use_cudnn": ...,
    "seed": ...,  # of the random numbers in training
}
_CLASSES: tuple[Any, ...] = (
    layers.Activation,
    layers.ActivityRegularization,
    layers.Add,
    layers.AlphaDropout,
    layers.Average,
    layers.AveragePooling1D,
    layers.AveragePooling2D,
    layers.AveragePooling3D,
    layers.BatchNormalization,
    layers.Concatenate,
    layers.Conv1D,
    layers.Conv1DTranspose,
    layers.Conv2D,
    layers.Conv2DTranspose,
    layers.Conv3D,
    layers.Cropping1D,
    layers.Cropping2D,
    layers.Dense,
    layers.DepthwiseConv1D,
    layers.DepthwiseConv2D,
    layers.Dot,
    layers.Dropout,
    layers.ELU,
    layers.EinsumDense,
    layers.Flatten,
    layers.GRU,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.GlobalAveragePooling1D,
    layers.GlobalAveragePooling2D,
    layers.GlobalAveragePooling3D,
    layers.GlobalMaxPooling1D,
    layers.GlobalMaxPooling2D,
    layers.GlobalMaxPooling3D,
    layers.GroupNormalization,
    layers.Identity,
    layers.LSTM,
    layers.LayerNormalization,
    layers.LeakyReLU,
    layers.MaxPooling1D,
    layers.MaxPooling2D,
    layers.MaxPooling3D,
    layers.Maximum,
    layers.Minimum,
    layers.Multiply,
    layers.Normalization,
    layers.PReLU,
    layers.Permute,
    layers.ReLU,
    layers.RepeatVector,
    layers.Rescaling,
    layers.Reshape,
    layers.Resizing,
    layers.SeparableConv1D,
    layers.SeparableConv2D,
    layers.SimpleRNN,
    layers.Softmax,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.SpatialDropout3D,
    layers.Subtract,
    layers.UnitNormalization,
    layers.UpSampling1D,
    layers.UpSampling2D,
    layers.ZeroPadding1D,
    layers.ZeroPadding2D,
)
SUPPORTED = frozenset((*_CLASSES, ChannelShift))
_WITHOUT_DATA_FORMAT = (layers.ZeroPadding1D, layers.Resizing)


class NoCounterpartError(ModelError):
    """tf_keras has no such layer, or not with this option; it can be carried as it is (see `bridge.carried`)."""


def tf_layer(layer: Any) -> Any:
    """Return a new tf_keras layer that computes the same as a layer of Keras 3; its weights are not copied yet.

    Raises:
      NoCounterpartError: tf_keras has no such layer, or lacks its option.
      ModelError: it is quantised already, has its channels first, or an activation that tf_keras does not know.
    """
    import tf_keras

    from edgefm_converters.bridge import tf_layers

    kind = type(layer)
    if is_augmentation(layer):
        return tf_keras.layers.Activation("linear", name=layer.name, dtype="float32")
    _check_weights(layer)
    if kind not in SUPPORTED:
        raise NoCounterpartError(f"the layer '{layer.name}' ({kind.__name__}) has no counterpart in tf_keras")
    if kind is ChannelShift:
        return tf_layers.TfChannelShift(name=layer.name, dtype="float32")
    config = _config(layer)
    try:
        return getattr(tf_keras.layers, kind.__name__).from_config(config)
    except (TypeError, ValueError) as error:
        raise ModelError(f"tf_keras cannot make the layer '{layer.name}' ({kind.__name__}): {error}") from error


def _config(layer: Any) -> dict[str, Any]:
    kind = type(layer)
    config: dict[str, Any] = {}
    for key, value in layer.get_config().items():
        if key.endswith(OF_TRAINING):
            continue
        if key == "data_format" and value == "channels_first":
            raise ModelError(
                f"the layer '{layer.name}' ({kind.__name__}) has its channels first, which TFLite does not have",
                hint="Build the model with data_format='channels_last'.",
            )
        if key in _ONLY_KERAS_3 and not _has_too(layer, key):
            hint = "Leave the option out, or replace the layer."
            try:
                check_means_nothing(layer, key, value, _ONLY_KERAS_3, lacking="tf_keras", hint=hint)
            except ModelError as error:
                raise NoCounterpartError(error.message, hint=error.hint) from error
            continue
        if key in ("activation", "recurrent_activation"):
            value = _activation(layer, key)
        config[key] = value
    config["dtype"] = "float32"
    if kind in _WITHOUT_DATA_FORMAT:
        config.pop("data_format", None)
    if kind is layers.LeakyReLU:
        config["alpha"] = float(config.pop("negative_slope"))
    elif kind is layers.Normalization:
        config.update(statistics(layer))
    return config


def check_means_nothing(
    layer: Any, key: str, value: Any, allowed: Mapping[str, Any], *, lacking: str, hint: str
) -> None:
    """Raise a ModelError where an option that one side lacks has another value than the one that means nothing."""
    if allowed[key] is not ... and value != allowed[key]:
        raise ModelError(
            f"the layer '{layer.name}' ({type(layer).__name__}) has {key}={value!r}, which {lacking} does not have",
            hint=hint,
        )


def _has_too(layer: Any, key: str) -> bool:
    """Return whether tf_keras has the option for this layer as well."""
    return key == "seed" and isinstance(layer, (layers.Dropout, layers.GaussianNoise, layers.GaussianDropout))


def _activation(layer: Any, key: str) -> Any:
    from edgefm_converters.bridge import tf_layers

    function = getattr(layer, key)
    name = "linear" if function is None else keras.activations.serialize(function)
    if isinstance(name, str) and name in tf_layers.ACTIVATIONS:
        return tf_layers.ACTIVATIONS[name]
    shown = name if isinstance(name, str) else getattr(function, "__name__", str(function))
    raise ModelError(
        f"the activation '{shown}' of the layer '{layer.name}' ({type(layer).__name__}) is not known to tf_keras",
        hint=f"Known: {', '.join(sorted(tf_layers.ACTIVATIONS))}.",
    )


def statistics(layer: Any) -> Mapping[str, Any]:
    """Return what a Normalization layer subtracts and divides by, as the options of a new one."""
    source = (layer.input_mean, layer.input_variance)
    if source[0] is None:
        source = (layer.adapt_mean, layer.adapt_variance)
    mean, variance = (np.asarray(value, np.float32).tolist() for value in source)
    return {"mean": mean, "variance": variance}


def _check_weights(layer: Any) -> None:
    if layer.dtype_policy.quantization_mode:
        raise ModelError(
            f"the layer '{layer.name}' ({type(layer).__name__}) is already quantised "
            f"({layer.dtype_policy.quantization_mode})",
            hint="Start from the model before quantize().",
        )
    if getattr(layer, "lora_enabled", False):
        raise ModelError(
            f"the layer '{layer.name}' ({type(layer).__name__}) has LoRA weights beside its own",
            hint="Save the model and load it again: Keras merges them then.",
        )
