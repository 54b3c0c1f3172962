"""Keras file -> the TFLite variants: folded, converted, quantised, described, load-tested, and compared."""

from __future__ import annotations

import gzip
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm import artefacts
from edgefm.contract import Contract
from edgefm.data.preprocessing import PIXELS, Preprocessing, preprocessing
from edgefm.environment import versions
from edgefm.errors import DataError, ModelError
from edgefm.progress import SILENT, Progress
from edgefm.recipes import Quantization
from edgefm.silence import silenced
from edgefm_converters.calibration_set import CalibrationSet, noise, rescales_first
from edgefm_converters.keras_file import load_keras
from edgefm_converters.keras_to_tflite import float32_tflite
from edgefm_converters.model_folder import MODEL_FILE, Card, described, write_model_folder
from edgefm_converters.quantizing import NEEDS_CALIBRATION, calibrate, quantize_tflite

REPORT_FILE = "quantize.json"
SCHEMA_VERSION = 1
# Probabilities of the folded and the given model may differ by this much before the fold is distrusted.
FOLD_TOLERANCE = 1e-4
# What decides the content of the files.
LIBRARIES = ("edgefm", "tensorflow", "keras", "litert-quantizer", "ai-edge-litert", "numpy")

Pictures = Callable[[Preprocessing, tuple[int, int, int]], CalibrationSet | None]


@dataclass(frozen=True, kw_only=True)
class VariantReport:
    """One written file.

    Attributes:
      variant: its name.
      file: path relative to the export's folder.
      sha256: of the file.
      size_bytes: of the file, metadata included.
      gzip_bytes: of the file compressed with gzip -9.
      of_float32: size_bytes over that of the float32 file.
      max_abs_difference: greatest difference of a probability from the Keras model's, over the parity pictures.
      same_top1: share of the parity pictures with the Keras model's best class.
      seconds: time that this variant took, load test included; the shared conversion is apart.
    """

    variant: str
    file: str
    sha256: str
    size_bytes: int
    gzip_bytes: int
    of_float32: float
    max_abs_difference: float
    same_top1: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """What an export did, measured on its files.

    Attributes:
      source: name, file and sha256 of the Keras model; the value range of its inputs; `softmax_added`.
      recipe: what was asked for, as JSON.
      variants: one entry a file, in the order of writing.
      folding: `used`; `reason` where it is not; `max_abs_difference` from the given Keras model; `folded` and
        `left_out` layers.
      conversion: `max_abs_difference` and `same_top1` of the float32 file against the Keras model.
      parity: the pictures on which outputs were compared.
      calibration: the pictures that set the ranges of activations; None without an int8 variant.
      seconds: by phase: load, fold, convert, calibrate, write.
      versions: of the libraries used.
    """

    source: Mapping[str, Any]
    recipe: Mapping[str, Any]
    variants: tuple[VariantReport, ...]
    folding: Mapping[str, Any]
    conversion: Mapping[str, Any]
    parity: Mapping[str, Any]
    calibration: Mapping[str, Any] | None
    seconds: Mapping[str, float]
    versions: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        return {
            "schema_version": SCHEMA_VERSION,
            **asdict(self),
            "variants": [asdict(variant) for variant in self.variants],
        }


@dataclass(frozen=True, kw_only=True)
class _Source:
    """A loaded model, and what it gives for the parity pictures."""

    model: Any
    card: Card
    compared: CalibrationSet
    calibrates: bool
    expected: NDArray[np.float32]
    softmax_added: bool


