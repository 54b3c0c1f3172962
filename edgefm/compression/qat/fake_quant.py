"""Where a tf_keras graph is quantised: which layers' weights, and which layers' outputs with which range.

TFLite's int8 operators want a range for each tensor. A layer's output has one of its own, unless

- TFLite fuses the ReLU behind it: then only the ReLU's output is ever seen; where it does not, the range is the
  ReLU's, since what lies below is cut off anyway;
- its values pass as they are (Flatten, MaxPooling): the range is the input's;
- TFLite asks for the input's range (average pooling, bilinear resizing): the output is rounded in that range;
- only a Concatenate takes it: its inputs share the output's range;
- TFLite fixes it (softmax, sigmoid, tanh).

tfmot's own placement (Default8BitQuantizeLayoutTransform) is not used: it leaves the weights of a convolution that a
ReLU layer follows unquantised in training, quantises a branch before a Concatenate twice, quantises depthwise kernels
by tensor and knows no Multiply. Its wrapper, its quantisers and `quantize_apply` are used.
Source: Jacob et al. 2018, arXiv:1712.05877; https://ai.google.dev/edge/litert/models/quantization_spec.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from edgefm.compression.qat.qat_graph import INPUT_LAYER, activation_name

# Class in tf_keras -> attribute that holds what is multiplied (or added: TFLite rounds a shift to int8 too).
KERNELS = {
    "Conv1D": "kernel",
    "Conv2D": "kernel",
    "Conv2DTranspose": "kernel",
    "DepthwiseConv2D": "depthwise_kernel",
    "Dense": "kernel",
    "TfChannelShift": "shift",
}
_PASSES_VALUES = (
    "ActivityRegularization",
    "AlphaDropout",
    "Cropping1D",
    "Cropping2D",
    "Dropout",
    "Flatten",
    "GaussianDropout",
    "GaussianNoise",
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "Identity",
    "MaxPooling1D",
    "MaxPooling2D",
    "Permute",
    "RepeatVector",
    "Reshape",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "UpSampling1D",
    "ZeroPadding1D",
    "ZeroPadding2D",
)
_KEEPS_RANGE = ("AveragePooling1D", "AveragePooling2D", "UpSampling2D", "Resizing")
_NEW_RANGE = (
    "Add",
    "Concatenate",
    "GlobalAveragePooling1D",
    "GlobalAveragePooling2D",
    "LeakyReLU",
    "Multiply",
    "ReLU",
    "Subtract",
)
_ACTIVATIONS = ("relu", "relu6", "leaky_relu", "swish", "gelu", "gelu_tanh", "hard_silu")
_FUSES_RELU = ("Add", "Conv1D", "Conv2D", "DepthwiseConv2D", "Dense")
# int8 softmax and sigmoid are levels of 1/256 from 0, tanh of 1/128 around 0, whatever the data.
_FIXED = {"softmax": (0.0, 255 / 256), "sigmoid": (0.0, 255 / 256), "tanh": (-1.0, 127 / 128)}
# Where its FakeQuant stands: the wrapper has this prefix.
PREFIX = "quant_"


@dataclass(frozen=True, kw_only=True)
class LayerQuantization:
    """How one layer is quantised.

    Attributes:
      layer: its name.
      kernel: attribute that holds its kernel; None where nothing is quantised.
      output: 'own', 'fixed', 'shared', or 'none': its values pass, or the next layer's range is theirs; 'float': it is
        kept from being rounded.
      limits: of a 'fixed' range.
      source: layer whose range a 'shared' one is.
      shares: the Concatenate whose range the output has in the file, where that is the only one to take it.
      float32: why the layer stays float32; '' where it does not.
    """

    layer: str
    kernel: str | None = None
    output: str = "none"
    limits: tuple[float, float] | None = None
    source: str | None = None
    shares: str | None = None
    float32: str = ""


def places(
    tf_model: Any, *, exclude: Sequence[str], float32: Mapping[str, str], unrounded: Sequence[str] = ()
) -> dict[str, LayerQuantization]:
    """Return how each layer of a tf_keras model is quantised, by name, in the order in which they run.

    Args:
      tf_model: Functional; what `qat_graph.prepare` made, bridged.
      exclude: patterns of layers that stay float32; `*` and `?` match as in file names.
      float32: layers that stay float32 for another reason.
      unrounded: those of them whose output no range may round, not even at the end of the model.
    """
    wiring = _Wiring(tf_model)
    known: dict[str, LayerQuantization] = {}
    for layer in wiring.layers:
        reason = float32.get(layer.name) or _left_out(layer, exclude)
        known[layer.name] = _place(layer, reason, wiring, known)
    for layer in wiring.layers:
        if type(layer).__name__ in _FUSES_RELU and _relu_behind(layer, known, wiring):
            known[layer.name] = replace(known[layer.name], output="none")
    for layer in wiring.layers:
        if known[layer.name].float32 and wiring.only_float32_takes(layer.name, known):
            known[layer.name] = replace(known[layer.name], output="none")
    for name in unrounded:
        # Nothing behind an end of the model could round it.
        known[name] = replace(known[name], output="none" if name in wiring.outputs else "float")
    for layer in reversed(wiring.layers):
        if type(layer).__name__ == "Concatenate" and not known[layer.name].float32:
            for feeder in wiring.feeders(layer):
                if known[feeder].output == "own" and wiring.only_taker(feeder) == layer.name:
                    known[feeder] = replace(known[feeder], output="none", shares=known[layer.name].shares or layer.name)
    for layer in wiring.layers:
        relu = _relu_behind(layer, known, wiring)
        if relu is not None:
            source = relu if known[relu].output == "own" else known[relu].shares
            known[layer.name] = replace(known[layer.name], output="shared", source=source)
    return known


class _Wiring:
    """Which layer takes which other's output."""

    def __init__(self, tf_model: Any) -> None:
        nodes = [
            node for depth in sorted(tf_model._nodes_by_depth, reverse=True) for node in tf_model._nodes_by_depth[depth]
        ]
        layers = {node.layer.name: node.layer for node in nodes}
        self.inputs = {node.layer.name for node in nodes if node.is_input}
        self.layers = [layer for name, layer in layers.items() if name not in self.inputs]
        self._feeders: dict[str, list[str]] = {name: [] for name in layers}
        self._takers: dict[str, list[str]] = {name: [] for name in layers}
        for node in nodes:
            for parent in node.parent_nodes:
                self._feeders[node.layer.name].append(parent.layer.name)
                self._takers[parent.layer.name].append(node.layer.name)
        self.outputs = {tensor._keras_history.layer.name for tensor in tf_model.outputs}

    def feeders(self, layer: Any) -> list[str]:
        """Return the layers whose outputs a layer takes."""
        return self._feeders[layer.name]

    def only_taker(self, name: str) -> str | None:
        """Return the one layer that takes an output, or None where several do or the model gives it back."""
        takers = self._takers[name]
        return takers[0] if len(takers) == 1 and name not in self.outputs else None

    def only_float32_takes(self, name: str, known: Mapping[str, LayerQuantization]) -> bool:
        """Return whether all that take an output stay float32 themselves."""
        return name not in self.outputs and all(known[taker].float32 for taker in self._takers[name])


