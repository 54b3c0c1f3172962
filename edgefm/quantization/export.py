"""A source -> the TFLite file of each variant: passes, conversion, quantisation, description, load test, gates."""

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

from edgefm.core import artefacts
from edgefm.core.environment import versions
from edgefm.core.errors import missing_extra
from edgefm.core.progress import SILENT, Progress
from edgefm.data.preprocessing import Preprocessing
from edgefm.quantization.conversion import Converter
from edgefm.quantization.export_report import ExportReport, VariantReport
from edgefm.quantization.feasibility import feasible
from edgefm.quantization.gates import check_promises
from edgefm.quantization.model_folder import MODEL_FILE, Card, described, write_model_folder
from edgefm.quantization.source import Source
from edgefm.recipes import PostTraining, Quantization, Variant
from edgefm.tflite.contract import Contract
from edgefm.tflite.inspection import inspect
from edgefm_converters.tflite.tflite_outputs import tflite_outputs

if TYPE_CHECKING:
    from edgefm.quantization.chain import Link

REPORT_FILE = "quantize.json"
# What decides the content of the files.
LIBRARIES = (
    "edgefm",
    "tensorflow",
    "keras",
    "tf-keras",
    "tensorflow-model-optimization",
    "litert-quantizer",
    "ai-edge-litert",
    "numpy",
)
_REFERENCE = "float32"
_VALIDATION_SAMPLES = 12_000


def export_variants(
    source: Source,
    folder: Path,
    *,
    recipe: Quantization,
    kept: Path,
    skip: bool = False,
    progress: Progress = SILENT,
) -> ExportReport:
    """Write `<folder>/<variant>/{model.tflite, contract.json, labels.txt}` and `<folder>/quantize.json`.

    Args:
      source: what is compressed.
      folder: an empty one.
      recipe: which variants, and how.
      kept: folder of the passes' results, found again by their content.
      skip: leave out variants that this source cannot give, and say so, instead of raising an error.
      progress: receives progress.
    Raises:
      ModelError: the model cannot be converted or quantised, or a file fails its load test.
      DataError: a variant needs data that the source does not have.
    """
    chosen, skipped = feasible(source, recipe, skip=skip)
    for one in skipped:
        progress.note(f"{one['variant']} is left out: {one['reason']}")
    clock = time.perf_counter()
    steps = 1 + len(chosen)
    progress.step("quantize", 0, steps, {"now": _REFERENCE})
    converter = Converter(source, recipe, kept=kept, progress=progress)
    used = libraries()
    made_by = {
        "source": source.to_json(),
        "recipe": {name: value for name, value in recipe.to_json()["params"].items() if name != "variants"},
        "versions": used,
    }
    writer = _Writer(source=source, folder=folder, made_by=made_by, progress=progress)
    reference = Variant(name=_REFERENCE, quantization=PostTraining(scheme=_REFERENCE))
    baseline = writer.reference(converter, reference)
    seconds = {"reference": round(time.perf_counter() - clock, 3)}
    clock = time.perf_counter()
    written = []
    for index, variant in enumerate(chosen):
        progress.step("quantize", 1 + index, steps, {"now": variant.name})
        written.append(writer.write(converter, variant, baseline))
    seconds["variants"] = round(time.perf_counter() - clock, 3)
    calibrated = any(variant.calibrated for variant in chosen)
    report = ExportReport(
        source=source.to_json(),
        recipe=recipe.to_json(),
        variants=tuple(written),
        skipped=skipped,
        folding=converter.folding(),
        conversion=baseline.parity,
        parity=source.compared.to_json(),
        calibration=source.compared.to_json() if calibrated else None,
        seconds=seconds,
        versions=used,
    )
    artefacts.write_json(folder / REPORT_FILE, report.to_json())
    progress.step("quantize", steps, steps)
    return report


def libraries() -> dict[str, str]:
    """Return the versions that decide the content of the files."""
    return {library: version for library, version in versions().items() if library in LIBRARIES}


@dataclass(frozen=True, kw_only=True)
class _Baseline:
    """The float32 file: what the others are compared with."""

    sha256: str
    size_bytes: int
    parity: Mapping[str, Any]
    quality: float | None


