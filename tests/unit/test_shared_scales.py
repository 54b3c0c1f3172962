from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgefm.tflite import flatbuffer
from edgefm_converters.tflite.quantizing import (
    Calibration,
    calibrate,
    float32_for_shared_scales,
    quantize_tflite,
    quantizer_recipe,
)
from edgefm_converters.tflite.shared_scales import lost_ranges
from edgefm_converters.tflite.tflite_outputs import tflite_outputs

SHAPE = (8, 8, 3)
LARGE, SMALL = 400.0, 1.0


@pytest.fixture(scope="module", autouse=True)
def tensorflow_backend() -> None:
    from edgefm.keras_graph.backend import use_backend

    use_backend("tensorflow")


def head(x: Any, units: int, size: float, **options: Any) -> Any:
    """Return a dense layer whose outputs reach about `size`."""
    import keras

    return keras.layers.Dense(units, kernel_initializer=keras.initializers.RandomNormal(stddev=size), **options)(x)


def features(source: Any) -> Any:
    from keras import layers

    x = layers.Conv2D(8, 3, activation="relu", name="conv")(source)
    return layers.Flatten(name="flat")(layers.AveragePooling2D(3, name="pool")(x))


def joined_at_the_end(source: Any) -> Any:
    from keras import layers

    x = features(source)
    large, small = head(x, 4, LARGE, name="box"), head(x, 2, SMALL, name="score", activation="sigmoid")
    return layers.Concatenate(name="joined")([large, small])


def joined_small_first(source: Any) -> Any:
    from keras import layers

    x = features(source)
    return layers.Concatenate(name="joined")([head(x, 2, SMALL, name="score"), head(x, 4, LARGE, name="box")])


def joined_then_reshaped(source: Any) -> Any:
    from keras import layers

    return layers.Reshape((2, 3), name="rows")(joined_at_the_end(source))


def stacked(source: Any) -> Any:
    import keras

    x = features(source)
    return keras.ops.stack([head(x, 4, LARGE, name="box"), head(x, 4, SMALL, name="score")], axis=1)


def three_joined(source: Any) -> Any:
    from keras import layers

    x = features(source)
    heads = [head(x, 2, size, name=f"head{place}") for place, size in enumerate((LARGE, 20.0, SMALL))]
    return layers.Concatenate(name="joined")(heads)


def joined_maps(source: Any) -> Any:
    from keras import layers

    large = layers.Conv2D(2, 3, name="large", kernel_initializer="random_normal")(source)
    large = layers.Rescaling(20_000.0, name="times")(large)
    small = layers.Conv2D(2, 3, name="small", activation="tanh")(source)
    return layers.UpSampling2D(2, name="grown")(layers.Concatenate(name="joined")([large, small]))


def greatest(source: Any) -> Any:
    from keras import layers

    x = features(source)
    large = layers.ReLU(name="positive")(head(x, 4, LARGE, name="box", use_bias=False))
    return layers.Maximum(name="greatest")([large, head(x, 4, SMALL, name="score")])


def joined_with_the_input(source: Any) -> Any:
    from keras import layers

    large = layers.Rescaling(5000.0, name="times")(layers.Conv2D(2, 3, padding="same", name="large")(source))
    return layers.Concatenate(name="joined")([large, source])


LOST = {
    "end": joined_at_the_end,
    "small-first": joined_small_first,
    "reshaped": joined_then_reshaped,
    "stack": stacked,
    "three": three_joined,
    "maps": joined_maps,
    "maximum": greatest,
    "input": joined_with_the_input,
}


def of(build: Any) -> tuple[Any, bytes, NDArray[np.float32], Calibration]:
    import keras

    from edgefm_converters.tflite.keras_to_tflite import float32_tflite

    keras.utils.set_random_seed(3)
    source = keras.Input(SHAPE, name="source")
    model = keras.Model(source, build(source))
    inputs = np.random.default_rng(1).uniform(0, 1, (160, *SHAPE)).astype(np.float32)
    content = float32_tflite(model)
    return model, content, inputs, calibrate(content, inputs, value_range=(0, 1))


