"""Quantisation-aware training: a float model is trained on while its int8 arithmetic is imitated, then converted.

Source: Jacob et al. 2018, arXiv:1712.05877.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.compression.fine_tuning.loop import fine_tune
from edgefm.compression.fine_tuning.task import Task
from edgefm.compression.qat.branch_ranges import lost_branches
from edgefm.compression.qat.fake_quant import LayerQuantization, float32_layers, places
from edgefm.compression.qat.fake_quant_graph import quantized
from edgefm.compression.qat.fake_quant_ranges import Range, exactly, measured_ranges, set_ranges, settle_kernels
from edgefm.compression.qat.qat_graph import Prepared, prepare, with_weights
from edgefm.compression.qat.qat_parity import Parity, parity
from edgefm.core.progress import SILENT, Progress
from edgefm.data.calibration import calibration_images
from edgefm.data.dataset import Split
from edgefm.data.preprocessing import Preprocessing
from edgefm.keras_graph.graph import Graph
from edgefm.keras_graph.unrolling import unrolled
from edgefm.recipes import Qat
from edgefm.training.distillation import Teacher

# Training samples that set the ranges of activations.
CALIBRATION_SAMPLES = 512
_BRIDGE_SAMPLES = 64


@dataclass(frozen=True, kw_only=True)
class FakeQuantGraph:
    """A fake-quantised graph.

    Attributes:
      model: tf_keras.Model.
      places: where its quantisers stand.
      ranges: of the outputs that they round.
    """

    model: Any
    places: Mapping[str, LayerQuantization]
    ranges: Mapping[str, Range]


@dataclass(frozen=True, kw_only=True)
class QatResult:
    """What quantisation-aware training gives back.

    Attributes:
      model: new keras.Model (Keras 3) in float32 with the weights that were learnt.
      int8: .tflite file with int8 weights and activations, uint8 in and out.
      encoding: how pixels become the file's real inputs.
      history: one entry an epoch; see `PassResult`.
      facts: measured, as JSON: 'bridge' and 'parity' of outputs, the layers that are 'not_trained' (they keep their
        weights), those that stay 'float32' with the reason, the 'float32_operators' and the 'kernels' of the file,
        'calibration_samples'.
      parity: of the file and the graph that was trained.
      graph: the graph that was trained.
    """

    model: Any
    int8: bytes
    encoding: Preprocessing
    parity: Parity
    graph: FakeQuantGraph
    history: tuple[Mapping[str, Any], ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


def quantization_aware_train(
    model: Any,
    recipe: Qat,
    task: Task,
    *,
    seed: int,
    teacher: Teacher | None = None,
    progress: Progress = SILENT,
) -> QatResult:
    """Return a model trained with its int8 arithmetic imitated, and the int8 file made of it.

    Args:
      model: keras.Model (Keras 3), folded; it is not changed. A Rescaling that it starts with is left to the file's
        input scale.
      recipe: which layers stay float32, what is preserved, how it is trained.
      task: ranges and weights are learnt from its training split; parity is measured on its validation split.
      seed: of the choice of calibration samples and of fine-tuning.
      teacher: see `fine_tune`.
      progress: receives progress.
    Raises:
      ModelError: a layer that the bridge, tfmot or TFLite's converter cannot take; it is named.
      TrainingDivergedError: the loss or an answer is not finite.
    """
    from edgefm.tflite.weights import float32_operators, stored_kernels
    from edgefm_converters.bridge.bridge import check_parity, to_tf_keras
    from edgefm_converters.tflite.fake_quant_to_tflite import int8_tflite
    from edgefm_converters.tflite.keras_to_tflite import output_names

    progress.step("prepare", 0, 2)
    prepared = prepare(unrolled(model))
    ours = _rescaled(task, prepared)
    tf_model = to_tf_keras(prepared.model)
    samples = _calibration_inputs(ours, seed=seed)
    bridged = check_parity(prepared.model, tf_model, samples[:_BRIDGE_SAMPLES])
    progress.step("prepare", 1, 2)
    lost, unrounded = lost_branches(tf_model, samples)
    layers = places(tf_model, exclude=recipe.exclude, float32={**prepared.float32, **lost}, unrounded=unrounded)
    for name, reason in float32_layers(layers).items():
        progress.note(f"{name} stays float32: {reason}")
    fixed = [name for name in prepared.parts if not _is_trained(model, name)]
    graph = quantized(
        tf_model,
        layers,
        frozen=(*prepared.frozen, *(part for name in fixed for part in prepared.parts[name])),
        preserve_sparsity=recipe.preserve_sparsity,
        preserve_clusters=recipe.preserve_clusters,
        per_channel=recipe.per_channel,
    )
    progress.step("prepare", 2, 2)
    ranges = measured_ranges(tf_model, layers, samples, label="measure ranges", progress=progress)
    if ours.dataset.train.images.dtype == np.uint8:
        ranges = exactly(ranges, ours.encoding.value_range)
    set_ranges(graph, ranges)
    history = fine_tune(
        graph,
        recipe.fine_tuning,
        ours,
        seed=seed,
        label="train",
        teacher=_as_given(teacher, prepared, task=task, ours=ours),
        progress=progress,
    )
    settle_kernels(graph)
    progress.step("convert", 0, 1)
    pixels = task.dataset.train.images.dtype == np.uint8
    content = int8_tflite(graph, output_names=output_names(model), pixels=pixels, float_output=bool(unrounded))
    progress.step("convert", 1, 1)
    agreed = parity(
        graph,
        content,
        _Inputs(ours, ours.dataset.validation.images),
        places=layers,
        ranges=ranges,
        classes=task.dataset.task == "classification",
        threshold=0.0 if task.head == "logits" else 0.5,
        label="compare with the file",
        progress=progress,
    )
    if not agreed.held:
        progress.note(_warning(agreed))
    return QatResult(
        model=with_weights(model, prepared, _learnt(graph, layers)),
        int8=content,
        encoding=ours.encoding,
        parity=agreed,
        graph=FakeQuantGraph(model=graph, places=layers, ranges=ranges),
        history=history,
        facts={
            "bridge": bridged,
            "calibration_samples": len(samples),
            "not_trained": fixed,
            "float32": float32_layers(layers),
            "float32_operators": list(float32_operators(content)),
            "kernels": [kernel.to_json() for kernel in stored_kernels(content)],
            "parity": agreed.to_json(),
        },
    )


def _is_trained(model: Any, name: str) -> bool:
    """Return whether the weights of a model's layer may learn; those of an unrolled cell may."""
    layer = next((call.layer for call in Graph(model).calls if call.name == name), None)
    return bool(getattr(layer, "trainable", True))