@dataclass(frozen=True, kw_only=True)
class _Writer:
    """Writes a variant's folder and measures what is in it."""

    source: Source
    folder: Path
    made_by: Mapping[str, Any]
    progress: Progress = field(default=SILENT, compare=False)

    def reference(self, converter: Converter, variant: Variant) -> _Baseline:
        """Return what the float32 file is like; it is written to a folder that is removed again."""
        import tempfile

        with tempfile.TemporaryDirectory(prefix="edgefm-float32-") as elsewhere:
            made = converter.make(variant)
            content = described(made.content, variant, self._card(made.encoding))
            agreed = self._folder(Path(elsewhere), content, variant, made.encoding, made_by={})
            quality = self._quality(Path(elsewhere) / MODEL_FILE, agreed, made.encoding, label="float32 on validation")
        return _Baseline(
            sha256=agreed.sha256, size_bytes=len(content), parity=agreed.made_by["parity"], quality=quality
        )

    def write(self, converter: Converter, variant: Variant, baseline: _Baseline) -> VariantReport:
        """Write a variant's folder and return what is in it."""
        started = time.perf_counter()
        made = converter.make(variant)
        content = described(made.content, variant, self._card(made.encoding))
        folder = self.folder / variant.name
        passes = tuple(link.to_json() for link in made.links)
        made_by = {
            **self.made_by,
            "variant": variant.to_json()["params"],
            "calibration": self.source.compared.to_json() if variant.calibrated else None,
        }
        agreed = self._folder(folder, content, variant, made.encoding, made_by=made_by)
        path = folder / MODEL_FILE
        inside = inspect(path)
        parity = agreed.made_by["parity"]
        return VariantReport(
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
            passes=passes,
            promises=self._promises(path, variant, made.links),
            validation=self._validation(path, agreed, made.encoding, variant, baseline),
            post_training=made.post_training,
            seconds=round(time.perf_counter() - started, 3),
        )

    def _card(self, encoding: Preprocessing) -> Card:
        source = self.source
        return Card(
            name=source.name,
            shape=source.input_shape,
            encoding=encoding,
            labels=source.labels,
        )

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
        self, path: Path, agreed: Contract, encoding: Preprocessing, variant: Variant, baseline: _Baseline
    ) -> Mapping[str, Any] | None:
        task = self.source.task
        if agreed.sha256 == baseline.sha256:
            value = baseline.quality
        else:
            value = self._quality(path, agreed, encoding, label=f"{variant.name} on validation")
        if task is None or value is None or baseline.quality is None:
            return None
        measure = task.quality
        loss = measure.loss(baseline.quality, value)
        # A limit is in percentage points: it says nothing of an error's size.
        limit = variant.accuracy_drop_at_most if measure.unit == "%" else None
        if limit is None and variant.accuracy_drop_at_most is not None:
            self.progress.note(
                f"{variant.name}: its limit is not checked: it is in percentage points, and {measure.name} is no share"
            )
        held = None if limit is None else bool(loss <= limit)
        if held is False:
            self.progress.note(
                f"{variant.name} loses {loss:.2f} {'points' if measure.unit == '%' else ''} of {measure.name} on "
                f"validation; its recipe allows {limit:g}. The file is kept beside the others."
            )
        return {
            "quality": measure.name,
            "unit": measure.unit,
            "higher_is_better": measure.higher_is_better,
            "samples": min(len(task.dataset.validation), _VALIDATION_SAMPLES),
            "value": value,
            "float32": baseline.quality,
            "loss": loss,
            "limit": limit,
            "held": held,
        }

    def _quality(self, path: Path, agreed: Contract, encoding: Preprocessing, *, label: str) -> float | None:
        task = self.source.task
        if task is None:
            return None
        split = task.dataset.validation
        images, targets = split.images[:_VALIDATION_SAMPLES], split.labels[:_VALIDATION_SAMPLES]
        inputs = reencoded(task.inputs(images), self.source.encoding, encoding)
        outputs = tflite_outputs(path.read_bytes(), inputs, label=label, progress=self.progress)
        return float(task.quality.function(outputs, targets))


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
