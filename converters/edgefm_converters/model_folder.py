"""One variant's folder: model.tflite with metadata, contract.json, labels.txt; written, then load-tested."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm import artefacts, contract
from edgefm.contract import Contract
from edgefm.data.preprocessing import Preprocessing
from edgefm.environment import version
from edgefm.errors import ModelError
from edgefm.recipes import VARIANTS
from edgefm.runtimes import litert
from edgefm.runtimes.base import TensorDetails
from edgefm_converters.keras_to_tflite import INPUT, OUTPUT
from edgefm_converters.metadata import LABELS_FILE, Metadata, TensorNote, with_metadata
from edgefm_converters.surgery import with_names

MODEL_FILE = "model.tflite"
_PROBABILITIES = (0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Card:
    """What all variants of a model have in common.

    Attributes:
      name: of the model.
      shape: (height, width, channels) of the picture.
      encoding: how pixels become inputs.
      labels: class names in the order of the output.
      license: of the model, '' where it is not known.
    """

    name: str
    shape: tuple[int, int, int]
    encoding: Preprocessing
    labels: tuple[str, ...]
    license: str = ""


def described(content: bytes, variant: str, card: Card) -> bytes:
    """Return a .tflite file with plain tensor names and the metadata of a card."""
    height, width, channels = card.shape
    low, high = card.encoding.value_range
    metadata = Metadata(
        name=f"{card.name} {variant}",
        description=f"Image classifier, {len(card.labels)} classes; {VARIANTS[variant]}.",
        version="1",
        author=f"edgefm {version('edgefm') or ''}".strip(),
        license=card.license,
        input=TensorNote(name=INPUT, description="The picture.", minimum=low, maximum=high),
        height=height,
        width=width,
        channels=channels,
        mean=card.encoding.mean,
        std=card.encoding.std,
        output=TensorNote(name=OUTPUT, description="One probability a class.", minimum=0.0, maximum=1.0),
        labels=card.labels,
    )
    return with_metadata(with_names(content, input_name=INPUT, output_name=OUTPUT), metadata)


def write_model_folder(
    folder: Path,
    content: bytes,
    variant: str,
    card: Card,
    *,
    made_by: Mapping[str, Any],
    inputs: NDArray[np.float32],
    expected: NDArray[np.float32],
) -> Contract:
    """Write a variant's folder and return its contract, which tells how LiteRT's outputs compare.

    Args:
      folder: made if it is not there.
      content: what `described` gave.
      variant: its name.
      card: of the model.
      made_by: provenance, for the contract.
      inputs: float32 [n, height, width, channels], real inputs to compare on.
      expected: float32 [n, classes], the Keras model's outputs for them.
    Raises:
      ModelError: LiteRT cannot load the file, or its ends are not those of the card.
    """
    path = artefacts.write_bytes(folder / MODEL_FILE, content)
    with litert.load(path) as session:
        agreed = Contract(
            name=card.name,
            variant=variant,
            file=MODEL_FILE,
            sha256=artefacts.sha256_bytes(content),
            size_bytes=len(content),
            input=_tensor(session.input, (1, *card.shape), card.encoding.value_range),
            output=_tensor(session.output, (1, len(card.labels)), _PROBABILITIES),
            mean=card.encoding.mean,
            std=card.encoding.std,
            labels=card.labels,
            made_by=made_by,
        )
        raw = [session.run(contract.quantize(image[None], agreed.input)) for image in inputs]
    outputs = agreed.decode(np.concatenate(raw))
    if not np.isfinite(outputs).all():
        raise ModelError(f"variant '{variant}' gives outputs that are not finite")
    parity = {
        "images": len(inputs),
        "max_abs_difference": float(np.abs(outputs - expected).max()),
        "same_top1": round(float((outputs.argmax(axis=1) == expected.argmax(axis=1)).mean()), 4),
    }
    agreed = replace(agreed, made_by={**made_by, "parity": parity})
    artefacts.write_text(folder / LABELS_FILE, "\n".join(card.labels) + "\n")
    agreed.write(folder)
    return agreed


def _tensor(found: TensorDetails, shape: tuple[int, ...], value_range: tuple[float, float]) -> contract.Tensor:
    if found.shape != shape:
        raise ModelError(f"'{found.name}' of the written file has shape {found.shape}; {shape} is expected")
    if found.dtype not in ("float32", "uint8"):
        raise ModelError(f"'{found.name}' of the written file is {found.dtype}; float32 or uint8 is expected")
    return contract.Tensor(
        name=found.name,
        dtype=found.dtype,
        shape=shape,
        scale=found.scale,
        zero_point=found.zero_point,
        value_range=value_range,
    )
