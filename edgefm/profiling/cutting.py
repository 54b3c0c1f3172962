"""Cuts smaller models out of a .tflite file: the graph up to an operator, or one operator by itself.

What is cut out keeps the names, dtypes and quantisation of its tensors, and holds only the constants that it needs.
An operator whose inputs are all constants, such as DEQUANTIZE of float16 weights, belongs to the constants of
the operators that use its result.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Sequence
from typing import Any

from edgefm.core.errors import ModelError
from edgefm.profiling.submodel import Submodel, check, is_stored
from edgefm.tflite import flatbuffer
from edgefm.tflite.flatbuffer import indices, text
from edgefm.tflite.open_batch import leaves_batch_open

# How often these run their graphs depends on values, or they keep state from call to call.
_CONTROL_FLOW = frozenset({"IF", "WHILE", "CALL_ONCE", "STABLEHLO_WHILE", "STABLEHLO_CASE"})
_STATE = frozenset({"resource", "variant", "string"})
# Numbers of these dtypes are mostly places and lengths: random ones would lie outside of what is allowed.
_PLACES = frozenset({"int32", "int64", "uint32", "uint64", "bool", "int16", "uint16"})


def prefix(content: flatbuffer.FileContent, operator: int) -> bytes:
    """Return the model whose outputs are those of one operator of a model.

    Its inputs are the model's, all of them; it holds the operators that the outputs depend on and nothing else.

    Args:
      content: of a .tflite file.
      operator: its index in the main graph, 0 for the one that runs first.
    Raises:
      ModelError: the file is damaged or holds no such operator, or the operator has no result.
    """
    return Cutter(content).prefix(operator)


class Cutter:
    """A model that is read once and cut often; each cut copies its own constants alone."""

    def __init__(self, content: flatbuffer.FileContent) -> None:
        """Read a model.

        Raises:
          ModelError: the file is damaged, holds no operator, or has its weights in another file.
        """
        self._model = flatbuffer.read(content)
        if leaves_batch_open(content if isinstance(content, (bytes, mmap.mmap)) else bytes(content)):
            for tensor in self._model.subgraphs[0].tensors:
                tensor.shapeSignature = None  # what is left is the shape at a batch of 1
        if not self._model.subgraphs or not self._model.subgraphs[0].operators:
            raise ModelError("the model has no operator")
        self._graph = self._model.subgraphs[0]
        check(self._model)
        self._name_inputs()
        self._made_by = {
            index: place for place, operator in enumerate(self._graph.operators) for index in indices(operator.outputs)
        }
        self._sources = indices(self._graph.inputs)
        self._constant = self._find_constant()
        self._unpacks = [self._is_unpacking(place) for place in range(len(self._graph.operators))]

    def _name_inputs(self) -> None:
        """Give several inputs the names of the signature, by which they are fed; a cut model has no signatures."""
        signatures = [entry for entry in self._model.signatureDefs or () if not entry.subgraphIndex]
        if len(indices(self._graph.inputs)) > 1 and signatures:
            for entry in signatures[0].inputs:
                self._graph.tensors[entry.tensorIndex].name = entry.name

    @property
    def operators(self) -> int:
        """Number of operators of the main graph."""
        return len(self._graph.operators)

    def unpacks(self, operator: int) -> bool:
        """Return whether an operator works on constants alone and belongs to the operators behind it."""
        return self._unpacks[operator]

    def name(self, operator: int) -> str:
        """Return an operator's name, e.g. 'CONV_2D'."""
        return flatbuffer.operator_name(self._model, self._operator(operator))

    def activations(self, operator: int) -> tuple[int, ...]:
        """Return the tensors that an operator takes from the model's inputs or from other operators, each once."""
        inputs = dict.fromkeys(indices(self._operator(operator).inputs))
        return tuple(i for i in inputs if i in self._sources or (i in self._made_by and not self._constant[i]))

    def prefix(self, operator: int) -> bytes:
        """Return the model whose outputs are those of one operator; see `prefix`."""
        needed, outputs = self._needed([operator]), self._outputs(operator)
        return self._cut(needed, sources=self._sources, outputs=outputs, one_input=False)

    def prefix_in_order(self, operator: int) -> bytes:
        """Return the model that runs every operator up to one, in the model's order, and nothing behind it.

        Its outputs are all results that operators behind it or the model's outputs need. It takes one input: further
        ones are variables that hold zeros.
        """
        kept = [place for place in range(operator + 1) if not self._unpacks[place]]
        results = [index for place in kept for index in indices(self._graph.operators[place].outputs)]
        later = {
            index for place in range(operator + 1, self.operators) for index in self._graph.operators[place].inputs
        }
        later |= set(indices(self._graph.outputs)) | set(self._outputs(operator))
        outputs = [index for index in results if index in later]
        return self._cut(self._needed(kept), sources=self._sources, outputs=outputs)

    def whole(self) -> bytes:
        """Return the model with one input: further ones are variables that hold zeros; no metadata, no signatures."""
        return self._cut(range(self.operators), sources=self._sources, outputs=indices(self._graph.outputs))

    def one_operator(self, operator: int, *, one_input: bool = False) -> bytes:
        """Return the model of one operator: its activations are the inputs, its results the outputs.

        Args:
          operator: its index.
          one_input: the first activation alone is an input; further ones are variables that hold zeros. Without a
            suitable activation the model has an input that nothing reads.
        Raises:
          ModelError: no such operator, or it is control flow, keeps state, has no fixed shapes or no result.
        """
        self._check_apart(operator)
        sources = self.activations(operator)
        kept = {operator, *self._needed([operator], behind=sources)}
        return self._cut(sorted(kept), sources=sources, outputs=self._outputs(operator), one_input=one_input)

    def _one(self, sources: Sequence[int]) -> tuple[int, ...]:
        """Return the one tensor that can be fed with random numbers, or () where none can."""
        for index in sources:
            tensor = self._graph.tensors[index]
            if flatbuffer.dtype(tensor) not in _PLACES and indices(tensor.shape)[:1] in ((), (1,)):
                return (index,)
        return ()

    def _operator(self, operator: int) -> Any:
        if not 0 <= operator < self.operators:
            raise ModelError(f"there is no operator {operator}: the model has operators 0 to {self.operators - 1}")
        return self._graph.operators[operator]

    def _outputs(self, operator: int) -> tuple[int, ...]:
        outputs = indices(self._operator(operator).outputs)
        if not outputs:
            raise ModelError(f"operator {operator}, {self.name(operator)}, has no result")
        return outputs

    def _check_apart(self, operator: int) -> None:
        """Raise a ModelError where an operator means nothing by itself."""
        name, packed = self.name(operator), self._operator(operator)
        if name in _CONTROL_FLOW:
            raise ModelError(f"{name} is control flow: how often its subgraphs run depends on the input")
        for index in (*indices(packed.inputs), *indices(packed.outputs)):
            tensor = None if index < 0 else self._graph.tensors[index]
            if tensor is None:
                continue
            dtype = flatbuffer.dtype(tensor)
            if dtype in _STATE:
                raise ModelError(f"{name} has the tensor '{text(tensor.name)}' of dtype {dtype}; a number is needed")
            if -1 in indices(tensor.shapeSignature):
                shape = indices(tensor.shapeSignature)
                raise ModelError(f"'{text(tensor.name)}' has the dynamic shape {shape}; a fixed shape is needed")

    def _find_constant(self) -> list[bool]:
        """Return for each tensor whether its values are known before the model runs."""
        constant = [is_stored(self._model, tensor) for tensor in self._graph.tensors]
        for place, operator in enumerate(self._graph.operators):
            inputs = [index for index in indices(operator.inputs) if index >= 0]
            if inputs and all(constant[index] for index in inputs) and self.name(place) not in _CONTROL_FLOW:
                for index in indices(operator.outputs):
                    constant[index] = True
        return constant

    def _is_unpacking(self, operator: int) -> bool:
        outputs = indices(self._graph.operators[operator].outputs)
        ends = set(indices(self._graph.outputs))
        return bool(outputs) and all(self._constant[index] and index not in ends for index in outputs)

    def _needed(self, operators: Iterable[int], *, behind: Sequence[int] = ()) -> list[int]:
        """Return the operators that some depend on, and themselves, in order; not those that make `behind`."""
        needed: set[int] = set()
        waiting = list(operators)
        while waiting:
            place = waiting.pop()
            if place not in needed:
                needed.add(place)
                inputs = [index for index in indices(self._graph.operators[place].inputs) if index not in behind]
                waiting += [self._made_by[index] for index in inputs if index in self._made_by]
        return sorted(needed)

    def _cut(
        self, operators: Iterable[int], *, sources: Sequence[int], outputs: Sequence[int], one_input: bool = True
    ) -> bytes:
        """Return the model of some operators; with one input, the other sources are variables that hold zeros."""
        inputs = self._one(sources) if one_input else sources
        return Submodel(self._model).write(
            [self._graph.operators[place] for place in operators],
            inputs=inputs,
            outputs=outputs,
            variables=set(sources) - set(inputs),
        )