def export_variants(
    model_path: Path,
    folder: Path,
    *,
    recipe: Quantization,
    pictures: Pictures,
    labels: tuple[str, ...] | None = None,
    name: str | None = None,
    value_range: tuple[float, float] | None = None,
    progress: Progress = SILENT,
) -> ExportReport:
    """Write `<folder>/<variant>/{model.tflite, contract.json, labels.txt}` and `<folder>/quantize.json`.

    Args:
      model_path: `.keras` file of an image classifier.
      folder: an empty one.
      recipe: which variants, and how.
      pictures: returns the calibration pictures for a preprocessing and an input shape [h, w, c], or None where
        there are none: then only variants without calibration can be written.
      labels: class names; by default the classes are numbered from '0'.
      name: in contracts and metadata; by default the model's own.
      value_range: of the model's inputs; by default (0, 255), which a model that starts with Rescaling takes.
      progress: receives progress.
    Raises:
      ModelError: the model cannot be read, converted or quantised, or a file fails its load test.
      DataError: no calibration pictures for an int8 variant.
    """
    steps = 2 + len(recipe.variants)
    progress.step("quantize", 0, steps, {"now": "loading"})
    clock = _Clock()
    source = _load(model_path, recipe, pictures, labels=labels, name=name, value_range=value_range, progress=progress)
    clock.lap("load")
    model, folding = _fold(source, recipe, progress)
    clock.lap("fold")
    progress.step("quantize", 1, steps, {"now": "converting"})
    float32 = float32_tflite(model)
    clock.lap("convert")
    calibration = None
    if source.calibrates:
        limits = source.card.encoding.value_range
        calibration = calibrate(float32, source.compared.inputs, value_range=limits)
    clock.lap("calibrate")

    origin = {
        "name": source.card.name,
        "file": model_path.name,
        "sha256": artefacts.sha256_file(model_path),
        "value_range": list(source.card.encoding.value_range),
        "softmax_added": source.softmax_added,
    }
    used = libraries()
    made_by = {"source": origin, "recipe": recipe.to_json(), "folding": folding, "versions": used}
    reference = described(quantize_tflite(float32, "float32"), "float32", source.card)
    with tempfile.TemporaryDirectory(prefix="edgefm-float32-") as elsewhere:
        conversion = write_model_folder(
            Path(elsewhere),
            reference,
            "float32",
            source.card,
            made_by={},
            inputs=source.compared.inputs,
            expected=source.expected,
        ).made_by["parity"]
    written = []
    for index, variant in enumerate(recipe.variants):
        progress.step("quantize", 2 + index, steps, {"now": variant})
        used_pictures = source.compared.to_json() if variant in NEEDS_CALIBRATION else None
        started = time.perf_counter()
        content = reference
        if variant != "float32":
            compressed = quantize_tflite(float32, variant, calibration=calibration)
            content = described(compressed, variant, source.card)
        agreed = write_model_folder(
            folder / variant,
            content,
            variant,
            source.card,
            made_by={**made_by, "calibration": used_pictures},
            inputs=source.compared.inputs,
            expected=source.expected,
        )
        written.append(_report(agreed, content, float32_bytes=len(reference), started=started))
    clock.lap("write")
    report = ExportReport(
        source=origin,
        recipe=recipe.to_json(),
        variants=tuple(written),
        folding=folding,
        conversion=conversion,
        parity=source.compared.to_json(),
        calibration=source.compared.to_json() if source.calibrates else None,
        seconds=clock.laps,
        versions=used,
    )
    artefacts.write_json(folder / REPORT_FILE, report.to_json())
    progress.step("quantize", steps, steps)
    return report


def libraries() -> dict[str, str]:
    """Return the versions that decide the content of the files."""
    return {library: version for library, version in versions().items() if library in LIBRARIES}


