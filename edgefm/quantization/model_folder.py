"""One variant's folder: model.tflite with metadata, contract.json, labels.txt; written, then load-tested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core import artefacts, joined
from edgefm.core.environment import version
from edgefm.core.errors import ModelError
from edgefm.core.picture_steps import LETTERBOX, PictureSteps
from edgefm.core.task_names import LABELLED
from edgefm.core.text import one_a_line
from edgefm.data.preprocessing import Preprocessing
from edgefm.data.quality import THRESHOLD, Outputs, predicted_classes
from edgefm.data.reference.fashion_mnist import LABELS
from edgefm.quantization.checks.picture_proof import Answers, Samples, prove
from edgefm.recipes import Variant
from edgefm.runtimes import apart
from edgefm.runtimes.base import TensorDetails
from edgefm.tflite import contract
from edgefm.tflite.contract import Contract
from edgefm_converters.tflite.keras_to_tflite import INPUT, OUTPUT
from edgefm_converters.tflite.metadata import LABELS_FILE, Metadata, TensorNote, with_metadata
from edgefm_converters.tflite.surgery import input_names, output_names, with_names
from edgefm_converters.tflite.tflite_outputs import tflite_outputs

MODEL_FILE = "model.tflite"
_PROBABILITIES = (0.0, 1.0)
_LARGEST = float(np.finfo(np.float32).max)
_DTYPES = ("float32", "uint8", "int8", "int32", "int64")


@dataclass(frozen=True, kw_only=True)
class Card:
    """What all variants of a model have in common.

    Attributes:
      name: of the model.
      shape: of one sample; (height, width, channels) of a picture.
      encoding: how pixels become inputs.
      labels: class names in the order of the first output; () where it is no class.
      task: of the model, '' where it is not known.
      head: what the first output holds, see `edgefm.tflite.contract.Contract`.
      license: of the model, '' where it is not known.
      dark_background: see `edgefm.data.dataset.Dataset`; None where it is not known: told by the labels then.
    """

    name: str
    shape: tuple[int, ...]
    encoding: Preprocessing
    labels: tuple[str, ...]
    task: str = ""
    head: str = ""
    license: str = ""
    dark_background: bool | None = None


def described(content: bytes, variant: Variant, card: Card) -> bytes:
    """Return a .tflite file with plain tensor names and the metadata of a card.

    Metadata are written for classifiers of pictures with one output, which their schema describes. Of several inputs
    or outputs each tensor gets the name that the signature has, that of the model. Other files come back as they are.
    """
    inputs, outputs = input_names(content), output_names(content)
    if len(inputs) > 1 or len(outputs) > 1:  # each keeps its name; the metadata of a classifier describe one of each
        return with_names(content, input_name=inputs if len(inputs) > 1 else INPUT, output_name=outputs)
    if len(card.shape) != 3 or not card.labels or card.task not in LABELLED or card.encoding.no_pixels is not None:
        return content
    height, width, channels = card.shape
    low, high = card.encoding.value_range
    logits = card.head == "logits"
    what = "label" if card.task == "multilabel" else "class"
    name = "logits" if logits else OUTPUT
    least, greatest = (-_LARGEST, _LARGEST) if logits else _PROBABILITIES
    metadata = Metadata(
        name=f"{card.name} {variant.name}",
        description=f"Image classifier, {len(card.labels)} classes; {variant.description}.",
        version="1",
        author=f"edgefm {version('edgefm') or ''}".strip(),
        license=card.license,
        input=TensorNote(name=INPUT, description="The picture.", minimum=low, maximum=high),
        height=height,
        width=width,
        channels=channels,
        mean=card.encoding.mean,
        std=card.encoding.std,
        output=TensorNote(
            name=name,
            description=f"One {'logit' if logits else 'probability'} a {what}.",
            minimum=least,
            maximum=greatest,
        ),
        labels=card.labels,
    )
    return with_metadata(with_names(content, input_name=INPUT, output_name=name), metadata)


def write_model_folder(
    folder: Path,
    content: bytes,
    variant: str,
    card: Card,
    *,
    made_by: Mapping[str, Any],
    inputs: NDArray[np.float32],
    expected: Sequence[NDArray[np.float32]],
    answers: Answers,
) -> Contract:
    """Write a variant's folder and return its contract, which tells how LiteRT's outputs compare.

    The contract is written once pictures have proved it: `made_by` says so under `pictures`.

    Args:
      folder: made if it is not there.
      content: what `described` gave.
      variant: its name.
      card: of the model.
      made_by: provenance, for the contract.
      inputs: float32 [n, ...], real inputs to compare on.
      expected: float32 [n, ...] each, the given model's outputs for them.
      answers: gives the given model's outputs for other inputs.
    Raises:
      ModelError: LiteRT cannot load the file, its ends are not those of the card, or pictures give other answers
        than the given model.
    """
    path = artefacts.write_bytes(folder / MODEL_FILE, content)
    with apart.load(path) as session:
        source, sinks = session.input, session.outputs
    shapes = [(1, *output.shape[1:]) for output in expected]
    if len(sinks) != len(shapes):
        raise ModelError(f"the written file has {len(sinks)} outputs; the model has {len(shapes)}")
    scores = bool(card.labels) and card.head != "logits"
    ranges = [_range(output, probabilities=scores and place == 0) for place, output in enumerate(expected)]
    agreed = Contract(
        name=card.name,
        variant=variant,
        file=MODEL_FILE,
        sha256=artefacts.sha256_bytes(content),
        size_bytes=len(content),
        input=_input(source, card, inputs),
        outputs=tuple(_tensor(*ends) for ends in zip(sinks, shapes, ranges, strict=True)),
        mean=card.encoding.mean,
        std=card.encoding.std,
        labels=card.labels,
        no_pixels=card.encoding.no_pixels,
        pictures=_pictures(card),
        made_by=made_by,
        task=card.task,
        head=card.head,
    )
    try:
        outputs = tflite_outputs(content, inputs)
    except ModelError as error:
        raise ModelError(f"variant '{variant}': {error.message}", hint=error.hint) from error
    parity = {
        "images": len(inputs),
        "max_abs_difference": max(
            float(np.abs(answer - wanted).max()) for answer, wanted in zip(outputs, expected, strict=True)
        ),
        **_same(card, outputs, tuple(expected)),
    }
    samples = Samples(inputs=inputs, expected=tuple(expected), encoding=card.encoding, answers=answers)
    pictures = prove(path, agreed, samples)
    agreed = replace(agreed, made_by={**made_by, "parity": parity, "pictures": pictures})
    if card.labels:
        artefacts.write_text(folder / LABELS_FILE, one_a_line(card.labels))
    agreed.write(folder)
    return agreed


def _pictures(card: Card) -> PictureSteps:
    """Return how pictures get into a model: as data in folders are read, but for bright things on dark: letterboxed."""
    dark = card.labels == LABELS if card.dark_background is None else card.dark_background
    return replace(LETTERBOX, invert="light_border") if dark else PictureSteps()


def _same(card: Card, outputs: Outputs, expected: Outputs) -> dict[str, float | None]:
    """Return the share of samples of which both say the same class, or the same labels."""
    threshold = 0.0 if card.head == "logits" else THRESHOLD
    if card.task == "multilabel":
        equal = ((outputs[0] > threshold) == (expected[0] > threshold)).all(axis=-1)
        return {"same_top1": None, "same_labels": round(float(equal.mean()), 4)}
    if not card.labels or card.task not in LABELLED:
        return {"same_top1": None}
    chosen, wanted = (predicted_classes(answers, threshold=threshold) for answers in (outputs, expected))
    return {"same_top1": round(float((chosen == wanted).mean()), 4)}


def _range(output: NDArray[np.float32], *, probabilities: bool) -> tuple[float, float]:
    """Return the least and greatest real value of an output; of no classes, what the samples gave."""
    return _PROBABILITIES if probabilities else (float(output.min()), float(output.max()))


def _input(source: TensorDetails, card: Card, inputs: NDArray[Any]) -> contract.Tensor:
    """Return the input of a contract; of several inputs the range of each is that of the samples."""
    if not source.parts:
        return _tensor(source, (1, *card.shape), card.encoding.value_range)
    values = joined.split(inputs)
    parts = tuple(
        _tensor(part, (1, *values[part.name].shape[1:]), _range(values[part.name], probabilities=False))
        for part in source.parts
    )
    return contract.Tensor(
        name=source.name,
        dtype=source.dtype,
        shape=source.shape,
        scale=None,
        zero_point=None,
        value_range=card.encoding.value_range,
        parts=parts,
    )


def _tensor(details: TensorDetails, shape: tuple[int, ...], value_range: tuple[float, float]) -> contract.Tensor:
    if details.shape != shape:
        raise ModelError(f"'{details.name}' of the written file has shape {details.shape}; {shape} is expected")
    if details.dtype not in _DTYPES:
        raise ModelError(
            f"'{details.name}' of the written file is {details.dtype}; one of {', '.join(_DTYPES)} is expected"
        )
    return contract.Tensor(
        name=details.name,
        dtype=details.dtype,
        shape=shape,
        scale=details.scale,
        zero_point=details.zero_point,
        value_range=value_range,
    )
