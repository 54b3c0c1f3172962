"""What a model file computes with, and the unit in which two answers of it are compared."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgefm.agreement.rounding import MEASURED, Rounding, rounding
from edgefm.runtimes import model_ends, tflite_ends
from edgefm.runtimes.base import TensorDetails
from edgefm.tflite.inspection import Inspection

# float: float32 throughout (float16 weights included); integer: activations of 8 bits or fewer; int16: activations of
# 16 bits; dynamic: float activations that a kernel rounds to int8 on the fly, as its weights are integers.
Arithmetic = Literal["float", "integer", "int16", "dynamic"]
Unit = Literal["levels", "relative"]

_SMALL = ("int2", "int4", "int8", "uint8")
_UNPACKING = ("DEQUANTIZE", "DENSIFY")


@dataclass(frozen=True, kw_only=True)
class ModelTensors:
    """The ends of a model file, read from the file alone.

    Attributes:
      source: the input.
      sinks: the outputs in the file's order.
      level: for each output, the real value of one quantisation level of it: 1 for an integer output (differences
        are counted in its own levels); the scale behind a float output that is a dequantised one; None where the
        file has no levels for it.
      arithmetic: see `Arithmetic`.
      rounding: how much of it the model piles up.
    """

    source: TensorDetails
    sinks: tuple[TensorDetails, ...]
    level: tuple[float | None, ...]
    arithmetic: Arithmetic
    rounding: Rounding = MEASURED

    @property
    def unit(self) -> Unit:
        """The unit of differences: quantisation levels, or shares of the output's largest magnitude."""
        return "relative" if self.arithmetic == "float" else "levels"

    @property
    def values_a_sample(self) -> int:
        """Values of all outputs for one sample."""
        return sum(math.prod(sink.shape) for sink in self.sinks)


def ends(inspection: Inspection) -> ModelTensors:
    """Return the ends of an inspected model.

    Raises:
      ModelError: it has no input or no output, a dynamic shape, a batch other than 1, or an end of a type
        that numpy does not have.
    """
    path = Path(inspection.path)
    of_file = tflite_ends.read(path)
    model_ends.check(path, of_file)
    return ModelTensors(
        source=of_file.source,
        sinks=tuple(end.details for end in of_file.outputs),
        level=tuple(_level(inspection, index) for index in inspection.outputs),
        arithmetic=arithmetic(inspection),
        rounding=rounding(inspection),
    )


def arithmetic(inspection: Inspection) -> Arithmetic:
    """Return what a model computes with, told from the types of its tensors."""
    constant = constants(inspection)
    tensors = inspection.tensors
    activations = {t.dtype for t in tensors if t.index not in constant and t.quantization}
    if activations & set(_SMALL):
        return "integer"
    if "int16" in activations:
        return "int16"
    for operator in inspection.operators:
        weights = [tensors[i] for i in operator.inputs if i in constant]
        if operator.name not in _UNPACKING and any(w.dtype in _SMALL and w.quantization for w in weights):
            return "dynamic"
    return "float"


def constants(inspection: Inspection) -> frozenset[int]:
    """Return the tensors that no input changes: those with values in the file, and what is computed from them."""
    known = {tensor.index for tensor in inspection.tensors if tensor.constant}
    for operator in inspection.operators:
        if operator.inputs and all(index in known for index in operator.inputs):
            known.update(operator.outputs)
    return frozenset(known)


def _level(inspection: Inspection, index: int) -> float | None:
    tensor = inspection.tensors[index]
    if not tensor.dtype.startswith("float"):
        return 1.0
    for operator in inspection.operators:
        if index in operator.outputs and operator.name == "DEQUANTIZE":
            behind = inspection.tensors[operator.inputs[0]].quantization
            return behind.scale_range[0] if behind and behind.scales == 1 else None
    return None
