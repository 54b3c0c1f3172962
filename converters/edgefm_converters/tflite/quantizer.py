"""litert-quantizer in the process apart: the ranges of a float32 file's activations, and the quantised file."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgefm.core.errors import ModelError, missing_extra
from edgefm.core.silence import silenced
from edgefm.runtimes import apart
from edgefm.runtimes.apart.patience import SECONDS
from edgefm_converters.tflite.operator_layers import TracedOperator

# drq_w8 leaves kernels of fewer weights in float32, as TensorFlow's converter does: docs/adr/0018.
SMALL_KERNEL = 1024
_WEIGHTED = ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D_TRANSPOSE")
# At least so many bytes of a file are quantised in a second.
_BYTES_A_SECOND = 1 << 20


def quantized(
    float32: bytes,
    scheme: str,
    kept: Sequence[TracedOperator],
    ranges: Mapping[str, Any] | None,
    eight_bits: Sequence[TracedOperator] = (),
) -> bytes:
    """Return what litert-quantizer makes of a file.

    Args:
      float32: what `float_file` gave.
      scheme: a name from `edgefm.recipes.SCHEMES`, not 'float32'.
      kept: operators that stay float32.
      ranges: of the activations, for a calibrated scheme.
      eight_bits: operators whose weights are int8 where the scheme has others of four bits.
    Raises:
      ModelError: it cannot be quantised so; see also `edgefm.runtimes.apart.call`.
    """
    return apart.call(
        _quantized,
        float32,
        scheme,
        kept,
        ranges,
        eight_bits,
        size_bytes=len(float32),
        doing=f"quantising the model as '{scheme}'",
        seconds=SECONDS + len(float32) / _BYTES_A_SECOND,
    )


def _quantized(
    float32: bytes,
    scheme: str,
    kept: Sequence[TracedOperator],
    ranges: Mapping[str, Any] | None,
    eight_bits: Sequence[TracedOperator],
) -> bytes:
    """Called in the process apart."""
    quantizer = configured(float32, scheme, kept, eight_bits)
    with silenced():
        try:
            result = quantizer.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
        except (ValueError, RuntimeError, KeyError) as error:
            raise ModelError(
                f"the model cannot be quantised as '{scheme}': {error}", hint="Choose other variants."
            ) from error
    return bytes(result.quantized_model)


def ranges(
    float32: bytes, samples: Mapping[str, Any], *, before: Mapping[str, Any] | None, needed: set[str]
) -> dict[str, Any]:
    """Return the range of each activation: {tensor name: {'min': array, 'max': array}}.

    The quick way is taken where it sees all of them, the thorough way elsewhere.

    Args:
      float32: what `float_file` gave.
      samples: of each signature's key a list of the inputs by name, [1, ...] each.
      before: ranges over other samples, which these may widen.
      needed: names of tensors whose ranges are wanted.
    Raises:
      ModelError: see `edgefm.runtimes.apart.call`.
    """
    if importlib.util.find_spec("litert_quantizer") is None:
        raise missing_extra("litert-quantizer", "compress")
    doing = "calibrating the model"
    return apart.call(
        _measured_ranges, float32, samples, before, needed, size_bytes=len(float32), doing=doing, runs=float32
    )


class _Told(list[Any]):
    """Samples that tell of each one that is taken."""

    def __iter__(self) -> Iterator[Any]:
        for place, sample in enumerate(super().__iter__()):
            apart.tell(place)
            yield sample


def _measured_ranges(
    float32: bytes, samples: Mapping[str, Any], before: Mapping[str, Any] | None, needed: set[str]
) -> dict[str, Any]:
    """Called in the process apart."""
    with silenced():
        from litert_quantizer import recipe
        from litert_quantizer.calibrator import CalibrationMode, Calibrator
        from litert_quantizer.recipe_manager import RecipeManager
        from litert_quantizer.utils.qsv_utils import min_max_update

        rules = RecipeManager()
        rules.load_quantization_recipe(recipe.static_wi8_ai8())
        found: dict[str, Any] = {}
        for mode in (CalibrationMode.CALIBRATION_PROFILER_BASED, CalibrationMode.CALIBRATION_PRESERVE_ALL_TENSORS):
            calibrator = Calibrator(bytearray(float32), num_threads=1, mode=mode, qsv_update_func=min_max_update)
            if before is not None:
                calibrator.load_model_qsvs(dict(before))
            calibrator.calibrate({key: _Told(given) for key, given in samples.items()}, rules)
            found = calibrator.get_model_qsvs()
            if needed <= {name for name, values in found.items() if values}:
                break
    return found


def configured(
    float32: bytes, scheme: str, kept: Sequence[TracedOperator] = (), eight_bits: Sequence[TracedOperator] = ()
) -> Any:
    """Return litert-quantizer's Quantizer of a file with the rules of a scheme; see `quantized`."""
    if importlib.util.find_spec("litert_quantizer") is None:
        raise missing_extra("litert-quantizer", "quantize")
    with silenced():
        from litert_quantizer import quantizer, recipe
        from litert_quantizer.qtyping import TFLOperationName

        made = quantizer.Quantizer(bytearray(float32))
        leave = quantizer.AlgorithmName.NO_QUANTIZE
        if scheme == "float16":
            for operator in _WEIGHTED:
                made.add_weight_only_config(
                    ".*",
                    TFLOperationName[operator],
                    num_bits=16,
                    algorithm_key=quantizer.AlgorithmName.FLOAT_CASTING,
                )
        elif scheme == "drq_w8":
            rules = recipe.dynamic_wi8_afp32()
            rules[0]["op_config"]["min_weight_elements"] = SMALL_KERNEL
            made.load_quantization_recipe(rules)
        elif scheme == "int16x8":
            made.load_quantization_recipe(recipe.static_wi8_ai16())
            for end in (TFLOperationName.INPUT, TFLOperationName.OUTPUT):
                made.update_quantization_recipe(".*", end, algorithm_key=leave)
        else:
            made.load_quantization_recipe(recipe.static_wi8_ai8())
        if scheme == "int8_w8a8_fc4":
            dense = TFLOperationName.FULLY_CONNECTED
            made.add_static_config(".*", dense, activation_num_bits=8, weight_num_bits=4)
            for one in eight_bits:
                made.add_static_config(_scope(one), dense, activation_num_bits=8, weight_num_bits=8)
        for one in kept:
            made.update_quantization_recipe(_scope(one), TFLOperationName.ALL_SUPPORTED, algorithm_key=leave)
    return made


def _scope(operator: TracedOperator) -> str:
    """Return an operator as rules name it; of two rules that match the later one holds."""
    return f"^{re.escape(operator.scope)}$"