def _left_out(layer: Any, exclude: Sequence[str]) -> str:
    pattern = next((pattern for pattern in exclude if fnmatch.fnmatchcase(layer.name, pattern)), None)
    return f"excluded by '{pattern}'" if pattern else ""


def _place(layer: Any, reason: str, wiring: _Wiring, known: Mapping[str, LayerQuantization]) -> LayerQuantization:
    name, kind, activation = layer.name, type(layer).__name__, activation_name(layer)
    if reason:
        return LayerQuantization(layer=name, output="own", float32=reason)
    if name == INPUT_LAYER:
        return LayerQuantization(layer=name, output="own")
    if kind in KERNELS:
        return LayerQuantization(layer=name, kernel=KERNELS[kind], output="own")
    if kind == "Softmax" or (kind == "Activation" and activation in _FIXED):
        limits = _FIXED["softmax" if kind == "Softmax" else activation]
        # A rounded probability at the end would give the loss no gradient; TFLite rounds it by itself.
        return LayerQuantization(layer=name, output="none" if name in wiring.outputs else "fixed", limits=limits)
    if (
        getattr(layer, "moves_values", False)
        or kind in _PASSES_VALUES
        or (kind == "Activation" and activation == "linear")
    ):
        return LayerQuantization(layer=name)
    if kind in _KEEPS_RANGE:
        if getattr(layer, "interpolation", "") == "nearest":
            return LayerQuantization(layer=name)
        source = _range_of(wiring.feeders(layer)[0], known, wiring)
        return LayerQuantization(layer=name, output="shared" if source else "own", source=source)
    if kind in _NEW_RANGE and not _thresholded(layer):
        return LayerQuantization(layer=name, output="own")
    if kind == "Activation" and activation in _ACTIVATIONS:
        return LayerQuantization(layer=name, output="own")
    kind = getattr(layer, "carried_kind", kind)
    # Among them Maximum and Minimum: the converter wants one scale for all their ends and does not see to it.
    what = f"{kind} with {activation}" if kind == "Activation" else kind
    return LayerQuantization(
        layer=name,
        output="own" if getattr(layer, "gives_floats", True) else "none",
        float32=f"no int8 rule is known for {what}",
    )


