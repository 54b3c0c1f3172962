"""A model made of some operators of another: tensors keep their names, dtypes and quantisation, indices are new."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgefm.core.errors import ModelError
from edgefm.tflite import flatbuffer
from edgefm.tflite.flatbuffer import indices, text

_UNUSED = b"edgefm_unused_input"


class Submodel:
    """A new model that takes over parts of another; it is written once."""

    def __init__(self, model: Any) -> None:
        self._old = model
        self._buffers: dict[int, int] = {}
        self._codes: dict[int, int] = {}

    def write(
        self, operators: Sequence[Any], *, inputs: Sequence[int], outputs: Sequence[int], variables: set[int]
    ) -> bytes:
        """Return the content of a model whose main graph is these operators of the old one's."""
        graph = self._old.subgraphs[0]
        touched = [
            i for op in operators for i in (*indices(op.inputs), *indices(op.outputs), *indices(op.intermediates))
        ]
        kept = list(dict.fromkeys([*inputs, *(i for i in touched if i >= 0), *outputs]))
        for index in kept:  # grows: the scales of blocks are tensors themselves
            kept += [other for other in _block_tensors(graph.tensors[index]) if other not in kept]
        places = {old: new for new, old in enumerate(kept)}
        cut = schema.SubGraphT()
        cut.name = graph.name
        cut.tensors = [self._tensor(graph.tensors[i], places, variable=i in variables) for i in kept]
        cut.operators = [self._operator(operator, places) for operator in operators]
        cut.inputs = _vector([places[index] for index in inputs])
        cut.outputs = _vector([places[index] for index in outputs])
        if not inputs:
            cut.inputs = _vector([len(cut.tensors)])
            cut.tensors.append(schema.TensorT(shape=_vector([1]), type=schema.TensorType.FLOAT32, name=_UNUSED))
        graphs = [cut]
        if any(_calls(operator) for operator in operators):
            # Their numbers stand in the operators: all stay, in their order.
            graphs += [self._graph(other) for other in self._old.subgraphs[1:]]
        model = schema.ModelT()
        model.version = self._old.version
        model.description = self._old.description
        model.subgraphs = graphs
        model.operatorCodes = [self._old.operatorCodes[index] for index in self._codes]
        model.buffers = [schema.BufferT(), *(self._old.buffers[index] for index in self._buffers)]
        return flatbuffer.write(model)

    def _graph(self, graph: Any) -> Any:
        """Return a graph as it is, its buffers and operators numbered anew."""
        same = {index: index for index in range(len(graph.tensors))}
        kept = copy.copy(graph)
        kept.tensors = [self._tensor(tensor, same, variable=False) for tensor in graph.tensors]
        kept.operators = [self._operator(operator, same) for operator in graph.operators or []]
        kept.debugMetadataIndex = -1
        return kept

    def _tensor(self, tensor: Any, places: Mapping[int, int], *, variable: bool) -> Any:
        kept = copy.copy(tensor)
        kept.buffer = 0
        if is_stored(self._old, tensor):
            kept.buffer = self._buffers.setdefault(tensor.buffer, len(self._buffers) + 1)
        kept.isVariable = tensor.isVariable or variable
        if _block_tensors(tensor):
            kept.quantization = copy.copy(tensor.quantization)
            kept.quantization.details = blocks = copy.copy(tensor.quantization.details)
            blocks.scales = places[blocks.scales]
            if blocks.zeroPoints > 0:
                blocks.zeroPoints = places[blocks.zeroPoints]
        return kept

    def _operator(self, operator: Any, places: Mapping[int, int]) -> Any:
        kept = copy.copy(operator)
        kept.opcodeIndex = self._codes.setdefault(operator.opcodeIndex, len(self._codes))
        kept.inputs = _vector([places.get(index, -1) for index in indices(operator.inputs)])
        kept.outputs = _vector([places[index] for index in indices(operator.outputs)])
        if operator.intermediates is not None:
            kept.intermediates = _vector([places[index] for index in indices(operator.intermediates)])
        kept.debugMetadataIndex = -1
        return kept


def check(model: Any) -> None:
    """Raise a ModelError where the numbers in a model's tables point nowhere."""
    buffers, codes = len(model.buffers or []), len(model.operatorCodes or [])
    for graph in model.subgraphs:
        tensors = graph.tensors or []
        for tensor in tensors:
            if tensor.externalBuffer:
                raise ModelError(
                    f"the values of '{text(tensor.name)}' are stored in another file",
                    hint="Convert the model again with its weights in the .tflite file.",
                )
            if tensor.buffer >= buffers:
                raise ModelError(f"the model is damaged: it has no buffer {tensor.buffer}")
        for operator in graph.operators or []:
            touched = (*indices(operator.inputs), *indices(operator.outputs), *indices(operator.intermediates))
            if operator.opcodeIndex >= codes or not all(-1 <= index < len(tensors) for index in touched):
                raise ModelError("the model is damaged: an operator refers to a tensor or code that does not exist")
        if not all(0 <= index < len(tensors) for index in (*indices(graph.inputs), *indices(graph.outputs))):
            raise ModelError("the model is damaged: its inputs or outputs are tensors that do not exist")


def is_stored(model: Any, tensor: Any) -> bool:
    """Return whether the values of a tensor stand in the file."""
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def _block_tensors(tensor: Any) -> tuple[int, ...]:
    """Return the tensors that hold the scales and zero points of a tensor quantised in blocks."""
    parameters = tensor.quantization
    if parameters is None or parameters.detailsType != schema.QuantizationDetails.BlockwiseQuantization:
        return ()
    blocks = parameters.details
    return (int(blocks.scales), *([int(blocks.zeroPoints)] if blocks.zeroPoints > 0 else []))


def _calls(operator: Any) -> bool:
    """Return whether an operator runs other graphs of the model."""
    options = [option for option in (operator.builtinOptions, operator.builtinOptions2) if option is not None]
    return any("subgraph" in name.lower() for option in options for name in vars(option))


def _vector(values: Sequence[int]) -> Any:
    return np.asarray(values, dtype=np.int32)
