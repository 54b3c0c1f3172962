"""The int8 file of TensorFlow's own converter: what edgefm's files are compared with."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from edgefm.core import joined
from edgefm.tflite import flatbuffer


def int8(model: Any, chosen: NDArray[Any]) -> tuple[bytes | None, str]:
    """Return the int8 file of TensorFlow's converter, or None and why there is none.

    Args:
      model: of Keras.
      chosen: calibration samples, [n, ...], or records of several inputs.
    """
    import tensorflow as tf

    from edgefm.core.silence import silenced
    from edgefm.keras_graph.ends import input_names

    def representative(names: Mapping[str, str]) -> Any:
        for place in range(len(chosen)):
            sample = chosen[place : place + 1]
            if joined.is_joined(chosen):
                yield {names[name]: values for name, values in joined.split(sample).items()}
            else:
                yield [sample.astype(str(model.inputs[0].dtype)) if sample.dtype.kind in "iu" else sample]

    def convert(converter: Any, names: Mapping[str, str]) -> bytes:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: representative(names)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        if not any("int" in str(tensor.dtype) for tensor in model.inputs):
            converter.inference_input_type = converter.inference_output_type = tf.int8
        return bytes(converter.convert())

    own = input_names(model) or ("",)
    try:
        with silenced():
            return convert(tf.lite.TFLiteConverter.from_keras_model(model), {name: name for name in own}), ""
    except Exception as error:  # the converter raises its own class, TensorFlow several others
        reason = " ".join(str(error).split())[:160] or type(error).__name__
    if len(own) == 1:
        return None, reason
    # It cannot take some models of several inputs from Keras; their SavedModel has the names of Keras's tensors.
    in_saved = dict(zip(own, (tensor.name for tensor in model.inputs), strict=True))
    try:
        with silenced(), tempfile.TemporaryDirectory() as folder:
            model.export(folder, verbose=False)
            content = convert(tf.lite.TFLiteConverter.from_saved_model(folder), in_saved)
        return _with_inputs_named(content, {new: name for name, new in in_saved.items()}), ""
    except Exception as error:
        return None, " ".join(str(error).split())[:160] or type(error).__name__


def _with_inputs_named(content: bytes, names: Mapping[str, str]) -> bytes:
    """Return a file whose inputs have other names in its signature, so that it is given samples as the others are."""
    parsed = flatbuffer.editable(content)
    for entry in parsed.signatureDefs[0].inputs:
        entry.name = names[flatbuffer.text(entry.name)]
    return flatbuffer.write(parsed)
