"""Which Keras layer each operator of a TFLite file comes from, read off the names of its tensors.

TensorFlow's converter names a tensor after the operations that were merged into it, each under the scope of its
layer, e.g. 'net_1/conv1_1/Relu;net_1/conv1_1/BiasAdd;net_1/conv1_1/convolution'. Keras enters each scope twice, and
TensorFlow makes the second one unique with a number, so that each layer's name carries one '_<number>' at its end.
Names from elsewhere carry none. Where an operator's own names say nothing, its weights' names do; where these are
silent too, it is taken to be the next layer that no other operator comes from, or, where the layers are not told, to
belong to the layer before it if it has no weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from edgefm.core.errors import unknown_name
from edgefm.tflite import flatbuffer

_NUMBER = re.compile(r"_\d+$")


@dataclass(frozen=True, kw_only=True)
class TracedOperator:
    """One operator of a graph.

    Attributes:
      index: in the order of running.
      name: e.g. 'CONV_2D'.
      layers: Keras layers that were merged into it, the one with the weights first; () where nothing is known.
      scope: its outputs' names, each with a ';' behind: how litert-quantizer's recipes name it.
    """

    index: int
    name: str
    layers: tuple[str, ...]
    scope: str


def operator_layers(float32: bytes, layer_names: Sequence[str] = ()) -> dict[int, str]:
    """Return the Keras layer of each operator: {index of the operator: layer}; unknown ones are left out.

    Args:
      float32: .tflite file that TensorFlow's converter wrote.
      layer_names: the layers of the Keras model in order, without its inputs. Without them a layer's name is what
        stands in the file.
    """
    return {
        operator.index: operator.layers[0] for operator in traced_operators(float32, layer_names) if operator.layers
    }


def traced_operators(float32: bytes, layer_names: Sequence[str] = ()) -> tuple[TracedOperator, ...]:
    """Return all operators with the layers that they come from; see `operator_layers`."""
    model = flatbuffer.editable(float32)
    graph = model.subgraphs[0]
    outputs = [_paths(graph, operator.outputs) for operator in graph.operators]
    constants = [_paths(graph, _constants(graph, operator)) for operator in graph.operators]
    every = [path for paths in (*outputs, *constants) for path in paths]
    numbered = _numbered(every, layer_names)
    order = {name: place for place, name in enumerate(dict.fromkeys(layer_names))}  # a shared layer stands there twice
    traced = []
    for own, stored in zip(outputs, constants, strict=True):
        traced.append(_layers(own, order, numbered=numbered) or _layers(stored, order, numbered=numbered))
    if layer_names:
        _fill_gaps(graph, traced, order)
    else:
        _follow_sources(graph, traced, [bool(_constants(graph, operator)) for operator in graph.operators])
    return tuple(
        TracedOperator(
            index=index,
            name=flatbuffer.operator_name(model, operator),
            layers=tuple(traced[index]),
            scope="".join(f"{graph.tensors[output].name.decode()};" for output in operator.outputs if output >= 0),
        )
        for index, operator in enumerate(graph.operators)
    )


def named_operators(
    float32: bytes, patterns: Sequence[str], *, what: str, kind: str = "", layer_names: Sequence[str] = ()
) -> tuple[TracedOperator, ...]:
    """Return the operators that come from a layer whose name fits one of the patterns.

    Args:
      float32: .tflite file that TensorFlow's converter wrote.
      patterns: `*` and `?` match as in file names.
      what: such a layer is called in the error.
      kind: name of the operators that are looked at, e.g. 'FULLY_CONNECTED'; '' looks at all.
      layer_names: see `operator_layers`.
    Raises:
      RecipeError: a pattern that fits no operator's layer; the nearest layer is named.
    """
    traced = traced_operators(float32, layer_names) if patterns else ()
    operators = [operator for operator in traced if kind in ("", operator.name)]
    chosen: dict[int, TracedOperator] = {}
    for pattern in patterns:
        fitting = {
            operator.index: operator
            for operator in operators
            if any(fnmatchcase(layer, pattern) for layer in operator.layers)
        }
        if not fitting:
            known = dict.fromkeys(layer for operator in operators for layer in operator.layers)
            raise unknown_name(what, pattern, known)
        chosen |= fitting
    return tuple(chosen[index] for index in sorted(chosen))


def _paths(graph: Any, tensors: Iterable[int]) -> list[list[str]]:
    """Return the scopes in the names of some tensors: one list of path components a merged operation."""
    names = [(graph.tensors[index].name or b"").decode() for index in tensors if index >= 0]
    return [part.split("/") for name in names for part in name.split(";") if "/" in part]


def _constants(graph: Any, operator: Any) -> list[int]:
    computed = {index for other in graph.operators for index in other.outputs} | set(graph.inputs)
    return [index for index in operator.inputs if index >= 0 and index not in computed]


def _numbered(paths: Sequence[Sequence[str]], layer_names: Sequence[str]) -> bool:
    """Return whether each scope in the names carries a number of its own at the end."""
    scopes = {scope for path in paths for scope in path[:-1]}
    if layer_names:
        known = set(layer_names)
        as_given = len(scopes & known)
        without = len({_NUMBER.sub("", scope) for scope in scopes if _NUMBER.search(scope)} & known)
        return without >= as_given and without > 0
    first = {path[0] for path in paths if len(path) > 1}
    return bool(first) and all(_NUMBER.search(scope) for scope in first)


def _layers(paths: Sequence[Sequence[str]], order: dict[str, int], *, numbered: bool) -> list[str]:
    """Return the layers that some paths name, the one with the weights first."""
    names: dict[str, None] = {}
    # The converter puts the operation that others were merged into last.
    for path in reversed(paths):
        scopes = [_NUMBER.sub("", scope) if numbered else scope for scope in path[:-1]]
        if order:
            known = [scope for scope in scopes if scope in order]
            names |= dict.fromkeys(known[-1:])
        elif len(scopes) > 1:
            names[scopes[1]] = None
    return list(names)


def _fill_gaps(graph: Any, layers_by_operator: list[list[str]], order: dict[str, int]) -> None:
    """Give each operator without a layer the first one behind its source's that no operator comes from."""
    names = list(order)
    made_by = {index: place for place, operator in enumerate(graph.operators) for index in operator.outputs}
    for place, operator in enumerate(graph.operators):
        if layers_by_operator[place]:
            continue
        sources = [made_by[index] for index in operator.inputs if index in made_by]
        before = [order[layer] for source in sources for layer in layers_by_operator[source]]
        start = max(before) + 1 if before else 0
        claimed = {layer for layers in layers_by_operator for layer in layers}
        ends = [order[layer] for layers in layers_by_operator[place + 1 :] for layer in layers if order[layer] >= start]
        free = [name for name in names[start : min(ends, default=len(names))] if name not in claimed]
        if free:
            layers_by_operator[place] = free[:1]
        elif before:
            layers_by_operator[place] = [names[max(before)]]


def _follow_sources(graph: Any, layers: list[list[str]], weighted: Sequence[bool]) -> None:
    """Give each operator without a layer and without weights the layer of its source."""
    made_by = {index: place for place, operator in enumerate(graph.operators) for index in operator.outputs}
    for place, operator in enumerate(graph.operators):
        if not layers[place] and not weighted[place]:
            sources = [made_by[index] for index in operator.inputs if index in made_by]
            layers[place] = next((layers[source][:1] for source in sources if layers[source]), [])
