from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgefm.core.errors import DataError, NonFiniteError
from edgefm.data.preprocessing import preprocessing
from edgefm.quantization.calibration_set import from_npz
from edgefm.quantization.folded_model import folded_model
from edgefm_converters.readers.model_file import load
from edgefm_converters.tflite.keras_to_tflite import float32_tflite
from edgefm_converters.tflite.outputs import of_model
from edgefm_converters.tflite.quantizing import calibrate, quantize_tflite
from edgefm_converters.tflite.tflite_outputs import tflite_outputs

SHAPE = (6, 6, 2)


@pytest.fixture(scope="module", autouse=True)
def tensorflow_backend() -> None:
    from edgefm.keras_graph.backend import use_backend

    use_backend("tensorflow")


def network(**changed: Any) -> Any:
    """Return a model of five layers; `conv=(0, 7e4)` sets a value of its kernel, `conv=(1, 7e4)` of its bias."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    source = keras.Input(SHAPE, name="source")
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(source)
    x = layers.DepthwiseConv2D(2, name="depthwise")(x)
    x = layers.Conv2DTranspose(3, 2, name="transposed")(x)
    x = layers.Flatten(name="flat")(x)
    model = keras.Model(source, layers.Dense(3, name="dense")(x), name="network")
    for name, (variable, value) in changed.items():
        arrays = [array.copy() for array in model.get_layer(name).get_weights()]
        arrays[variable].reshape(-1)[1] = value
        model.get_layer(name).set_weights(arrays)
    return model


def samples(count: int = 6) -> NDArray[np.float32]:
    return np.random.default_rng(0).uniform(0, 1, (count, *SHAPE)).astype(np.float32)


@pytest.mark.parametrize(
    ("layer", "variable", "value"),
    [
        ("conv", 0, 70_000.0),
        ("conv", 1, -1e6),
        ("depthwise", 0, 65_520.0),
        ("transposed", 0, -1e5),
        ("dense", 0, 3e38),
        ("dense", 1, 7e4),
    ],
)
def test_float16_names_the_weight_that_it_cannot_hold(layer: str, variable: int, value: float) -> None:
    model = network(**{layer: (variable, value)})
    assert np.isinf(np.float32(value).astype(np.float16))
    names = tuple(one.name for one in model.layers[1:])
    called = ("kernel", "bias")[variable]
    with pytest.raises(NonFiniteError, match=f"float16 cannot hold the {called} of '{layer}'") as caught:
        quantize_tflite(float32_tflite(model), "float16", layer_names=names)
    assert (caught.value.layer, caught.value.variable) == (layer, called)


def test_float16_holds_its_greatest_number() -> None:
    content = float32_tflite(network(conv=(0, 65_504.0)))
    expected = tflite_outputs(content, samples())[0]
    answers = tflite_outputs(quantize_tflite(content, "float16"), samples())[0]
    assert np.abs(answers - expected).max() < 0.01 * np.abs(expected).max()


def test_other_schemes_take_weights_beyond_float16() -> None:
    content = float32_tflite(network(conv=(0, 70_000.0)))
    ranges = calibrate(content, samples(), value_range=(0, 1))
    expected = tflite_outputs(content, samples())[0]
    answers = tflite_outputs(quantize_tflite(content, "int8_w8a8", calibration=ranges), samples())[0]
    assert np.abs(answers - expected).max() < 0.1 * np.abs(expected).max()


def exploding() -> Any:
    """Return a model whose layer 'ratio' divides by the sum of its input: 0 / 0 for a sample of zeros."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    source = keras.Input(SHAPE, name="source")
    x = layers.Conv2D(4, 3, use_bias=False, activation="relu", name="conv")(source)
    x = layers.Flatten(name="flat")(x)
    scaled = layers.UnitNormalization(name="unit")(x)  # not the place: its epsilon keeps it finite
    x = layers.Concatenate(name="joined")([scaled, x / keras.ops.sum(x, axis=-1, keepdims=True)])
    return keras.Model(source, layers.Dense(2, name="dense")(x), name="exploding")


