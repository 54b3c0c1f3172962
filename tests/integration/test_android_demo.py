"""The app in an Android bundle: its screens run with the layouts that aapt2 read, and answers that LiteRT gave."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from edgefm.benchmarking import record as records
from edgefm.cli.main import cli
from edgefm.core.picture_steps import chosen
from edgefm.data.picture_file import read_picture
from tests.fixtures import kotlin
from tests.fixtures.android_app import as_app, recorded

pytestmark = [pytest.mark.java, pytest.mark.kotlin]
LAYOUTS = "demo/app/src/main/res/layout"


def screens(android_demo: list[Path], android_bundle: Path, folder: Path) -> list[str]:
    kotlin.run_kotlin(android_demo, "DemoHarnessKt", [str(android_bundle / LAYOUTS), str(folder)])
    return (folder / "found.txt").read_text().splitlines()


def test_demo_answers_a_picture_and_tests_itself(
    android_bundle: Path, android_demo: list[Path], tmp_path: Path
) -> None:
    app = as_app(android_bundle, tmp_path / "edge-model")
    (app / "orientation.txt").unlink()
    upright = Image.open(app / "picture.png")
    upright.rotate(-90, expand=True).save(app / "picture.png")  # what was recorded is the picture, turned
    shown = screens(android_demo, android_bundle, tmp_path)
    labels = (android_bundle / "labels.txt").read_text().splitlines()
    last = sorted((app / "recorded").glob("*.in"))[-1]
    levels = np.frombuffer(last.with_suffix(".0.out").read_bytes(), np.uint8).astype(int)
    best = [f"{100 * levels[place] / 256:.1f} %  {labels[place]}" for place in np.argsort(-levels, kind="stable")[:3]]
    assert shown[:3] == ["Runs by CompiledModel, CPU", "choose true", "asked android.intent.action.GET_CONTENT"]
    assert shown[3:6] == best
    assert re.fullmatch(r"model \d+\.\d\d ms, picture to pixels \d+\.\d ms", shown[6]) and shown[7] == "seen 28 x 28"
    assert shown[8:10] == ["This picture cannot be read: the picture cannot be opened", "seen null"]
    assert shown[10:12] == ["No answer: this is no picture that this phone can read", "seen null"]
    held = "HELD: 5 golden vectors, XNNPACK kernels: bit for bit"
    assert shown[12:] == ["CompiledModel, CPU", held, "", "Interpreter, CPU", held]


def test_demo_says_what_it_fell_back_to_and_what_does_not_load(
    android_bundle: Path, android_demo: list[Path], tmp_path: Path
) -> None:
    app = as_app(android_bundle, tmp_path / "one" / "edge-model", parents=True)
    (app / "refusal.txt").write_text("no such accelerator")
    shown = screens(android_demo, android_bundle, tmp_path / "one")
    reason = "Runs by Interpreter, CPU, because CompiledModel did not load: no such accelerator"
    assert shown[0] == reason and reason in shown[1:]
    app = as_app(android_bundle, tmp_path / "two" / "edge-model", parents=True)
    (app / "labels.txt").write_text("cat\n")
    shown = screens(android_demo, android_bundle, tmp_path / "two")
    what = "labels.txt holds other labels than the contract, which has 10"
    assert shown == [f"The model cannot be loaded: {what}", "choose false", f"FAILED: {what}", "", f"FAILED: {what}"]


def test_user_chooses_between_several_models(android_bundle: Path, android_demo: list[Path], tmp_path: Path) -> None:
    """Both are the shipped file; the second one's labels are others, and its golden vectors are damaged."""
    top = tmp_path / "edge-model"
    first = as_app(android_bundle, top / "alpha", parents=True)
    (first / "recorded").rename(top / "recorded")
    upright = Image.open(first / "picture.png").rotate(-90, expand=True)
    upright.save(tmp_path / "picture.png")
    shutil.copytree(first, top / "beta")
    labels = [f"other {number}" for number in range(10)]
    contract = json.loads((first / "contract.json").read_text()) | {"labels": labels}
    (top / "beta" / "contract.json").write_text(json.dumps(contract))
    (top / "beta" / "labels.txt").write_text("".join(f"{label}\n" for label in labels))
    for golden in (top / "beta" / "golden").glob("0[0-4].[!i]*.bin"):  # all answers, not the inputs
        golden.write_bytes(bytes(golden.stat().st_size))
    [shown] = run_screens(android_demo, android_bundle, tmp_path)
    levels = np.frombuffer(sorted((top / "recorded").glob("*.0.out"))[-1].read_bytes(), np.uint8)
    best = int(levels.argmax())
    said = f"{100 * int(levels[best]) / 256:.1f} %"
    named = (android_bundle / "labels.txt").read_text().splitlines()[best]
    assert shown[:3] == ["alpha, beta, shown true", f"{said}  {named}", f"{said}  other {best}"]
    assert any(line.startswith("FAILED: 5 golden vectors") for line in shown[3:]), shown  # those of the second


