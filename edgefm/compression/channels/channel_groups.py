"""Which channels of a Keras 3 model must leave together when some are removed, and which can't leave at all.

Every channel that a layer makes gets a mark. The marks are carried through the graph, an array of one mark a
channel for each tensor: batch normalisation, activations and pooling keep them, concatenation joins the arrays, Flatten
repeats them (one channel becomes h * w columns of the next dense kernel), and an addition makes the marks of its inputs
one. Channels with the same mark leave together; marks made by the same layers form a group. What a channel is taken by
needs no zeros in its place afterwards: between its maker and its takers each channel is computed from itself alone.

A layer that is not understood freezes the channels that it touches, and so do the model's inputs and outputs, and a
layer with a kernel that is not trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.compression.channels.channel_rules import MIXING, elementwise, rule_of
from edgefm.core.errors import RecipeError
from edgefm.keras_graph.graph import Call, Graph

Marks = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Group:
    """Channels of one or more layers that leave together.

    Attributes:
      layers: that make the channels; several where an addition ties them.
      channels: number of channels that can be chosen from.
      frozen: why none of them can leave; None where they can.
      marks: one a channel.
    """

    layers: tuple[str, ...]
    channels: int
    frozen: str | None
    marks: tuple[int, ...] = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return the group as a JSON object."""
        return {"layers": list(self.layers), "channels": self.channels, "frozen": self.frozen}


@dataclass(frozen=True, kw_only=True)
class Axes:
    """A layer with weights, and the marks of its channels.

    Attributes:
      kind: what the axes of its weights mean: 'conv' [..., c_in, c_out], 'transposed' [..., c_out, c_in],
        'separable' [..., c_in, multiplier] and [..., c_in * multiplier, c_out], 'dense' [c_in, c_out], 'depthwise'
        [..., c_in, multiplier], 'scaling' [..., c].
      call: its first call.
      taken: of the channels it takes.
      given: of the channels it gives.
    """

    kind: str
    call: Call
    taken: Marks
    given: Marks

    @property
    def mixes(self) -> bool:
        """Whether it makes new channels out of those that it takes."""
        return self.kind in ("conv", "transposed", "separable", "dense")


@dataclass(frozen=True, kw_only=True)
class Channels:
    """The channels of a model.

    Attributes:
      graph: of the model.
      axes: by identity of the layer: what is cut when channels leave.
      tensors: marks of the channels of each tensor, by its identity in the graph.
      groups: in the order of the graph.
    """

    graph: Graph
    axes: dict[int, Axes]
    tensors: dict[int, Marks]
    groups: tuple[Group, ...]

    @property
    def removable(self) -> tuple[Group, ...]:
        """The groups that can lose channels."""
        return tuple(group for group in self.groups if group.frozen is None)


def describe_groups(model: Any) -> list[Group]:
    """Return the groups of channels of a Keras 3 model, each with the reason where it can't lose any.

    Raises:
      ModelError: a subclassed model or one without input shape.
    """
    return list(channels_of(model).groups)


def channels_of(model: Any, *, exclude: Sequence[str] = ()) -> Channels:
    """Return the channels of a built Keras 3 model; it is not changed.

    Args:
      model: Functional or Sequential.
      exclude: names of layers whose outputs keep all channels; `*` and `?` match as in file names.
    Raises:
      ModelError: a subclassed model or one without input shape.
      RecipeError: a pattern that no layer matches.
    """
    graph = Graph(model)
    for pattern in exclude:
        if not any(fnmatchcase(call.name, pattern) for call in graph.calls):
            raise RecipeError(
                f"exclude '{pattern}' matches no layer of '{model.name}'",
                hint=f"Its layers: {', '.join(call.name for call in graph.calls)}.",
            )
    walk = _Walk(graph)
    for call in graph.calls:
        walk.visit(call)
        for pattern in exclude:
            if fnmatchcase(call.name, pattern):
                walk.freeze(_all(walk.marks[output] for output in call.outputs), f"'{pattern}' is excluded")
    for output in graph.outputs:
        walk.freeze(walk.marks[output], "it is an output of the model", first=True)
    return walk.result()


