"""Checks of calibration data before a model is quantised with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import DataError
from edgefm.core.progress import SILENT, Progress
from edgefm.data.quality import Quality
from edgefm.quantization.analysis.examined import Examined
from edgefm.quantization.analysis.sample_checks import SampleCheck, check_samples, sample_check
from edgefm.quantization.analysis.saturation import TensorSaturation, saturation
from edgefm.quantization.analysis.sensitivity import SCHEME, FileQuality, Yardstick
from edgefm_converters.tflite.quantizing import Calibration, calibrate, quantize_tflite
from edgefm_converters.tflite.tflite_outputs import tflite_outputs

SCHEMA_VERSION = 1
COUNTS = (16, 32, 64, 128, 256, 512, 1024)
# Share of a tensor's held-out values that may be cut off.
CLIPPED_AT_MOST = 0.01
# What more samples may still gain: percentage points, or a hundredth of an error.
GAIN_AT_MOST = 0.3
# By how much another encoding must do better to be believed: percentage points, or a tenth of an error.
_ENCODING_GAIN = 5.0
_ENCODINGS = ((0.0, 255.0), (0.0, 1.0), (-1.0, 1.0))
_LOOKED_AT = 200


@dataclass(frozen=True, kw_only=True)
class Point:
    """One int8 file: the number of samples that calibrated it, and what it answers."""

    images: int
    measured: FileQuality


@dataclass(frozen=True, kw_only=True)
class CalibrationReport:
    """The outcome of the checks.

    Attributes:
      checks: in words, in order.
      saturation: one entry a computed tensor.
      curve: int8 files by the number of samples that calibrated them.
      quality: name of the measure.
      unit: '%' where its value is a share.
      float32: value of the float32 file.
      calibration_images: number of samples that were checked.
      images: number of validation samples that files were measured on.
    """

    checks: tuple[SampleCheck, ...]
    saturation: tuple[TensorSaturation, ...]
    curve: tuple[Point, ...]
    quality: str
    unit: str
    float32: float
    calibration_images: int
    images: int

    @property
    def held(self) -> bool:
        """Whether no check failed."""
        return all(check.held is not False for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {"schema_version": SCHEMA_VERSION, "held": self.held, **asdict(self)}


def check_calibration(
    model: Examined,
    samples: NDArray[Any],
    *,
    labels: NDArray[Any] | None,
    count: int = 256,
    images: int = 1000,
    counts: Sequence[int] = COUNTS,
    progress: Progress = SILENT,
) -> CalibrationReport:
    """Return what is right and wrong with calibration samples for a model.

    Args:
      model: with its data; files are measured on its validation split.
      samples: [n, ...], uint8 pixels or float inputs, in the order in which they would be taken; the first `count`
        are checked, all of them make the curve.
      labels: [n], their targets; None where these are not known.
      count: number of samples that would calibrate.
      images: validation samples to measure on.
      counts: numbers of samples of the curve; those above n are left out.
      progress: told each part.
    Raises:
      DataError: no samples, or samples of another shape or dtype than the model's.
      ModelError: the model cannot be quantised.
    """
    _check_shape(model, samples)
    inputs = model.task.inputs(samples)
    used = inputs[:count]
    held_out, targets = model.validation(images)
    classes = model.task.dataset.labels if model.classes is not None else None
    checks = [
        _dtype(samples),
        *check_samples(
            used,
            value_range=model.encoding.value_range,
            held_out=held_out,
            labels=None if labels is None else labels[: len(used)],
            classes=classes,
        ),
    ]
    quality = model.task.quality
    yardstick = Yardstick(model.float32, held_out, targets, quality)
    checks.append(_encoding(model, held_out[:_LOOKED_AT], targets[:_LOOKED_AT]))
    clipped: tuple[TensorSaturation, ...] = ()
    curve: list[Point] = []
    if np.isfinite(inputs).all():
        clipped = saturation(
            model.float32,
            quantize_tflite(model.float32, SCHEME, calibration=replace(_calibrated(model, used), pixels=False)),
            samples=used[:_LOOKED_AT],
            held_out=held_out[:_LOOKED_AT],
            layer_names=model.layer_names,
            progress=progress,
        )
        checks.append(_saturated(clipped))
        steps = sorted({number for number in counts if number <= len(inputs)} | {len(used)})
        earlier: Calibration | None = None
        for index, number in enumerate(steps):
            progress.step("accuracy by samples", index, len(steps), {"samples": str(number)})
            earlier = _calibrated(model, inputs[earlier.images if earlier else 0 : number], earlier=earlier)
            content = quantize_tflite(model.float32, SCHEME, calibration=earlier)
            curve.append(Point(images=number, measured=yardstick.measured(content)))
        progress.step("accuracy by samples", len(steps), len(steps))
        checks.append(_enough(curve, len(used), quality))
    return CalibrationReport(
        checks=tuple(checks),
        saturation=clipped,
        curve=tuple(curve),
        quality=quality.name,
        unit=quality.unit,
        float32=yardstick.best,
        calibration_images=len(used),
        images=len(held_out),
    )


def _check_shape(model: Examined, samples: NDArray[Any]) -> None:
    shape = model.task.dataset.validation.images.shape[1:]
    if len(samples) == 0 or samples.shape[1:] != shape:
        wanted = ", ".join(map(str, shape))
        raise DataError(f"calibration samples have shape {samples.shape}; [n, {wanted}], n >= 1 is expected")
    if samples.dtype != np.uint8 and samples.dtype.kind != "f":
        raise DataError(
            f"calibration samples have dtype {samples.dtype}; uint8 pixels or float inputs are expected",
            hint="Use astype('uint8') for pixels, astype('float32') for inputs of the model.",
        )


def _dtype(samples: NDArray[Any]) -> SampleCheck:
    what = "pixels, normalised for the model" if samples.dtype == np.uint8 else "model inputs, unchanged"
    return sample_check("dtype", f"{samples.dtype}: used as {what}")


def _calibrated(model: Examined, inputs: NDArray[np.float32], *, earlier: Calibration | None = None) -> Calibration:
    value_range = model.encoding.value_range
    return calibrate(model.float32, inputs, value_range=value_range, pixels=model.pixels, earlier=earlier)


def _encoding(model: Examined, inputs: NDArray[np.float32], targets: NDArray[Any]) -> SampleCheck:
    """Return whether the float32 model does best with the encoding that it is said to take."""
    low, high = model.encoding.value_range
    if not model.pixels and (low, high) not in _ENCODINGS:
        return SampleCheck(name="encoding", held=None, verdict="not checked: the inputs are not pictures")
    quality = model.task.quality
    unit = (inputs - low) / (high - low)
    values: dict[tuple[float, float], float] = {}
    for least, most in dict.fromkeys(((low, high), *_ENCODINGS)):
        encoded = (unit * (most - least) + least).astype(np.float32)
        values[least, most] = quality.function(tflite_outputs(model.float32, encoded), targets)
    own = values[low, high]
    better = min(values, key=lambda encoding: quality.loss(own, values[encoding]))
    gain = -quality.loss(own, values[better])
    enough = _ENCODING_GAIN if quality.unit == "%" else 0.1 * abs(own)
    measured = f"float32 {quality.name} is {_shown(own, quality)} with inputs {low:g} to {high:g}"
    if better != (low, high) and gain > enough:
        least, most = better
        finding = f"{measured}, {_shown(values[better], quality)} with {least:g} to {most:g}"
        advice = f"the inputs are normalised twice or not at all. Give the value range {least:g},{most:g}"
        return sample_check("encoding", finding, advice)
    return sample_check("encoding", f"{measured}; no other usual range is better")


def _saturated(clipped: Sequence[TensorSaturation]) -> SampleCheck:
    worst = max(clipped, key=lambda tensor: tensor.clipped_held_out, default=None)
    if worst is None:
        return SampleCheck(name="saturation", held=None, verdict="not checked: no tensor is computed in float32")
    clipped_share = f"{100 * worst.clipped_held_out:.3g} % of validation values are clipped"
    finding = f"at most {clipped_share}, in {worst.layer} ({worst.operator}); {100 * CLIPPED_AT_MOST:g} % are allowed"
    advice = "use more varied samples" if worst.clipped_held_out > CLIPPED_AT_MOST else None
    return sample_check("saturation", finding, advice)


def _enough(curve: Sequence[Point], used: int, quality: Quality) -> SampleCheck:
    own = next(point.measured for point in curve if point.images == used)
    best = min(curve, key=lambda point: (point.measured.loss, point.images))
    unit = " points" if quality.unit == "%" else ""
    allowed = GAIN_AT_MOST if quality.unit == "%" else 0.01 * abs(own.quality)
    least = best.measured.loss
    losses = f"loss against float32: {own.loss:.3g}{unit} with {used} samples, best {least:.3g} with {best.images}"
    too_few = own.loss - least > allowed and best.images > used
    return sample_check("enough", losses, f"use {best.images}" if too_few else None)


def _shown(value: float, quality: Quality) -> str:
    return f"{100 * value:.1f} %" if quality.unit == "%" else f"{value:.4g}"
