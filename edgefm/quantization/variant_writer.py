"""One variant's files, and what is measured on them against the given model: parity, quality, columns, promises."""

from __future__ import annotations

import gzip
import importlib.util
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core import scratch
from edgefm.core.errors import (
    missing_extra,
)
from edgefm.core.progress import SILENT, Progress
from edgefm.core.task_names import LABELLED
from edgefm.data.preprocessing import Preprocessing
from edgefm.quantization.checks.columns import columns, worst
from edgefm.quantization.checks.findings import Finding, of_file
from edgefm.quantization.checks.gates import check_promises
from edgefm.quantization.checks.given_model import GivenModel, check_float32
from edgefm.quantization.conversion import Converter
from edgefm.quantization.export_report import VariantReport
from edgefm.quantization.model_folder import MODEL_FILE, Card, described, write_model_folder
from edgefm.quantization.source import Source
from edgefm.recipes import Variant
from edgefm.tflite.contract import Contract
from edgefm.tflite.inspection import inspect
from edgefm_converters.tflite.tflite_outputs import tflite_outputs

if TYPE_CHECKING:
    from edgefm.quantization.chain import Link


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """The float32 file, which answers as the given model does.

    Attributes:
      sha256: of the file.
      size_bytes: of the file.
      parity: its outputs against the given model's.
      answers: its outputs for the given model's samples.
      quality: on them; None without data.
    """

    sha256: str
    size_bytes: int
    parity: Mapping[str, Any]
    answers: tuple[NDArray[np.float32], ...]
    quality: float | None