def small_part(values: NDArray[np.float32], limit: float = 20.0) -> NDArray[np.float32]:
    """Return the columns that never go beyond a limit."""
    flat = values.reshape(len(values), -1)
    return flat[:, np.abs(flat).max(axis=0) < limit]


@pytest.mark.parametrize("build", LOST.values(), ids=LOST.keys())
def test_small_branch_keeps_its_levels(build: Any) -> None:
    model, content, inputs, calibration = of(build)
    expected = np.asarray(model(inputs)).reshape(len(inputs), -1)
    answers = tflite_outputs(quantize_tflite(content, "int8_w8a8", calibration=calibration), inputs)[0]
    answers = answers.reshape(expected.shape)
    small = np.abs(expected).max(axis=0) < 20
    if build is greatest:  # each column holds both branches; of the values below 3 nearly all are the small one's
        below = expected < 3
        assert len(np.unique(answers[below])) >= 64
        assert np.quantile(np.abs(answers - expected)[below], 0.95) < 0.1
        return
    assert small.any() and (~small).any()
    spans = np.ptp(expected[:, small], axis=0)
    assert (np.abs(answers - expected)[:, small].max(axis=0) < 0.12 * spans.max()).all()
    assert len(np.unique(answers[:, small])) >= 64


def test_without_the_repair_the_small_branch_has_hardly_a_level(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgefm_converters.tflite import quantizing

    _, content, inputs, calibration = of(joined_at_the_end)
    monkeypatch.setattr(quantizing, "shared_scales", lambda *_, **__: ())
    answers = tflite_outputs(quantize_tflite(content, "int8_w8a8", calibration=calibration), inputs)[0]
    assert len(np.unique(small_part(answers))) <= 2


def test_finding_names_layers_ranges_and_levels() -> None:
    model, content, inputs, calibration = of(joined_at_the_end)
    names = [layer.name for layer in model.layers[1:]]
    (found,) = float32_for_shared_scales(content, "int8_w8a8", calibration, layer_names=names)
    expected = np.asarray(model(inputs))
    shared = (min(expected.min(), 0.0), max(expected.max(), 0.0))
    assert found.layer == "joined" and found.kind == "CONCATENATION" and found.float_layers == ("joined",)
    assert found.range == pytest.approx(shared, rel=1e-4)
    (lost,) = found.lost
    assert lost.name == "score" and lost.range == pytest.approx((0, expected[:, 4:].max()), rel=1e-3)
    assert lost.levels == pytest.approx(255 * expected[:, 4:].max() / (shared[1] - shared[0]), rel=0.01, abs=1e-3)
    assert "'joined' stays float32" in found.sentence and "'score'" in found.sentence


def test_branch_that_a_dense_layer_takes_keeps_its_weight() -> None:
    """Whatever works on the joined values stays float32 as well, up to the layer that mixes them."""
    from keras import layers

    def build(source: Any) -> Any:
        x = layers.BatchNormalization(name="bn")(joined_at_the_end(source))
        return layers.Dense(3, name="mix")(layers.ReLU(name="relu")(x))

    import keras

    from edgefm_converters.tflite.keras_to_tflite import float32_tflite

    model, _, inputs, _ = of(build)
    kernel = np.zeros((6, 3), np.float32)
    kernel[4:, 0], kernel[4, 1], kernel[5, 2] = 1, 1, 1  # looks at the scores alone
    model.get_layer("mix").set_weights([kernel, np.zeros(3, np.float32)])
    content = float32_tflite(model)
    calibration = calibrate(content, inputs, value_range=(0, 1))
    quantised = quantize_tflite(content, "int8_w8a8", calibration=calibration)
    answers, expected = tflite_outputs(quantised, inputs)[0], np.asarray(model(inputs))
    assert len(np.unique(answers)) >= 64
    assert np.abs(answers - expected).max() < 0.1 * np.ptp(expected)
    names = [layer.name for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    (found,) = float32_for_shared_scales(content, "int8_w8a8", calibration, layer_names=names)
    assert "joined" in found.float_layers and "mix" in found.float_layers and "conv" not in found.float_layers


def test_parts_of_very_different_ranges_are_kept_apart() -> None:
    import keras

    def build(source: Any) -> Any:
        size = np.array([LARGE] * 4 + [SMALL] * 4, np.float32)
        x = keras.layers.Dense(8, name="heads")(features(source)) * size
        return [
            keras.layers.ReLU(name="boxes", negative_slope=0.5)(x[:, :4]),
            keras.layers.ReLU(name="scores", negative_slope=0.5)(x[:, 4:]),
        ]

    model, content, inputs, calibration = of(build)
    expected = [np.asarray(output) for output in model(inputs)]
    answers = tflite_outputs(quantize_tflite(content, "int8_w8a8", calibration=calibration), inputs)
    for answer, wanted in zip(answers, expected, strict=True):
        assert len(np.unique(answer)) >= 64
        assert np.abs(answer - wanted).max() < 0.1 * np.ptp(wanted)


def sound_join(source: Any) -> Any:
    from keras import layers

    x = features(source)
    return layers.Concatenate()([head(x, 4, 2.0), head(x, 2, SMALL, activation="sigmoid")])


def sound_clip(source: Any) -> Any:
    import keras

    return keras.ops.maximum(head(features(source), 4, LARGE), 0.01)


def sound_padding(source: Any) -> Any:
    from keras import layers

    return layers.Conv2D(2, 3)(layers.ZeroPadding2D(2)(layers.Conv2D(4, 3)(source)))


def sound_dead_branch(source: Any) -> Any:
    from keras import layers

    x = features(source)
    return layers.Concatenate()([head(x, 4, LARGE), layers.Rescaling(0.0)(head(x, 2, SMALL))])


def sound_sum(source: Any) -> Any:
    from keras import layers

    x = features(source)
    return layers.Add()([head(x, 4, LARGE), head(x, 4, SMALL)])


SOUND = (sound_join, sound_clip, sound_padding, sound_dead_branch, sound_sum)


@pytest.mark.parametrize("build", SOUND, ids=lambda build: build.__name__)
def test_sound_model_stays_int8_throughout(build: Any) -> None:
    _, content, _, calibration = of(build)
    assert float32_for_shared_scales(content, "int8_w8a8", calibration) == ()
    model = flatbuffer.read(quantize_tflite(content, "int8_w8a8", calibration=calibration))
    graph = model.subgraphs[0]
    dtypes = {flatbuffer.dtype(graph.tensors[index]) for operator in graph.operators for index in operator.outputs}
    assert "float32" not in dtypes


def test_sixteen_bits_have_levels_enough_and_dynamic_range_needs_none() -> None:
    _, content, _, calibration = of(joined_at_the_end)
    assert float32_for_shared_scales(content, "int16x8", calibration) == ()
    assert float32_for_shared_scales(content, "drq_w8", calibration) == ()
    assert float32_for_shared_scales(content, "int8_w8a8_fc4", calibration) != ()


def test_quantizer_recipe_keeps_the_same_operators_in_float() -> None:
    _, content, _, calibration = of(joined_at_the_end)
    with_ranges = quantizer_recipe(content, "int8_w8a8", calibration=calibration)
    assert len(with_ranges) == len(quantizer_recipe(content, "int8_w8a8")) + 1


def test_levels_are_those_of_the_shared_range() -> None:
    shares = {"exact": (0.0, 16 / 255), "below": (0.0, 15.9 / 255), "nothing": (0.0, 0.0), "whole": (0.0, 1.0)}
    assert [lost.name for lost in lost_ranges(shares, (0.0, 1.0), steps=255)] == ["below"]
