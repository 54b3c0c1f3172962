"""The bundle for Android: its Kotlin compiled against signatures of Android and LiteRT, run with recorded answers."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

import edgefm
from edgefm.data.picture_file import read_picture
from edgefm_converters.bundles import for_android
from tests.fixtures import java, kotlin
from tests.fixtures.app_cases import CASES, litert, write_case
from tests.fixtures.app_models import Out

pytestmark = [pytest.mark.java, pytest.mark.kotlin]
ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "android_demo_assets" / "model.tflite"
SIGNATURES = ROOT / "tests" / "fixtures" / "android_stubs" / "signatures"
HARNESS = ROOT / "tests" / "fixtures" / "android_harness" / "PhoneHarness.kt"
DEMO_HARNESSES = [HARNESS.with_name(name) for name in ("DemoHarness.kt", "ScreensHarness.kt")]
FRAMEWORK = Path("/usr/share/android-framework-res/framework-res.apk")
ASSETS = ("model.tflite", "contract.json", "labels.txt", "golden")
CORE, LAYER = "src/main/java/dev/edgefm/bundle", "src/main/kotlin/dev/edgefm/bundle/android"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("android") / "bundle"
    edgefm.export(SHIPPED, "android", out=folder, samples=5, progress=False)
    return folder


@pytest.fixture(scope="module")
def resources(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with R.java, as aapt2 writes it from the demo's manifest and resources."""
    if shutil.which("aapt2") is None or not FRAMEWORK.is_file():
        pytest.skip("aapt2 or Android's resources are not installed: apt install aapt android-framework-res")
    root, main = tmp_path_factory.mktemp("resources"), bundle / "demo" / "app" / "src" / "main"
    manifest = (main / "AndroidManifest.xml").read_text()
    # Gradle adds the package, which stands in the build file.
    (root / "AndroidManifest.xml").write_text(manifest.replace("<manifest ", '<manifest package="dev.edgefm.demo" ', 1))
    (root / "java").mkdir()
    run("aapt2", "compile", "--dir", str(main / "res"), "-o", str(root / "compiled.zip"))
    run(
        *("aapt2", "link", "-I", str(FRAMEWORK), "--manifest", str(root / "AndroidManifest.xml")),
        *("--min-sdk-version", "23", "--target-sdk-version", "29", "--java", str(root / "java")),
        *("-o", str(root / "app.apk"), str(root / "compiled.zip")),
    )
    return root


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def classes(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return the bundle's own code, compiled: the layer with the signatures, a harness and the README; and the core."""
    root = tmp_path_factory.mktemp("classes")
    core = java.compile_java(sorted((bundle / CORE).glob("*.java")), root / "core")
    readme = root / "Readme.kt"
    lines = [line for line in (bundle / "README.md").read_text().splitlines() if line.startswith("val ")]
    assert len(lines) == 3
    readme.write_text(
        "import android.content.ContentResolver\nimport android.content.Context\nimport android.net.Uri\n"
        "import dev.edgefm.bundle.Score\nimport dev.edgefm.bundle.android.DecodedPicture\n"
        "import dev.edgefm.bundle.android.PhoneModel\n\n"
        "fun readme(context: Context, contentResolver: ContentResolver, uri: Uri): List<Score> {\n"
        + "\n".join(lines)
        + '\n    check(phone.selfTest().held()) { phone.fallback ?: "" }\n    return top\n}\n'
    )
    layer = sorted((bundle / LAYER).glob("*.kt"))
    sources = [*layer, *sorted(SIGNATURES.rglob("*.kt")), HARNESS, readme]
    return [kotlin.compile_kotlin(sources, root / "layer", path=[core], strict=True, code=[*layer, readme]), core]


def recorded(folder: Path, contract: Any, model: bytes, inputs: list[Any]) -> None:
    """Write what LiteRT answers to inputs, for the classes that stand for it."""
    place = folder / "recorded"
    place.mkdir()
    (place / "model.tflite").write_bytes(model)
    ends = [contract["input"], *contract["outputs"]]
    sizes = [int(np.prod(end["shape"])) * np.dtype(end["dtype"]).itemsize for end in ends]
    (place / "ends.txt").write_text("\n".join(f"{end['dtype']} {n}" for end, n in zip(ends, sizes, strict=True)))
    for number, values in enumerate(inputs):
        (place / f"{number:02d}.in").write_bytes(values.tobytes())
        for output, raw in enumerate(litert(model, values)):
            (place / f"{number:02d}.{output}.out").write_bytes(raw.tobytes())


def as_app(bundle: Path, folder: Path, *, parents: bool = False) -> Path:
    """Return a folder that holds an app's assets of a bundle, and what LiteRT answers to its golden inputs."""
    folder.mkdir(parents=parents)
    for name in ASSETS:
        if (bundle / name).exists():
            (shutil.copytree if (bundle / name).is_dir() else shutil.copy)(bundle / name, folder / name)
    contract = json.loads((bundle / "contract.json").read_text())
    end = contract["input"]
    inputs = [
        np.frombuffer(path.read_bytes(), end["dtype"]).reshape(end["shape"])
        for path in sorted((bundle / "golden").glob("*.in.bin"))
    ]
    picture = folder / "picture.png"
    if (bundle / "golden" / "00.png").exists():
        pixels = np.random.default_rng(2).integers(0, 200, (40, 31, 4), dtype=np.uint8)
        Image.fromarray(pixels).save(picture)
        (folder / "orientation.txt").write_text("6")
        turned = folder / "turned.png"
        Image.fromarray(np.rot90(pixels, -1).copy()).save(turned)
        (fit, dark), shape = (
            (contract["preprocessing"][name] for name in ("picture_fit", "dark_background")),
            end["shape"],
        )
        seen = read_picture(turned, shape=tuple(shape[1:]), fit=fit, invert="auto" if dark else "no")
        turned.unlink()
        inputs.append(seen.pixels.reshape(shape).astype(end["dtype"]))
    recorded(folder, contract, (bundle / "model.tflite").read_bytes(), inputs)
    return folder


def found(classes: list[Path], *folders: Path) -> list[list[str]]:
    kotlin.run_kotlin(classes, "PhoneHarnessKt", [str(folder) for folder in folders])
    return [(folder / "found.txt").read_text().splitlines() for folder in folders]


def test_layer_runs_the_model_by_what_loads_and_says_why(bundle: Path, classes: list[Path], tmp_path: Path) -> None:
    whole, refused = as_app(bundle, tmp_path / "whole"), as_app(bundle, tmp_path / "refused")
    (refused / "refusal.txt").write_text("no accelerator of this kind")
    compressed = shutil.copytree(refused, tmp_path / "compressed")
    (compressed / "compressed").touch()
    answers = found(classes, whole, refused, compressed)
    labels = (bundle / "labels.txt").read_text().splitlines()
    last = sorted((whole / "recorded").glob("*.in"))[-1]
    levels = np.frombuffer(last.with_suffix(".0.out").read_bytes(), np.uint8)
    best = [f"{labels[place]} {levels[place] / 256}" for place in np.argsort(-levels.astype(int), kind="stable")[:3]]
    verdict = "true 5 golden vectors, XNNPACK kernels: bit for bit"
    assert answers[0] == ["CompiledModel, CPU", "-", verdict, *best, "closed 3, loaded [CompiledModel]"]
    for answer in answers[1:]:
        assert answer[:3] == ["Interpreter, CPU", "no accelerator of this kind", verdict]
        assert answer[3:] == [*best, "closed 1, loaded [CompiledModel, Interpreter]"]


@pytest.mark.parametrize("name", ["values__float", "several", "int64", "int32", "int8_odd__int8_11"])
def test_layer_takes_ends_of_every_type(name: str, classes: list[Path], tmp_path: Path) -> None:
    app = CASES[name]
    write_case(tmp_path / "model", app)
    app.contract.write(tmp_path / "model")
    edgefm.export(tmp_path / "model" / "model.tflite", "android", out=tmp_path / "bundle", samples=3, progress=False)
    whole = as_app(tmp_path / "bundle", tmp_path / "whole")
    (whole / "picture.png").unlink(missing_ok=True)
    refused = shutil.copytree(whole, tmp_path / "refused")
    (refused / "refusal.txt").write_text("none")
    for answer, by in zip(found(classes, whole, refused), ("CompiledModel", "Interpreter"), strict=True):
        assert answer[0] == f"{by}, CPU"
        assert re.fullmatch(r"true 3 golden vectors, .*: bit for bit", answer[2]), answer


def test_damaged_assets_are_refused_and_nothing_stays_open(bundle: Path, classes: list[Path], tmp_path: Path) -> None:
    labels, contract = as_app(bundle, tmp_path / "labels"), as_app(bundle, tmp_path / "contract")
    (labels / "labels.txt").write_text("cat\n")
    (contract / "contract.json").unlink()
    other = as_app(bundle, tmp_path / "other")
    (other / "golden" / "00.xnnpack.bin").write_bytes(bytes(10))
    (other / "golden" / "00.builtin.bin").write_bytes(bytes(10))
    picture = as_app(bundle, tmp_path / "picture")
    (picture / "picture.png").write_bytes(b"no picture")
    answers = found(classes, labels, contract, other, picture)
    assert answers[0] == ["BundleException: labels.txt holds other labels than the contract, which has 10"]
    assert answers[1][0].startswith("BundleException: the bundle's file contract.json cannot be read")
    assert answers[2][2].startswith("false 5 golden vectors") and answers[2][2].endswith("these kernels may differ")
    assert answers[3][-1] == "BundleException: this is no picture that this phone can read"


def test_bundle_names_one_version_of_each_library_everywhere(bundle: Path) -> None:
    versions = {
        "com.google.ai.edge.litert:litert": for_android.LITERT_VERSION,
        "androidx.exifinterface:exifinterface": for_android.EXIF_VERSION,
    }
    bom = json.loads((bundle / "sbom.cdx.json").read_text())
    purls = {one["purl"] for one in bom["components"]}
    for name, version in versions.items():
        assert f"pkg:maven/{name.replace(':', '/')}@{version}" in purls
        for script in ("build.gradle.kts", "build-agp8.gradle.kts"):
            assert f'"{name}:{version}"' in (bundle / script).read_text()
    texts = [path.read_text() for path in bundle.rglob("*") if path.suffix in (".kts", ".kt", ".java", ".md", ".xml")]
    assert not any(re.search("@[A-Z]+@", text) for text in texts)
    assert sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file()) <= 1_200_000


