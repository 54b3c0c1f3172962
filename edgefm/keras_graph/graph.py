"""The graph of a Keras 3 model as a list of calls, and a new model from it with some calls changed.

Keras keeps a graph as nodes, one a call of a layer or an operation. They are read here in the order in which
Keras itself runs them; nested Functional and Sequential models are opened up where their names allow it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from edgefm.core.errors import ModelError
from edgefm.core.silence import silenced
from edgefm.keras_graph.augmentation import is_augmentation

# Dtypes of inputs that are whole numbers, such as places in a table, and stay what they are.
TOKENS = ("int32", "int64")


@dataclass(frozen=True, eq=False, kw_only=True)
class Call:
    """One call of a layer (or of a stateless operation) in a graph.

    Attributes:
      layer: the layer or operation.
      arguments: its arguments, symbolic tensors within.
      inputs: identities of the tensors it takes.
      outputs: identities of the tensors it gives.
      input_shape: shape of the first input, batch first, None where it is not fixed; () without an input.
      input_dtype: dtype of the first input; '' without one.
      output_shapes: shapes of the outputs, batch first, None where it is not fixed.
      shared: the layer is called more than once in this graph.
    """

    layer: Any
    arguments: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    input_shape: tuple[int | None, ...]
    input_dtype: str
    output_shapes: tuple[tuple[int | None, ...], ...]
    shared: bool

    @property
    def name(self) -> str:
        """Name of the layer."""
        return str(self.layer.name)

    @property
    def input_shapes(self) -> tuple[tuple[int | None, ...], ...]:
        """Shapes of all inputs."""
        return tuple(tuple(tensor.shape) for tensor in self.arguments.keras_tensors)

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        """Shape of the first output."""
        return self.output_shapes[0]

    @property
    def trains(self) -> bool:
        """True where the call asks for training behaviour whatever the model is asked for."""
        return bool(self.arguments.kwargs.get("training"))


class Graph:
    """The calls of a model, in an order in which each follows those that it needs."""

    def __init__(self, model: Any, *, for_reading: bool = False) -> None:
        """Read a built Functional or Sequential model; it is not changed.

        Args:
          model: the model.
          for_reading: no model is built of it, so that nested models are opened up whatever their layers are called.
        """
        self.model = model
        self._for_reading = for_reading
        self.calls: list[Call] = []
        # Tensors that are others: a nested model's inputs, and its outputs as the outer graph sees them.
        self._stands_for: dict[int, int] = {}
        self._names = Counter(_names(model))
        self._times = _times_called(model)
        self._read(functional(model))
        self.outputs = tuple(self.root(id(tensor)) for tensor in model.outputs)
        self._producers = {output: call for call in self.calls for output in call.outputs}

    def root(self, tensor: int) -> int:
        """Return the identity of the tensor that this one stands for."""
        while tensor in self._stands_for:
            tensor = self._stands_for[tensor]
        return tensor

    def producer(self, call: Call) -> Call | None:
        """Return the call that gives the first input of a call, or None for an input of the model."""
        return self._producers.get(call.inputs[0]) if call.inputs else None

    def consumers(self, call: Call) -> list[Call | None]:
        """Return the calls that take an output of a call, once a use; None is an output of the model."""
        takers: list[Call | None] = [other for other in self.calls for taken in other.inputs if taken in call.outputs]
        return takers + [None for output in self.outputs if output in call.outputs]

    def _read(self, model: Any) -> None:
        nodes = model._nodes_by_depth
        for depth in sorted(nodes, reverse=True):
            for node in nodes[depth]:
                if node.is_input or node.operation is None:
                    continue
                if self._opens(node.operation):
                    self._open(node)
                else:
                    self._enter(node)

    def _enter(self, node: Any) -> None:
        tensors = node.input_tensors
        self.calls.append(
            Call(
                layer=node.operation,
                arguments=node.arguments,
                inputs=tuple(self.root(id(tensor)) for tensor in tensors),
                outputs=tuple(id(tensor) for tensor in node.outputs),
                input_shape=tuple(tensors[0].shape) if tensors else (),
                input_dtype=str(tensors[0].dtype) if tensors else "",
                output_shapes=tuple(tuple(tensor.shape) for tensor in node.outputs),
                shared=self._times[id(node.operation)] > 1,
            )
        )

    def _opens(self, layer: Any) -> bool:
        """Return whether a nested model can be opened up: called once, none of its names used elsewhere."""
        if not is_graph(layer) or self._times[id(layer)] > 1:
            return False
        return self._for_reading or all(self._names[name] == 1 for name in _names(layer))

    def _open(self, node: Any) -> None:
        inner = functional(node.operation)
        for own, outer in zip(inner.inputs, node.input_tensors, strict=True):
            self._stands_for[id(own)] = self.root(id(outer))
        self._read(inner)
        for outer, own in zip(node.outputs, inner.outputs, strict=True):
            self._stands_for[id(outer)] = self.root(id(own))

    def rebuild(
        self,
        call_with: Callable[[Call, Any, tuple[Any, ...], Mapping[str, Any]], Any],
        *,
        input_dtype: str | None = None,
    ) -> Any:
        """Return a new Functional model whose calls are made by `call_with(call, first input, args, kwargs)`.

        Args:
          call_with: returns the output of a call in the new graph.
          input_dtype: of all inputs but tokens (int32, int64); by default each keeps its own.
        """
        inputs = [
            keras.Input(
                batch_shape=tensor.shape,
                dtype=tensor.dtype if tensor.dtype in TOKENS else input_dtype or tensor.dtype,
                name=tensor.name,
            )
            for tensor in self.model.inputs
        ]
        outputs = self.replay(inputs, call_with)
        with silenced():  # that keys are not the names of a model's inputs is worth no warning here
            return keras.Model(
                packed_inputs(self.model, inputs), packed_outputs(self.model, outputs), name=self.model.name
            )

    def with_weights(self, weights: Mapping[Call, Sequence[Any]], *, config: Mapping[str, Any] | None = None) -> Any:
        """Return a new Functional model in which some calls have these weights, cast to float32.

        `config` changes the configuration of these calls' layers.
        """
        copies: dict[int, Any] = {}

        def call_with(call: Call, _: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
            if call not in weights:
                return call_copy(call, args, kwargs, copies=copies)
            arrays = [np.asarray(array, np.float32) for array in weights[call]]
            return call_copy(call, args, kwargs, copies=copies, config=config, weights=arrays)

        return self.rebuild(call_with)

    def replay(
        self,
        inputs: Sequence[Any],
        call_with: Callable[[Call, Any, tuple[Any, ...], Mapping[str, Any]], Any],
    ) -> list[Any]:
        """Return the outputs of the model's calls, made again in order on other inputs, which can be of any kind.

        Args:
          inputs: one for each input of the model.
          call_with: returns the output of a call from `(call, first input, args, kwargs)`.
        """
        replayed: dict[int, Any] = {id(tensor): new for tensor, new in zip(self.model.inputs, inputs, strict=True)}
        for call in self.calls:
            known = replayed | {
                tensor: replayed[self.root(tensor)] for tensor in self._stands_for if self.root(tensor) in replayed
            }
            args, kwargs = call.arguments.fill_in(known)
            first = replayed[call.inputs[0]] if call.inputs else None
            outputs = keras.tree.flatten(call_with(call, first, args, kwargs))
            replayed.update(zip(call.outputs, outputs, strict=True))
        return [replayed[output] for output in self.outputs]


def packed_inputs(model: Any, inputs: Sequence[Any]) -> Any:
    """Return inputs, in the order of a model's, as the model takes them: one, a list, or a dictionary of its keys."""
    if len(inputs) == 1:
        return inputs[0]
    return keras.tree.pack_sequence_as(functional(model)._inputs_struct, list(inputs))


