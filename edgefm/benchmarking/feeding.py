"""How pictures become the inputs of a model: by its contract, its metadata, or what its tensors give away."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core import joined
from edgefm.core.errors import ArgumentError, ModelError
from edgefm.core.picture_steps import PictureSteps
from edgefm.core.task_names import SCORED
from edgefm.data.reference.fashion_mnist import LABELS
from edgefm.runtimes.base import TensorDetails
from edgefm.tflite import contract as contracts
from edgefm.tflite.contract import Contract, Tensor
from edgefm.tflite.metadata_reader import normalization
from edgefm.tflite.output_activation import output_activation

_PIXEL_MAX = 255.0
_ANY = (float(np.finfo(np.float32).min), float(np.finfo(np.float32).max))


def contract_for(
    path: Path,
    *,
    source: TensorDetails,
    sinks: tuple[TensorDetails, ...],
    labels: tuple[str, ...],
    task: str = "classification",
    pixels: bool = True,
    mean: float | None = None,
    std: float | None = None,
) -> Contract | str:
    """Return the contract by which a model is fed, or the reason why none is known.

    Floats are inputs of the model already. For pixels, in this order: the contract.json beside the file; `mean` and
    `std` where given; the normalisation in the file's TFLite metadata; for a quantised input, its range of real
    values: 0 to about 255 means pixels as they are, 0 to 1 pixel / 255, -1 to 1 (pixel - 127.5) / 127.5. Anything
    else would be a guess.

    Args:
      path: the model file.
      source: its input.
      sinks: its outputs.
      labels: class names of the pictures, which the first output must match; () where the task is no classification.
      task: of the test images.
      pixels: the samples are uint8 pixels; otherwise floats, which are inputs already.
      mean: real input = (pixel - mean) / std, for files without a contract.
      std: see `mean`.
    Raises:
      ModelError: the contract beside the file is damaged or belongs to another content.
      ArgumentError: `mean` or `std` is not finite, or `std` not above 0.
    """
    written = contracts.read(path)
    if written is not None:
        if not _same_classes(written.labels, labels) and not (
            task == "segmentation" and not (written.labels and labels)
        ):
            named = ", ".join(written.labels) or "none"
            return f"the labels in its contract are not those of the test images: {named}"
        if pixels and written.no_pixels is not None:
            return f"it takes real inputs, no pixels: {written.no_pixels}"
        return written
    if labels and task != "segmentation":
        outputs = int(np.prod(sinks[0].shape))
        # A single output is the probability of the second of two classes.
        if outputs != len(labels) and (task, outputs, len(labels)) != ("classification", 1, 2):
            return f"it has {outputs} outputs; there are {len(labels)} classes"
    if source.parts or not pixels:
        formula: tuple[float, float] | None = (0.0, 1.0)
    elif mean is not None or std is not None:
        formula = (mean or 0.0, 1.0 if std is None else std)
        if not (math.isfinite(formula[0]) and math.isfinite(formula[1]) and formula[1] > 0):
            raise ArgumentError(
                f"mean is {formula[0]:g} and std {formula[1]:g}; finite numbers are expected, and a std above 0",
                hint="A real input is (pixel - mean) / std: mean 0 and std 255 for inputs of 0 to 1.",
            )
    else:
        formula = normalization(path) or _from_range(source)
    if formula is None:
        return _unknown(source)
    return _contract(path, source=source, sinks=sinks, labels=labels, task=task, formula=formula)


def misfit(contract: Contract, source: TensorDetails, samples: NDArray[Any]) -> str | None:
    """Return why samples cannot be fed by a contract, or None where they can."""
    picture_shape = samples.shape[1:]
    if source.parts or joined.is_joined(samples):
        return _misfit_of_parts(source, samples)
    if picture_shape != source.shape[1:]:
        actual, expected = _by(picture_shape), _by(source.shape[1:])
        return f"the test images are {actual}; its input is {expected}"
    if (contract.input.dtype, contract.input.shape) != (source.dtype, source.shape):
        return f"its contract has {contract.input.dtype} {contract.input.shape}, the file {source.dtype} {source.shape}"
    return None


def _misfit_of_parts(source: TensorDetails, samples: NDArray[Any]) -> str | None:
    """Return why samples are not those of a model with several inputs, or None where they are."""
    given = {name: field[0].shape for name, field in (samples.dtype.fields or {}).items()}
    if given == {part.name: part.shape[1:] for part in source.parts}:
        return None
    takes = ", ".join(f"'{part.name}' {list(part.shape[1:])}" for part in source.parts) or f"one of {source.shape}"
    return f"the test samples are {joined.described(samples) or 'of one input'}; its inputs are {takes}"


def _same_classes(first: tuple[str, ...], second: tuple[str, ...]) -> bool:
    """Return whether two lists name the same classes in any order, or are of one length and one merely numbers."""
    numbers = tuple(str(index) for index in range(len(first)))
    return sorted(first) == sorted(second) or (len(first) == len(second) and numbers in (first, second))


def _from_range(source: TensorDetails) -> tuple[float, float] | None:
    """Return (mean, std) that the range of a quantised input gives away, or None."""
    ends = _range(source)
    if ends is None:
        return None
    low, high = ends
    for near_low, near_high, formula in (
        (0.0, _PIXEL_MAX, (0.0, 1.0)),
        (0.0, 1.0, (0.0, _PIXEL_MAX)),
        (-1.0, 1.0, (127.5, 127.5)),
    ):
        slack = 0.1 * (near_high - near_low)
        if abs(low - near_low) <= slack and abs(high - near_high) <= slack:
            return formula
    return None


def _range(tensor: TensorDetails) -> tuple[float, float] | None:
    """Return the least and the greatest real value of a quantised tensor of 8 bits, or None."""
    if tensor.scale is None or tensor.zero_point is None or tensor.dtype not in ("uint8", "int8"):
        return None
    limits = np.iinfo(tensor.dtype)
    return tensor.scale * (limits.min - tensor.zero_point), tensor.scale * (limits.max - tensor.zero_point)


def _unknown(source: TensorDetails) -> str:
    ends = _range(source)
    if ends is None:
        return f"the mapping from pixels to its {source.dtype} input is unknown: give mean and std"
    return f"its input spans {ends[0]:g} to {ends[1]:g}, which is not a known pixel range: give mean and std"


def _contract(
    path: Path,
    *,
    source: TensorDetails,
    sinks: tuple[TensorDetails, ...],
    labels: tuple[str, ...],
    task: str,
    formula: tuple[float, float],
) -> Contract:
    mean, std = formula
    span = ((0 - mean) / std, (_PIXEL_MAX - mean) / std)
    return Contract(
        name=path.stem,
        variant=path.stem,
        file=path.name,
        sha256="",
        size_bytes=path.stat().st_size,
        input=_input(source, span),
        outputs=tuple(_tensor(sink, _range(sink) or ((0.0, 1.0) if labels else _ANY)) for sink in sinks),
        mean=mean,
        std=std,
        labels=labels,
        made_by={"derived_by": "edgefm benchmark"},
        task=task,
        head=_head(path) if task in SCORED else "",
        no_pixels="the model takes several inputs" if source.parts else None,
        pictures=PictureSteps(invert="light_border" if labels == LABELS else "asked"),
    )


def _input(source: TensorDetails, span: tuple[float, float]) -> Tensor:
    parts = tuple(_tensor(part, _range(part) or _ANY) for part in source.parts)
    return replace(_tensor(source, _ANY), parts=parts) if parts else _tensor(source, _range(source) or span)


def _head(path: Path) -> str:
    """Return 'logits' for a file whose first output comes from a layer without activation, '' where nothing says so."""
    try:
        return "logits" if output_activation(path.read_bytes()) == "linear" else ""
    except (ModelError, OSError):  # a runtime may take other formats
        return ""


def _tensor(details: TensorDetails, value_range: tuple[float, float]) -> Tensor:
    return Tensor(
        name=details.name,
        dtype=details.dtype,
        shape=details.shape,
        scale=details.scale,
        zero_point=details.zero_point,
        value_range=value_range,
    )


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(str(length) for length in shape)
