"""Changes at the two ends of a quantised TFLite graph."""

from __future__ import annotations

from typing import Any

from ai_edge_litert import schema_py_generated as schema

from edgefm.errors import ModelError
from edgefm_converters import flatbuffer

_SHIFT = 128  # a uint8 level is an int8 level + 128


def with_uint8_io(content: bytes) -> bytes:
    """Return a model with uint8 input and output in place of int8 ones.

    A QUANTIZE operator is put behind the input and one before the output; the scales stay, the zero points move by
    128, so that each output is the int8 model's + 128 exactly. Signatures follow.

    Args:
      content: a .tflite file with one int8 input and one int8 output.
    Raises:
      ModelError: another number of inputs or outputs, or another dtype.
    """
    model = flatbuffer.read(content)
    graph = _only_graph(model)
    for end, index in (("input", graph.inputs[0]), ("output", graph.outputs[0])):
        tensor = graph.tensors[index]
        if tensor.type != schema.TensorType.INT8:
            raise ModelError(
                f"the {end} of the quantised model is {_dtype(tensor)}, not int8: "
                f"{_at(model, graph, index)} cannot be quantised",
                hint="Choose other variants with --variant: float32, float16 or drq_w8.",
            )
    quantize = _quantize_code(model)
    source, sink = graph.inputs[0], graph.outputs[0]
    outer_source = _add_uint8_twin(graph, source)
    outer_sink = _add_uint8_twin(graph, sink)
    graph.operators.insert(0, _operator(quantize, outer_source, source))
    graph.operators.append(_operator(quantize, sink, outer_sink))
    graph.inputs, graph.outputs = [outer_source], [outer_sink]
    for signature in model.signatureDefs or []:
        for entries, old, new in ((signature.inputs, source, outer_source), (signature.outputs, sink, outer_sink)):
            for entry in entries:
                if entry.tensorIndex == old:
                    entry.tensorIndex = new
    return flatbuffer.write(model)


def with_names(content: bytes, *, input_name: str, output_name: str) -> bytes:
    """Return a model whose input and output tensors have these names; another tensor of a name gets a '_'."""
    model = flatbuffer.read(content)
    graph = _only_graph(model)
    wanted = {graph.inputs[0]: input_name.encode(), graph.outputs[0]: output_name.encode()}
    for index, tensor in enumerate(graph.tensors):
        if index in wanted:
            tensor.name = wanted[index]
        elif tensor.name in wanted.values():
            tensor.name += b"_"
    return flatbuffer.write(model)


def operators(content: bytes) -> tuple[str, ...]:
    """Return the names of a model's operators in the order in which they run."""
    model = flatbuffer.read(content)
    return tuple(flatbuffer.operator_name(model, operator) for operator in _only_graph(model).operators)


def _only_graph(model: Any) -> Any:
    graph = model.subgraphs[0]
    if len(model.subgraphs) != 1 or len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise ModelError(
            f"the model has {len(model.subgraphs)} graphs, {len(graph.inputs)} inputs and {len(graph.outputs)} "
            "outputs; one of each is expected"
        )
    return graph


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


def _quantize_code(model: Any) -> int:
    """Return the index of the QUANTIZE operator code, added if it is missing."""
    wanted = schema.BuiltinOperator.QUANTIZE
    for index, code in enumerate(model.operatorCodes):
        if code.builtinCode == wanted:
            return index
    model.operatorCodes.append(schema.OperatorCodeT(deprecatedBuiltinCode=wanted, builtinCode=wanted, version=1))
    return len(model.operatorCodes) - 1


def _operator(code: int, source: int, sink: int) -> Any:
    return schema.OperatorT(
        opcodeIndex=code,
        inputs=[source],
        outputs=[sink],
        builtinOptionsType=schema.BuiltinOptions.QuantizeOptions,
        builtinOptions=schema.QuantizeOptionsT(),
    )


def _dtype(tensor: Any) -> str:
    names = {value: name for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
    return names.get(tensor.type, str(tensor.type)).lower()


def _at(model: Any, graph: Any, index: int) -> str:
    """Return the names of the operators that touch a tensor."""
    touching = [op for op in graph.operators if index in list(op.inputs) + list(op.outputs)]
    return ", ".join(flatbuffer.operator_name(model, operator) for operator in touching) or "the operator there"
