"""Changes at the two ends of a quantised TFLite graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from edgefm.core.errors import ModelError
from edgefm.tflite import flatbuffer

_SHIFT = 128  # a uint8 level is an int8 level + 128


def with_uint8_io(content: bytes, *, float_output: bool = False) -> bytes:
    """Return a model with uint8 inputs and outputs in place of int8 ones.

    A QUANTIZE operator is put behind the input and one before each output; the scales stay, the zero points move by
    128, so that each output is the int8 model's + 128 exactly. Signatures follow. Outputs that are no quantised
    numbers, such as the class of ARG_MAX, stay as they are.

    Args:
      content: a .tflite file with int8 inputs and outputs; tokens stay as they are.
      float_output: outputs may be float32, and stay so.
    Raises:
      ModelError: another dtype.
    """
    model = flatbuffer.editable(content)
    graph = _checked_graph(model, float_output=float_output)
    sources = [index for index in graph.inputs if _is_int8(graph.tensors[index])]
    outer = {source: _add_uint8_twin(graph, source) for source in sources}
    for source in sources:
        graph.operators.insert(0, flatbuffer.quantize(model, outer[source], source))
    sinks = [index for index in dict.fromkeys(graph.outputs) if _is_int8(graph.tensors[index]) and index not in sources]
    for sink in sinks:
        outer[sink] = _add_uint8_twin(graph, sink)
        graph.operators.append(flatbuffer.quantize(model, sink, outer[sink]))
    graph.inputs = [outer.get(index, index) for index in graph.inputs]
    graph.outputs = [outer.get(index, index) for index in graph.outputs]
    for signature in model.signatureDefs or []:
        for entry in (*signature.inputs, *signature.outputs):
            entry.tensorIndex = outer.get(entry.tensorIndex, entry.tensorIndex)
    return flatbuffer.write(model)


def with_int8_io(content: bytes, *, float_output: bool = False) -> bytes:
    """Return a quantised model as it is, its weights aligned, once its ends are checked as `with_uint8_io` does."""
    model = flatbuffer.editable(content)
    _checked_graph(model, float_output=float_output)
    return flatbuffer.write(model)


def with_names(content: bytes, *, input_name: str | Sequence[str], output_name: str | Sequence[str]) -> bytes:
    """Return a model whose input and output tensors have these names; another tensor of a name gets a '_'.

    Raises:
      ModelError: another number of inputs or outputs than names.
    """
    model = flatbuffer.editable(content)
    graph = _only_graph(model)
    names = [output_name] if isinstance(output_name, str) else list(output_name)
    given = [input_name] if isinstance(input_name, str) else list(input_name)
    if len(given) != len(graph.inputs):
        raise ModelError(f"the model has {len(graph.inputs)} inputs; {len(given)} names are given: {given}")
    if len(names) != len(graph.outputs):
        raise ModelError(f"the model has {len(graph.outputs)} outputs; {len(names)} names are given: {names}")
    wanted = {index: name.encode() for index, name in zip(graph.inputs, given, strict=True)}
    wanted |= {index: name.encode() for index, name in zip(graph.outputs, names, strict=True)}
    for index, tensor in enumerate(graph.tensors):
        if index in wanted:
            tensor.name = wanted[index]
        elif tensor.name in wanted.values():
            tensor.name += b"_"
    return flatbuffer.write(model)


def input_names(content: bytes) -> tuple[str, ...]:
    """Return the names of a model's inputs in their order: those of its signature, of the tensors without one."""
    return _end_names(content, "inputs")


def output_names(content: bytes) -> tuple[str, ...]:
    """Return the names of a model's outputs in their order: those of its signature, of the tensors without one."""
    return _end_names(content, "outputs")


def _end_names(content: bytes, ends: str) -> tuple[str, ...]:
    model = flatbuffer.editable(content)
    graph = _only_graph(model)
    entries = getattr(model.signatureDefs[0], ends) if model.signatureDefs else []
    signed = {int(entry.tensorIndex): entry.name for entry in entries}
    return tuple(flatbuffer.text(signed.get(int(index), graph.tensors[index].name)) for index in getattr(graph, ends))


def operators(content: bytes) -> tuple[str, ...]:
    """Return the names of a model's operators in the order in which they run."""
    model = flatbuffer.editable(content)
    return tuple(flatbuffer.operator_name(model, operator) for operator in _only_graph(model).operators)