class _Walk:
    """Carries marks through a graph, call by call."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.marks: dict[int, Marks] = {}
        self._axes: dict[int, Axes] = {}
        self._same: list[int] = []  # mark -> a mark that it is one with, or itself
        self._makers: list[str] = []  # mark -> name of the layer that makes the channel, '' for an input
        self._frozen: list[tuple[int, str]] = []
        self._rules: dict[str, Callable[[Call], Marks | None]] = {
            "mix": self._mix,
            "depthwise": self._depthwise,
            "scale": self._scale,
            "carry": self._carry,
            "tie": self._tie,
            "concatenate": self._concatenate,
            "reshape": self._reshape,
            "permute": self._permute,
        }
        for tensor in graph.model.inputs:
            self.marks[id(tensor)] = self._new(tensor.shape[-1], "")
            self.freeze(self.marks[id(tensor)], "it is an input of the model")

    def visit(self, call: Call) -> None:
        """Set the marks of the outputs of a call from those of its inputs."""
        rule = rule_of(call)
        marks = None if rule is None else self._rules[rule](call)
        if marks is None or len(call.outputs) != 1 or len(marks) != call.output_shape[-1]:
            self._stop(call, f"{call.name} ({type(call.layer).__name__}) is not supported")
        else:
            self.marks[call.outputs[0]] = marks

    def freeze(self, marks: Marks, reason: str, *, first: bool = False) -> None:
        """Keep channels in the model, and note why; where several reasons hold, `first` is the one that is told."""
        noted = [(int(mark), reason) for mark in np.unique(marks)]
        self._frozen = noted + self._frozen if first else self._frozen + noted

    def result(self) -> Channels:
        """Return what was found."""
        reasons: dict[int, str] = {}
        for mark, reason in self._frozen:
            reasons.setdefault(self._root(mark), reason)
        makers: dict[int, dict[str, None]] = {}
        for mark, maker in enumerate(self._makers):
            makers.setdefault(self._root(mark), {})[maker] = None
        members: dict[tuple[str, ...], list[int]] = {}
        for root, names in makers.items():
            members.setdefault(tuple(names), []).append(root)
        groups = [
            Group(
                layers=tuple(name for name in names if name),
                channels=len(roots),
                frozen=next((reasons[root] for root in roots if root in reasons), None),
                marks=tuple(roots),
            )
            for names, roots in members.items()
            if names != ("",)
        ]
        axes = {
            layer: Axes(
                kind=axes_of.kind, call=axes_of.call, taken=self._roots(axes_of.taken), given=self._roots(axes_of.given)
            )
            for layer, axes_of in self._axes.items()
        }
        tensors = {tensor: self._roots(marks) for tensor, marks in self.marks.items()}
        return Channels(graph=self.graph, axes=axes, tensors=tensors, groups=tuple(groups))

    def _mix(self, call: Call) -> Marks:
        taken, layer = self._taken(call)[0], call.layer
        known = self._axes.get(id(layer))
        if known is None:
            out_marks = self._new(call.output_shape[-1], call.name)
            known = self._axes[id(layer)] = Axes(kind=MIXING[type(layer)], call=call, taken=taken, given=out_marks)
        self._join(known.taken, taken)
        if not layer.trainable:
            self.freeze(_all([taken, known.given]), f"the weights of {call.name} are not trained")
        if getattr(layer, "groups", 1) > 1:
            self.freeze(_all([taken, known.given]), f"{call.name} is a grouped convolution")
        if not elementwise(layer):
            name = getattr(layer.activation, "__name__", str(layer.activation))
            self.freeze(known.given, f"the activation {name} of {call.name} mixes channels or is unknown")
        return known.given

    def _depthwise(self, call: Call) -> Marks:
        taken = self._taken(call)[0]
        out_marks = np.repeat(taken, call.layer.depth_multiplier)
        known = self._axes.setdefault(id(call.layer), Axes(kind="depthwise", call=call, taken=taken, given=out_marks))
        self._join(known.taken, taken)
        return out_marks

    def _scale(self, call: Call) -> Marks:
        taken = self._taken(call)[0]
        known = self._axes.setdefault(id(call.layer), Axes(kind="scaling", call=call, taken=taken, given=taken))
        self._join(known.taken, taken)
        return taken

    def _carry(self, call: Call) -> Marks:
        return self._taken(call)[0]

    def _tie(self, call: Call) -> Marks | None:
        taken, rank = self._taken(call), len(call.output_shape)
        wide = [marks for marks in taken if len(marks) == call.output_shape[-1]]
        if any(len(shape) != rank for shape in call.input_shapes) or any(
            len(marks) not in (1, len(wide[0])) for marks in taken
        ):
            return None
        for marks in taken:
            if len(marks) == len(wide[0]):
                self._join(wide[0], marks)
            else:
                self.freeze(marks, f"{call.name} mixes all channels")
        return wide[0]

    def _concatenate(self, call: Call) -> Marks:
        taken, last = self._taken(call), len(call.output_shape) - 1
        if call.layer.axis in (-1, last):
            return _all(taken)
        for marks in taken[1:]:
            self._join(taken[0], marks)
        return taken[0]

    def _reshape(self, call: Call) -> Marks | None:
        """Return the marks of the last axis; what lies in one of its columns becomes one."""
        old = [length for length in call.input_shape[1:] if length is not None]
        new = [length for length in call.output_shape[1:] if length is not None]
        if [len(old), len(new)] != [len(call.input_shape) - 1, len(call.output_shape) - 1] or not new:
            return None
        if call.output_shape[0] != call.input_shape[0]:
            return None
        columns = np.broadcast_to(self._taken(call)[0], old).reshape(-1, new[-1])
        for row in columns[1:]:
            self._join(columns[0], row)
        return columns[0].copy()

    def _permute(self, call: Call) -> Marks | None:
        return self._taken(call)[0] if call.layer.dims[-1] == len(call.layer.dims) else None

    def _stop(self, call: Call, reason: str) -> None:
        for marks in self._taken(call):
            self.freeze(marks, reason)
        for tensor, shape in zip(call.outputs, call.output_shapes, strict=True):
            self.marks[tensor] = self._new(shape[-1] if len(shape) > 1 else None, call.name)
            self.freeze(self.marks[tensor], reason)

    def _taken(self, call: Call) -> list[Marks]:
        return [self.marks[tensor] for tensor in call.inputs]

    def _new(self, count: int | None, maker: str) -> Marks:
        first = len(self._same)
        self._same += range(first, first + (count or 0))
        self._makers += [maker] * (count or 0)
        return np.arange(first, len(self._same))

    def _join(self, first: Marks, second: Marks) -> None:
        for mark, other in zip(first, second, strict=True):
            low, high = sorted((self._root(int(mark)), self._root(int(other))))
            self._same[high] = low

    def _root(self, mark: int) -> int:
        while self._same[mark] != mark:
            self._same[mark] = mark = self._same[self._same[mark]]
        return mark

    def _roots(self, marks: Marks) -> Marks:
        return np.array([self._root(int(mark)) for mark in marks], np.int64)


def _all(marks: Iterable[Marks]) -> Marks:
    return np.concatenate(list(marks))
