from __future__ import annotations

import errno
import io
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgefm import zoo
from edgefm.cli.main import cli
from edgefm.cli.main import run as run_command
from edgefm.core import artefacts
from edgefm.core.errors import RunError
from edgefm.core.runs import RunDirectory, Step
from edgefm.data.reference.fashion_mnist import LABELS, load_fashion_mnist
from edgefm.quantization.step import quantize_run
from edgefm.recipes import QUICK_VARIANTS as VARIANTS
from edgefm.recipes import Quantization, variant_named
from edgefm.tflite import contract
from tests.fixtures.classifiers import run_with, settle, small_classifier
from tests.fixtures.notes import Notes

INT8 = ("int8_w8a8", "int8_w8a8_fc4")


def recipe_of(*names: str, **options: Any) -> Quantization:
    return Quantization(variants=tuple(variant_named(name) for name in names or VARIANTS), **options)


def call(*args: object) -> int:
    return run_command(lambda: cli.main([str(arg) for arg in args], standalone_mode=False))


@pytest.fixture(scope="module", autouse=True)
def few_validation_samples() -> Iterator[None]:
    """Untrained models need no 12,000 pictures to be told apart."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgefm.quantization.checks.given_model._SAMPLES", 200)
        yield


@pytest.fixture(scope="module")
def model() -> Any:
    from edgefm.keras_graph.backend import use_backend

    use_backend("tensorflow")
    return settle(zoo.build("enhanced_cnn", {"batch_norm": "after_relu"}))


@pytest.fixture(scope="module")
def run(model: Any, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return run_with(model, tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def step(run: RunDirectory) -> Step:
    return quantize_run(run, recipe=recipe_of(calibration_images=64))


@pytest.fixture(scope="module")
def small(model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A .keras file with 12x10 colour pictures and 3 classes, for which Fashion-MNIST is of no use."""
    path = tmp_path_factory.mktemp("keras") / "small.keras"
    small_classifier(shape=(12, 10, 3), classes=3, units=32).save(path)
    return path


@pytest.fixture(scope="module")
def test_images() -> NDArray[np.uint8]:
    return load_fashion_mnist().test.images[:200]