@dataclass(frozen=True, kw_only=True)
class VariantWriter:
    """Writes a variant's folder and measures what is in it."""

    source: Source
    folder: Path
    made_by: Mapping[str, Any]
    given: GivenModel
    progress: Progress = field(default=SILENT, compare=False)

    def reference(self, converter: Converter, variant: Variant) -> Baseline:
        """Return what the float32 file is like; it is written to a folder that is removed again."""
        with scratch.folder("float32") as elsewhere:
            made = converter.make(variant)
            content = described(made.content, variant, self._card(made.encoding))
            agreed = self._folder(elsewhere, content, variant, made.encoding, made_by={})
            answers = self._answers(elsewhere / MODEL_FILE, made.encoding, label="float32 on validation")
        check_float32(self.given, answers)
        proof = agreed.made_by["pictures"]
        if proof["pictures"] and "reason" in proof:
            self.progress.note(f"the contract is proved without picture files: {proof['reason']}")
        return Baseline(
            sha256=agreed.sha256,
            size_bytes=len(content),
            parity=agreed.made_by["parity"],
            answers=answers,
            quality=self._quality(answers),
        )

    def write(
        self, converter: Converter, variant: Variant, baseline: Baseline
    ) -> tuple[VariantReport, Sequence[Finding]]:
        """Write a variant's folder; return what is in it and what it has lost of the given model's answers."""
        started = time.perf_counter()
        made = converter.make(variant)
        content = described(made.content, variant, self._card(made.encoding))
        folder = self.folder / variant.name
        passes = tuple(link.to_json() for link in made.links)
        made_by = {
            **self.made_by,
            "variant": variant.to_json()["params"],
            "calibration": self.source.compared.to_json() if variant.calibrated else None,
            **({"post_training": dict(made.post_training)} if made.post_training else {}),
        }
        agreed = self._folder(folder, content, variant, made.encoding, made_by=made_by)
        path = folder / MODEL_FILE
        inside = inspect(path)
        parity = agreed.made_by["parity"]
        same = agreed.sha256 == baseline.sha256
        label = f"{variant.name} on validation"
        answers = baseline.answers if same else self._answers(path, made.encoding, label=label)
        compared = columns(self.given.outputs, answers, labels=self.source.labels)
        furthest = worst(compared)
        report = VariantReport(
            variant=variant.name,
            description=variant.description,
            file=f"{variant.name}/{MODEL_FILE}",
            sha256=agreed.sha256,
            size_bytes=len(content),
            gzip_bytes=len(gzip.compress(content, 9, mtime=0)),
            zstd_bytes=_zstd_bytes(content),
            of_float32=round(len(content) / baseline.size_bytes, 4),
            macs=inside.macs,
            activation_bytes=inside.largest_activation_bytes,
            max_abs_difference=parity["max_abs_difference"],
            same_top1=parity["same_top1"],
            same_labels=parity.get("same_labels"),
            passes=passes,
            promises=self._promises(path, variant, made.links),
            validation=self._validation(answers, variant, baseline),
            worst_column=furthest.to_json() if furthest is not None else None,
            post_training=made.post_training,
            seconds=round(time.perf_counter() - started, 3),
        )
        return report, of_file(
            variant.name,
            compared,
            answers,
            self.given,
            classes=self.source.head.task in LABELLED,
            trained=bool(variant.passes),
            several=self.source.head.task == "multilabel",
            threshold=self.source.head.threshold,
        )

    def _card(self, encoding: Preprocessing) -> Card:
        return card_of(self.source, encoding)

    def _folder(
        self, folder: Path, content: bytes, variant: Variant, encoding: Preprocessing, *, made_by: Mapping[str, Any]
    ) -> Contract:
        return write_model_folder(
            folder,
            content,
            variant.name,
            self._card(encoding),
            made_by=made_by,
            inputs=reencoded(self.source.compared.inputs, self.source.encoding, encoding),
            expected=self.source.expected,
            answers=lambda inputs: self.source.answers(reencoded(inputs, encoding, self.source.encoding)),
        )

    def _promises(self, path: Path, variant: Variant, links: Sequence[Link]) -> tuple[Mapping[str, Any], ...]:
        promises: list[Mapping[str, Any]] = []
        for recipe, link in zip(variant.passes, links, strict=True):
            promises += check_promises(path, (recipe,), left_alone=_left_alone(link.facts))
            parity = link.facts.get("parity")
            if parity is not None and not parity["held"]:
                where = parity["first_divergence"]
                self.progress.note(
                    f"{variant.name}: the file and the graph that was trained differ more than is allowed"
                    + (f"; {where['layer']} is the first layer that does" if where else "")
                )
        for promise in promises:
            if not promise["held"]:
                self.progress.note(
                    f"{variant.name} fails a check: {promise['promise']} {promise['wanted']} was requested, "
                    f"the file has {promise['found']} ({promise['where']})"
                )
        return tuple(promises)

    def _validation(
        self, answers: Sequence[NDArray[np.float32]], variant: Variant, baseline: Baseline
    ) -> Mapping[str, Any] | None:
        task, value = self.source.task, self._quality(answers)
        if task is None or value is None or baseline.quality is None or self.given.quality is None:
            return None
        measure = task.quality
        loss = measure.loss(self.given.quality, value)
        # A limit is in percentage points: it says nothing of an error's size.
        limit = variant.accuracy_drop_at_most if measure.unit == "%" else None
        if limit is None and variant.accuracy_drop_at_most is not None:
            self.progress.note(f"{variant.name}: its limit is in percentage points; {measure.name} has none")
        held = None if limit is None else bool(loss <= limit)
        if held is False:
            self.progress.note(
                f"{variant.name} loses {loss:.2f} {'points' if measure.unit == '%' else ''} of {measure.name} on "
                f"validation; its recipe allows {limit:g}. It is kept beside the others."
            )
        return {
            "quality": measure.name,
            "unit": measure.unit,
            "higher_is_better": measure.higher_is_better,
            "samples": len(self.given.inputs),
            "value": value,
            "float32": baseline.quality,
            "given": self.given.quality,
            "loss": loss,
            "limit": limit,
            "held": held,
        }

    def _answers(self, path: Path, encoding: Preprocessing, *, label: str) -> tuple[NDArray[np.float32], ...]:
        """Return a file's outputs for the samples on which the given model was asked."""
        inputs = reencoded(self.given.inputs, self.source.encoding, encoding)
        return tflite_outputs(path.read_bytes(), inputs, label=label, progress=self.progress)

    def _quality(self, answers: Sequence[NDArray[np.float32]]) -> float | None:
        task, targets = self.source.task, self.given.targets
        return None if task is None or targets is None else float(task.quality.function(tuple(answers), targets))


def card_of(source: Source, encoding: Preprocessing) -> Card:
    """Return what the files of a source have in common, where pixels become inputs by `encoding`."""
    return Card(
        name=source.name,
        shape=source.input_shape,
        encoding=encoding,
        labels=source.labels,
        task=source.head.task,
        head=source.head.kind,
        dark_background=None if source.task is None else source.task.dataset.dark_background,
    )


def _zstd_bytes(content: bytes) -> int:
    if importlib.util.find_spec("zstandard") is None:
        raise missing_extra("zstandard", "quantize")
    import zstandard

    return len(zstandard.ZstdCompressor(level=19).compress(content))


def _left_alone(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the layers that a pass did not touch."""
    return tuple([left["layer"] for left in facts.get("excluded", ())] + list(facts.get("float32", ())))


def reencoded(inputs: NDArray[np.float32], given: Preprocessing, wanted: Preprocessing) -> NDArray[np.float32]:
    """Return inputs of one encoding as those of another: the same pixels."""
    if (given.mean, given.std) == (wanted.mean, wanted.std):
        return inputs
    pixels = inputs * np.float32(given.std) + np.float32(given.mean)
    return ((pixels - np.float32(wanted.mean)) / np.float32(wanted.std)).astype(np.float32)
