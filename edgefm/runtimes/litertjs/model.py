"""What LiteRT.js does not tell of a model, read from the file: scales, fixed shapes, the order of the outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgefm.core.errors import ModelError
from edgefm.runtimes.base import TensorDetails
from edgefm.tflite import tflite_file

# The element types that a Tensor of @litertjs/core 2.5.3 can hold; inside the model there may be others.
DTYPES = ("float32", "int32", "uint8")
_FIXED = "Convert the model again with a fixed batch of 1."


@dataclass(frozen=True, kw_only=True)
class ModelEnds:
    """The ends of a model with one input.

    Attributes:
      input: its details.
      outputs: theirs, in the order of the graph, as other runtimes give them.
      signature: key of the signature of the first graph; '' where the file has none.
      order: for each of `outputs`, its name in the signature, by which LiteRT.js orders what it returns; the
        tensor's own name where there is no signature.
    """

    input: TensorDetails
    outputs: tuple[TensorDetails, ...]
    signature: str
    order: tuple[str, ...]


def read_ends(path: Path) -> ModelEnds:
    """Return the ends of a .tflite file, or refuse it where LiteRT.js cannot run it as edgefm runs models.

    Raises:
      ModelError: no model, damaged, none or several inputs, a dynamic shape, or ends of another type than DTYPES.
    """
    tflite_file.check(path)
    content = path.read_bytes()
    from ai_edge_litert import schema_py_generated as schema

    try:
        ends = _read(content, schema)
    except Exception as error:  # the generated accessors raise whatever a wrong offset leads to
        raise ModelError(
            f"{path} is damaged: its graph cannot be read ({type(error).__name__}: {error})",
            hint="Copy or write the file again.",
        ) from error
    inputs, outputs, signature, order = ends
    if len(inputs) != 1:
        names = ", ".join(f"'{tensor.name}'" for tensor in inputs) or "none"
        raise ModelError(
            f"{path} has {len(inputs)} inputs ({names}); exactly one is expected",
            hint="edgefm feeds a model one sample at a time: one array in, one or more out.",
        )
    if not outputs:
        raise ModelError(f"{path} has no output")
    for end, tensor in (("input", inputs[0]), *(("output", tensor) for tensor in outputs)):
        if -1 in tensor.shape:
            raise ModelError(f"the {end} '{tensor.name}' of {path} has the dynamic shape {tensor.shape}", hint=_FIXED)
        if tensor.dtype not in DTYPES:
            raise ModelError(
                f"the {end} '{tensor.name}' of {path} is {tensor.dtype}; LiteRT.js takes {', '.join(DTYPES)} there",
                hint="Convert the model with uint8 or float32 inputs and outputs; inside it may be int8.",
            )
    if inputs[0].shape and inputs[0].shape[0] != 1:
        shape = inputs[0].shape
        raise ModelError(f"the input '{inputs[0].name}' of {path} has a batch of {shape[0]}: {shape}", hint=_FIXED)
    return ModelEnds(input=inputs[0], outputs=outputs, signature=signature, order=order)


def _read(
    content: bytes, schema: Any
) -> tuple[tuple[TensorDetails, ...], tuple[TensorDetails, ...], str, tuple[str, ...]]:
    # Accessors on the bytes, not the object API: the weights are never copied.
    model = schema.Model.GetRootAs(content, 0)
    graph = model.Subgraphs(0)
    inputs = [graph.Inputs(i) for i in range(graph.InputsLength())]
    outputs = [graph.Outputs(i) for i in range(graph.OutputsLength())]
    details = {index: _details(graph.Tensors(index), schema) for index in (*inputs, *outputs)}
    key, names = _signature(model, {index: tensor.name for index, tensor in details.items()})
    return (
        tuple(details[index] for index in inputs),
        tuple(details[index] for index in outputs),
        key,
        tuple(names[index] for index in outputs),
    )


def _signature(model: Any, names: dict[int, str]) -> tuple[str, dict[int, str]]:
    """Return the key of the first graph's signature and its names of the outputs by tensor."""
    for place in range(model.SignatureDefsLength()):
        signature = model.SignatureDefs(place)
        if signature.SubgraphIndex() == 0:
            outputs = [signature.Outputs(i) for i in range(signature.OutputsLength())]
            given = {output.TensorIndex(): _text(output.Name()) for output in outputs}
            return _text(signature.SignatureKey()), {**names, **given}
    return "", names


def _details(tensor: Any, schema: Any) -> TensorDetails:
    lengths = tensor.ShapeSignatureLength()
    read: Callable[[int], int] = tensor.ShapeSignature if lengths else tensor.Shape
    dtypes = {value: name.lower() for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
    dtype = dtypes.get(tensor.Type(), f"type {tensor.Type()}")
    parameters = tensor.Quantization()
    quantised = parameters is not None and parameters.ScaleLength() == 1 and dtype in ("uint8", "int8", "int16")
    zero = int(parameters.ZeroPoint(0)) if quantised and parameters.ZeroPointLength() else 0
    return TensorDetails(
        name=_text(tensor.Name()),
        dtype=dtype,
        shape=tuple(int(read(i)) for i in range(lengths or tensor.ShapeLength())),
        scale=float(parameters.Scale(0)) if quantised else None,
        zero_point=zero if quantised else None,
    )


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", errors="replace")
