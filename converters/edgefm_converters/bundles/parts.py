"""What every bundle is written from, and what every bundle holds, whatever it is for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edgefm.core.artefacts import json_bytes
from edgefm.core.text import one_a_line
from edgefm.tflite import contract as contracts
from edgefm.tflite.contract import Contract
from edgefm_converters.bundles.golden import GoldenVectors, golden_files
from edgefm_converters.bundles.sbom import Needed, sbom_bytes
from edgefm_converters.bundles.web_runtime import WebPage

MODEL_FILE = "model.tflite"
LABELS_FILE = "labels.txt"
CARD_FILE = "README.md"
NOTICE_FILE = "NOTICE"
SBOM_FILE = "sbom.cdx.json"


@dataclass(frozen=True, kw_only=True)
class BundleParts:
    """A model with all that is known of it.

    Attributes:
      contract: of the model; its file is called `model.tflite` in a bundle.
      model: content of the file.
      golden: vectors.
      card: model card, Markdown.
      notice: licences and notices, text.
      operators: names of the file's operators, each once, sorted, e.g. 'CONV_2D'; custom ones as 'CUSTOM:name'.
      arena_bytes: what TensorFlow Lite Micro takes of its arena, as its allocator recorded it; None where it does not
        load the file, or was not asked.
      arena_reason: why `arena_bytes` is None; '' where it is not.
      version: of edgefm.
      network: the model as C that needs no interpreter, with its kernels, by file name; {} where it was not asked for.
      web: what a page holds; None for other bundles.
    """

    contract: Contract
    model: bytes = field(repr=False)
    golden: GoldenVectors
    card: str = field(repr=False)
    notice: str = field(repr=False)
    operators: tuple[str, ...]
    arena_bytes: int | None
    arena_reason: str
    version: str
    network: Mapping[str, str] = field(default_factory=dict, repr=False)
    web: WebPage | None = field(default=None, repr=False)


def common_files(parts: BundleParts, needs: tuple[Needed, ...]) -> dict[str, bytes]:
    """Return the files that every bundle of one model holds, by path.

    Args:
      parts: see there.
      needs: software that the bundle's code needs where it runs.
    """
    return {**model_files(parts), **about_files([parts], needs, notice=parts.notice)}


def about_files(models: Sequence[BundleParts], needs: tuple[Needed, ...], *, notice: str) -> dict[str, bytes]:
    """Return the licences and the bill of materials of a bundle, by path."""
    return {
        NOTICE_FILE: notice.encode(),
        SBOM_FILE: sbom_bytes([parts.contract for parts in models], needs, version=models[0].version),
    }


def model_files(parts: BundleParts) -> dict[str, bytes]:
    """Return the files of a model: itself, its contract, labels, golden vectors and card, by path."""
    contract = dataclasses.replace(parts.contract, file=MODEL_FILE)
    return {
        MODEL_FILE: parts.model,
        contracts.FILE_NAME: json_bytes(contract.to_json()),
        **({LABELS_FILE: one_a_line(contract.labels).encode()} if contract.labels else {}),
        **golden_files(parts.golden, contract),
        CARD_FILE: parts.card.encode(),
    }
