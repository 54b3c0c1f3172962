"""`edgefm benchmark` on a run and on files, with the 10,000 real test images."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgefm.benchmarking import record, step
from edgefm.cli.main import cli, run
from edgefm.core import artefacts
from edgefm.core import manifest as manifest_file
from edgefm.core.errors import RunError, missing_extra
from edgefm.core.runs import RunDirectory
from edgefm.data.reference.fashion_mnist import LABELS, load_fashion_mnist
from edgefm.jobs.run import Run
from edgefm.recipes import Quantization
from edgefm.tflite.contract import Contract, Tensor
from tests.fixtures import tiny_models
from tests.fixtures.protocols import ONCE


def _command(*arguments: str) -> int:
    return run(lambda: cli.main(["benchmark", *arguments], standalone_mode=False))


@pytest.fixture(scope="module")
def weights() -> np.ndarray[Any, Any]:
    """A linear classifier fitted by ridge regression on 6,000 training images, float32 [10, 784]."""
    train = load_fashion_mnist(None).train
    pixels = train.images[:6000].reshape(-1, 784).astype(np.float64)
    targets = np.eye(10)[train.labels[:6000]]
    fitted = np.linalg.solve(pixels.T @ pixels + 1e7 * np.eye(784), pixels.T @ targets)
    return np.ascontiguousarray(fitted.T, np.float32)


def _contract(folder: Path, variant: str, content: bytes, **tensors: Tensor) -> None:
    Contract(
        name="linear",
        variant=variant,
        file="model.tflite",
        sha256=artefacts.sha256_bytes(content),
        size_bytes=len(content),
        input=tensors["source"],
        outputs=(tensors["sink"],),
        mean=0.0,
        std=1.0,
        labels=LABELS,
    ).write(folder)


@pytest.fixture
def trained(tmp_path: Path, weights: np.ndarray[Any, Any]) -> RunDirectory:
    """A run whose quantize step holds a float32 and an int8 linear model with contracts."""
    directory = RunDirectory.create_at(tmp_path / "runs" / "linear")
    folder = directory.begin("quantize")
    levels = np.round(weights * 127 / np.abs(weights).max()).astype(np.int8)
    output_scale = float(127 / np.abs(weights).max() / 100)  # scores of -1.27 to 1.27 fill the range
    shape = (1, 28, 28, 1)
    for variant, content, dtype, scales in (
        ("float32", tiny_models.dense(weights, picture=shape[1:]), "float32", (None, None, None, None)),
        (
            "int8_w8a8",
            tiny_models.quantized_dense(levels, picture=shape[1:], output_scale=output_scale),
            "int8",
            (1.0, -128, output_scale, 0),
        ),
    ):
        (folder / variant).mkdir()
        (folder / variant / "model.tflite").write_bytes(content)
        _contract(
            folder / variant,
            variant,
            content,
            source=Tensor(
                name="image",
                dtype=dtype,
                shape=shape,
                scale=scales[0],
                zero_point=scales[1],
                value_range=(0.0, 255.0),
            ),
            sink=Tensor(
                name="scores",
                dtype=dtype,
                shape=(1, 10),
                scale=scales[2],
                zero_point=scales[3],
                value_range=(0.0, 1.0),
            ),
        )
    directory.finish(folder, key="k", seconds=0, recipe=Quantization().to_json(), inputs={}, summary={})
    return directory


def test_benchmark_run_records_what_numpy_finds_on_the_real_test_images(
    trained: RunDirectory, weights: np.ndarray[Any, Any]
) -> None:
    made, found = step.benchmark_run(trained, protocol=ONCE)
    test = load_fashion_mnist(None).test
    wanted = (test.images.reshape(-1, 784).astype(np.float64) @ weights.T.astype(np.float64)).argmax(1)
    with np.load(trained.folder(made) / "predictions.npz") as arrays:
        assert sorted(arrays) == sorted(
            ["truth", *(f"{v}/{a}" for v in ("float32", "int8_w8a8") for a in ("predicted", "confidence"))]
        )
        np.testing.assert_array_equal(arrays["truth"], test.labels)
        # float32 sums in another order: only images on an edge may fall to the other side
        assert np.mean(arrays["float32/predicted"] == wanted) > 0.9999
        agree = arrays["int8_w8a8/predicted"] == arrays["float32/predicted"]
    rows = {model["name"]: model for model in found["models"]}
    assert rows["float32"]["accuracy"]["value"] == pytest.approx(np.mean(wanted == test.labels), abs=2e-4)
    assert rows["float32"]["accuracy"]["value"] > 0.5
    assert rows["int8_w8a8"]["against_reference"]["flipped"] == np.flatnonzero(~agree).tolist()
    assert found["dataset"]["images"] == 10_000
    assert [model["file"] for model in found["models"]] == [
        f"00-quantize/{variant}/model.tflite" for variant in ("float32", "int8_w8a8")
    ]
    assert record.read(trained.folder(made) / "record.json") == found
    assert made.summary["float32"]["accuracy"] == rows["float32"]["accuracy"]["value"]


def test_benchmark_run_is_measured_anew_each_time(trained: RunDirectory) -> None:
    first, _ = step.benchmark_run(trained, protocol=ONCE)
    time.sleep(1)  # the key holds the time to the second
    second, _ = step.benchmark_run(trained, protocol=ONCE)
    assert (first.name, second.name) == ("01-benchmark", "02-benchmark")
    assert first.key != second.key


def test_benchmark_run_stopped_leaves_no_partial_step(trained: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> Path:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(artefacts, "write_bytes", full)
    assert _command(str(trained.path), "--rounds-at-most", "1") == 2
    assert sorted(path.name for path in trained.path.iterdir() if path.is_dir()) == ["00-quantize"]


def test_benchmark_whose_report_finds_the_disk_full_keeps_its_record(
    trained: RunDirectory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(source: Run, **options: Any) -> Path:
        raise OSError(28, "No space left on device", str(source.path / "report"))

    monkeypatch.setattr(Run, "report", full)
    assert _command(str(trained.path), "--rounds-at-most", "1") == 2
    kept = trained.path / "01-benchmark" / "record.json"
    said = capsys.readouterr().err
    assert "the report could not be written" in said and str(kept) in said and f"edgefm report {trained.path}" in said
    assert record.read(kept)["models"]


def test_benchmark_run_in_use_is_refused(trained: RunDirectory) -> None:
    with trained.lock(), pytest.raises(RunError, match="in use"):
        step.benchmark_run(trained, protocol=ONCE)


def test_benchmark_run_without_quantize_step_says_what_to_run(tmp_path: Path) -> None:
    empty = RunDirectory.create_at(tmp_path / "empty")
    with pytest.raises(RunError, match="no finished 'quantize' step"):
        step.benchmark_run(empty, protocol=ONCE)


def test_benchmark_command_on_latest_run_prints_table_and_report(
    trained: RunDirectory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def report(source: Run, **options: Any) -> Path:
        assert source.record is not None
        return source.path / "report" / "index.html"

    monkeypatch.setattr(Run, "report", report)
    monkeypatch.chdir(trained.path.parent.parent)
    assert _command("--rounds-at-most", "2") == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines if line.startswith(("float32", "int8", "---"))) <= 100
    assert any(line.startswith("int8_w8a8") and line.rstrip().endswith("ok") for line in lines)
    assert lines[-1] == f"report: {Path('runs/linear/report/index.html')}"


def test_benchmark_command_without_plotting_library_gives_the_hint(
    trained: RunDirectory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def report(source: Run, **options: Any) -> Path:
        raise missing_extra("matplotlib", "report")

    monkeypatch.setattr(Run, "report", report)
    assert _command(str(trained.path), "--rounds-at-most", "1", "--json") == 0
    out = json.loads(capsys.readouterr().out)
    record.validate(out)
    assert _command(str(trained.path), "--rounds-at-most", "1") == 0
    assert "pip install 'edgefm[report]'" in capsys.readouterr().out


def test_benchmark_command_failed_model_is_exit_code_1(
    trained: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = trained.path / "00-quantize" / "float32" / "model.tflite"
    cut = tmp_path / "cut.tflite"
    cut.write_bytes(good.read_bytes()[:5000])
    out = tmp_path / "out"
    assert _command(str(good), str(cut), "--rounds-at-most", "1", "--latency-only", "--out", str(out)) == 1
    printed = capsys.readouterr().out
    assert "cut failed: " in printed and "cut off or damaged" in printed
    names = {model["name"]: model["status"] for model in record.read(out / "record.json")["models"]}
    assert names == {"float32": "ok", "cut": "failed"}
    assert not (out / "predictions.npz").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["{good}", "--threads", "0"], "threads 0 is not allowed: it must be 1 or more", id="threads"),
        pytest.param(["{good}", "--rounds", "-1"], "rounds -1 is not allowed", id="rounds"),
        pytest.param(["{good}", "--runtime", "litrt"], "did you mean 'litert'?", id="runtime"),
        pytest.param(["nowhere.tflite"], "no model file at nowhere.tflite", id="file"),
        pytest.param(["{good}", "{folder}"], "both a run folder and model files", id="both"),
        pytest.param(["{folder}"], "is not a run", id="folder"),
        pytest.param(["{run}", "--mean", "0"], "--mean applies to model files only", id="mean"),
    ],
)
def test_benchmark_command_bad_input_is_exit_code_2(
    trained: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    (tmp_path / "empty").mkdir()
    names = {
        "good": trained.path / "00-quantize" / "float32" / "model.tflite",
        "folder": tmp_path / "empty",
        "run": trained.path,
    }
    assert _command(*(argument.format(**names) for argument in arguments)) == 2
    assert words in capsys.readouterr().err
    assert len(trained.steps()) == 1


def test_benchmark_command_run_of_newer_schema_says_upgrade(
    trained: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = trained.path / "manifest.json"
    content = {**json.loads(manifest.read_text()), "schema_version": manifest_file.SCHEMA_VERSION + 1}
    manifest.write_text(json.dumps(content))
    assert _command(str(trained.path)) == 2
    assert "upgrade" in capsys.readouterr().err