def test_signatures_name_the_page_they_were_written_from() -> None:
    for path in SIGNATURES.rglob("*.kt"):
        text = path.read_text()
        assert "Written from https://" in text or "Not of Android" in text, path


def test_models_that_the_adapter_cannot_take_are_refused(tmp_path: Path) -> None:
    from tests.fixtures.app_cases import case

    app = case([("values", "values")], shape=(1, 4), outputs=[Out(shape=(1, 3))])
    write_case(tmp_path / "model", app)
    app.contract.write(tmp_path / "model")
    text = (tmp_path / "model" / "contract.json").read_text().replace('"float32"', '"float16"')
    (tmp_path / "model" / "contract.json").write_text(text)
    with pytest.raises(edgefm.EdgefmError, match="float16"):
        edgefm.export(tmp_path / "model" / "model.tflite", "android", out=tmp_path / "bundle", progress=False)
    assert not (tmp_path / "bundle").exists()


# The demo.


@pytest.fixture(scope="module")
def demo(bundle: Path, classes: list[Path], resources: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return the demo's code, compiled against the bundle's and the ids that aapt2 gave its views."""
    root = tmp_path_factory.mktemp("demo")
    ids = java.compile_java(sorted((resources / "java").rglob("R.java")), root / "ids", strict=False)
    code = sorted((bundle / "demo").rglob("*.kt"))
    path = [*classes, ids]
    screens = ["BenchmarkActivity", "CameraActivity", "MainActivity", "SelfTestActivity"]
    assert [one.stem for one in code] == sorted([*screens, "Answered", "Words"])
    return [kotlin.compile_kotlin([*code, *DEMO_HARNESSES], root / "code", path=path, strict=True, code=code), *path]


def screens(demo: list[Path], bundle: Path, folder: Path) -> list[str]:
    kotlin.run_kotlin(
        demo, "DemoHarnessKt", [str(bundle / "demo" / "app" / "src" / "main" / "res" / "layout"), str(folder)]
    )
    return (folder / "found.txt").read_text().splitlines()


def test_demo_answers_a_picture_and_tests_itself(bundle: Path, demo: list[Path], tmp_path: Path) -> None:
    app = as_app(bundle, tmp_path / "edge-model")
    (app / "orientation.txt").unlink()
    upright = Image.open(app / "picture.png")
    upright.rotate(-90, expand=True).save(app / "picture.png")  # what was recorded is the picture, turned
    shown = screens(demo, bundle, tmp_path)
    labels = (bundle / "labels.txt").read_text().splitlines()
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


def test_demo_says_what_it_fell_back_to_and_what_does_not_load(bundle: Path, demo: list[Path], tmp_path: Path) -> None:
    app = as_app(bundle, tmp_path / "one" / "edge-model", parents=True)
    (app / "refusal.txt").write_text("no such accelerator")
    shown = screens(demo, bundle, tmp_path / "one")
    reason = "Runs by Interpreter, CPU, because CompiledModel did not load: no such accelerator"
    assert shown[0] == reason and reason in shown[1:]
    app = as_app(bundle, tmp_path / "two" / "edge-model", parents=True)
    (app / "labels.txt").write_text("cat\n")
    shown = screens(demo, bundle, tmp_path / "two")
    what = "labels.txt holds other labels than the contract, which has 10"
    assert shown == [f"The model cannot be loaded: {what}", "choose false", f"FAILED: {what}", "", f"FAILED: {what}"]


def test_demo_builds_by_either_version_of_the_plugin(bundle: Path) -> None:
    """Gradle is not run: what its files name must exist, and be named alike."""
    root = bundle / "demo"
    settings = (root / "settings.gradle.kts").read_text()
    for version in ("8", "9"):
        catalogue = tomllib.loads((root / "gradle" / f"agp{version}.versions.toml").read_text())
        assert catalogue["versions"]["agp"].startswith(f"{version}.")
        names = {name.replace("-", ".") for name in catalogue["plugins"]}
        name = "build-agp8.gradle.kts" if version == "8" else "build.gradle.kts"
        assert name == "build.gradle.kts" or settings.count(f'"{name}"') == 3
        scripts = [(folder / name).read_text() for folder in (root, root / "app", bundle)]
        used = {found for script in scripts for found in re.findall(r"libs\.plugins\.([\w.]+)\)", script)}
        assert used == names
        assert all(("kotlin" in script.split("}")[0]) is (version == "8") for script in scripts)
    manifest = ElementTree.parse(root / "app" / "src" / "main" / "AndroidManifest.xml")
    name_of = "{http://schemas.android.com/apk/res/android}name"
    activities = {one.attrib[name_of].rsplit(".", 1)[1] for one in manifest.iter("activity")}
    assert activities == {path.stem for path in root.rglob("*Activity.kt")}
