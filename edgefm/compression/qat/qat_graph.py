"""A Keras 3 graph made ready for fake quantisation, and the weights learnt on it brought back.

Fake quantisation wants one thing of a graph: every tensor that becomes int8 is the output of a layer. So layers that
compute several tensors in one are taken apart, exactly:

- a leading Rescaling leaves the graph: the file's own input scale does its work;
- SeparableConv2D becomes a depthwise and a pointwise convolution, Conv1D a Conv2D on one row;
- an activation other than ReLU leaves its convolution or dense layer and becomes a layer;
- Add and Multiply of more than two tensors become a chain of two;
- a BatchNormalization or Rescaling that could not be folded becomes a depthwise 1x1 convolution, frozen, because
  TFLite would make two operators of it with a float tensor in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from edgefm.core.errors import ModelError
from edgefm.keras_graph.folding import ChannelShift
from edgefm.keras_graph.graph import Call, Graph, call_copy
from edgefm.keras_graph.inference import Stop, affine_of, channels_first

# Stands behind the input and does nothing: the place of the input's quantiser.
INPUT_LAYER = "edgefm_input"
# Layers that TFLite runs with a ReLU fused in; their other activations become layers of their own.
FUSED_ACTIVATIONS = ("linear", "relu", "relu6")
_LINEAR = (layers.Conv1D, layers.Conv2D, layers.DepthwiseConv2D, layers.Dense)
_CHAINED = (layers.Add, layers.Multiply)
_AFFINE = (layers.BatchNormalization, layers.Rescaling)
# Operations of keras.ops that are affine where one operand is a constant.
_ARITHMETIC = ("Add", "Subtract", "Multiply", "Divide", "TrueDivide")
Weights = Mapping[str, list[NDArray[np.float32]]]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A graph that is ready for fake quantisation.

    Attributes:
      model: keras.Model, Keras 3.
      scale: of the Rescaling that was taken off: real = scale * x + offset; 1 where there was none.
      offset: see `scale`.
      parts: for each layer of the given model with weights that can learn, the layers here that hold them.
      frozen: layers here that must not learn.
      float32: layers here that stay float32, with the reason.
    """

    model: Any
    scale: float
    offset: float
    parts: Mapping[str, tuple[str, ...]]
    frozen: tuple[str, ...]
    float32: Mapping[str, str]


def prepare(model: Any) -> Prepared:
    """Return a new model that computes the same, taken apart as the module says.

    Args:
      model: built Functional or Sequential model; it is not changed. Layers keep their names; parts that are new
        are called after the layer, e.g. `<layer>_depthwise`, `<layer>_pointwise`, `<layer>_<activation>`.
    Raises:
      ModelError: a subclassed model or one without input shape.
    """
    graph = Graph(model)
    if len(model.inputs) != 1:
        raise ModelError(
            f"'{model.name}' has {len(model.inputs)} inputs; quantisation-aware training takes models with one",
            hint="Use a post-training variant, e.g. int8_w8a8.",
        )
    leading, scale, offset = _leading_rescaling(graph)
    surgeon = _Surgeon(graph, leading)
    inputs = [keras.Input(batch_shape=tensor.shape, dtype="float32", name=tensor.name) for tensor in model.inputs]
    marked = [layers.Activation("linear", name=INPUT_LAYER)(tensor) for tensor in inputs]
    outputs = graph.replay(marked, surgeon.call_with)
    prepared = keras.Model(inputs[0], outputs if len(outputs) > 1 else outputs[0], name=model.name)
    return Prepared(
        model=prepared,
        scale=scale,
        offset=offset,
        parts=surgeon.parts,
        frozen=tuple(surgeon.frozen),
        float32=surgeon.float32,
    )


def with_weights(model: Any, prepared: Prepared, learnt: Weights) -> Any:
    """Return a new model, `model`'s graph with the weights that were learnt on its prepared form.

    Args:
      model: the model that `prepare` was given.
      prepared: its result.
      learnt: the weights of the prepared model's layers, by name, in Keras' order.
    """
    graph, weights = Graph(model), {}
    for call in graph.calls:
        if call.name in prepared.parts:
            arrays = [array for part in prepared.parts[call.name] for array in learnt[part]]
            shapes = [weight.shape for weight in call.layer.weights]
            weights[call] = [array.reshape(shape) for array, shape in zip(arrays, shapes, strict=True)]
    return graph.with_weights(weights)


