"""What int16x8 files need to run, and a check of them on a phone's kernels: LiteRT's set with XNNPACK, and its own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import ModelError
from edgefm.tflite import flatbuffer
from edgefm_converters.tflite.biases import with_biases
from edgefm_converters.tflite.float_file import float_file
from edgefm_converters.tflite.partly_quantised import OperatorPairs
from edgefm_converters.tflite.tflite_outputs import tflite_outputs

# Samples that are run: kernels for int16 are plain loops, and what overflows does so for most inputs.
_SAMPLES = 8
# Share of an output's span and of its greatest value that 16-bit activations may cost, and levels of its last rounding.
# Two plain networks of 5 and 21 layers, a residual one, EfficientNetV2B0 and ResNet50V2 at 64 x 64, random weights, 8
# samples each: at most 2 % of what is allowed. The overflow of a dense layer: 170 times what is allowed.
_OF_SPAN = 0.1
_OF_SIZE = 0.005
_STEP = 16 / 32_767


def with_any_scale(content: bytes) -> bytes:
    """Return an int16x8 file whose ADD and SUB say that their scales need not be powers of two.

    The schema's default says that they may be. LiteRT then takes scales within 0.07 % of one for them, such as the
    2 / 32767 of values from 0 to 2, and refuses the file where an input has a greater one than the output. TensorFlow's
    converter says the same.
    Source: `pot_scale_int16` in TFLite's schema; add.cc and sub.cc of its kernels.
    """
    model = flatbuffer.editable(content)
    for graph in model.subgraphs:
        for operator in graph.operators:
            name = flatbuffer.operator_name(model, operator)
            if name in ("ADD", "SUB") and operator.builtinOptions is not None:
                operator.builtinOptions.potScaleInt16 = False
    return flatbuffer.write(model)


def check_kernels(float32: bytes, int16x8: bytes, inputs: NDArray[np.float32]) -> dict[str, float]:
    """Return the greatest error of an int16x8 file on the kernel sets of a phone, as a share of what is allowed.

    The file is compared with the float file that has the same int8 weights, so that only its activations count: the
    errors are those of 16-bit rounding, or a kernel is wrong.

    Args:
      float32: the file that it was made from.
      int16x8: float32 in and out.
      inputs: float32 [n, ...], real inputs; the first few are run.
    Returns:
      {'default': share, 'builtin': share}, at most 1 each: LiteRT's default set, with XNNPACK, and its own kernels.
    Raises:
      ModelError: an error is greater than 16-bit activations explain.
    """
    prepared, some = with_biases(float_file(float32)), inputs[:_SAMPLES]
    pair = OperatorPairs(prepared, int16x8)
    every = range(len(flatbuffer.editable(prepared).subgraphs[0].operators))
    expected = tflite_outputs(pair.with_weights(every), some)
    shares = {}
    for kernels, builtin in (("default", False), ("builtin", True)):
        outputs = tflite_outputs(int16x8, some, builtin_kernels=builtin)
        share, place = max((_share(*pair), place) for place, pair in enumerate(zip(outputs, expected, strict=True)))
        if not share <= 1:
            error = float(np.abs(outputs[place] - expected[place]).max())
            raise ModelError(
                f"int16x8 is wrong on LiteRT's {kernels} kernels: output {place} differs by {error:.3g} from the float "
                f"model with the same weights, where 16-bit activations explain {error / share:.3g}",
                hint="An integer sum overflows or a kernel is wrong. Choose float16, drq_w8 or int8_w8a8.",
            )
        shares[kernels] = round(share, 4)
    return shares


def _share(output: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    """Return the greatest error of an output as a share of the allowed one."""
    span, size = float(np.ptp(wanted)), float(np.abs(wanted).max())
    allowed = _OF_SPAN * span + _OF_SIZE * size + _STEP * max(size, 1e-6)
    return float(np.abs(output - wanted).max()) / allowed
