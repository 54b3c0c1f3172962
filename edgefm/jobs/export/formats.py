"""A model in another format than TFLite, for a bundle: each by the library that knows it, its answers compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgefm.core.errors import ModelError, unknown_name

# Formats that no library converts a .tflite file to, and why.
_FROM_KERAS = {
    "coreml": "coremltools converts Keras and PyTorch models, no .tflite files; int8 levels would not be kept",
    "executorch": "ExecuTorch takes PyTorch models, no .tflite files; int8 levels would not be kept",
}
FORMATS = ("onnx", *_FROM_KERAS)


def check_formats(formats: Sequence[str]) -> None:
    """Raise a RecipeError for a format that is not known, a ModelError for one that nothing converts to."""
    for name in formats:
        if name not in FORMATS:
            raise unknown_name("format", name, FORMATS)
        if name in _FROM_KERAS:
            raise ModelError(
                f"a .tflite file cannot be written as {name}: {_FROM_KERAS[name]}",
                hint="Convert the Keras model with that library, and compare its answers with golden/ of a bundle.",
            )


def in_formats(model: Path, formats: Sequence[str]) -> dict[str, bytes]:
    """Return the files of a .tflite model in other formats, by name.

    ONNX: tf2onnx, opset 17; the file is only taken where ONNX Runtime answers random inputs as LiteRT does.

    Raises:
      ModelError: it cannot be converted, or the conversion answers otherwise.
      RuntimeUnavailableError: the converter is not installed.
    """
    from edgefm.runtimes.onnxruntime.tflite_to_onnx import converted

    return {"model.onnx": converted(model).read_bytes()} if "onnx" in formats else {}
