"""Whether an int8 file computes what the fake-quantised graph that it was made of computes, and where not.

Both round at the same places with the same scales; what remains is how a kernel rounds its sums: one level at most in
each layer. More than that means that the file is another network than the one that was trained.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgefm.compression.qat.fake_quant import PREFIX, LayerQuantization, ancestors, layer_of
from edgefm.compression.qat.fake_quant_ranges import Range
from edgefm.core.progress import SILENT, Progress
from edgefm.data.batches import evaluation_batch

# Share of the samples with the same class (or of outputs within WITHIN_LEVELS) that the gate asks for.
HELD_FROM = 0.997
WITHIN_LEVELS = 2
# Rounding alone moves a layer's output by one level at most.
_OWN_LEVELS = 1.5


class EncodedInputs(Protocol):
    """Real inputs that are encoded part by part: all of them at once may not fit into memory."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> NDArray[np.float32]: ...


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """Where the file leaves the graph.

    Attributes:
      layer: the first one whose output is off by more than rounding.
      error_lsb: largest difference of its output, in levels.
      sample: index of the validation sample.
    """

    layer: str
    error_lsb: float
    sample: int


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How an int8 file and its fake-quantised graph agree.

    Attributes:
      images: validation samples compared.
      argmax_agreement: share of them with the same largest first output; None where that is no class.
      within_two_levels: share of the output values that differ by two levels at most.
      max_abs_difference: of the real outputs.
      max_difference_lsb: the same in levels of the output.
      first_divergence: None where nothing differs by more than rounding.
      held: whether 99.7 % agree: of the classes where there are some, else of the values within two levels.
    """

    images: int
    argmax_agreement: float | None
    within_two_levels: float
    max_abs_difference: float
    max_difference_lsb: float
    first_divergence: Divergence | None
    held: bool

    def to_json(self) -> dict[str, Any]:
        """Return the record as a JSON object."""
        return asdict(self)


def parity(
    quantized: Any,
    content: bytes,
    inputs: EncodedInputs,
    *,
    places: Mapping[str, LayerQuantization],
    ranges: Mapping[str, Range],
    classes: bool,
    threshold: float = 0.5,
    label: str = "parity",
    progress: Progress = SILENT,
) -> Parity:
    """Return how an int8 file and its fake-quantised graph agree.

    Args:
      quantized: the tf_keras graph.
      content: the .tflite file.
      inputs: float32 [n, ...], real inputs of both.
      places: where the graph's quantisers stand.
      ranges: of their outputs.
      classes: whether the first output is a score a class.
      threshold: a single score above it means the second of two classes.
      label: of the progress.
      progress: receives progress.
    """
    from edgefm_converters.tflite.tflite_outputs import tflite_outputs

    graph = _compiled(quantized)
    scales = _output_scales(content)
    agreed = within = values = 0
    worst, worst_lsb, worst_sample = 0.0, 0.0, 0
    size = evaluation_batch(np.asarray(inputs[:1]).shape[1:])
    for start in range(0, len(inputs), size):
        batch = np.asarray(inputs[start : start + size], np.float32)
        expected, answers = graph(batch), tflite_outputs(content, batch)
        agreed += int((_chosen(expected[0], threshold) == _chosen(answers[0], threshold)).sum()) if classes else 0
        for output, other, scale in zip(expected, answers, scales, strict=True):
            difference = np.abs(output - other).reshape(len(batch), -1)
            levels = difference / scale
            within += int((levels <= WITHIN_LEVELS).sum())
            values += levels.size
            worst = max(worst, float(difference.max()))
            if levels.max() > worst_lsb:
                worst_lsb, worst_sample = float(levels.max()), start + int(levels.max(axis=1).argmax())
        progress.step(label, min(start + size, len(inputs)), len(inputs))
    images = len(inputs)
    agreement = agreed / images if classes else None
    share = agreement if agreement is not None else within / values
    divergence = None
    if worst_lsb > _OWN_LEVELS or share < 1:
        sample = np.asarray(inputs[worst_sample : worst_sample + 1], np.float32)
        divergence = first_divergence(
            quantized, content, sample, places=places, ranges=ranges, index=worst_sample, last=worst_lsb
        )
    return Parity(
        images=images,
        argmax_agreement=agreement,
        within_two_levels=within / values,
        max_abs_difference=worst,
        max_difference_lsb=worst_lsb,
        first_divergence=divergence,
        held=share >= HELD_FROM,
    )


def first_divergence(
    quantized: Any,
    content: bytes,
    sample: NDArray[np.float32],
    *,
    places: Mapping[str, LayerQuantization],
    ranges: Mapping[str, Range],
    index: int,
    last: float,
) -> Divergence | None:
    """Return the first layer at which an int8 file leaves its fake-quantised graph on one sample.

    Each layer is computed by the graph from what the file gave for the layers before it. The first one that differs
    by more than rounding is named; if there is none, the first one at which the rounding of several layers has added
    up to that; if there is none either, the output where `last` levels are more than rounding.

    Args:
      quantized: the tf_keras graph.
      content: the .tflite file.
      sample: float32 [1, ...].
      places: where the graph's quantisers stand.
      ranges: of their outputs.
      index: of the sample.
      last: largest difference of the outputs, in levels.
    """
    import tensorflow as tf
    import tf_keras

    scales = _scales(places, ranges)
    tensors = _tensors_of_layers(content, quantized, scales)
    seen = dict(zip(tensors, _values(content, list(tensors.values()), sample), strict=True))
    # A layer may have been called in the graph that this one was made from, too.
    nodes = {node.layer.name: node for depth in quantized._nodes_by_depth.values() for node in depth}
    outputs = {name: tf.nest.flatten(nodes[layer_of(quantized, name).name].outputs)[0] for name in tensors}
    whole = tf_keras.Model(quantized.inputs, list(outputs.values()))
    expected = dict(zip(outputs, _flat(whole(sample, training=False)), strict=True))
    summed: Divergence | None = None
    for name in tensors:
        scale = scales[name]
        off = Divergence(layer=name, error_lsb=_levels(seen[name], expected[name], scale), sample=index)
        if off.error_lsb <= _OWN_LEVELS:
            continue
        summed = summed or off
        before = ancestors(quantized, name, known=outputs)
        if before is None:
            continue
        step = tf_keras.Model([outputs[other] for other in before], outputs[name])
        alone = step([seen[other].reshape((1, *outputs[other].shape[1:])) for other in before], training=False)
        if _levels(seen[name], np.asarray(alone), scale) > _OWN_LEVELS:
            return off
    if summed is None and last > _OWN_LEVELS:
        name = quantized.outputs[0]._keras_history.layer.name
        return Divergence(layer=name.removeprefix(PREFIX), error_lsb=last, sample=index)
    return summed


def _chosen(scores: NDArray[np.float32], threshold: float) -> NDArray[Any]:
    """Return the class that scores stand for; a single score is that of the second of two classes."""
    return scores[..., 0] > threshold if scores.shape[-1] == 1 else scores.argmax(-1)


def _compiled(quantized: Any) -> Any:
    import tensorflow as tf

    spec = tf.TensorSpec([None, *quantized.inputs[0].shape[1:]], tf.float32)
    function = tf.function(
        lambda batch: tf.nest.flatten(quantized(batch, training=False)), input_signature=[spec], autograph=False
    )
    return lambda batch: tuple(output.numpy() for output in function(batch))


def _scales(places: Mapping[str, LayerQuantization], ranges: Mapping[str, Range]) -> dict[str, float]:
    """Return what one level of each layer's output is worth in the file, in the order in which layers run."""
    decides = {name: place.shares or name for name, place in places.items() if place.output != "none" or place.shares}
    ends = {name: ranges[other] for name, other in decides.items() if other in ranges}
    return {name: (high - low) / 255 for name, (low, high) in ends.items()}


