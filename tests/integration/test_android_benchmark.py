"""The benchmark that an Android app takes: its plain Java on a Java machine, its records read by edgefm."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import ai_edge_litert
import numpy as np
import pytest
from click.testing import CliRunner

from edgefm.benchmarking import record as records
from edgefm.cli.main import cli
from edgefm.core.errors import RunError
from edgefm.statistics import estimates
from tests.fixtures import java
from tests.fixtures.android_app import CORE, HARNESS

pytestmark = pytest.mark.java


@pytest.fixture(scope="module")
def classes(android_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("classes")
    core = java.compile_java(sorted((android_bundle / CORE).glob("*.java")), root / "core")
    harness = java.compile_java([HARNESS.with_name("BenchmarkHarness.java")], root / "harness", path=[core])
    return [core, harness]


def measured(classes: list[Path], bundle: Path, folder: Path, settings: str, log: str = "") -> Path:
    """Take a benchmark and return its record.

    Args:
      classes: the core and its harness.
      bundle: whose model it is said to be.
      folder: a new one.
      settings: rounds, invokes, seconds, the round that ends it by hand, the round that fails, thermal status ...
      log: of LiteRT.
    """
    folder.mkdir()
    for name in ("model.tflite", "contract.json", "labels.txt"):
        shutil.copy(bundle / name, folder / name)
    shutil.copytree(bundle / "golden", folder / "golden")
    (folder / "settings.txt").write_text(settings)
    if log:
        (folder / "log.txt").write_text(log)
    java.run_java(classes, "BenchmarkHarness", ["benchmark", str(folder)])
    assert not (folder / "error.txt").exists(), (folder / "error.txt").read_text()
    return folder / "record.json"


def row(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    value = records.read(path)
    [model] = value["models"]
    return value, model


def test_statistics_are_those_of_the_raw_samples(classes: list[Path], android_bundle: Path, tmp_path: Path) -> None:
    path = measured(classes, android_bundle, tmp_path / "a", "5 40 600 0 0 0")
    written = json.loads(path.read_text(encoding="ascii"))
    assert written["models"][0]["latency_ns"] is None  # a phone makes no statistics
    value, model = row(path)
    for figure, samples in (("latency_ns", "invoke_ns"), ("end_to_end_ns", "end_to_end_ns")):
        wanted = estimates.percentiles([turn[samples] for turn in model["rounds"]])
        assert model[figure] == {name: estimate.to_json() for name, estimate in wanted.items()}
    loads = sorted(turn["conditions"]["load_ns"] for turn in model["rounds"])
    assert model["load_ns"] == loads[2]
    assert value["target"]["name"] == 'android-app:Ma"ker\\ Phöne 📱\n' == f"android-app:{value['environment']['cpu']}"
    assert "soc" not in model["facts"] and value["environment"]["os"] == "Android 6.0.1 (API 23, armeabi-v7a)"
    contract = json.loads((android_bundle / "contract.json").read_text())
    for name in ("dtype", "shape", "scale", "zero_point", "name"):
        assert model["input"][name] == contract["input"][name] and model["output"][name] == contract["output"][name]
    import gzip

    assert abs(model["size_gzip_bytes"] - len(gzip.compress((android_bundle / "model.tflite").read_bytes(), 9))) < 2000


def test_benchmark_ends_by_hand_by_its_budget_or_by_a_failure(
    classes: list[Path], android_bundle: Path, tmp_path: Path
) -> None:
    value, model = row(measured(classes, android_bundle, tmp_path / "hand", "9 5 600 4 0 0"))
    assert value["session"]["stopped"] == "it was ended by hand after 4 of 9 rounds" and len(model["rounds"]) == 4
    value, model = row(measured(classes, android_bundle, tmp_path / "budget", "9 5 0.000001 0 0 0"))
    assert value["session"]["stopped"] == "the time budget of 1.0E-6 s was used up" and len(model["rounds"]) == 1
    value, model = row(path := measured(classes, android_bundle, tmp_path / "fails", "9 5 600 0 3 0"))
    assert (model["status"], model["reason"]) == ("failed", "LiteRT does not load on this phone")
    assert len(model["rounds"]) == 2 and "did not run" in model["figures"][0]["reason"]
    assert command("report", path, "--out", tmp_path / "page") == 0
    assert "LiteRT does not load on this phone" in (tmp_path / "page" / "report.md").read_text()
    value, model = row(path := measured(classes, android_bundle, tmp_path / "first", "9 5 600 0 1 0"))
    assert model["status"] == "failed" and not model["rounds"] and model["latency_ns"] is None
    assert model["runtime"]["name"] == "none" and command("report", path, "--out", tmp_path / "other") == 0


def test_phone_that_throttles_all_the_time_has_no_figures(
    classes: list[Path], android_bundle: Path, tmp_path: Path
) -> None:
    value, model = row(path := measured(classes, android_bundle, tmp_path / "hot", "4 5 600 0 0 3"))
    reason = "every measurement was rejected, e.g. the phone throttled: thermal status 3 (severe)"
    assert model["latency_ns"]["p50"] == {"value": None, "reason": reason}
    assert model["load_ns"] is None and model["disturbed"] == {"turns": 4, "used": True}
    assert "4 of 4 rounds were rejected" in value["session"]["disturbed"][0]
    assert command("report", path, "--out", tmp_path / "page") == 0
    (tmp_path / "budget.toml").write_text("[models.int8_w8a8]\np50_us = 1\n")
    assert command("gate", path, "--budget", tmp_path / "budget.toml") == 2  # it cannot be checked


# As phones logged them (github.com, threads on LiteRT and TensorFlow Lite), with the share of the CPU and of others.
LOGS = {
    "07-08 15:40:34.291 I/tflite  ( 6794): Replacing 792 out of 836 node(s) with delegate (TfLiteXNNPackDelegate) node"
    ", yielding 21 partitions for subgraph 0.": 792 / 836,
    "INFO: Replacing 65 out of 65 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 1 partitions for the "
    "whole graph.": 1.0,
    "I tflite  : Replacing 31 out of 33 node(s) with delegate (TfLiteGpuDelegateV2) node, yielding 2 partitions": None,
    "I tflite  : Replacing 4 out of 4 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 1 partitions for "
    "subgraph 1.": None,
    "I tflite  : Replacing 99999999999 out of 4 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 1 "
    "partitions": None,
    "I tflite  : Created TensorFlow Lite XNNPACK delegate for CPU.": None,
    "I tflite  : Replacing 3 out of 0 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 1 partitions": None,
}


def test_share_that_a_delegate_took_is_read_from_the_log(
    classes: list[Path], android_bundle: Path, tmp_path: Path
) -> None:
    for number, (line, share) in enumerate(LOGS.items()):
        path = measured(classes, android_bundle, tmp_path / str(number), "1 1 600 0 0 0", f"{line}\nother\n{line}\n")
        [figure] = row(path)[1]["figures"]
        assert figure["value"] == share and (figure["reason"] is None) is (share is not None), line
        assert len(figure["details"]["delegates"]) == int(
            " out of " in line and "99999" not in line and "graph 1" not in line
        )


def test_log_is_worded_as_the_library_that_is_installed_words_it() -> None:
    library = Path(ai_edge_litert.__file__).parent / "libLiteRt.so"
    assert b"Replacing %d out of %d node(s) with delegate (%s) node, yielding %zu partitions for subgraph %d" in (
        library.read_bytes()
    )


@pytest.mark.parametrize("pixel", [4, 7])
def test_frame_of_a_camera_gives_its_colours(classes: list[Path], tmp_path: Path, pixel: int) -> None:
    generator, stride = np.random.default_rng(pixel), 5 * pixel + 13
    plane = generator.integers(0, 256, 3 * stride, dtype=np.uint8)
    rows = np.stack([plane[row * stride : row * stride + 5 * pixel].reshape(5, pixel)[:, :4] for row in range(3)])
    (tmp_path / "frame.bin").write_bytes(plane.tobytes())
    (tmp_path / "settings.txt").write_text(f"{stride} {pixel} 5 3")
    java.run_java(classes, "BenchmarkHarness", ["frame", str(tmp_path)])
    found = np.frombuffer((tmp_path / "argb.bin").read_bytes(), np.uint8).reshape(3, 5, 4)
    np.testing.assert_array_equal(found, rows[..., [3, 0, 1, 2]])


@pytest.mark.parametrize("settings", ["20 4 5 4", "19 4 5 3", "20 3 5 3", "20 4 0 3", "20 4 5 0", "2147483647 4 5 3"])
def test_frame_that_does_not_lie_in_its_bytes_is_refused(classes: list[Path], tmp_path: Path, settings: str) -> None:
    (tmp_path / "frame.bin").write_bytes(bytes(60))
    (tmp_path / "settings.txt").write_text(settings)
    java.run_java(classes, "BenchmarkHarness", ["frame", str(tmp_path)])
    assert "does not lie in 60 bytes" in (tmp_path / "error.txt").read_text()


# Records that were cut off, or changed.


def command(*arguments: object) -> int:
    """Return the exit code of a command of edgefm; an error of edgefm is raised."""
    result = CliRunner().invoke(cli, [str(each) for each in arguments], standalone_mode=False)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return int(result.return_value or 0)


def test_record_that_was_cut_off_or_changed_is_refused(
    classes: list[Path], android_bundle: Path, tmp_path: Path
) -> None:
    path = measured(classes, android_bundle, tmp_path / "a", "2 3 600 0 0 0")
    whole = path.read_text()
    for number, text in enumerate(
        (whole[: len(whole) // 2], whole[:-3], "", "{}", whole.replace('"models"', '"model"'))
    ):
        cut = tmp_path / f"cut-{number}.json"
        cut.write_text(text)
        for arguments in (("report", cut), ("compare", cut, path), ("gate", cut, "--budget", tmp_path / "budget.toml")):
            (tmp_path / "budget.toml").write_text("[models.int8_w8a8]\np50_us = 1\n")
            with pytest.raises(RunError, match="cut-"):
                command(*arguments)
    assert not (tmp_path / "report").exists()
    with pytest.raises(Exception, match="--data-dir goes with a RUN"):
        command("report", path, "--data-dir", tmp_path)
