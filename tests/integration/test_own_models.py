"""The whole default set on users' own models, each with generated data: every variant loads and runs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgefm
from edgefm.cli.main import cli
from edgefm.cli.main import run as run_command
from edgefm.data.source import DataSource
from edgefm.quantization.bring import bring_model
from edgefm.quantization.step import quantize_run
from edgefm.recipes import DEFAULT_VARIANTS, FineTuning, Quantization, variant_named
from edgefm.runtimes import litert
from edgefm.tflite import contract
from tests.fixtures.protocols import ONCE
from tests.fixtures.residual_network import small_resnet


def call(*args: object) -> int:
    return run_command(lambda: cli.main([str(arg) for arg in args], standalone_mode=False))


def variants_of(*names: str) -> Quantization:
    """Return a recipe of these variants with little training: here it is the files that count, not their accuracy."""
    variants = []
    for name in names:
        variant = variant_named(name)
        passes = tuple(
            replace(done, fine_tuning=replace(done.fine_tuning, epochs=1, batch_size=16)) for done in variant.passes
        )
        variants.append(replace(variant, passes=passes))
    return Quantization(variants=tuple(variants), calibration_images=16)


def pictures(path: Path, *, shape: tuple[int, int, int], classes: int, samples: int) -> Path:
    random = np.random.default_rng(0)
    labels = np.arange(samples) % classes
    images = (
        random.integers(0, 128, (samples, *shape), dtype=np.uint8) + (labels * 20).astype(np.uint8)[:, None, None, None]
    )
    np.savez(path, images=images, labels=labels)
    return path


@pytest.fixture(scope="module", autouse=True)
def tensorflow() -> None:
    from edgefm.keras_graph.backend import use_backend

    use_backend("tensorflow")


def mobilenet_v2(alpha: float = 0.35) -> Any:
    import keras

    keras.utils.set_random_seed(0)
    return keras.applications.MobileNetV2(alpha=alpha, input_shape=(96, 96, 3), weights=None, classes=5)


def first_blocks_of_mobilenet_v2() -> Any:
    """Return MobileNetV2 up to its third block: each kind of block, stride and residual sum, a sixth of the layers."""
    import keras

    whole = mobilenet_v2(alpha=0.5)
    pooled = keras.layers.GlobalAveragePooling2D()(whole.get_layer("block_2_add").output)
    return keras.Model(whole.inputs, keras.layers.Dense(5, activation="softmax")(pooled), name="first_blocks")


@pytest.mark.slow
def test_whole_mobilenet_v2_is_quantised_with_and_without_training(tmp_path: Path) -> None:
    rows = _quantised(mobilenet_v2(), ("float32", "int8_w8a8", "qat_int8"), (-1.0, 1.0), tmp_path)
    assert rows["qat_int8"]["size_bytes"] < 0.4 * rows["float32"]["size_bytes"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "value_range"),
    [(first_blocks_of_mobilenet_v2, (-1.0, 1.0)), (small_resnet, None)],
    ids=["mobilenet", "resnet"],
)
def test_every_variant_of_the_default_set_loads_and_runs(
    build: Any, value_range: tuple[float, float] | None, tmp_path: Path
) -> None:
    rows = _quantised(build(), DEFAULT_VARIANTS, value_range, tmp_path)
    slim, whole = rows["slim50_qat_int8"], rows["qat_int8"]
    assert slim["size_bytes"] < whole["size_bytes"] and slim["macs"] < 0.7 * whole["macs"]


def _quantised(
    model: Any, names: Sequence[str], value_range: tuple[float, float] | None, folder: Path
) -> dict[str, dict[str, Any]]:
    """Bring the model with generated pictures, quantise it, check each file; return the report's rows by variant."""
    shape, classes = tuple(model.inputs[0].shape[1:]), int(model.outputs[0].shape[-1])
    model.save(folder / "own.keras")
    data = pictures(folder / "data.npz", shape=shape, classes=classes, samples=80)
    source = DataSource(where=str(data))
    run = bring_model(folder / "run", folder / "own.keras", data=source, value_range=value_range)
    step = quantize_run(run, recipe=variants_of(*names))
    report = json.loads((run.folder(step) / "quantize.json").read_text())
    assert [variant["variant"] for variant in report["variants"]] == list(names) and not report["skipped"]
    picture = np.load(data)["images"][:1]
    for variant in report["variants"]:
        path = run.folder(step) / variant["file"]
        agreed = contract.read(path)
        assert agreed is not None
        with litert.load(path) as session:
            real = agreed.decode(session.run(agreed.encode(picture)))
        assert real.shape == (1, classes) and abs(float(real.sum()) - 1) < 0.1
        for promise in variant["promises"]:
            assert promise["held"], (variant["variant"], promise)
    return {variant["variant"]: variant for variant in report["variants"]}


