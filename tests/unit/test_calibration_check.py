from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgefm.compression.fine_tuning.task import Task
from edgefm.core.errors import DataError
from edgefm.data.dataset import Dataset, Split
from edgefm.data.preprocessing import preprocessing
from edgefm.data.quality import quality
from edgefm.quantization.analysis.calibration_check import CalibrationReport, check_calibration
from edgefm.quantization.analysis.examined import Examined
from edgefm.quantization.analysis.sample_checks import check_samples
from edgefm.quantization.analysis.saturation import saturation
from edgefm.quantization.calibration_set import read_samples
from edgefm_converters.tflite.quantizing import calibrate, quantize_tflite
from edgefm_converters.tflite.tflite_outputs import tflite_outputs
from tests.fixtures import tiny_models
from tests.fixtures.classifiers import run_with, small_classifier

CLASSES = tuple("abcdefghij")


def pixels(count: int, *, seed: int = 0) -> NDArray[np.uint8]:
    """Return pictures of blobs on black: no two alike, no value dominates."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (count, 7, 7, 1)) * (random.random((count, 7, 7, 1)) > 0.4)
    return np.repeat(np.repeat(coarse, 4, axis=1), 4, axis=2).astype(np.uint8)


@pytest.fixture(scope="module")
def model() -> Examined:
    """Return a model that answers pixels 0 to 255, and data whose labels are its own answers."""
    from edgefm.keras_graph.backend import use_backend

    use_backend("tensorflow")
    from edgefm_converters.tflite.keras_to_tflite import float32_tflite

    float32 = float32_tflite(small_classifier())

    def split(name: str, count: int, seed: int) -> Split:
        images = pixels(count, seed=seed)
        answers = tflite_outputs(float32, images.astype(np.float32))[0].argmax(axis=1)
        return Split(name=name, images=images, labels=answers.astype(np.int64))

    dataset = Dataset(
        name="blobs",
        labels=CLASSES,
        train=split("train", 200, 1),
        validation=split("validation", 80, 2),
        test=split("test", 10, 3),
        sha256="",
    )
    encoding = preprocessing((0, 255))
    task = Task(dataset=dataset, encoding=encoding, quality=quality("accuracy", task="classification"))
    names = ("rescaling", "conv", "bn", "pool", "flatten", "dense", "dropout", "scores")
    return Examined(
        name="small", float32=float32, layer_names=names, encoding=encoding, task=task, classes=len(CLASSES)
    )


def verdicts(report: CalibrationReport) -> dict[str, bool | None]:
    return {check.name: check.held for check in report.checks}


def said(report: CalibrationReport, name: str) -> str:
    return next(check.verdict for check in report.checks if check.name == name)


def examined(model: Examined, samples: NDArray[Any], **options: Any) -> CalibrationReport:
    options = {"labels": None, "count": 100, "images": 60, "counts": (16, 64), **options}
    return check_calibration(model, samples, **options)


def test_good_data_hold_and_make_a_curve(model: Examined) -> None:
    train = model.task.dataset.train
    report = examined(model, train.images, labels=train.labels, counts=(16, 64, 128))
    failed = {name for name, held in verdicts(report).items() if held is False}
    # Whether each class was drawn depends on the model's random answers.
    assert failed <= {"classes"}
    assert [point.images for point in report.curve] == [16, 64, 100, 128]
    assert all(point.measured.quality > 0.8 for point in report.curve)
    assert report.float32 == 1.0 and report.images == 60 and report.calibration_images == 100


def test_double_normalisation_of_float_samples_is_said(model: Examined) -> None:
    report = examined(model, pixels(100).astype(np.float32) / 255)
    assert verdicts(report)["range"] is False and not report.held
    assert "look normalised twice" in said(report, "range")
    assert "0 to 1, the model takes 0 to 255" in said(report, "range")


def test_double_normalisation_by_the_contract_is_found_by_measuring(model: Examined) -> None:
    """The model begins with Rescaling, and its inputs are said to be 0 to 1: they are divided twice."""
    wrong = preprocessing((0, 1))
    mistaken = replace(model, encoding=wrong, task=replace(model.task, encoding=wrong))
    report = examined(mistaken, model.task.dataset.train.images)
    assert verdicts(report)["range"] is True, "the samples agree with the mistaken contract"
    assert verdicts(report)["encoding"] is False
    assert "Give the value range 0,255" in said(report, "encoding")


def test_dark_samples_cut_off_validation_values(model: Examined) -> None:
    report = examined(model, (pixels(100) // 8).astype(np.uint8))
    by = verdicts(report)
    assert by["saturation"] is False and by["range"] is False and by["likeness"] is False
    worst = max(report.saturation, key=lambda tensor: tensor.clipped_held_out)
    assert worst.clipped_held_out > 0.1 and worst.clipped_calibration == 0
    assert worst.layer in said(report, "saturation")


def test_constant_repeated_and_few_samples_are_said(model: Examined) -> None:
    samples = np.concatenate([pixels(10), pixels(10), np.full((3, 28, 28, 1), 7, np.uint8)])
    report = examined(model, samples)
    assert "3 of 23 samples are constant (one value)" in said(report, "constant")
    assert "12 of 23 samples are duplicates" in said(report, "repeated")
    assert "23 samples are few" in said(report, "number")
    assert [verdicts(report)[name] for name in ("constant", "repeated", "number")] == [False] * 3


def test_missing_classes_are_named() -> None:
    inputs = pixels(100).astype(np.float32)
    labels = np.arange(100) % 8
    checks = {
        check.name: check
        for check in check_samples(inputs, value_range=(0, 255), held_out=inputs, labels=labels, classes=CLASSES)
    }
    assert checks["classes"].held is False
    assert "2 of 10 classes have no sample (i, j)" in checks["classes"].verdict
    assert all(check.held for name, check in checks.items() if name != "classes")


@pytest.mark.parametrize(
    ("value_range", "held"), [((0.0, 255.0), True), ((0.0, 1.0), False), ((-1.0, 1.0), False), ((0.0, 1e6), False)]
)
def test_range_is_compared_with_the_models(value_range: tuple[float, float], held: bool) -> None:
    inputs = pixels(100).astype(np.float32)
    checks = check_samples(inputs, value_range=value_range, held_out=inputs)
    assert next(check.held for check in checks if check.name == "range") is held


def test_nan_samples_fail_and_stop_the_rest(model: Examined) -> None:
    samples = pixels(70).astype(np.float32)
    samples[3, 0, 0, 0] = np.nan
    report = examined(model, samples)
    assert verdicts(report)["finite"] is False and report.curve == () and report.saturation == ()


def test_saturation_equals_a_count_in_numpy() -> None:
    matrix = np.random.default_rng(0).normal(size=(4, 64)).astype(np.float32)
    content = tiny_models.dense(matrix, picture=(8, 8, 1))
    random = np.random.default_rng(1)
    own = random.normal(size=(50, 8, 8, 1)).astype(np.float32)
    other = 1.5 * random.normal(size=(70, 8, 8, 1)).astype(np.float32)
    int8 = quantize_tflite(content, "int8_w8a8", calibration=calibrate(content, own, value_range=None))
    (found,) = saturation(content, int8, samples=own, held_out=other)
    outputs = own.reshape(50, -1) @ matrix.T
    half = float(outputs.max() - outputs.min()) / 255 / 2
    assert (found.low, found.high) == pytest.approx((outputs.min(), outputs.max()), abs=1.1 * half)
    low, high = found.low - half, found.high + half
    held_out = other.reshape(70, -1) @ matrix.T
    assert found.clipped_calibration == 0
    assert found.clipped_held_out == pytest.approx(((held_out < low) | (held_out > high)).mean(), abs=1e-3)
    assert found.clipped_held_out > 0.01, "nothing was cut off: this tests nothing"


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((5, 28, 27, 1), np.uint8), "have shape"),
        (np.zeros((0, 28, 28, 1), np.uint8), "have shape"),
        (np.zeros((5, 28, 28, 1), np.int64), "dtype int64"),
    ],
)
def test_samples_of_another_kind_are_refused(model: Examined, samples: NDArray[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        examined(model, samples)


def test_read_samples_rejects_what_is_no_npz(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no calibration data at"):
        read_samples(tmp_path / "missing.npz")
    (tmp_path / "text.npz").write_text("text")
    with pytest.raises(DataError, match=r"cannot be read as a \.npz file"):
        read_samples(tmp_path / "text.npz")
    np.savez(tmp_path / "other.npz", pictures=np.zeros(3))
    with pytest.raises(DataError, match="no array called 'images'"):
        read_samples(tmp_path / "other.npz")


def test_command_says_verdicts_and_exits_with_1_where_one_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from edgefm.cli.main import cli, run

    folder = run_with(small_classifier(), tmp_path / "run").path
    np.savez(tmp_path / "twice.npz", images=pixels(80).astype(np.float32) / 255)
    args = ["calibration", str(folder), "--images", "40", "--calibration-data", str(tmp_path / "twice.npz")]
    assert run(lambda: cli.main(args, standalone_mode=False)) == 1
    printed = capsys.readouterr().out
    assert "FAILED  range: samples range from 0 to 1, the model takes 0 to 255" in printed
    assert "calibration samples" in printed and "-  classes: not checked" in printed
    value = json.loads((folder / "calibration" / "calibration.json").read_text())
    assert value["held"] is False and [point["images"] for point in value["curve"]] == [16, 32, 64, 80]
    assert (folder / "calibration" / "calibration.png").read_bytes()[:4] == b"\x89PNG"