def _range_of(name: str, known: Mapping[str, LayerQuantization], wiring: _Wiring) -> str | None:
    """Return the layer whose range the output of `name` has, or None."""
    while name in known:
        place = known[name]
        if place.output in ("own", "fixed"):
            return name
        if place.source:
            return place.source
        feeders = wiring._feeders[name]
        if len(feeders) != 1:
            return None
        name = feeders[0]
    return None


def _relu_behind(layer: Any, known: Mapping[str, LayerQuantization], wiring: _Wiring) -> str | None:
    """Return the ReLU that alone takes a layer's output, where both are int8 and the output has a range of its own."""
    place, taker = known[layer.name], wiring.only_taker(layer.name)
    if taker is None or place.output != "own" or place.float32 or activation_name(layer) != "linear":
        return None
    behind = next(other for other in wiring.layers if other.name == taker)
    if known[taker].float32 or len(wiring.feeders(behind)) != 1:
        return None
    if type(behind).__name__ == "ReLU":
        plain = behind.max_value in (None, 6) and not behind.negative_slope and not behind.threshold
        return taker if plain else None
    return taker if type(behind).__name__ == "Activation" and activation_name(behind) in ("relu", "relu6") else None


def _thresholded(layer: Any) -> bool:
    """Return whether a ReLU is more than one operator of TFLite."""
    return type(layer).__name__ == "ReLU" and bool(layer.threshold or (layer.negative_slope and layer.max_value))


def float32_layers(layers: Mapping[str, LayerQuantization]) -> dict[str, str]:
    """Return the layers that stay float32 with the reason."""
    return {name: place.float32 for name, place in layers.items() if place.float32}


def ranged(layers: Mapping[str, LayerQuantization]) -> Iterator[LayerQuantization]:
    """Yield the places whose output is quantised."""
    return (place for place in layers.values() if place.output not in ("none", "float"))


def layer_of(quantized: Any, name: str) -> Any:
    """Return a layer of a fake-quantised model by its name without tfmot's prefix."""
    named = {layer.name: layer for layer in quantized.layers}
    return named.get(PREFIX + name) or named[name]


def ancestors(quantized: Any, name: str, *, known: Mapping[str, Any]) -> list[str] | None:
    """Return the nearest layers before one whose outputs are known, or None where they do not decide its output.

    Args:
      quantized: the fake-quantised model.
      name: of the layer, without tfmot's prefix.
      known: layers with a known output, by name without prefix.
    """
    wiring = _Wiring(quantized)
    nearest: list[str] = []
    todo = list(wiring.feeders(layer_of(quantized, name)))
    while todo:
        plain = todo[0].removeprefix(PREFIX)
        if plain in known:
            nearest.append(plain)
        elif todo[0] in wiring.inputs:
            return None
        else:
            todo += wiring.feeders(quantized.get_layer(todo[0]))
        todo = todo[1:]
    return list(dict.fromkeys(nearest)) or None
