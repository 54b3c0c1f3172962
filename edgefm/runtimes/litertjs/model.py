"""What LiteRT.js does not tell of a model, read from the file: scales, fixed shapes, the order of the outputs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgefm.core.errors import ModelError
from edgefm.runtimes import model_ends, tflite_ends
from edgefm.runtimes.base import TensorDetails
from edgefm.tflite import schema_fields as fields
from edgefm.tflite.tables import Table

# The element types that a Tensor of @litertjs/core 2.5.3 can hold; inside the model there may be others.
DTYPES = ("float32", "int32", "uint8")


@dataclass(frozen=True, kw_only=True)
class SignedEnds:
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


def read_ends(path: Path) -> SignedEnds:
    """Return the ends of a .tflite file, or refuse it where LiteRT.js cannot run it as edgefm runs models.

    Raises:
      ModelError: no model, damaged, none or several inputs, a dynamic shape, or ends of another type than DTYPES.
    """
    ends = tflite_ends.read(path)
    model_ends.check(path, ends)
    model_ends.check_single(path, ends, runtime="LiteRT.js")
    source, sinks = ends.source, tuple(end.details for end in ends.outputs)
    for kind, tensor in (("input", source), *(("output", sink) for sink in sinks)):
        if tensor.dtype not in DTYPES:
            raise ModelError(
                f"the {kind} '{tensor.name}' of {path} is {tensor.dtype}; LiteRT.js takes {', '.join(DTYPES)} there",
                hint="Convert the model with uint8 or float32 inputs and outputs; inside it may be int8.",
            )
    signature, order = tflite_ends.read_root(path, _signature)
    return SignedEnds(
        input=source, outputs=sinks, signature=signature, order=order or tuple(sink.name for sink in sinks)
    )


def _signature(model: Table) -> tuple[str, tuple[str, ...]]:
    """Return the key of the first graph's signature and its names of the outputs; ('', ()) where it has none."""
    graph = model.tables(fields.MODEL_SUBGRAPHS)[0]
    for signature in model.tables(fields.MODEL_SIGNATURES):
        if not signature.number(fields.SIGNATURE_GRAPH, "<I"):
            outputs = signature.tables(fields.SIGNATURE_OUTPUTS)
            names = {
                output.number(fields.SIGNATURE_TENSOR_INDEX, "<I") or 0: output.text(fields.SIGNATURE_TENSOR_NAME)
                for output in outputs
            }
            tensors = graph.tables(fields.GRAPH_TENSORS)
            order = tuple(
                names[index] if index in names else tensors[index].text(fields.TENSOR_NAME)
                for index in graph.numbers(fields.GRAPH_OUTPUTS, "<i") or ()
            )
            return signature.text(fields.SIGNATURE_KEY), order
    return "", ()