def test_model_error_names_the_sample_and_the_first_layer() -> None:
    model, inputs = exploding(), samples()
    assert np.isfinite(of_model(model, inputs)[0]).all()
    inputs[4] = 0
    outputs = model.predict(inputs, verbose=0)
    assert [bool(finite) for finite in np.isfinite(outputs).all(axis=1)] == [True] * 4 + [False, True]
    with pytest.raises(NonFiniteError, match="first for input 4; its layer") as caught:
        of_model(model, inputs)
    assert caught.value.sample == 4
    assert str(caught.value.layer).startswith(("divide", "true_divide"))


def test_file_error_names_the_sample_and_the_first_layer() -> None:
    inputs = samples()
    inputs[2] = 0
    content = float32_tflite(exploding())
    with pytest.raises(NonFiniteError, match="first for input 2; DIV of '") as caught:
        tflite_outputs(content, inputs)
    assert caught.value.sample == 2 and caught.value.layer


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_calibration_names_the_sample(bad: float) -> None:
    content, inputs = float32_tflite(network()), samples()
    inputs[3, 2, 1, 0] = bad
    with pytest.raises(NonFiniteError, match="calibration sample 3 holds") as caught:
        calibrate(content, inputs, value_range=(0, 1))
    assert caught.value.sample == 3
    with pytest.raises(NonFiniteError, match="input 3 holds"):
        of_model(network(conv=(0, 1.0)), inputs)


def test_calibration_file_names_its_own_sample(tmp_path: Path) -> None:
    inputs = samples(40)
    inputs[17, 0, 0, 0] = np.nan
    np.savez(tmp_path / "c.npz", images=inputs)
    with pytest.raises(DataError, match=r"NaN or infinite values, first in sample 17"):
        from_npz(tmp_path / "c.npz", preprocessing((0, 1)), count=40, seed=3, shape=SHAPE)


def test_data_error_names_the_samples() -> None:
    from edgefm.data.checks import check_inputs, numbers

    inputs = samples(9)
    inputs[[2, 7], 0, 0, 0] = np.nan, np.inf
    with pytest.raises(DataError, match=r"in 2 of 9 samples: indices 2, 7"):
        check_inputs(inputs, where="the train samples of data.npz")
    with pytest.raises(DataError, match=r"in 1 of 3 samples: index 1"):
        numbers(np.array([[0.0], [np.nan], [1.0]]), where="the train labels of data.npz")


@pytest.mark.parametrize(("layer", "variable"), [("conv", 0), ("dense", 1)])
def test_tflite_file_with_a_bad_weight_is_refused_by_name(layer: str, variable: int, tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(float32_tflite(network(**{layer: (variable, np.nan)})))
    with pytest.raises(NonFiniteError, match=rf"the {('kernel', 'bias')[variable]} of '.*{layer}.*NaN or infinite"):
        load(path)


def test_fold_that_overflows_is_not_used() -> None:
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    source = keras.Input(SHAPE)
    x = layers.Conv2D(4, 3, use_bias=False, name="conv")(source)
    model = keras.Model(source, layers.BatchNormalization(epsilon=1e-12, name="bn")(x))
    kernel = model.get_layer("conv").get_weights()[0]
    model.get_layer("conv").set_weights([kernel * np.float32(1e30)])
    gamma, beta, mean, variance = model.get_layer("bn").get_weights()
    model.get_layer("bn").set_weights([gamma * np.float32(1e6), beta, mean, variance * np.float32(1e-10)])
    inputs = samples() * np.float32(1e-30)
    expected = (np.asarray(model(inputs)),)
    assert np.isfinite(expected[0]).all()
    kept, facts = folded_model(model, inputs, expected)
    if not facts["used"]:
        assert kept is model and facts["reason"]
    assert np.isfinite(np.asarray(kept(inputs))).all()