def packed_outputs(model: Any, outputs: Sequence[Any]) -> Any:
    """Return outputs, in the order of a model's, as the model gives them: one, a list, or a dictionary of its keys."""
    struct = getattr(functional(model), "_outputs_struct", None)
    if isinstance(struct, dict) and len(keras.tree.flatten(struct)) == len(outputs):
        return keras.tree.pack_sequence_as(struct, list(outputs))
    return list(outputs) if len(outputs) > 1 else outputs[0]


def call_copy(
    call: Call,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    copies: MutableMapping[int, Any],
    config: Mapping[str, Any] | None = None,
    weights: Sequence[Any] | None = None,
) -> Any:
    """Return the output of a new layer of the same class and name, called with `args` and `kwargs`.

    Augmentation is left out: what it is given is its output.

    Args:
      call: of the layer to copy; a stateless operation of keras.ops is called itself.
      args: arguments in the new graph.
      kwargs: arguments in the new graph.
      copies: the new layers by identity of the old; one that is called twice is copied once.
      config: changes to the layer's configuration.
      weights: instead of the layer's own.
    """
    layer = call.layer
    if not isinstance(layer, keras.Layer):
        return layer(*args, **kwargs)
    if is_augmentation(layer) and args and not isinstance(args[0], Mapping):
        return args[0]
    if isinstance(layer, keras.layers.Lambda):
        return layer(*args, **kwargs)  # a function without weights, which safe mode does not write and read back
    if id(layer) in copies:
        return copies[id(layer)](*args, **kwargs)
    new = copies[id(layer)] = type(layer).from_config({**layer.get_config(), **(config or {})})
    with _zeros_at_first(new):
        output = new(*args, **kwargs)
    new.set_weights(layer.get_weights() if weights is None else list(weights))
    if isinstance(new, keras.layers.Normalization):
        new.finalize_state()  # it computes with what it made of its weights when it was built
    return output