def _leading_rescaling(graph: Graph) -> tuple[Call | None, float, float]:
    """Return the one Rescaling that takes the model's input, if the encoding of pixels can do its work."""
    first = graph.calls[0] if graph.calls else None
    if first is None or type(first.layer) is not layers.Rescaling or first.shared or graph.producer(first):
        return None, 1.0, 0.0
    scale, offset = np.asarray(first.layer.scale, np.float64), np.asarray(first.layer.offset, np.float64)
    others = [call for call in graph.calls if call is not first and first.inputs[0] in call.inputs]
    if scale.size != 1 or offset.size != 1 or scale.item() <= 0 or others:
        return None, 1.0, 0.0
    return first, scale.item(), offset.item()


class _Surgeon:
    """Makes each call of a graph anew, in parts where it has several."""

    def __init__(self, graph: Graph, leading: Call | None) -> None:
        self.leading = leading
        self.parts: dict[str, tuple[str, ...]] = {}
        self.frozen: list[str] = []
        self.float32: dict[str, str] = {}
        self._copies: dict[int, Any] = {}
        self._activations: dict[int, Any] = {}
        self._separated: dict[int, list[Any]] = {}

    def call_with(self, call: Call, first: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        layer = call.layer
        if call is self.leading:
            return first
        if type(layer) is layers.SeparableConv2D and not channels_first(call):
            return self._separate(call, first)
        if type(layer) is layers.Conv1D and _fits_an_image(call):
            return self._convolve_as_image(call, first)
        name = activation_name(layer)
        fused = FUSED_ACTIVATIONS if type(layer) in _LINEAR else ("linear",)
        if type(layer) in (*_LINEAR, layers.Conv2DTranspose) and name not in fused:
            return self._take_activation_off(call, args, kwargs)
        if type(layer) in _CHAINED and not call.shared and len(args[0]) > 2:
            return _chain(layer, args[0])
        if type(layer) in _AFFINE:
            affine = affine_of(call)
            if not isinstance(affine, Stop) and None not in call.input_shape[1:]:
                return self._depthwise(call, first, scale=affine.scale, shift=affine.shift)
            self.float32[call.name] = affine.reason if isinstance(affine, Stop) else "its input has no fixed size"
            self.frozen.append(call.name)
        elif (constant := _affine_operation(call)) is not None:
            return self._depthwise(call, first, scale=constant[0], shift=constant[1])
        elif isinstance(layer, ChannelShift):
            self.frozen.append(call.name)
        elif isinstance(layer, keras.Layer) and layer.weights and type(layer) is not layers.Normalization:
            self.parts[call.name] = (call.name,)
        return call_copy(call, args, kwargs, copies=self._copies)

    def _take_activation_off(self, call: Call, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        layer = call.layer
        self.parts[call.name] = (call.name,)
        linear = call_copy(call, args, kwargs, copies=self._copies, config={"activation": "linear"})
        if id(layer) not in self._activations:
            self._activations[id(layer)] = layers.Activation(
                layer.activation, name=f"{call.name}_{activation_name(layer)}"
            )
        return self._activations[id(layer)](linear)

    def _convolve_as_image(self, call: Call, first: Any) -> Any:
        """Return the output of a Conv1D, made by a Conv2D on an image of one row, as TFLite does itself."""
        layer, name = call.layer, call.name
        length, channels = call.input_shape[1:]
        fused = activation_name(layer) in FUSED_ACTIVATIONS
        convolution = layers.Conv2D(
            layer.filters,
            (1, *layer.kernel_size),
            strides=(1, *layer.strides),
            padding=layer.padding,
            dilation_rate=(1, *layer.dilation_rate),
            groups=layer.groups,
            activation=layer.activation if fused else None,
            use_bias=layer.use_bias,
            name=name,
        )
        output = convolution(layers.Reshape((1, length, channels), name=f"{name}_image")(first))
        kernel, *bias = layer.get_weights()
        convolution.set_weights([kernel[None], *bias])
        self.parts[name] = (name,)
        if not fused:
            output = layers.Activation(layer.activation, name=f"{name}_{activation_name(layer)}")(output)
        return layers.Reshape(call.output_shape[1:], name=f"{name}_back")(output)

    def _separate(self, call: Call, first: Any) -> Any:
        layer = call.layer
        if id(layer) not in self._separated:
            self._separated[id(layer)] = _separated(layer)
            self.parts[call.name] = tuple(part.name for part in self._separated[id(layer)] if _holds_weights(part))
        output = first
        for part in self._separated[id(layer)]:
            output = part(output)
        depthwise, pointwise = (part for part in self._separated[id(layer)] if _holds_weights(part))
        arrays = layer.get_weights()
        depthwise.set_weights([arrays[0].reshape(depthwise.kernel.shape)])
        pointwise.set_weights([arrays[1].reshape(pointwise.kernel.shape), *arrays[2:]])
        return output

    def _depthwise(self, call: Call, first: Any, *, scale: NDArray[np.float64], shift: NDArray[np.float64]) -> Any:
        shape = call.input_shape[1:]
        depthwise = layers.DepthwiseConv2D((1, 1), name=call.name)
        image = first
        if len(shape) != 3:
            rows = int(np.prod([length for length in shape[:-1] if length is not None]))
            image = layers.Reshape((rows, 1, shape[-1]), name=f"{call.name}_rows")(image)
        output = depthwise(image)
        depthwise.set_weights([scale.reshape(1, 1, -1, 1).astype(np.float32), shift.astype(np.float32)])
        self.frozen.append(call.name)
        return output if len(shape) == 3 else layers.Reshape(shape, name=f"{call.name}_back")(output)


def _affine_operation(call: Call) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return the scale and shift by channel of an operation such as `x / 6` or `1 - x`, or None where it is none."""
    kind, values = type(call.layer).__name__, [*call.arguments.args, *call.arguments.kwargs.values()]
    if isinstance(call.layer, keras.Layer) or kind not in _ARITHMETIC or len(values) != 2 or len(call.inputs) != 1:
        return None
    first = values[0] is call.arguments.keras_tensors[0]
    constant = values[1] if first else values[0]
    channels = call.input_shape[-1]
    if (
        channels is None
        or None in call.input_shape[1:]
        or np.ndim(constant) > 1
        or np.size(constant) not in (1, channels)
    ):
        return None
    number = np.broadcast_to(np.asarray(constant, np.float64), (channels,))
    unit, zero = np.ones(channels), np.zeros(channels)
    if kind == "Add":
        return unit, number
    if kind == "Subtract":
        return (unit, -number) if first else (-unit, number)
    if kind == "Multiply":
        return number, zero
    return (1 / number, zero) if first else None


def _separated(layer: Any) -> list[Any]:
    """Return a depthwise and a pointwise convolution, and the activation where it is a layer of its own."""
    name, activation = layer.name, activation_name(layer)
    fused = activation in FUSED_ACTIVATIONS
    parts: list[Any] = [
        layers.DepthwiseConv2D(
            layer.kernel_size,
            strides=layer.strides,
            padding=layer.padding,
            depth_multiplier=layer.depth_multiplier,
            dilation_rate=layer.dilation_rate,
            use_bias=False,
            name=f"{name}_depthwise",
        ),
        layers.Conv2D(
            layer.filters,
            (1, 1),
            activation=layer.activation if fused else None,
            use_bias=layer.use_bias,
            name=f"{name}_pointwise",
        ),
    ]
    return parts if fused else [*parts, layers.Activation(layer.activation, name=f"{name}_{activation}")]


def _fits_an_image(call: Call) -> bool:
    return call.layer.padding != "causal" and not (call.shared or channels_first(call) or None in call.input_shape[1:])


def _holds_weights(layer: Any) -> bool:
    return isinstance(layer, layers.DepthwiseConv2D | layers.Conv2D)


def _chain(layer: Any, tensors: Any) -> Any:
    """Return the sum or product of several tensors, two at a time; the last step has the layer's name."""
    output = tensors[0]
    last = len(tensors) - 1
    for index, tensor in enumerate(tensors[1:], 1):
        name = layer.name if index == last else f"{layer.name}_{index}"
        output = type(layer)(name=name)([output, tensor])
    return output


def activation_name(layer: Any) -> str:
    """Return the name of a layer's activation; 'linear' where it has none."""
    function = getattr(layer, "activation", None)
    return "linear" if function is None else str(getattr(function, "__name__", type(function).__name__))