def interpret(path: Path, levels: NDArray[Any]) -> NDArray[Any]:
    """Return LiteRT's raw outputs for arrays of the input's dtype, one at a time."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    source, sink = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    outputs = []
    for image in levels:
        interpreter.set_tensor(source, image[None])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(sink)[0])
    return np.stack(outputs)


def test_quantize_writes_model_contract_and_labels_of_each_variant(run: RunDirectory, step: Step) -> None:
    folder = run.folder(step)
    assert sorted(path.name for path in folder.iterdir()) == sorted([*VARIANTS, "quantize.json"])
    for variant in VARIANTS:
        names = sorted(path.name for path in (folder / variant).iterdir())
        assert names == ["contract.json", "labels.txt", "model.tflite"]
        assert (folder / variant / "labels.txt").read_text().splitlines() == list(LABELS)
    assert set(step.summary["variants"]) == set(VARIANTS)
    assert not list(run.path.glob("*.partial"))


@pytest.mark.parametrize("variant", VARIANTS)
def test_contract_tells_what_the_file_is(run: RunDirectory, step: Step, variant: str) -> None:
    from ai_edge_litert.interpreter import Interpreter

    path = run.folder(step) / variant / "model.tflite"
    agreed = contract.read(path)
    assert agreed is not None
    interpreter = Interpreter(model_path=str(path))
    source, sink = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    for tensor, details in ((agreed.input, source), (agreed.output, sink)):
        assert tensor.shape == tuple(details["shape"]) == tuple(details["shape_signature"])
        assert tensor.dtype == np.dtype(details["dtype"]).name == ("uint8" if variant in INT8 else "float32")
        if variant in INT8:
            assert (tensor.scale, tensor.zero_point) == details["quantization"]
    assert interpreter.get_signature_list() == {"serving_default": {"inputs": ["image"], "outputs": ["probabilities"]}}
    assert (source["name"], sink["name"]) == ("image", "probabilities")
    assert (agreed.mean, agreed.std, agreed.input.value_range) == (0, 1, (0, 255))
    assert agreed.labels == LABELS and agreed.name == "enhanced_cnn"
    assert agreed.made_by["source"]["file"] == "model.keras"
    assert (agreed.made_by["calibration"] is not None) == (variant in INT8)
    assert agreed.made_by["recipe"]["calibration_images"] == 64


def test_int8_takes_pixels_as_they_are(run: RunDirectory, step: Step) -> None:
    for variant in INT8:
        agreed = contract.read(run.folder(step) / variant / "model.tflite")
        assert agreed is not None
        assert (agreed.input.scale, agreed.input.zero_point) == (1.0, 0)
        assert (agreed.output.scale, agreed.output.zero_point) == (1 / 256, 0)
        assert agreed.input_formula() == "q = pixel"


def test_variants_agree_with_keras_on_unseen_pictures(
    run: RunDirectory, step: Step, model: Any, test_images: NDArray[np.uint8]
) -> None:
    """Bounds: float32 rounding; float16 has 11 significant bits; 8 and 4 bits lose what their steps are wide."""
    expected = np.asarray(model(test_images.astype(np.float32), training=False))
    bounds = {"float32": 1e-5, "float16": 5e-3, "drq_w8": 0.05, "int8_w8a8": 0.05, "int8_w8a8_fc4": 0.25}
    for variant, bound in bounds.items():
        path = run.folder(step) / variant / "model.tflite"
        agreed = contract.read(path)
        assert agreed is not None
        real = agreed.decode(interpret(path, agreed.encode(test_images).astype(agreed.input.dtype)))
        assert np.abs(real - expected).max() < bound, variant
    assert step.summary["max_abs_difference_float32"] < 1e-5


def test_sizes_fall_as_the_variants_promise(run: RunDirectory, step: Step) -> None:
    size = {name: entry["size_bytes"] for name, entry in step.summary["variants"].items()}
    assert size["float16"] < 0.51 * size["float32"]
    assert size["drq_w8"] < 0.27 * size["float32"] and size["int8_w8a8"] < 0.27 * size["float32"]
    assert size["int8_w8a8_fc4"] <= 285_000
    report = json.loads((run.folder(step) / "quantize.json").read_text())
    for entry in report["variants"]:
        path = run.folder(step) / entry["file"]
        assert entry["size_bytes"] == path.stat().st_size
        assert entry["sha256"] == artefacts.sha256_file(path)


def test_fc4_stores_dense_weights_in_four_bits_and_convolutions_in_eight(run: RunDirectory, step: Step) -> None:
    from ai_edge_litert import schema_py_generated as schema

    from edgefm.tflite import flatbuffer

    model = flatbuffer.editable((run.folder(step) / "int8_w8a8_fc4" / "model.tflite").read_bytes())
    graph = model.subgraphs[0]
    kinds: dict[str, set[int]] = {}
    for operator in graph.operators:
        name = flatbuffer.operator_name(model, operator)
        if name in ("CONV_2D", "FULLY_CONNECTED"):
            kinds.setdefault(name, set()).add(graph.tensors[operator.inputs[1]].type)
    assert kinds == {"CONV_2D": {schema.TensorType.INT8}, "FULLY_CONNECTED": {schema.TensorType.INT4}}


def test_folding_is_recorded_and_seen_in_the_graph(run: RunDirectory, step: Step, tmp_path: Path) -> None:
    from edgefm_converters.tflite.surgery import operators

    report = json.loads((run.folder(step) / "quantize.json").read_text())
    assert report["folding"]["used"] and report["folding"]["max_abs_difference"] < 1e-5
    folded = operators((run.folder(step) / "int8_w8a8" / "model.tflite").read_bytes())
    assert "MUL" not in folded and folded.count("ADD") == 2  # two padded convolutions stop their shifts
    assert set(folded[1:-1]) <= {"CONV_2D", "MAX_POOL_2D", "ADD", "RESHAPE", "FULLY_CONNECTED", "SOFTMAX"}

    again = quantize_run(run, recipe=recipe_of("float32", fold_batch_norm=False))
    unfolded = operators((run.folder(again) / "float32" / "model.tflite").read_bytes())
    assert unfolded.count("MUL") == 3 and unfolded.count("ADD") == 3
    assert json.loads((run.folder(again) / "quantize.json").read_text())["folding"] == {
        "used": False,
        "reason": "not wanted",
    }


def test_quantize_does_nothing_when_the_files_are_there(run: RunDirectory, step: Step) -> None:
    notes = Notes()
    before = run.steps()
    again = quantize_run(run, recipe=recipe_of(calibration_images=64), progress=notes)
    assert (again.name, again.key) == (step.name, step.key) and run.steps() == before
    assert any("nothing to do" in line for line in notes.notes)


def test_metadata_is_embedded_and_ignored_by_litert(
    run: RunDirectory, step: Step, test_images: NDArray[np.uint8], tmp_path: Path
) -> None:
    from edgefm.tflite import flatbuffer
    from tests.fixtures.metadata_reading import read_metadata

    path = run.folder(step) / "int8_w8a8" / "model.tflite"
    found = read_metadata(path.read_bytes())
    assert found is not None
    assert found.labels == LABELS and (found.height, found.width, found.channels) == (28, 28, 1)
    assert (found.mean, found.std, found.input.minimum, found.input.maximum) == (0, 1, 0, 255)
    assert found.name == "enhanced_cnn int8_w8a8"
    with zipfile.ZipFile(path) as archive:
        assert archive.read("labels.txt").decode().splitlines() == list(LABELS)
    bare = flatbuffer.editable(path.read_bytes())
    bare.metadata = [entry for entry in bare.metadata if entry.name != b"TFLITE_METADATA"]
    (tmp_path / "bare.tflite").write_bytes(flatbuffer.write(bare))
    levels = test_images[:50]
    np.testing.assert_array_equal(interpret(path, levels), interpret(tmp_path / "bare.tflite", levels))


def test_quantize_refuses_run_in_use(run: RunDirectory, step: Step) -> None:
    with run.lock(), pytest.raises(RunError, match="in use"):
        quantize_run(run, recipe=Quantization())


def test_quantize_refuses_run_without_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    RunDirectory.create_at(tmp_path / "run")
    assert call("quantize", tmp_path / "run") == 2
    assert "no finished 'train' step" in capsys.readouterr().err


def test_command_shows_table_and_json(run: RunDirectory, step: Step, capfd: pytest.CaptureFixture[str]) -> None:
    variants = [f"--variant={name}" for name in VARIANTS]
    # One epoch on few pictures has taught the model nothing, and the command says so.
    assert call("quantize", run.path, "--calibration-images", 64, *variants) == 1
    out = capfd.readouterr().out
    assert all(f"\n{variant} " in out for variant in VARIANTS) and "of float32" in out
    assert f"next: edgefm benchmark {run.path}" in out
    assert "wrong: given model: " in out and "always the commonest class" in out
    assert call("quantize", run.path, "--calibration-images", 64, *variants, "--json") == 1
    report = json.loads(capfd.readouterr().out)
    assert report["step"] == step.name and len(report["variants"]) == 5


def test_full_disk_leaves_nothing_behind(
    run: RunDirectory, step: Step, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = artefacts.write_bytes

    def write(path: Path, content: bytes) -> Path:
        if path.name == "contract.json" and path.parent.name == "float16":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return real(path, content)

    monkeypatch.setattr(artefacts, "write_bytes", write)
    before = sorted(run.path.rglob("*"))
    steps = run.steps()
    assert call("quantize", run.path, "--variant", "float32", "--variant", "float16") == 2
    assert "The disk is full" in capsys.readouterr().err
    assert sorted(run.path.rglob("*")) == before and run.steps() == steps


@pytest.fixture
def no_conversion(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bad input is found before TensorFlow is asked to do anything."""

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("the conversion was started")

    monkeypatch.setattr("edgefm_converters.tflite.keras_to_tflite.float32_tflite", fail)


