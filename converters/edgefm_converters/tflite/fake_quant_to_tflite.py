"""A tf_keras graph with fake quantisers -> an int8 TFLite file whose ranges are theirs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgefm.core.errors import ModelError
from edgefm_converters.tflite import float_barrier
from edgefm_converters.tflite.keras_to_tflite import INPUT, Given, converted, in_order
from edgefm_converters.tflite.surgery import with_int8_io, with_uint8_io


def int8_tflite(
    tf_model: Any, *, output_names: Sequence[str], pixels: bool = True, float_output: bool = False
) -> bytes:
    """Return a fake-quantised tf_keras model as a TFLite file with batch 1 and ends of 8 bits.

    Args:
      tf_model: tf_keras.Model with one input; kernels and outputs of its layers pass through fake quantisers, whose
        ranges become scales. A layer without them stays float32.
      output_names: of the outputs in the signature.
      pixels: its input is a picture's pixels: both ends are uint8, else int8.
      float_output: outputs may be float32 where no range rounds them, and stay so.
    Raises:
      ModelError: TensorFlow cannot convert it, or an end of the file is not quantised.
    """
    import tensorflow as tf

    def serve(image: Any) -> dict[str, Any]:
        outputs = tf.nest.flatten(tf_model(image, training=False))
        return dict(zip(output_names, outputs, strict=True))

    int8 = {"inference_input_type": tf.int8, "inference_output_type": tf.int8}
    try:
        with float_barrier.shown():
            content = converted(
                serve,
                inputs={INPUT: Given((1, *tf_model.inputs[0].shape[1:]))},
                holds=tf_model.variables,  # the model itself would have each of its layers traced again
                options={"optimizations": [tf.lite.Optimize.DEFAULT], **int8},
            )
    except Exception as error:  # the converter raises its own class, TensorFlow several others
        raise cannot_convert(tf_model, str(error) or type(error).__name__) from error
    ended = with_uint8_io if pixels else with_int8_io
    return ended(float_barrier.removed(in_order(content, output_names)), float_output=float_output)


def cannot_convert(tf_model: Any, message: str) -> ModelError:
    """Return an error that names the layer under whose name the converter stumbled."""
    reason = next(line.strip() for line in message.splitlines() if line.strip())
    named = [layer for layer in tf_model.layers if f"/{layer.name}/" in message]
    if not named:
        return ModelError(f"TensorFlow cannot convert the fake-quantised model '{tf_model.name}': {reason[:300]}")
    layer = getattr(named[0], "layer", named[0])
    reason = reason.rpartition("))): ")[2]
    return ModelError(
        f"TensorFlow cannot convert the layer '{layer.name}' ({type(layer).__name__}) to int8: {reason[:300]}",
        hint="Replace the layer, or name it in `exclude` of the qat recipe: it stays float32 then.",
    )
