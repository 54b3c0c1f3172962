"""Where a classifier looks: Grad-CAM of its last convolutions, on whatever backend Keras runs.

The gradient is that of the score before softmax or sigmoid, by the output of the last convolutions. These are the
convolutions that no other one follows: one in a chain, several where the last branches run side by side. Of each, the
output is taken behind the normalisation, activation and joins that follow at the same size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import ModelError
from edgefm.data.batches import evaluation_batch
from edgefm.keras_graph.augmentation import is_augmentation
from edgefm.keras_graph.channel_axes import FIRST, channel_axes, input_axis, takes_channels_first
from edgefm.keras_graph.graph import Call, Graph
from edgefm.keras_graph.score_path import end_of, last_convolutions, last_weights
from edgefm.keras_graph.strided_pointwise import strided_pointwise

_BATCH = 64
_MAP_BATCH = 16
_NO_PLACES = "the model has no convolution, or none that keeps places in the picture apart"
_NOT_REACHED = "the score does not depend on the last convolution"


@dataclass(frozen=True, kw_only=True)
class ClassMaps:
    """Maps of some samples.

    Attributes:
      layers: names of the layers whose outputs were taken.
      maps: float32 [n, height, width] of the pictures' size, 0 to 1: each divided by its own maximum; all 0 where
        nothing speaks for the class.
      scores: float32 [n], of the classes asked for, before softmax or sigmoid.
    """

    layers: tuple[str, ...]
    maps: NDArray[np.float32]
    scores: NDArray[np.float32]


class Scored:
    """A classifier whose last softmax or sigmoid is taken off, so that its scores and features can be had.

    Attributes:
      layers: names of the layers whose outputs `class_maps` takes; () where there are none.
      feature_layer: name of the layer whose input `features` takes.
    """

    def __init__(self, model: Any) -> None:
        """Read the graph of a model, which is run layer by layer; the model itself is not changed.

        Args:
          model: built Functional or Sequential model of one input whose first output has the scores of classes.
        Raises:
          ModelError: its graph cannot be read, or it has several inputs.
        """
        if len(model.inputs) != 1:
            raise ModelError(f"the model '{model.name}' has {len(model.inputs)} inputs; one picture is expected")
        self._graph = Graph(model, for_reading=True)
        self._end, self._end_does_more = end_of(self._graph)
        self._last = last_weights(self._graph)
        self._targets = last_convolutions(self._graph, self._end)
        axes = channel_axes(self._graph)
        self._first = [axes[call.outputs[0]] == FIRST for call in self._targets]
        self.layers = tuple(dict.fromkeys(call.name for call in self._targets))
        self.feature_layer = self._last.name if self._last is not None else ""

    @property
    def no_maps(self) -> str | None:
        """Why there are no maps; None where there are."""
        return None if self._targets else _NO_PLACES

    def scores(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """Return the scores before softmax or sigmoid, float32 [n, classes]; of one unit [-z, z].

        Args:
          inputs: [n, ...], as the model takes them.
        """
        size = _at_once(inputs)
        parts = [inputs[start : start + size] for start in range(0, len(inputs), size)]
        return np.concatenate([_numpy(self._run(keras.ops.convert_to_tensor(part))[1]) for part in parts])

    def features(
        self, inputs: NDArray[Any], *, told: Callable[[int], None] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return what the last layer with weights takes, float32 [n, d], and the scores, float32 [n, classes].

        Of features with places in the picture the mean over all places is taken.

        Args:
          inputs: [n, ...], as the model takes them.
          told: receives how many samples are done.
        Raises:
          ModelError: the model has no layer with weights.
        """
        if self._last is None:
            raise ModelError(f"the model '{self._graph.model.name}' has no layer with weights")
        parts, scores, size = [], [], _at_once(inputs)
        for start in range(0, len(inputs), size):
            taken, score, _ = self._run(keras.ops.convert_to_tensor(inputs[start : start + size]))
            values = _numpy(taken)
            first = takes_channels_first(self._last.layer)
            places = tuple(range(2, values.ndim)) if first else tuple(range(1, values.ndim - 1))
            parts.append(values.mean(axis=places) if places else values.reshape(len(values), -1))
            scores.append(_numpy(score))
            if told is not None:
                told(start + len(values))
        return np.concatenate(parts), np.concatenate(scores)

    def class_maps(
        self, inputs: NDArray[Any], classes: NDArray[np.int64], *, told: Callable[[int], None] | None = None
    ) -> ClassMaps:
        """Return Grad-CAM of one class a sample.

        Each channel of a layer counts by the mean over all places of the score's gradient; the map is the part above 0
        of the sum of the channels. Maps of several layers are enlarged to the pictures' size and added before that.

        Args:
          inputs: [n, height, width, channels] or [n, channels, height, width], as the model takes them.
          classes: int64 [n], the class whose score is asked for.
          told: receives how many samples are done.
        Raises:
          ModelError: there are no maps, see `no_maps`; or a gradient is not finite.
        Source: Selvaraju et al. 2017, arXiv:1610.02391, equations 1 and 2.
        """
        if not self._targets:
            raise ModelError(_NO_PLACES)
        height, width = inputs.shape[2:4] if input_axis(self._graph) == FIRST else inputs.shape[1:3]
        maps, scores, size = [], [], min(_MAP_BATCH, _at_once(inputs))
        for start in range(0, len(inputs), size):
            taken, slopes, score = self.slopes(inputs[start : start + size], classes[start : start + size])
            total = np.zeros((len(score), height, width), np.float64)
            for values, slope in zip(taken, slopes, strict=True):
                weighted = (slope.mean(axis=(1, 2), keepdims=True) * values).sum(axis=-1)
                total += enlarged(weighted, height, width)
            maps.append(np.maximum(total, 0))
            scores.append(score)
            if told is not None:
                told(start + len(score))
        whole = np.concatenate(maps)
        if not np.isfinite(whole).all():
            raise ModelError("the gradient of the scores is not finite")
        greatest = whole.max(axis=(1, 2), keepdims=True)
        whole = np.divide(whole, greatest, out=np.zeros_like(whole), where=greatest > 0)
        return ClassMaps(layers=self.layers, maps=whole.astype(np.float32), scores=np.concatenate(scores))

    def slopes(
        self, inputs: NDArray[Any], classes: NDArray[np.int64]
    ) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float64]], NDArray[np.float32]]:
        """Return the layers' outputs, the gradients of one class's score by them, and the scores.

        Args:
          inputs: [n, height, width, channels].
          classes: int64 [n].
        Returns:
          float64 [n, h, w, c] each, channels last whatever the layer's format is, and float32 [n].
        """
        given = keras.ops.convert_to_tensor(inputs)
        shapes = [tuple(value.shape) for value in self._run(given)[2]]
        nothing = [np.zeros(shape, np.float32) for shape in shapes]

        def chosen(added: Sequence[Any]) -> tuple[Any, tuple[Any, list[Any]]]:
            with strided_pointwise(self._graph.model):
                _, score, taken = self._run(given, added)
            hot = keras.ops.one_hot(keras.ops.convert_to_tensor(classes.astype(np.int32)), score.shape[-1])
            of_class = keras.ops.sum(keras.ops.cast(score, "float32") * hot, axis=-1)
            return keras.ops.sum(of_class), (of_class, taken)

        slopes, (of_class, taken) = _gradients(chosen, nothing)
        return self._channels_last(taken), self._channels_last(slopes), _numpy(of_class)

    def _channels_last(self, values: Sequence[Any]) -> list[NDArray[np.float64]]:
        arrays = [_numpy(value).astype(np.float64) for value in values]
        return [
            array.transpose(0, 2, 3, 1) if first else array for first, array in zip(self._first, arrays, strict=True)
        ]

    def _run(self, given: Any, added: Sequence[Any] = ()) -> tuple[Any, Any, list[Any]]:
        """Return what the last layer with weights takes, the scores [n, classes], and the outputs of the targets.

        `added` is added to those outputs on their way on: the gradient by it is that by the outputs.
        """
        last: Any = given
        taken: dict[int, Any] = {}
        place = {id(call): index for index, call in enumerate(self._targets)}

        def called(call: Call, first: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
            nonlocal last
            if call is self._last:
                last = first
            output = self._answer(call, first, args, kwargs)
            index = place.get(id(call))
            if index is None:
                return output
            if added:
                output = output + keras.ops.cast(added[index], output.dtype)
            taken[index] = output
            return output

        score = self._graph.replay([given], called)[0]
        score = keras.ops.reshape(score, (len(given), -1))
        if score.shape[-1] == 1:
            score = keras.ops.concatenate([-score, score], axis=-1)
        return last, score, [taken[index] for index in range(len(self._targets))]

    def _answer(self, call: Call, first: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Return what a call gives at inference, without the softmax or sigmoid at the end."""
        if is_augmentation(call.layer) or (call is self._end and not self._end_does_more):
            return first
        with _without_activation(call.layer) if call is self._end else nullcontext():
            return call.layer(*args, **kwargs)


def enlarged(maps: NDArray[np.floating], height: int, width: int) -> NDArray[np.float64]:
    """Return maps [n, h, w] at another size by bilinear interpolation between the centres of their cells.

    >>> enlarged(np.array([[[0.0, 1.0]]]), 1, 4).tolist()
    [[[0.0, 0.25, 0.75, 1.0]]]
    """
    values = np.asarray(maps, np.float64)
    for axis, size in ((1, height), (2, width)):
        length = values.shape[axis]
        centre = np.clip((np.arange(size) + 0.5) * length / size - 0.5, 0, length - 1)
        low = np.floor(centre).astype(np.int64)
        high = np.minimum(low + 1, length - 1)
        share = (centre - low).reshape([-1 if axis == place else 1 for place in range(3)])
        values = np.take(values, low, axis) * (1 - share) + np.take(values, high, axis) * share
    return values


def _at_once(inputs: NDArray[Any]) -> int:
    return min(_BATCH, evaluation_batch(inputs.shape[1:]))


@contextmanager
def _without_activation(layer: Any) -> Iterator[None]:
    given = layer.activation
    vars(layer)["activation"] = keras.activations.linear  # beside the attributes that Keras tracks
    try:
        yield
    finally:
        vars(layer)["activation"] = given


def _gradients(function: Callable[[Sequence[Any]], Any], at: Sequence[NDArray[np.float32]]) -> tuple[Any, Any]:
    """Return the gradients of the number in (number, anything else) that `function` gives, and the else."""
    backend = keras.config.backend()
    if backend == "jax":
        import jax

        (_, other), slopes = jax.value_and_grad(function, has_aux=True)(list(map(keras.ops.convert_to_tensor, at)))
        return slopes, other
    variables = [keras.ops.convert_to_tensor(array) for array in at]
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(variables)
            value, other = function(variables)
        slopes = tape.gradient(value, variables)
    else:
        import torch

        with torch.enable_grad():
            variables = [variable.requires_grad_() for variable in variables]
            value, other = function(variables)
            slopes = torch.autograd.grad(value, variables, allow_unused=True)
    if any(slope is None for slope in slopes):
        raise ModelError(_NOT_REACHED)
    return slopes, other


def _numpy(tensor: Any) -> NDArray[np.float32]:
    if hasattr(tensor, "detach"):
        tensor = tensor.detach()
    return np.asarray(keras.ops.convert_to_numpy(tensor)).astype(np.float32)