@pytest.mark.usefixtures("no_conversion")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--variant", "int8_w8a"], "did you mean 'int8_w8a8'"),
        (["--variant", "INT8"], "did you mean 'int8_w8a8'"),
        (["--calibration-images", "0"], "calibration images 0 is not allowed"),
        (["--calibration-images", "48001", "--variant", "int8_w8a8"], "48001 calibration images are not allowed"),
        (["--seed", "-1"], "seed -1 is not allowed"),
        (["--run", "x"], "--run goes with a MODEL"),
        (["--data", "x.npz"], "--data goes with a MODEL"),
        (["--quick", "--variant", "float32"], "--variant and --quick were given together"),
        (["--recipe", "smalest"], "did you mean 'smallest'"),
    ],
    ids=[
        "variant",
        "in capitals",
        "no images",
        "too many images",
        "seed",
        "run of a run",
        "data of a run",
        "two sets",
        "recipe",
    ],
)
def test_bad_option_of_a_run(
    run: RunDirectory, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(run.path.rglob("*"))
    assert call("quantize", run.path, *options) == 2
    assert message in capsys.readouterr().err
    assert sorted(run.path.rglob("*")) == before


@pytest.mark.usefixtures("no_conversion")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--value-range", "1"], "two numbers LO,HI are expected"),
        (["--value-range", "1,0"], "LO < HI is expected"),
        (["--labels", "missing.txt"], "no labels at missing.txt"),
        (["--calibration-data", "missing.npz"], "no calibration data at missing.npz"),
        (["--variant", "int8_w8a8"], "needs samples to calibrate with"),
        (["--variant", "qat_int8"], "'qat_int8' trains, and no data were given"),
        (["--task", "regression"], "--task goes with --data"),
    ],
    ids=[
        "one number",
        "reversed",
        "labels",
        "calibration data",
        "nothing to calibrate with",
        "nothing to train on",
        "task",
    ],
)
def test_bad_option_of_a_keras_file(
    small: Path, tmp_path: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("quantize", small, "--run", tmp_path / "out", *options) == 2
    assert message in capsys.readouterr().err
    # A model that could be read stays in its run; nothing else is there.
    assert not list(tmp_path.rglob("*.tflite"))


def test_wrong_number_of_labels(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "labels.txt").write_text("one\ntwo\n")
    assert call("quantize", small, "--run", tmp_path / "out", "--quick", "--labels", tmp_path / "labels.txt") == 2
    assert "2 labels were given for 3 outputs" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.tflite"))


def test_read_only_folder(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any, **__: Any) -> str:  # root may write anywhere, so the system's answer is played
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(tmp_path))

    monkeypatch.setattr("shutil.copyfile", refuse)
    assert call("quantize", small, "--run", tmp_path / "out", "--variant", "float32") == 2
    assert "The disk is read-only" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_own_model_with_own_calibration_data(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 12, 10, 3), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", images=images)
    (tmp_path / "labels.txt").write_text("cat\ndog\nFrau Müller\n", encoding="utf-8")
    options = ["--run", tmp_path / "out", "--calibration-data", tmp_path / "images.npz", "--variant", "int8_w8a8"]
    options += ["--labels", tmp_path / "labels.txt"]
    assert call("quantize", small, *options) == 0
    agreed = contract.read(tmp_path / "out" / "01-quantize" / "int8_w8a8" / "model.tflite")
    assert agreed is not None
    assert agreed.labels == ("cat", "dog", "Frau Müller") and agreed.name == "small"
    assert agreed.input.scale == 1.0 and agreed.made_by["calibration"]["images"] == 40
    capsys.readouterr()
    assert call("quantize", small, *options) == 0
    assert "nothing to do" in capsys.readouterr().err
    assert call("quantize", small, *options, "--value-range", "0,1") == 2
    assert "holds another model, or the same one with other data or options" in capsys.readouterr().err