@contextmanager
def _zeros_at_first(layer: Any) -> Iterator[None]:
    """Let a layer start with zeros when it is built: its weights are set right after, and random numbers take time."""
    own = {name: value for name, value in vars(layer).items() if name.endswith("_initializer") and value is not None}
    vars(layer).update(dict.fromkeys(own, keras.initializers.Zeros()))
    try:
        yield
    finally:
        vars(layer).update(own)


def functional(model: Any) -> Any:
    """Return the Functional graph of a built model.

    Raises:
      ModelError: a subclassed model, whose graph only its own code knows, or a Sequential one without input.
    """
    if isinstance(model, keras.Sequential):
        if model._functional is None:
            raise ModelError(
                f"the Sequential model '{model.name}' has no input shape",
                hint="Start it with keras.Input((height, width, channels)).",
            )
        return model._functional
    if not is_graph(model):
        raise ModelError(
            f"'{model.name}' is a subclassed model ({type(model).__name__}): its graph cannot be read",
            hint="Build it as keras.Sequential or as keras.Model(inputs, outputs).",
        )
    return model


def is_graph(layer: Any) -> bool:
    """Return whether a layer is a model whose graph can be read."""
    if isinstance(layer, keras.Sequential):
        return layer._functional is not None
    return isinstance(layer, keras.Model) and hasattr(layer, "_nodes_by_depth")


def _names(model: Any) -> list[str]:
    """Return the names of all layers and operations of a model, those of nested models included, inputs left out."""
    names = []
    for layer in functional(model)._operations:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        names += [layer.name, *(_names(layer) if is_graph(layer) else ())]
    return names


def _times_called(model: Any) -> Counter[int]:
    times: Counter[int] = Counter()
    for nodes in functional(model)._nodes_by_depth.values():
        for node in nodes:
            if node.is_input or node.operation is None:
                continue
            times[id(node.operation)] += 1
            if is_graph(node.operation):
                times.update(_times_called(node.operation))
    return times
