"""float32 TFLite -> the compressed variants, with litert-quantizer and without TensorFlow.

int8 is symmetric per channel for weights and affine per tensor for activations, whose ranges are moving averages
over the calibration pictures. Source: Jacob et al. 2018, arXiv:1712.05877; the scheme is specified at
https://ai.google.dev/edge/litert/models/quantization_spec.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.errors import ModelError, missing_extra, unknown_name
from edgefm.recipes import VARIANTS
from edgefm.silence import silenced
from edgefm_converters import flatbuffer
from edgefm_converters.keras_to_tflite import INPUT, SIGNATURE
from edgefm_converters.surgery import with_uint8_io

NEEDS_CALIBRATION = ("int8_w8a8", "int8_w8a8_fc4")


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Ranges of a model's activations, shared by its int8 variants.

    Attributes:
      ranges: litert-quantizer's result: {tensor name: {'min': array, 'max': array}}.
      images: number of pictures that they come from.
    """

    ranges: Mapping[str, Any]
    images: int


def calibrate(float32: bytes, images: NDArray[np.float32], *, value_range: tuple[float, float]) -> Calibration:
    """Return the activation ranges of a float32 model over some pictures.

    Args:
      float32: .tflite file that `float32_tflite` gave.
      images: float32 [n, height, width, channels], encoded as the model wants them.
      value_range: least and greatest value that the input can have; it sets the input's scale exactly, whatever
        the pictures hold: (0, 255) gives scale 1.
    Raises:
      ModelError: pictures of another shape than the model's, none, or values that are not finite.
    """
    shape = _input_shape(float32)
    if images.ndim != 4 or len(images) == 0 or images.shape[1:] != shape[1:]:
        raise ModelError(
            f"calibration images have shape {images.shape}; [n, {', '.join(map(str, shape[1:]))}], n >= 1 is expected"
        )
    if not np.isfinite(images).all():
        raise ModelError("calibration images hold NaN or infinite values")
    quantizer = _quantizer(float32, "int8_w8a8")
    samples = [{INPUT: image[None].astype(np.float32)} for image in images]
    with silenced():
        ranges = quantizer.calibrate({SIGNATURE: samples}, num_threads=1)
    low, high = (np.full_like(ranges[_input_name(float32)]["min"], value) for value in value_range)
    ranges[_input_name(float32)] = {**ranges[_input_name(float32)], "min": low, "max": high}
    return Calibration(ranges=ranges, images=len(images))


def quantize_tflite(float32: bytes, variant: str, *, calibration: Calibration | None = None) -> bytes:
    """Return a float32 TFLite file compressed as a variant; 'float32' itself comes back with aligned weights.

    Args:
      float32: .tflite file that `float32_tflite` gave.
      variant: a name from `edgefm.recipes.VARIANTS`.
      calibration: needed by the int8 variants.
    Raises:
      RecipeError: an unknown variant.
      ModelError: an int8 variant without calibration, or a graph that cannot be quantised as a whole.
    """
    if variant not in VARIANTS:
        raise unknown_name("variant", variant, VARIANTS)
    if variant == "float32":
        return flatbuffer.write(flatbuffer.read(float32))
    needs = variant in NEEDS_CALIBRATION
    if needs and calibration is None:
        raise ModelError(
            f"variant '{variant}' needs calibration images", hint="Give some, or choose float32, float16 or drq_w8."
        )
    quantizer = _quantizer(float32, variant)
    with silenced():
        try:
            result = quantizer.quantize(
                dict(calibration.ranges) if needs and calibration else None,
                enable_progress_bar=False,
                enable_progress_report=False,
            )
        except (ValueError, RuntimeError, KeyError) as error:
            raise ModelError(
                f"the model cannot be quantised as '{variant}': {error}", hint="Choose other variants with --variant."
            ) from error
    content = bytes(result.quantized_model)
    return with_uint8_io(content) if needs else flatbuffer.write(flatbuffer.read(content))


def _quantizer(float32: bytes, variant: str) -> Any:
    if importlib.util.find_spec("litert_quantizer") is None:
        raise missing_extra("litert-quantizer", "compress")
    with silenced():
        from litert_quantizer import quantizer, recipe
        from litert_quantizer.qtyping import TFLOperationName

        made = quantizer.Quantizer(bytearray(float32))
        if variant == "float16":
            for operator in ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D_TRANSPOSE"):
                made.add_weight_only_config(
                    ".*",
                    TFLOperationName[operator],
                    num_bits=16,
                    algorithm_key=quantizer.AlgorithmName.FLOAT_CASTING,
                )
        elif variant == "drq_w8":
            made.load_quantization_recipe(recipe.dynamic_wi8_afp32())
        else:
            made.load_quantization_recipe(recipe.static_wi8_ai8())
        if variant == "int8_w8a8_fc4":
            made.add_static_config(".*", TFLOperationName.FULLY_CONNECTED, activation_num_bits=8, weight_num_bits=4)
    return made


def _input_shape(float32: bytes) -> tuple[int, ...]:
    graph = flatbuffer.read(float32).subgraphs[0]
    return tuple(int(length) for length in graph.tensors[graph.inputs[0]].shape)


def _input_name(float32: bytes) -> str:
    graph = flatbuffer.read(float32).subgraphs[0]
    return str(graph.tensors[graph.inputs[0]].name.decode())