def _tensors_of_layers(content: bytes, quantized: Any, scales: Mapping[str, float]) -> dict[str, int]:
    """Return the tensor of the file that holds each layer's output, in the order in which layers run.

    A tensor has the size and the scale of its layer's output and, where several have, the layer in its name. A layer
    that has no such tensor, because the converter made it part of another, is left out.
    """
    from edgefm.tflite import flatbuffer

    times = Counter(node.layer.name for nodes in quantized._nodes_by_depth.values() for node in nodes)
    graph = flatbuffer.editable(content).subgraphs[0]
    computed = {index for operator in graph.operators for index in operator.outputs}
    tensors: dict[str, int] = {}
    for name, scale in scales.items():
        layer = layer_of(quantized, name)
        if times[layer.name] != 1:
            continue
        size = int(np.prod(layer.get_output_at(0).shape[1:]))
        same_size = [index for index in sorted(computed) if _size(graph.tensors[index]) == size]
        named = [index for index in same_size if f"/{layer.name}/".encode() in b"/" + graph.tensors[index].name]
        scaled = [index for index in same_size if _has_scale(graph.tensors[index], scale)]
        both = [index for index in scaled if index in named]
        best = both or (scaled if len(scaled) == 1 else []) or named
        if best and best[0] not in tensors.values():
            tensors[name] = best[0]
    return tensors


def _values(content: bytes, tensors: Sequence[int], sample: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Return the real values of some tensors of a file, which become the outputs of a copy of it."""
    from edgefm.tflite import flatbuffer
    from edgefm_converters.tflite.tflite_outputs import tflite_outputs

    model = flatbuffer.editable(content)
    model.subgraphs[0].outputs = list(tensors)
    model.signatureDefs = []
    return list(tflite_outputs(flatbuffer.write(model), sample))


def _size(tensor: Any) -> int:
    return int(np.prod([int(length) for length in tensor.shape]))


def _has_scale(tensor: Any, scale: float) -> bool:
    parameters = tensor.quantization
    scales = parameters.scale if parameters is not None else None
    return scales is not None and len(scales) == 1 and abs(float(scales[0]) / scale - 1) < 1e-5


def _levels(output: NDArray[np.float32], other: Any, scale: float) -> float:
    return float(np.abs(output.reshape(-1) - np.asarray(other, np.float32).reshape(-1)).max() / scale)


def _output_scales(content: bytes) -> list[float]:
    """Return what one level of each output of a file is worth; 1 where it is not quantised."""
    from edgefm.tflite import flatbuffer

    graph = flatbuffer.editable(content).subgraphs[0]
    parameters = [graph.tensors[index].quantization for index in graph.outputs]
    return [
        float(quantization.scale[0]) if quantization is not None and quantization.scale is not None else 1.0
        for quantization in parameters
    ]


def _flat(outputs: Any) -> list[NDArray[np.float32]]:
    import tensorflow as tf

    return [output.numpy() for output in tf.nest.flatten(outputs)]
