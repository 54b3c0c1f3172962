"""`edgefm zoo reproduce --variant`: further variants of each system, made once, tried once, gone on with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import edgefm
from edgefm.core.errors import ArgumentError, RecipeError
from edgefm.data.dataset import Dataset
from edgefm.jobs.reproduce.latency import REFERENCE
from edgefm.tflite.weights import stored_kernels
from tests.fixtures.small_data import small_fashion_mnist

SETTINGS = {"seeds": 1, "epochs": 1, "rounds": 1, "progress": False}
NAMES = ["drq_w8", "slim50_int8_w8a8"]


@pytest.fixture(scope="module")
def small() -> Dataset:
    return small_fashion_mnist(train=300, validation=100, test=100)


@pytest.fixture(scope="module")
def before(small: Dataset, tmp_path_factory: pytest.TempPathFactory) -> edgefm.Reproduction:
    out = tmp_path_factory.mktemp("zoo") / "out"
    return edgefm.reproduce("pca_dnn", data=small, out=out, **SETTINGS)


@pytest.fixture(scope="module")
def done(before: edgefm.Reproduction, small: Dataset) -> edgefm.Reproduction:
    return edgefm.reproduce("pca_dnn", variants=NAMES, data=small, out=before.folder, **SETTINGS)


def _steps(done: edgefm.Reproduction) -> list[str]:
    path = done.folder / "pca_dnn" / "seed-0" / "manifest.json"
    return [step["name"] for step in json.loads(path.read_text(encoding="utf-8"))["steps"]]


def test_variants_are_answered_for_by_their_own_files(done: edgefm.Reproduction, small: Dataset) -> None:
    """The oracle is LiteRT's interpreter on the recorded file and the test images."""
    from ai_edge_litert.interpreter import Interpreter

    (row,) = done.record["systems"]
    assert [made["variant"] for made in row["compressed"]] == NAMES
    for made in row["compressed"]:
        path = done.folder / made["path"]
        interpreter = Interpreter(str(path))
        interpreter.allocate_tensors()
        place, out = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
        right = 0
        for image, label in zip(small.test.images, small.test.labels, strict=True):
            interpreter.set_tensor(place, image[None].astype(interpreter.get_input_details()[0]["dtype"]))
            interpreter.invoke()
            right += int(interpreter.get_tensor(out)[0].argmax() == label)
        assert made["test"] == pytest.approx(right) and made["left_out"] is None  # of a hundred images
        assert made["size_bytes"] == path.stat().st_size > made["gzip_bytes"]
    assert row["compressed"][1]["macs"] < row["files"]["int8_w8a8"]["macs"]


def test_component_analysis_is_not_cut(done: edgefm.Reproduction) -> None:
    made = done.record["systems"][0]["compressed"][1]
    shapes = [tuple(kernel.shape) for kernel in stored_kernels((done.folder / made["path"]).read_bytes())]
    assert (187, 784) in shapes and (32, 187) in shapes, "of 64 units half are left"


def test_figures_of_the_system_stay_as_they_were(before: edgefm.Reproduction, done: edgefm.Reproduction) -> None:
    (first,), (now,) = before.record["systems"], done.record["systems"]
    assert first["compressed"] == [] and now["files"] == first["files"] and now["seeds"] == first["seeds"]
    names = {f"pca_dnn {name}" for name in ("float32", "int8_w8a8", *NAMES)}
    assert set(done.record["latency"]["models"]) == {*names, REFERENCE}


def test_page_has_a_second_table(before: edgefm.Reproduction, done: edgefm.Reproduction) -> None:
    page = done.page.read_text(encoding="utf-8")
    section = page[page.index("## The systems, compressed") : page.index("## The systems\n")]
    for made in done.record["systems"][0]["compressed"]:
        assert f"| `{made['variant']}`" in section and f"{made['size_bytes'] / 1000:,.1f} KB" in section


def test_stopped_before_the_test_images_it_goes_on_there(
    done: edgefm.Reproduction, small: Dataset, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(done.folder, tmp_path / "out"))
    run = out / "pca_dnn" / "seed-0"
    content = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    last = content["steps"].pop()
    assert last["kind"] == "benchmark"
    (run / "manifest.json").write_text(json.dumps(content), encoding="utf-8")
    shutil.rmtree(run / last["name"])
    # Asked for another variant only, the one that was begun is finished all the same.
    again = edgefm.reproduce("pca_dnn", variants="float16", data=small, out=out, **SETTINGS)
    made = {entry["variant"]: entry for entry in again.record["systems"][0]["compressed"]}
    assert set(made) == {*NAMES, "float16"}
    assert made[NAMES[1]] == done.record["systems"][0]["compressed"][1]


def test_second_call_makes_nothing(done: edgefm.Reproduction, small: Dataset) -> None:
    steps = _steps(done)
    again = edgefm.reproduce("pca_dnn", variants=NAMES, data=small, out=done.folder, **SETTINGS)
    assert _steps(again) == steps == [
        "00-train", "01-quantize", "02-benchmark", "03-quantize", "04-benchmark", "05-quantize", "06-benchmark",
    ]  # fmt: skip
    assert again.record["systems"] == done.record["systems"]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("slim50_int8", RecipeError, "did you mean"),
        (["pruned80"], RecipeError, "variant"),
        ([3], ArgumentError, "the name of a variant"),
    ],
)
def test_unknown_variants_are_refused_before_anything_is_trained(
    small: Dataset, tmp_path: Path, given: object, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        edgefm.reproduce("ann", variants=given, data=small, out=tmp_path / "out", **SETTINGS)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_base_variants_are_no_further_ones() -> None:
    from edgefm.jobs.reproduce.compressed import checked

    assert checked(["int8_w8a8", "float32", "float16", "float16"], epochs=None) == checked("float16", epochs=None)
    (slim,) = checked("slim50_int8_w8a8", epochs=2)
    assert np.all([recipe.fine_tuning.epochs == 2 for recipe in slim.passes])