def _only_graph(model: Any) -> Any:
    graph = model.subgraphs[0]
    if len(model.subgraphs) != 1 or len(graph.inputs) == 0 or len(graph.outputs) == 0:
        raise ModelError(
            f"the model has {len(model.subgraphs)} graphs, {len(graph.inputs)} inputs and {len(graph.outputs)} "
            "outputs; one graph, and at least one input and output are expected"
        )
    return graph


def _checked_graph(model: Any, *, float_output: bool) -> Any:
    """Return the graph of a quantised model whose ends are int8."""
    graph = _only_graph(model)
    if not float_output:
        _give_levels(model, graph)
    for end, index in (*(("input", index) for index in graph.inputs), *(("output", index) for index in graph.outputs)):
        tensor = graph.tensors[index]
        floating = tensor.type == schema.TensorType.FLOAT32
        if end == "input" and flatbuffer.dtype(tensor) in ("int32", "int64"):
            continue  # tokens
        if (floating and not (float_output and end == "output")) or (end == "input" and not _is_int8(tensor)):
            raise ModelError(
                f"the {end} of the quantised model is {flatbuffer.dtype(tensor)}, not int8: "
                f"{_at(model, graph, index)} cannot be quantised",
                hint="Choose other variants: float32, float16 or drq_w8.",
            )
    return graph


def _give_levels(model: Any, graph: Any) -> None:
    """Let an output that is dequantised for a float operator beside it be the int8 tensor before that."""
    levels = {
        int(operator.outputs[0]): int(operator.inputs[0])
        for operator in graph.operators
        if flatbuffer.operator_name(model, operator) == "DEQUANTIZE" and _is_int8(graph.tensors[operator.inputs[0]])
    }
    given = {int(index) for index in graph.outputs}
    graph.outputs = [levels.get(int(index), int(index)) for index in graph.outputs]
    for signature in model.signatureDefs or []:
        for entry in signature.outputs:
            entry.tensorIndex = levels.get(int(entry.tensorIndex), int(entry.tensorIndex))
    read = {int(index) for operator in graph.operators for index in operator.inputs} | set(graph.outputs)
    unused = {index for index in given if index in levels and index not in read}
    graph.operators = [operator for operator in graph.operators if int(operator.outputs[0]) not in unused]


def _is_int8(tensor: Any) -> bool:
    return bool(tensor.type == schema.TensorType.INT8)


def _add_uint8_twin(graph: Any, index: int) -> int:
    """Add a uint8 tensor that stands for the same real numbers as an int8 one, and return its index."""
    inner = graph.tensors[index]
    parameters = inner.quantization
    graph.tensors.append(
        schema.TensorT(
            shape=list(inner.shape),
            type=schema.TensorType.UINT8,
            buffer=0,
            name=inner.name,
            quantization=schema.QuantizationParametersT(
                scale=[float(parameters.scale[0])], zeroPoint=[int(parameters.zeroPoint[0]) + _SHIFT]
            ),
        )
    )
    inner.name = inner.name + b"_int8"
    return len(graph.tensors) - 1


def _at(model: Any, graph: Any, index: int) -> str:
    """Return the names of the operators that touch a tensor."""
    touching = [op for op in graph.operators if index in list(op.inputs) + list(op.outputs)]
    return ", ".join(flatbuffer.operator_name(model, operator) for operator in touching) or "the operator there"


def with_unread_results_quantised(content: bytes) -> bytes:
    """Return a .tflite file in which a result that nothing takes has the dtype and scale of its siblings.

    litert-quantizer leaves it float32, and XNNPACK refuses a SPLIT whose results are of two types.
    """
    model = flatbuffer.editable(content)
    changed = False
    for graph in model.subgraphs:
        read = {int(index) for operator in graph.operators for index in operator.inputs} | set(map(int, graph.outputs))
        for operator in graph.operators:
            results = [graph.tensors[index] for index in operator.outputs]
            quantised = [tensor for tensor in results if flatbuffer.dtype(tensor) in ("int8", "int16")]
            for index, tensor in zip(operator.outputs, results, strict=True):
                if quantised and int(index) not in read and flatbuffer.dtype(tensor) == "float32":
                    tensor.type, tensor.quantization = quantised[0].type, quantised[0].quantization
                    changed = True
    return flatbuffer.write(model) if changed else content