def test_own_model_without_rescaling_takes_its_value_range(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model of logits, trained on [-1, 1]: the contract scales, a softmax is added, floats calibrate."""
    path = tmp_path / "own.keras"
    own = small_classifier(shape=(8, 8, 3), classes=4, activation=None, rescaling=False)
    own.save(path)
    images = np.random.default_rng(0).uniform(-1, 1, (32, 8, 8, 3))
    np.savez(tmp_path / "images.npz", images=images)
    options = ["--value-range", "-1,1", "--calibration-data", tmp_path / "images.npz", "--run", tmp_path / "run"]
    assert call("quantize", path, *options, "--variant", "float32", "--variant", "int8_w8a8") == 0
    assert "a softmax is added" in capsys.readouterr().err
    pixels = np.random.default_rng(1).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
    logits = np.asarray(own((pixels.astype(np.float32) - 127.5) / 127.5, training=False))
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    # Calibration averages the ranges of pictures, so that the strongest activations are cut off.
    for variant, bound in (("float32", 1e-6), ("int8_w8a8", 0.03)):
        file = tmp_path / "run" / "01-quantize" / variant / "model.tflite"
        agreed = contract.read(file)
        assert agreed is not None
        assert np.abs(agreed.decode(interpret(file, agreed.encode(pixels))) - expected).mean() < bound
        assert agreed.labels == ("0", "1", "2", "3") and agreed.std == 127.5


def test_float_variants_need_no_pictures(small: Path, tmp_path: Path) -> None:
    options = [f"--variant={name}" for name in ("float32", "float16", "drq_w8")]
    assert call("quantize", small, "--run", tmp_path / "out", *options) == 0
    folder = tmp_path / "out" / "01-quantize"
    report = json.loads((folder / "quantize.json").read_text())
    assert report["calibration"] is None and report["parity"]["source"] == "uniform noise"
    assert report["conversion"]["max_abs_difference"] < 1e-5
    content = (folder / "float32" / "model.tflite").read_bytes()
    assert zipfile.ZipFile(io.BytesIO(content)).read("labels.txt") == b"0\n1\n2\n"


def test_default_set_without_data_leaves_out_what_trains_and_says_so(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("quantize", small, "--run", tmp_path / "out", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert [one["variant"] for one in report["variants"]] == ["float32", "float16", "drq_w8"]
    reasons = {one["variant"]: one["reason"] for one in report["skipped"]}
    assert "needs samples to calibrate" in reasons["int8_w8a8"] and "trains" in reasons["slim50_qat_int8"]
