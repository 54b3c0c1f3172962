from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgefm.cli.main import cli, run
from edgefm.errors import ModelError
from edgefm_converters.keras_file import check_file, load_keras
from edgefm_converters.keras_to_tflite import float32_tflite
from tests.fixtures.classifiers import small_classifier


@pytest.fixture(scope="module", autouse=True)
def tensorflow_backend() -> None:
    from edgefm.training.backend import use_backend

    use_backend("tensorflow")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("good") / "good.keras"
    small_classifier().save(path)
    return path


def truncated(good: Path, path: Path) -> None:
    content = good.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def flipped(good: Path, path: Path) -> None:
    content = bytearray(good.read_bytes())
    content[len(content) // 2] ^= 0xFF  # in the weights, which are stored as they are
    path.write_bytes(content)


def other_zip(good: Path, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no model")


def without_weights(good: Path, path: Path) -> None:
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(path, "w") as new:
        for name in ("config.json", "metadata.json"):
            new.writestr(name, old.read(name))


def subclassed(good: Path, path: Path) -> None:
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                content = json.dumps({**json.loads(content), "class_name": "MyOwnNet"}).encode()
            new.writestr(name, content)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda good, path: path.write_text("no model"), "is not a .keras file"),
        (lambda good, path: path.write_bytes(b""), "is empty"),
        (truncated, "cut off"),
        (flipped, "damaged"),
        (other_zip, "config.json, metadata.json, model.weights.h5 is missing"),
        (without_weights, "model.weights.h5 is missing"),
        (subclassed, "subclassed model (MyOwnNet)"),
        (lambda good, path: path.mkdir(), "is a folder"),
        (lambda good, path: None, "no model file at"),
    ],
    ids=["text", "empty", "truncated", "bit flip", "other zip", "no weights", "subclassed", "folder", "missing"],
)
def test_quantize_refuses_what_is_no_keras_file(
    good: Path,
    tmp_path: Path,
    spoil: Callable[[Path, Path], Any],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "bad.keras"
    spoil(good, path)
    before = sorted(tmp_path.iterdir())
    assert run(lambda: cli.main(["quantize", str(path)], standalone_mode=False)) == 2
    assert message in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


def test_check_file_takes_a_good_one(good: Path) -> None:
    check_file(good)


def test_load_runs_no_code_of_a_lambda_layer(tmp_path: Path) -> None:
    import keras

    path = tmp_path / "lambda.keras"
    keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Lambda(lambda x: x * 2), keras.layers.Flatten()]).save(path)
    with pytest.raises(ModelError, match="Lambda layer: Python code that safe mode does not run"):
        load_keras(path)


def test_load_refuses_unknown_layer_by_name(good: Path, tmp_path: Path) -> None:
    path = tmp_path / "own.keras"
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                config = json.loads(content)
                layer = next(layer for layer in config["config"]["layers"] if layer["config"]["name"] == "dense")
                layer.update(module="somewhere", class_name="Twice", registered_name="mine>Twice")
                content = json.dumps(config).encode()
            new.writestr(name, content)
    with pytest.raises(ModelError, match="uses the class 'Twice'"):
        load_keras(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_load_refuses_weights_that_are_not_finite(tmp_path: Path, value: float) -> None:
    model = small_classifier()
    kernel = np.array(model.get_layer("dense").kernel)
    kernel[0, :3] = value
    model.get_layer("dense").kernel.assign(kernel)
    model.save(tmp_path / "nan.keras")
    with pytest.raises(ModelError, match=r"dense/kernel.* hold 3 values that are NaN or infinite"):
        load_keras(tmp_path / "nan.keras")


def network(*layers: Any, shape: tuple[int | None, ...]) -> Any:
    import keras

    return keras.Sequential([keras.Input(shape), *layers])


def test_load_refuses_dynamic_size_other_inputs_and_outputs(tmp_path: Path) -> None:
    import keras
    from keras import layers

    image = keras.Input((4, 4, 1))
    flat = layers.Flatten()(image)
    for index, (model, message) in enumerate(
        [
            (network(layers.Conv2D(2, 3), layers.GlobalMaxPooling2D(), shape=(None, None, 1)), "dynamic size"),
            (network(layers.Dense(3), shape=(5,)), "pictures .* are expected"),
            (network(layers.Conv2D(2, 3), shape=(4, 4, 1)), "classes"),
            (keras.Model(image, [layers.Dense(2)(flat), layers.Dense(3)(flat)]), "1 inputs and 2 outputs"),
        ]
    ):
        path = tmp_path / f"{index}.keras"
        model.save(path)
        with pytest.raises(ModelError, match=message):
            load_keras(path)


def test_load_refuses_keras_on_another_backend(good: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nimport keras\n"
        "from edgefm.errors import RuntimeUnavailableError\nfrom edgefm_converters.keras_file import load_keras\n"
        "try:\n    load_keras(Path(sys.argv[1]))\n"
        "except RuntimeUnavailableError as error:\n    print(error)\n"
    )
    environment = {**os.environ, "KERAS_BACKEND": "numpy"}
    result = subprocess.run(
        [sys.executable, "-c", code, str(good)], check=True, capture_output=True, text=True, env=environment
    )
    assert "Keras already runs on numpy in this process" in result.stdout


def test_load_brings_mixed_precision_to_float32(tmp_path: Path) -> None:
    import keras

    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = small_classifier()
    finally:
        keras.config.set_dtype_policy("float32")
    assert mixed.get_layer("conv").compute_dtype == "bfloat16"
    mixed.save(tmp_path / "mixed.keras")
    loaded = load_keras(tmp_path / "mixed.keras")
    assert all(layer.compute_dtype == "float32" for layer in loaded.layers)
    x = np.random.default_rng(0).integers(0, 256, (8, 28, 28, 1)).astype(np.float32)
    reference = small_classifier()
    reference.set_weights(mixed.get_weights())
    np.testing.assert_allclose(np.asarray(loaded(x)), np.asarray(reference(x)), atol=1e-6)


def test_convert_names_the_operator_that_tflite_lacks() -> None:
    import keras

    image = keras.Input((4, 4, 1))
    flat = keras.layers.Flatten()(image)
    model = keras.Model(image, keras.ops.erfinv(flat))
    with pytest.raises(ModelError, match=r"uses tf\.Erfinv, which TFLite does not have"):
        float32_tflite(model)


def test_convert_prints_nothing(good: Path, capfd: pytest.CaptureFixture[str]) -> None:
    float32_tflite(load_keras(good))
    assert capfd.readouterr() == ("", "")


def test_silenced_lets_exceptions_pass_and_gives_output_back(capfd: pytest.CaptureFixture[str]) -> None:
    from edgefm.silence import silenced

    with pytest.raises(KeyError), silenced():
        os.write(2, b"from C++")
        print("from Python")
        raise KeyError
    os.write(1, b"after")
    assert capfd.readouterr() == ("after", "")


def test_copy_of_good_file_loads(good: Path, tmp_path: Path) -> None:
    shutil.copy(good, tmp_path / "copy.keras")
    assert load_keras(tmp_path / "copy.keras").output_shape == (None, 10)
