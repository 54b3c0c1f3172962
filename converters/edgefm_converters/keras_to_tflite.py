"""Keras 3 -> TFLite: one picture in, one probability a class out, float32, with a signature."""

from __future__ import annotations

import re
import tempfile
from typing import Any

from edgefm.errors import ModelError
from edgefm.silence import silenced
from edgefm_converters.keras_file import check_classifier

SIGNATURE = "serving_default"
INPUT = "image"
OUTPUT = "probabilities"
_UNSUPPORTED = re.compile(r"'(tf\.[^']+)' op is neither a custom op nor a flex op")


def float32_tflite(model: Any) -> bytes:
    """Return a model as a float32 TFLite file with batch 1 and built-in operators only.

    Args:
      model: keras.Model on the TensorFlow backend, float [n, height, width, channels] to [n, classes].
    Returns:
      content of a .tflite file; its signature `serving_default` takes `image` and gives `probabilities`.
    Raises:
      ModelError: other inputs or outputs, a size that is not fixed, or an operator that TFLite does not have.
    """
    check_classifier(model, source=f"the model '{model.name}'")
    with silenced(), tempfile.TemporaryDirectory(prefix="edgefm-saved-model-") as folder:
        return _convert(model, folder)


def _convert(model: Any, folder: str) -> bytes:
    import tensorflow as tf

    shape = [1, *model.inputs[0].shape[1:]]

    def serve(image: Any) -> dict[str, Any]:
        return {OUTPUT: model(image, training=False)}

    # The variables must hang on what is saved, and the batch is fixed by the signature.
    module = tf.Module()
    module.variables_of_model = [weight.value for weight in model.variables]
    module.serve = tf.function(serve, input_signature=[tf.TensorSpec(shape, tf.float32, name=INPUT)])
    try:
        tf.saved_model.save(module, folder, signatures={SIGNATURE: module.serve.get_concrete_function()})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])
        return bytes(converter.convert())
    except Exception as error:  # the converter raises its own class, TensorFlow several others
        message = str(error)
        names = sorted(set(_UNSUPPORTED.findall(message)))
        if names:
            raise ModelError(
                f"the model '{model.name}' uses {', '.join(names)}, which TFLite does not have",
                hint="Replace the layer that needs it, or write it with other operations.",
            ) from error
        lines = [line.strip() for line in message.splitlines() if line.strip()]
        reason = lines[0][:300] if lines else type(error).__name__
        raise ModelError(f"TensorFlow cannot convert the model '{model.name}': {reason}") from error