def small(tmp_path: Path, outputs: Any, inputs: Any) -> Path:
    import keras

    keras.Model(inputs, outputs, name="own").save(tmp_path / "own.keras")
    return tmp_path / "own.keras"


def test_regression_is_measured_by_its_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    path = small(tmp_path, layers.Dense(1)(layers.Dense(16, activation="relu", name="hidden")(inputs)), inputs)
    random = np.random.default_rng(0)
    x = random.normal(size=(200, 6)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x, y=x.sum(axis=1, keepdims=True).astype(np.float32))
    options = ["--data", tmp_path / "data.npz", "--run", tmp_path / "run", "--json"]
    names = ["float32", "int8_w8a8", "qat_int8"]
    recipe = {"kind": "quantize", "params": {"variants": [*names[:2], _short_qat()]}}
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    assert call("quantize", path, *options, "--recipe", tmp_path / "recipe.json") == 0
    report = json.loads(capsys.readouterr().out)
    assert [variant["variant"] for variant in report["variants"]] == names
    for variant in report["variants"]:
        found = variant["validation"]
        assert (found["quality"], found["higher_is_better"]) == ("mse", False) and found["value"] >= 0
        assert variant["same_top1"] is None
    record = edgefm.Run(tmp_path / "run").benchmark(protocol=ONCE).record
    assert all(model["status"] == "ok" for model in record["models"])
    assert all(model["quality"]["name"] == "mse" for model in record["models"])


def test_autoencoder_and_colour_and_two_outputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A picture back, and a second output beside it: the first is measured, both are in the contract."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    code = layers.Conv2D(8, 3, padding="same", activation="relu", name="code")(inputs)
    back = layers.Conv2D(3, 3, padding="same", activation="sigmoid", name="picture")(code)
    mean = layers.Dense(2, name="extra")(layers.GlobalAveragePooling2D()(code))
    path = small(tmp_path, [back, mean], inputs)
    pixels = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "data.npz", images=pixels)
    (tmp_path / "recipe.json").write_text(
        json.dumps({"kind": "quantize", "params": {"variants": ["float32", "int8_w8a8", _short_qat()]}})
    )
    options = ["--data", tmp_path / "data.npz", "--task", "reconstruction", "--value-range", "0,1"]
    options += ["--recipe", tmp_path / "recipe.json", "--run", tmp_path / "run", "--json"]
    assert call("quantize", path, *options) == 0
    report = json.loads(capsys.readouterr().out)
    for variant in report["variants"]:
        agreed = contract.read(Path(report["folder"]) / variant["file"])
        assert agreed is not None
        assert [tensor.shape for tensor in agreed.outputs] == [(1, 8, 8, 3), (1, 2)]
        assert variant["validation"]["quality"] == "mse"


_WITHOUT_TENSORFLOW = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "keras", "tf_keras", "tensorflow_model_optimization"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocker())
from edgefm.cli.main import cli, run
sys.exit(run(lambda: cli.main(sys.argv[1:], standalone_mode=False)))
"""


def test_float_tflite_is_quantised_and_measured_without_tensorflow(tmp_path: Path) -> None:
    from edgefm_converters.tflite.keras_to_tflite import float32_tflite

    (tmp_path / "own.tflite").write_bytes(float32_tflite(small_resnet()))
    data = pictures(tmp_path / "data.npz", shape=(16, 16, 3), classes=7, samples=70)

    def edgefm(*args: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", _WITHOUT_TENSORFLOW, *args]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    done = edgefm("quantize", "own.tflite", "--data", str(data), "--json")
    report = json.loads(done.stdout)
    # The model has not learnt anything: four bits leave nothing of its scores.
    assert {(one["where"], one["code"]) for one in report["findings"]} <= {("int8_w8a8_fc4", "large_error")}
    assert done.returncode == (1 if report["findings"] else 0), done.stderr
    names = [variant["variant"] for variant in report["variants"]]
    assert names == ["float32", "float16", "drq_w8", "int8_w8a8", "int8_w8a8_fc4"]
    assert all("holds no Keras model" in one["reason"] for one in report["skipped"])
    assert all(variant["validation"]["quality"] == "accuracy" for variant in report["variants"])
    refused = edgefm("quantize", "own.tflite", "--data", str(data), "--variant", "qat_int8")
    assert refused.returncode == 2 and "holds no Keras model to train" in refused.stderr
    measured = edgefm("benchmark", "runs/own", "--rounds-at-most", "1", "--json")
    assert measured.returncode == 0, measured.stderr
    assert all(model["accuracy"]["value"] is not None for model in json.loads(measured.stdout)["models"])


def _short_qat() -> dict[str, Any]:
    tuning = FineTuning(epochs=1, batch_size=16, distillation=None).to_json()["params"]
    return {"name": "qat_int8", "passes": [{"kind": "qat", "params": {"fine_tuning": tuning}}]}