# The camera.


def frames_of(folder: Path, bundle: Path) -> list[str]:
    """Write frames of the camera, each turned otherwise and padded otherwise, and return the best class of each."""
    contract = json.loads((bundle / "contract.json").read_text())
    shape = contract["input"]["shape"]
    place = folder / "frames"
    place.mkdir()
    inputs = []
    for number, degrees in enumerate((0, 90, 180, 270)):
        pixels = np.random.default_rng(number).integers(0, 200, (31, 40, 4), dtype=np.uint8)
        pixels[..., 3] = 255
        stride = 4 * 40 + 16 * number
        rows = np.full((31, stride), 77, np.uint8)
        rows[:, : 4 * 40] = pixels.reshape(31, -1)
        # The last row of a plane may end with its last pixel.
        (place / f"{40}x{31}-{stride}-{degrees}.rgba").write_bytes(rows.tobytes()[: stride * 30 + 4 * 40])
        upright = folder / "upright.png"
        Image.fromarray(np.rot90(pixels, -degrees // 90).copy()).save(upright)
        steps = chosen(contract["preprocessing"]["steps"])
        inputs.append(read_picture(upright, steps, shape=tuple(shape[1:])).pixels.reshape(shape))
    app = folder / "edge-model"
    shutil.rmtree(app / "recorded")
    recorded(app, contract, (bundle / "model.tflite").read_bytes(), inputs)
    labels = (bundle / "labels.txt").read_text().splitlines()
    best = []
    for name in sorted(path.name for path in place.iterdir()):
        number = ("0", "90", "180", "270").index(name.split("-")[2].removesuffix(".rgba"))
        levels = np.frombuffer((app / "recorded" / f"{number:02d}.0.out").read_bytes(), np.uint8).astype(int)
        top = int(np.argsort(-levels, kind="stable")[0])
        best.append(f"{100 * levels[top] / 256:.1f} %  {labels[top]}")
    return best


def run_screens(demo: list[Path], bundle: Path, *folders: Path) -> list[list[str]]:
    kotlin.run_kotlin(demo, "ScreensHarnessKt", [str(bundle / LAYOUTS), *map(str, folders)])
    return [(folder / "found.txt").read_text().splitlines() for folder in folders]


def test_camera_frames_are_answered_as_the_upright_picture(
    android_bundle: Path, android_demo: list[Path], tmp_path: Path
) -> None:
    wanted = {}
    for name, settings in {"allowed": "allowed", "asked": "asks-yes"}.items():
        as_app(android_bundle, tmp_path / name / "edge-model", parents=True)
        wanted[name] = frames_of(tmp_path / name, android_bundle)
        (tmp_path / name / "camera.txt").write_text(settings)
    allowed, asked = run_screens(android_demo, android_bundle, *(tmp_path / name for name in wanted))
    assert allowed[:2] == ["asked null", "bound 2"] and asked[:2] == ["asked android.permission.CAMERA", "bound 2"]
    for shown, best in ((allowed, wanted["allowed"]), (asked, wanted["asked"])):
        for number, line in enumerate(best):
            answer = shown[2 + 5 * number : 7 + 5 * number]
            assert answer[0] == line and answer[4] == "seen 28 x 28", shown
            assert re.fullmatch(r"model \d+\.\d\d ms, picture to pixels \d+\.\d ms", answer[3])


def test_without_camera_or_permission_the_screen_says_so(
    android_bundle: Path, android_demo: list[Path], tmp_path: Path
) -> None:
    for name, settings in {"refused": "", "none": "allowed\nnone", "fails": "allowed\nfails"}.items():
        as_app(android_bundle, tmp_path / name / "edge-model", parents=True)
        (tmp_path / name / "frames").mkdir()
        (tmp_path / name / "camera.txt").write_text(settings)
    shown = run_screens(android_demo, android_bundle, *(tmp_path / name for name in ("refused", "none", "fails")))
    text = "Without the permission there is no picture: allow the camera in the settings."
    assert shown[0] == ["asked android.permission.CAMERA", "bound 0", text]
    assert shown[1][2] == "There is no such camera: No available camera can be found"
    assert shown[2][2] == "There is no camera: the service died"


# The benchmark.

LOG = """\
--------- beginning of main
11-29 15:40:34.287  6794  6794 I tflite  : Created TensorFlow Lite XNNPACK delegate for CPU.
11-29 15:40:34.291  6794  6794 I tflite  : Replacing 9 out of 12 node(s) with delegate ({delegate}) node, yielding 3 \
partitions for subgraph 0 (main).
11-29 15:40:34.291  6794  6794 W litert  : Following operations are not supported by GPU delegate:
11-29 15:40:34.291  6794  6794 W litert  : BROADCAST_TO: Operation is not supported.
"""


@pytest.fixture
def logcat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a program `logcat` in the path that gives a log as Android's does, for this process since a moment."""
    place = tmp_path / "bin"
    place.mkdir()
    program = place / "logcat"
    program.write_text(
        f"#!{sys.executable}\nimport os, re, sys\n"
        "assert sys.argv[1] == '-t', sys.argv\n"
        r"assert re.fullmatch(r'\d\d-\d\d \d\d:\d\d:\d\d.\d{3}', sys.argv[2]), sys.argv"
        "\n"
        "assert sys.argv[3] == f'--pid={os.getppid()}', sys.argv\n"
        f"print(open({str(place / 'log.txt')!r}).read())\n"
    )
    program.chmod(0o755)
    (place / "log.txt").write_text(LOG.format(delegate="TfLiteXNNPackDelegate"))
    monkeypatch.setenv("PATH", f"{place}{os.pathsep}{os.environ['PATH']}")
    return place / "log.txt"


def measured(
    demo: list[Path],
    bundle: Path,
    folder: Path,
    *,
    asked: str = "CompiledModel, CPU",
    api: int = 36,
    thermal: str = "0",
    refusal: str = "",
) -> tuple[list[str], Path]:
    """Let the benchmark screen measure, and return what it shows and where its record lies."""
    app = as_app(bundle, folder / "edge-model", parents=True)
    if refusal:
        (app / "refusal.txt").write_text(refusal)
    (folder / "storage").mkdir()
    (folder / "benchmark.txt").write_text(f"{asked}\n{api}\n{thermal}\n")
    [shown] = run_screens(demo, bundle, folder)
    return shown, folder / "storage" / f"record-{asked.replace(', ', '-')}.json"


def command(*arguments: object) -> tuple[int, str]:
    """Return the exit code of a command of edgefm and what it prints."""
    result = CliRunner().invoke(cli, [str(each) for each in arguments], standalone_mode=False)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return int(result.return_value or 0), result.output


@pytest.mark.usefixtures("logcat")
def test_record_of_the_benchmark_screen_is_read_by_report_compare_and_gate(
    android_bundle: Path, android_demo: list[Path], tmp_path: Path
) -> None:
    shown, first = measured(android_demo, android_bundle, tmp_path / "first")
    _, second = measured(android_demo, android_bundle, tmp_path / "second")
    assert shown[0] == "CompiledModel, CPU; CompiledModel, GPU; CompiledModel, NPU; Interpreter, CPU"
    assert re.fullmatch(r"\d+\.\d{3} ms, the middle of 15 rounds", shown[1])
    assert shown[2:] == [
        "asked for CompiledModel, CPU, run by CompiledModel, CPU",
        "TfLiteXNNPackDelegate: 9 of 12 operators",
        "thermal status before 0, after 0 (0 is none)",
        "all 15 rounds were taken",
        f"record: adb pull {first}",
    ]
    assert not list(first.parent.glob("*.part"))
    value = records.read(first)
    environment, [row] = value["environment"], value["models"]
    assert environment["cpu"] == "Chips X1 (Maker Phone 1)" and environment["os"] == "Android 16 (API 36, arm64-v8a)"
    assert environment["memory_bytes"] == 8 << 30 and environment["fallback"] == ""
    assert value["session"]["states"] == [{"thermal_status": 0}] * 16
    assert row["size_bytes"] == (android_bundle / "model.tflite").stat().st_size and row["name"] == "int8_w8a8"
    assert len(row["rounds"]) == 15 and all(len(turn["invoke_ns"]) == 50 for turn in row["rounds"])
    assert all(len(turn["warmup_ns"]) == 21 and len(turn["end_to_end_ns"]) == 50 for turn in row["rounds"])
    samples = np.concatenate([turn["invoke_ns"] for turn in row["rounds"]])
    assert row["latency_ns"]["p50"]["value"] == np.sort(samples)[int(np.ceil(len(samples) / 2)) - 1]
    assert row["latency_ns"]["p50"]["low"] <= row["latency_ns"]["p50"]["value"] <= row["latency_ns"]["p50"]["high"]
    [share] = row["figures"]
    assert share["name"] == "delegated_share" and share["value"] == 0.75 and share["reason"] is None
    assert command("report", first, "--out", tmp_path / "page")[0] == 0
    text = (tmp_path / "page" / "report.md").read_text()
    assert (
        "on Chips X1 (Maker Phone 1)" in text
        and "litert-compiled-model" in text
        and "machine" not in text.split("##")[0]
    )
    assert (tmp_path / "page" / "index.html").stat().st_size > 10_000
    code, text = command("compare", first, second, "--json")
    assert code in (0, 1, 2) and json.loads(text)["differences"] == []
    budget = tmp_path / "budget.toml"
    for limit, broken in ((1e9, 0), (1, 1)):
        budget.write_text(f"[models.int8_w8a8]\np50_us = {limit}\nsize_bytes = 500000\n")
        assert command("gate", first, "--budget", budget)[0] == broken


def test_benchmark_says_what_ran_where_and_why(
    android_bundle: Path, android_demo: list[Path], tmp_path: Path, logcat: Path
) -> None:
    shown, path = measured(
        android_demo,
        android_bundle,
        tmp_path / "gpu",
        asked="CompiledModel, GPU",
        refusal="Some ops are not accelerated",
    )
    assert shown[2:4] == [
        "asked for CompiledModel, GPU, run by Interpreter, CPU",
        "fallback, because: Some ops are not accelerated",
    ]
    value = records.read(path)
    [row] = value["models"]
    assert row["runtime"]["name"] == "litert-interpreter" and row["runtime"]["options"]["kernels"] == "CPU"
    details = row["figures"][0]["details"]
    assert (details["asked"], details["ran"]) == ("CompiledModel, GPU", "Interpreter, CPU")
    assert details["fallback"] == "Some ops are not accelerated"
    assert details["unsupported"] == ["BROADCAST_TO: Operation is not supported."]
    assert command("report", path, "--out", tmp_path / "page")[0] == 0
    page = (tmp_path / "page" / "report.md").read_text()
    assert "Interpreter, CPU ran the model: Some ops are not accelerated" in page
    # An accelerator that took its part, and one of which the log says nothing.
    logcat.write_text(LOG.format(delegate="LiteRtGpuDelegate"))
    _, path = measured(android_demo, android_bundle, tmp_path / "whole", asked="CompiledModel, GPU")
    assert records.read(path)["models"][0]["figures"][0]["value"] == 0.75
    logcat.write_text(LOG.format(delegate="TfLiteXNNPackDelegate"))
    _, path = measured(android_demo, android_bundle, tmp_path / "silent", asked="CompiledModel, NPU")
    [share] = records.read(path)["models"][0]["figures"]
    assert share["value"] is None and "names no delegate of an accelerator" in share["reason"]
    code, text = command("compare", tmp_path / "gpu" / "storage" / "record-CompiledModel-GPU.json", path)
    assert code == 2 and "runtime" in text  # GPU's fallback and NPU are two runtimes: not compared unless forced


def test_benchmark_of_old_and_of_hot_phones(android_bundle: Path, android_demo: list[Path], tmp_path: Path) -> None:
    shown, path = measured(android_demo, android_bundle, tmp_path / "old", asked="Interpreter, CPU", api=28)
    assert "thermal status before not told, after not told (0 is none)" in shown
    assert "LiteRT's log names no delegate" in shown
    value = records.read(path)
    assert value["environment"]["cpu"] == "board7 (Maker Phone 1)" and value["session"]["states"] == [{}] * 16
    # It throttles while the first round is measured: told before it, when it has cooled, and behind it.
    _, path = measured(android_demo, android_bundle, tmp_path / "hot", thermal="0 0 2 0")
    [row] = (value := records.read(path))["models"]
    assert [turn["used"] for turn in row["rounds"]] == [False] + [True] * 14
    assert row["rounds"][0]["disturbed"] == ["the phone throttled: thermal status 2 (moderate)"]
    assert row["disturbed"] == {"turns": 1, "used": False} and "1 of 15 rounds" in value["session"]["left_out"][0]


def test_benchmark_without_a_place_for_its_record_says_so(
    android_bundle: Path, android_demo: list[Path], tmp_path: Path
) -> None:
    as_app(android_bundle, tmp_path / "app" / "edge-model", parents=True)
    (tmp_path / "app" / "benchmark.txt").write_text("CompiledModel, CPU\n36\n0\n")
    [shown] = run_screens(android_demo, android_bundle, tmp_path / "app")
    assert shown[1] == "The record cannot be written: this phone has no storage for it"


def test_demo_builds_by_either_version_of_the_plugin(android_bundle: Path) -> None:
    """Gradle is not run: what its files name must exist, and be named alike."""
    root = android_bundle / "demo"
    settings = (root / "settings.gradle.kts").read_text()
    for version in ("8", "9"):
        catalogue = tomllib.loads((root / "gradle" / f"agp{version}.versions.toml").read_text())
        assert catalogue["versions"]["agp"].startswith(f"{version}.")
        names = {name.replace("-", ".") for name in catalogue["plugins"]}
        name = "build-agp8.gradle.kts" if version == "8" else "build.gradle.kts"
        assert name == "build.gradle.kts" or settings.count(f'"{name}"') == 3
        scripts = [(folder / name).read_text() for folder in (root, root / "app", android_bundle)]
        used = {found for script in scripts for found in re.findall(r"libs\.plugins\.([\w.]+)\)", script)}
        assert used == names
        libraries = {name.replace("-", ".") for name in catalogue["libraries"]}
        named = {found for script in scripts for found in re.findall(r"libs\.(?!plugins)([\w.]+)\)", script)}
        assert named == libraries
        assert {entry["version"]["ref"] for entry in catalogue["libraries"].values()} <= set(catalogue["versions"])
        assert all(("kotlin" in script.split("}")[0]) is (version == "8") for script in scripts)
    manifest = ElementTree.parse(root / "app" / "src" / "main" / "AndroidManifest.xml")
    name_of = "{http://schemas.android.com/apk/res/android}name"
    activities = {one.attrib[name_of].rsplit(".", 1)[1] for one in manifest.iter("activity")}
    assert activities == {path.stem for path in root.rglob("*Activity.kt")}
