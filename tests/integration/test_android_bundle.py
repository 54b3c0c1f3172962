"""The bundle for Android: its Kotlin compiled against signatures of Android and LiteRT, run with recorded answers."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import edgefm
from edgefm_converters.bundles import for_android
from tests.fixtures import kotlin
from tests.fixtures.android_app import SIGNATURES, as_app
from tests.fixtures.app_cases import CASES, write_case
from tests.fixtures.app_models import Out

pytestmark = [pytest.mark.java, pytest.mark.kotlin]


def found(android_layer: list[Path], *folders: Path) -> list[list[str]]:
    kotlin.run_kotlin(android_layer, "PhoneHarnessKt", [str(folder) for folder in folders])
    return [(folder / "found.txt").read_text().splitlines() for folder in folders]


def test_layer_runs_the_model_by_what_loads_and_says_why(
    android_bundle: Path, android_layer: list[Path], tmp_path: Path
) -> None:
    whole, refused = as_app(android_bundle, tmp_path / "whole"), as_app(android_bundle, tmp_path / "refused")
    (refused / "refusal.txt").write_text("no accelerator of this kind")
    compressed = shutil.copytree(refused, tmp_path / "compressed")
    (compressed / "compressed").touch()
    answers = found(android_layer, whole, refused, compressed)
    labels = (android_bundle / "labels.txt").read_text().splitlines()
    last = sorted((whole / "recorded").glob("*.in"))[-1]
    levels = np.frombuffer(last.with_suffix(".0.out").read_bytes(), np.uint8)
    best = [f"{labels[place]} {levels[place] / 256}" for place in np.argsort(-levels.astype(int), kind="stable")[:3]]
    verdict = "true 5 golden vectors, XNNPACK kernels: bit for bit"
    assert answers[0] == ["CompiledModel, CPU", "-", verdict, *best, "closed 3, loaded [CompiledModel]"]
    for answer in answers[1:]:
        assert answer[:3] == ["Interpreter, CPU", "no accelerator of this kind", verdict]
        assert answer[3:] == [*best, "closed 1, loaded [CompiledModel, Interpreter]"]


@pytest.mark.parametrize("name", ["values__float", "several", "int64", "int32", "int8_odd__int8_11"])
def test_layer_takes_ends_of_every_type(name: str, android_layer: list[Path], tmp_path: Path) -> None:
    app = CASES[name]
    write_case(tmp_path / "model", app)
    app.contract.write(tmp_path / "model")
    edgefm.export(tmp_path / "model" / "model.tflite", "android", out=tmp_path / "bundle", samples=3, progress=False)
    whole = as_app(tmp_path / "bundle", tmp_path / "whole")
    (whole / "picture.png").unlink(missing_ok=True)
    refused = shutil.copytree(whole, tmp_path / "refused")
    (refused / "refusal.txt").write_text("none")
    for answer, by in zip(found(android_layer, whole, refused), ("CompiledModel", "Interpreter"), strict=True):
        assert answer[0] == f"{by}, CPU"
        assert re.fullmatch(r"true 3 golden vectors, .*: bit for bit", answer[2]), answer


def test_damaged_assets_are_refused_and_nothing_stays_open(
    android_bundle: Path, android_layer: list[Path], tmp_path: Path
) -> None:
    labels, contract = as_app(android_bundle, tmp_path / "labels"), as_app(android_bundle, tmp_path / "contract")
    (labels / "labels.txt").write_text("cat\n")
    (contract / "contract.json").unlink()
    other = as_app(android_bundle, tmp_path / "other")
    (other / "golden" / "00.xnnpack.bin").write_bytes(bytes(10))
    (other / "golden" / "00.builtin.bin").write_bytes(bytes(10))
    picture = as_app(android_bundle, tmp_path / "picture")
    (picture / "picture.png").write_bytes(b"no picture")
    answers = found(android_layer, labels, contract, other, picture)
    assert answers[0] == ["BundleException: labels.txt holds other labels than the contract, which has 10"]
    assert answers[1][0].startswith("BundleException: the bundle's file contract.json cannot be read")
    assert answers[2][2].startswith("false 5 golden vectors") and answers[2][2].endswith("these kernels may differ")
    assert answers[3][-1] == "BundleException: this is no picture that this phone can read"


def test_bundle_names_one_version_of_each_library_everywhere(android_bundle: Path) -> None:
    versions = {
        "com.google.ai.edge.litert:litert": for_android.LITERT_VERSION,
        "androidx.exifinterface:exifinterface": for_android.EXIF_VERSION,
    }
    bom = json.loads((android_bundle / "sbom.cdx.json").read_text())
    purls = {one["purl"] for one in bom["components"]}
    for name, version in versions.items():
        assert f"pkg:maven/{name.replace(':', '/')}@{version}" in purls
        for script in ("build.gradle.kts", "build-agp8.gradle.kts"):
            assert f'"{name}:{version}"' in (android_bundle / script).read_text()
    texts = [
        path.read_text() for path in android_bundle.rglob("*") if path.suffix in (".kts", ".kt", ".java", ".md", ".xml")
    ]
    assert not any(re.search("@[A-Z]+@", text) for text in texts)
    assert sum(path.stat().st_size for path in android_bundle.rglob("*") if path.is_file()) <= 1_200_000


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
