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
from edgefm.core.errors import ModelError
from edgefm_converters.readers import trial
from edgefm_converters.readers.keras_file import check_file, load_model
from edgefm_converters.tflite.keras_to_tflite import float32_tflite
from tests.fixtures import failing_load
from tests.fixtures.classifiers import small_classifier


@pytest.fixture(scope="module", autouse=True)
def tensorflow_backend() -> None:
    from edgefm.keras_graph.backend import use_backend

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
        (lambda good, path: None, "no model file at"),
    ],
    ids=["text", "empty", "truncated", "bit flip", "other zip", "no weights", "subclassed", "missing"],
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
        load_model(path)


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
        load_model(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_load_refuses_weights_that_are_not_finite(tmp_path: Path, value: float) -> None:
    model = small_classifier()
    kernel = np.array(model.get_layer("dense").kernel)
    kernel[0, :3] = value
    model.get_layer("dense").kernel.assign(kernel)
    model.save(tmp_path / "nan.keras")
    with pytest.raises(ModelError, match=r"dense/kernel.* hold 3 values that are NaN or infinite"):
        load_model(tmp_path / "nan.keras")


def network(*layers: Any, shape: tuple[int | None, ...]) -> Any:
    import keras

    return keras.Sequential([keras.Input(shape), *layers])


def test_load_refuses_dynamic_sizes(tmp_path: Path) -> None:
    from keras import layers

    for index, (model, message) in enumerate(
        [
            (
                network(layers.Conv2D(2, 3), layers.GlobalMaxPooling2D(), shape=(None, None, 1)),
                r"input .* dynamic size",
            ),
            (network(layers.Rescaling(1.0), shape=()), r"has shape \(None,\)"),
        ]
    ):
        path = tmp_path / f"{index}.keras"
        model.save(path)
        with pytest.raises(ModelError, match=message):
            load_model(path)


def many_ended() -> Any:
    """Return a model of a vector with three outputs, whose names are not in the order of the alphabet."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(3)
    given = keras.Input((6,), name="series")
    hidden = layers.Dense(8, activation="relu", name="hidden")(given)
    probabilities = layers.Dense(3, activation="softmax", name="which")(hidden)
    number = layers.Dense(1, name="how_much")(hidden)
    return keras.Model(given, [probabilities, number, layers.Reshape((2, 3), name="image")(given)])


def test_convert_gives_every_output_by_its_layer_in_the_models_order(tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    many_ended().save(tmp_path / "many.keras")
    model = load_model(tmp_path / "many.keras")
    content = float32_tflite(model)
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    x = np.random.default_rng(0).normal(size=(1, 6)).astype(np.float32)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    found = [interpreter.get_tensor(end["index"]) for end in interpreter.get_output_details()]
    named = interpreter.get_signature_runner()(image=x)
    assert sorted(named) == ["how_much", "image_1", "which"]  # the input is called image
    for by_place, name, expected in zip(found, ("which", "how_much", "image_1"), model(x), strict=True):
        np.testing.assert_allclose(by_place, np.asarray(expected), atol=1e-6)
        np.testing.assert_allclose(named[name], by_place)


@pytest.mark.parametrize(
    ("last", "name"),
    [("softmax", "probabilities"), ("sigmoid", "probabilities"), (None, "scores")],
)
def test_a_single_output_is_called_what_it_is(last: str | None, name: str) -> None:
    from keras import layers

    from edgefm_converters.tflite.keras_to_tflite import output_names

    assert output_names(network(layers.Dense(3, activation=last, name="scores"), shape=(4,))) == (name,)
    assert output_names(network(layers.Conv2D(1, 1, activation=last, name="scores"), shape=(4, 4, 1))) == ("scores",)


def test_load_reads_h5_of_keras_3_and_of_the_wrong_suffix(good: Path, tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (8, 28, 28, 1)).astype(np.float32)
    expected = np.asarray(load_model(good)(x))
    load_model(good).save(tmp_path / "same.h5")
    shutil.copy(tmp_path / "same.h5", tmp_path / "misnamed.keras")
    shutil.copy(good, tmp_path / "misnamed.bin")
    for name in ("same.h5", "misnamed.keras", "misnamed.bin"):
        np.testing.assert_allclose(np.asarray(load_model(tmp_path / name)(x)), expected, atol=1e-6)


def test_load_refuses_what_is_no_h5(good: Path, tmp_path: Path) -> None:
    import h5py

    whole = tmp_path / "whole.h5"
    load_model(good).save(whole)
    content = whole.read_bytes()
    load_model(good).save_weights(tmp_path / "own.weights.h5")
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file["kernel"] = np.zeros(3)
    shutil.copy(whole, tmp_path / "linked.h5")
    with h5py.File(tmp_path / "linked.h5", "a") as file:
        del file["model_weights/dense"]
        file["model_weights/dense"] = h5py.ExternalLink("other.h5", "/secret")
    (tmp_path / "half.h5").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.h5").write_text("no model")
    (tmp_path / "empty.h5").touch()
    for name, message in {
        "half.h5": "cut off",
        "text.h5": "is not an HDF5 file",
        "empty.h5": "is empty",
        "weights.h5": "holds weights, but no model",
        "own.weights.h5": "holds weights, but no model",
        "linked.h5": r"holds a link \('dense'\) to other.h5|holds a link \('dense'\) to /secret",
        "none.hdf5": "no model file at",
    }.items():
        with pytest.raises(ModelError, match=message):
            check_file(tmp_path / name)


def test_load_runs_no_lambda_of_any_format_unless_trusted(tmp_path: Path) -> None:
    import keras
    import tf_keras

    from edgefm_converters.bridge.bridge import to_tf_keras

    x = np.ones((1, 4), np.float32)
    ran = tmp_path / "ran"

    spy = eval(f"lambda x: (__import__('pathlib').Path({str(ran)!r}).touch(), x * 2)[1]")
    for library, name, options in (
        (keras, "three.keras", {}),
        (keras, "three.h5", {}),
        (tf_keras, "two.keras", {}),
        (tf_keras, "two.h5", {}),
        (tf_keras, "folder", {"save_format": "tf"}),
    ):
        layers = library.layers
        code = layers.Lambda(spy, output_shape=(4,), name="code")
        library.Sequential([library.Input((4,)), code, layers.Dense(2)]).save(tmp_path / name, **options)
        ran.unlink(missing_ok=True)
        with pytest.raises(
            ModelError, match=r"Lambda layer: Python code that safe mode does not run\n.*trust the file"
        ):
            load_model(tmp_path / name)
        assert not ran.exists(), name
    model = load_model(tmp_path / "three.keras", trust=True)
    np.testing.assert_allclose(np.asarray(model.get_layer("code")(x)), 2 * x)
    assert float32_tflite(model)
    np.testing.assert_allclose(np.asarray(to_tf_keras(model)(x)), np.asarray(model(x)), atol=1e-6)


def with_activation(good: Path, path: Path, activation: dict[str, Any]) -> Path:
    """Write a model file whose dense layer has another activation, as JSON."""
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                config = json.loads(content)
                layer = next(layer for layer in config["config"]["layers"] if layer["config"]["name"] == "dense")
                layer["config"]["activation"] = activation
                content = json.dumps(config).encode()
            new.writestr(name, content)
    return path


CALLS = {
    "download": ("keras.utils", "get_file"),
    "class": ("keras.layers", "TFSMLayer"),
    "class among functions": ("keras.src.activations.activations", "TFSMLayer"),
    "builtin class": ("builtins", "TFSMLayer"),
    "data": ("keras.datasets.mnist", "load_data"),
    "any object": ("keras.activations", "deserialize"),
    "model": ("tf_keras.models", "load_model"),
    "network": ("keras.applications.mobilenet_v2", "MobileNetV2"),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("registered", [False, True])
def test_load_runs_no_function_that_does_more_than_compute(
    good: Path, tmp_path: Path, name: str, registered: bool
) -> None:
    module, function = CALLS[name]
    value = {
        "module": module,
        "class_name": "function",
        "config": function,
        "registered_name": function if registered else None,
    }
    with pytest.raises(ModelError, match=rf"names the function {module.replace('.', '[.]')}[.]{function}, which safe"):
        load_model(with_activation(good, tmp_path / "calls.keras", value))


def test_load_takes_no_function_for_a_class(good: Path, tmp_path: Path) -> None:
    value = {"module": "keras.datasets.mnist", "class_name": "load_data", "config": {}, "registered_name": "load_data"}
    with pytest.raises(ModelError, match=r"names the function keras[.]datasets[.]mnist[.]load_data, which safe"):
        load_model(with_activation(good, tmp_path / "calls.keras", value))


def test_teacher_runs_no_function_that_does_more_than_compute(good: Path, tmp_path: Path) -> None:
    from edgefm.training.distillation import load_teacher

    value = {"module": "keras.layers", "class_name": "function", "config": "TFSMLayer", "registered_name": "TFSMLayer"}
    path = with_activation(good, tmp_path / "teacher.keras", value)
    with pytest.raises(ModelError, match=r"names the function keras[.]layers[.]TFSMLayer, which safe"):
        load_teacher([str(path)], classes=3, input_shape=(8, 8, 1))


def test_load_takes_functions_that_compute_as_keras_names_them(good: Path, tmp_path: Path) -> None:
    import keras

    for function in (keras.activations.hard_swish, keras.activations.relu, keras.activations.mish):
        value = keras.saving.serialize_keras_object(function)
        assert value["class_name"] == "function"
        model = load_model(with_activation(good, tmp_path / f"{function.__name__}.keras", value))
        assert model.get_layer("dense").activation is function


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (failing_load.crash, r"loading .*new\.keras crashed with SIGSEGV"),
        (failing_load.hang, r"loading .*new\.keras gave no answer for 1 s and was ended"),
        (failing_load.fill, r"loading .*new\.keras takes more than the [\d,]+ MB of memory"),
    ],
)
def test_load_that_goes_wrong_in_native_code_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Callable[[Path], object], says: str
) -> None:
    monkeypatch.setenv("EDGEFM_CACHE_DIR", str(tmp_path / "cache"))
    path = tmp_path / "new.keras"
    small_classifier().save(path)
    monkeypatch.setattr(trial, "patience", lambda size_bytes: 1.0)
    monkeypatch.setattr(trial, "_BUILDING_SECONDS", 0.0)
    with pytest.raises(ModelError, match=says):
        trial.check_loads(path, fault, size_bytes=path.stat().st_size)


def test_model_that_was_loaded_before_is_known_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEFM_CACHE_DIR", str(tmp_path / "cache"))
    path, other = tmp_path / "model.keras", tmp_path / "other.keras"
    small_classifier().save(path)
    load_model(path)
    shutil.copy(path, other)

    def check() -> None:
        trial.check_loads(other, failing_load.crash, size_bytes=other.stat().st_size)

    check()
    model = small_classifier()
    model.set_weights([weight + 1 for weight in model.get_weights()])
    model.save(other)
    with pytest.raises(ModelError, match="crashed with SIGSEGV"):
        check()
    trial.remember(other)
    check()


def test_load_refuses_models_that_are_compressed_already(tmp_path: Path) -> None:
    import keras
    import tensorflow_model_optimization as tfmot
    import tf_keras

    quantised = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="scores")])
    quantised.quantize("int8")
    quantised.save(tmp_path / "int8.keras")
    dense = tf_keras.Sequential([tf_keras.Input((4,)), tf_keras.layers.Dense(2)])
    tfmot.sparsity.keras.prune_low_magnitude(dense).save(tmp_path / "pruned.h5")
    tfmot.quantization.keras.quantize_model(dense).save(tmp_path / "qat.h5")
    centroids = tfmot.clustering.keras.CentroidInitialization.LINEAR
    clustered = tfmot.clustering.keras.cluster_weights(dense, number_of_clusters=2, cluster_centroids_init=centroids)
    clustered.save(tmp_path / "clustered.h5")
    for name, message in {
        "int8.keras": "is quantised already\n.*before quantize",
        "pruned.h5": "has pruning wrappers .*\n.*tfmot.sparsity.keras.strip_pruning",
        "qat.h5": "is quantised already",
        "clustered.h5": "has clustering wrappers .*\n.*strip_clustering",
    }.items():
        with pytest.raises(ModelError, match=message):
            load_model(tmp_path / name)


def test_load_refuses_keras_on_another_backend(good: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nimport keras\n"
        "from edgefm.core.errors import RuntimeUnavailableError\n"
        "from edgefm_converters.readers.keras_file import load_model\n"
        "try:\n    load_model(Path(sys.argv[1]))\n"
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
    loaded = load_model(tmp_path / "mixed.keras")
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
    float32_tflite(load_model(good))
    assert capfd.readouterr() == ("", "")


def test_silenced_lets_exceptions_pass_and_gives_output_back(capfd: pytest.CaptureFixture[str]) -> None:
    from edgefm.core.silence import silenced

    with pytest.raises(KeyError), silenced():
        os.write(2, b"from C++")
        print("from Python")
        raise KeyError
    os.write(1, b"after")
    assert capfd.readouterr() == ("after", "")


def test_copy_of_good_file_loads(good: Path, tmp_path: Path) -> None:
    shutil.copy(good, tmp_path / "copy.keras")
    assert load_model(tmp_path / "copy.keras").output_shape == (None, 10)