def _load(
    path: Path,
    recipe: Quantization,
    pictures: Pictures,
    *,
    labels: tuple[str, ...] | None,
    name: str | None,
    value_range: tuple[float, float] | None,
    progress: Progress,
) -> _Source:
    model = load_keras(path)
    if value_range is None and not rescales_first(model):
        progress.note(
            f"{path.name} does not start with Rescaling: it is taken to want pixels 0 to 255 as they are. "
            "Give --value-range 0,1 (or -1,1) if it was trained on such values."
        )
    encoding = preprocessing(value_range or PIXELS)
    height, width, channels = (int(length) for length in model.inputs[0].shape[1:])
    classes = int(model.outputs[0].shape[1])
    if labels is None:
        progress.note("no labels are given: the classes are numbered")
        labels = tuple(str(index) for index in range(classes))
    if len(labels) != classes:
        raise DataError(f"{len(labels)} labels were given for {classes} outputs of {path.name}")
    given = pictures(encoding, (height, width, channels))
    demanding = [variant for variant in recipe.variants if variant in NEEDS_CALIBRATION]
    if demanding and given is None:
        raise DataError(
            f"{', '.join(demanding)} need pictures to calibrate with: {path.name} takes {height}x{width}x{channels}, "
            "Fashion-MNIST has 28x28x1",
            hint="Give some with --calibration-data FILE.npz (array 'images', uint8 [n, height, width, channels]), "
            "or choose --variant float32, float16, drq_w8.",
        )
    compared = noise(encoding, shape=(height, width, channels)) if given is None else given
    expected = _outputs(model, compared.inputs)
    logits = bool(expected.min() < 0 or expected.max() > 1)
    if logits:
        progress.note(f"{path.name} gives values beyond 0 to 1: a softmax is added, so that it gives probabilities")
        model = _with_softmax(model)
        expected = _outputs(model, compared.inputs)
    return _Source(
        model=model,
        card=Card(name=name or model.name, shape=(height, width, channels), encoding=encoding, labels=labels),
        compared=compared,
        calibrates=bool(demanding),
        expected=expected,
        softmax_added=logits,
    )


def _fold(source: _Source, recipe: Quantization, progress: Progress) -> tuple[Any, dict[str, Any]]:
    """Return the model to convert, folded where that is wanted and proved right, and what was done."""
    if not recipe.fold_batch_norm:
        return source.model, {"used": False, "reason": "not wanted"}
    from edgefm.compression.folding import fold

    folded, report = fold(source.model)
    difference = _difference(_outputs(folded, source.compared.inputs), source.expected)
    done = {"max_abs_difference": difference, **report.to_json()}
    if difference > FOLD_TOLERANCE:
        reason = f"outputs differ by {difference:.1e} from the given model's; {FOLD_TOLERANCE:.0e} is allowed"
        progress.note(f"batch normalisation is not folded: {reason}")
        return source.model, {"used": False, "reason": reason, **done}
    for layer in report.left_out:
        progress.note(f"{layer.layer} is not folded: {layer.reason}")
    return folded, {"used": True, **done}


def _report(agreed: Contract, content: bytes, *, float32_bytes: int, started: float) -> VariantReport:
    parity = agreed.made_by["parity"]
    return VariantReport(
        variant=agreed.variant,
        file=f"{agreed.variant}/{MODEL_FILE}",
        sha256=agreed.sha256,
        size_bytes=len(content),
        gzip_bytes=len(gzip.compress(content, 9, mtime=0)),
        of_float32=round(len(content) / float32_bytes, 4),
        max_abs_difference=parity["max_abs_difference"],
        same_top1=parity["same_top1"],
        seconds=round(time.perf_counter() - started, 3),
    )


def _outputs(model: Any, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a Keras model's outputs at inference, float32 [n, classes]."""
    with silenced():
        batches = np.split(inputs, range(64, len(inputs), 64))
        outputs = np.concatenate([np.asarray(model(batch, training=False)) for batch in batches])
    if not np.isfinite(outputs).all():
        raise ModelError(f"the model '{model.name}' gives outputs that are not finite")
    return outputs.astype(np.float32)


def _with_softmax(model: Any) -> Any:
    import keras

    return keras.Model(model.inputs, keras.layers.Softmax(name="edgefm_softmax")(model.outputs[0]), name=model.name)


def _difference(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    return float(np.abs(found - expected).max())


class _Clock:
    """Seconds between laps, by name."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Enter the time since the last lap."""
        now = time.perf_counter()
        self.laps[name] = round(now - self._last, 3)
        self._last = now
