"""A float32 TFLite file made ready for litert-quantizer: a batch of 1, a signature, a name a tensor."""

from __future__ import annotations

from typing import Any

from ai_edge_litert import schema_py_generated as schema

from edgefm.core.errors import ModelError
from edgefm.tflite import flatbuffer

SIGNATURE = "serving_default"
_INTEGERS = ("int2", "int4", "int8", "uint8", "int16")


def float_file(content: bytes) -> bytes:
    """Return a float32 .tflite file with a signature, a batch of 1 and no name twice; as it is where it has all.

    Args:
      content: a .tflite file with one graph, its inputs float32 or tokens; needs no TensorFlow.
    Raises:
      ModelError: several graphs, an input of neither floats nor tokens, weights that are quantised or float16
        already, or a size other than the batch that is not fixed.
    """
    model = flatbuffer.editable(content)
    if len(model.subgraphs) != 1:
        keys = [flatbuffer.text(entry.signatureKey) for entry in model.signatureDefs or ()]
        signed = f" ({len(keys)} signatures: {', '.join(keys)})" if len(keys) > 1 else ""
        raise ModelError(
            f"the model has {len(model.subgraphs)} graphs{signed}; one is expected",
            hint="Convert it without control flow (tf.while_loop, tf.cond), and each signature by itself: "
            "tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=['one']).",
        )
    graph = model.subgraphs[0]
    _check_float(model, graph)
    changed = _fix_batch(graph)
    changed = _name_tensors(graph) or changed
    if not model.signatureDefs:
        model.signatureDefs = [_signature(graph)]
        changed = True
    return flatbuffer.write(model) if changed else content


def _check_float(model: Any, graph: Any) -> None:
    for tensor in graph.tensors:
        parameters = tensor.quantization
        scaled = parameters is not None and parameters.scale is not None and len(parameters.scale) > 0
        dtype = flatbuffer.dtype(tensor)
        if dtype in _INTEGERS and scaled:
            raise ModelError(
                f"the model is quantised already: '{_name(tensor)}' is {dtype}",
                hint="Give the float32 file or the Keras model that it was made from.",
            )
        if dtype == "float16":
            raise ModelError(
                f"the model is compressed already: '{_name(tensor)}' is float16",
                hint="Give the float32 file or the Keras model that it was made from.",
            )
        if dtype == "resource":
            raise ModelError(
                f"the model holds variables ('{_name(tensor)}'), not weights: it was converted without freezing them",
                hint="Convert it from a SavedModel or a Keras model.",
            )
    if not len(graph.inputs):
        raise ModelError("the model has no input")
    for source in (graph.tensors[index] for index in graph.inputs):
        if flatbuffer.dtype(source) not in ("float32", "int32", "int64"):
            raise ModelError(
                f"the input '{_name(source)}' of the model is {flatbuffer.dtype(source)}; float32, or "
                "int32 or int64 for tokens, is expected",
                hint="A quantised model cannot be quantised again: give the one that it was made from.",
            )


def _fix_batch(graph: Any) -> bool:
    """Set a dynamic batch to 1 everywhere, and return whether there was one."""
    for source in (graph.tensors[index] for index in graph.inputs):
        shape = [int(length) for length in source.shape]
        signature = shape if source.shapeSignature is None else [int(length) for length in source.shapeSignature]
        if -1 in signature[1:]:
            raise ModelError(
                f"the input '{_name(source)}' has the dynamic shape {tuple(signature)}; fixed sizes are needed",
                hint="Convert the model again with a fixed input size.",
            )
        if shape[:1] != [1]:
            raise ModelError(
                f"the input '{_name(source)}' of the model has shape {tuple(shape)}; a batch of 1 is expected",
                hint="Convert the model again with a fixed batch of 1.",
            )
    dynamic = [
        tensor for tensor in graph.tensors if tensor.shapeSignature is not None and -1 in list(tensor.shapeSignature)
    ]
    for tensor in dynamic:
        tensor.shapeSignature = None
    return bool(dynamic)


def _name_tensors(graph: Any) -> bool:
    """Give each tensor a name of its own, which litert-quantizer needs, and return whether any was changed."""
    taken: set[bytes] = set()
    changed = False
    for tensor in graph.tensors:
        wanted = tensor.name or b"tensor"
        name, number = wanted, 1
        while name in taken:
            name, number = wanted + f"__{number}".encode(), number + 1
        taken.add(name)
        changed = changed or name != tensor.name
        tensor.name = name
    return changed


def _signature(graph: Any) -> Any:
    """Return the signature of a graph without one: its tensors' own names."""

    def entries(indices: Any) -> list[Any]:
        return [schema.TensorMapT(name=graph.tensors[index].name, tensorIndex=int(index)) for index in indices]

    return schema.SignatureDefT(
        inputs=entries(graph.inputs),
        outputs=entries(dict.fromkeys(graph.outputs)),
        signatureKey=SIGNATURE.encode(),
        subgraphIndex=0,
    )


def _name(tensor: Any) -> str:
    return str((tensor.name or b"").decode())