class _Inputs:
    """A split's samples as real inputs, encoded part by part."""

    def __init__(self, task: Task, images: NDArray[Any]) -> None:
        self._task = task
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, part: slice) -> NDArray[np.float32]:
        return self._task.inputs(self._images[part])


def _rescaled(task: Task, prepared: Prepared) -> Task:
    """Return a task whose inputs are the given task's, rescaled by what was taken off the model."""
    scale, offset = prepared.scale, prepared.offset
    if (scale, offset) == (1.0, 0.0):
        return task
    own = task.encoding
    low, high = (value * scale + offset for value in own.value_range)
    # (p - mean) / std * scale + offset = (p - (mean - offset * std / scale)) / (std / scale)
    encoding = replace(
        own, mean=own.mean - offset * own.std / scale + 0.0, std=own.std / scale, value_range=(low, high)
    )
    train, validation, test = (_rescaled_split(split, scale, offset) for split in task.dataset.splits)
    dataset = replace(task.dataset, train=train, validation=validation, test=test)
    return replace(task, dataset=dataset, encoding=encoding)


def _rescaled_split(split: Split, scale: float, offset: float) -> Split:
    """Return a split whose float samples are rescaled; pixels are left to the encoding."""
    if split.images.dtype == np.uint8:
        return split
    return replace(split, images=(split.images * np.float32(scale) + np.float32(offset)).astype(np.float32))


def _as_given(teacher: Teacher | None, prepared: Prepared, *, task: Task, ours: Task) -> Teacher | None:
    """Return a teacher that takes our inputs, and is asked about the given task's.

    Where both are made of pixels these are, to the last bit, what other passes ask about: what a teacher answered there
    it need not answer again.
    """
    if teacher is None or ours is task:
        return teacher
    if task.dataset.train.images.dtype == np.uint8:
        mean, std = np.float32(ours.encoding.mean), np.float32(ours.encoding.std)
        return lambda inputs: teacher(task.inputs(np.rint(inputs * std + mean).astype(np.uint8)))
    scale, offset = np.float32(prepared.scale), np.float32(prepared.offset)
    return lambda inputs: teacher((inputs - offset) / scale)


def _calibration_inputs(task: Task, *, seed: int) -> NDArray[np.float32]:
    train = task.dataset.train
    return task.inputs(calibration_images(train, count=min(CALIBRATION_SAMPLES, len(train)), seed=seed))


def _learnt(graph: Any, layers: Mapping[str, LayerQuantization]) -> dict[str, list[NDArray[np.float32]]]:
    """Return the weights of the layers within tfmot's wrappers, by the layers' names, in Keras' order."""
    weights = {}
    for layer in graph.layers:
        inner = getattr(layer, "layer", layer)
        own = _own_weights(layer, inner)
        if inner.name in layers and own:
            weights[inner.name] = [weight.numpy() for weight in own]
    return weights


def _own_weights(layer: Any, inner: Any) -> list[Any]:
    """Return a wrapped layer's own weights, the kernel first: the wrapper holds the kernel, the layer the others."""
    kernels = [kernel for kernel, _, _ in getattr(layer, "_weight_vars", ())]
    return kernels + [weight for weight in inner.weights if all(weight is not kernel for kernel in kernels)]


def _warning(agreed: Parity) -> str:
    share = agreed.within_two_levels if agreed.argmax_agreement is None else agreed.argmax_agreement
    where = ""
    if agreed.first_divergence is not None:
        first = agreed.first_divergence
        where = f"; the first layer to differ is {first.layer}, by {first.error_lsb:.1f} levels"
    return f"the int8 file and the graph that was trained agree on {share:.2%} of the validation samples{where}"
