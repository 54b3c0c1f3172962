"""Keras 3 itself is the oracle: what comes over the bridge has to compute the same on the same inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgefm.core.errors import ModelError
from tests.fixtures.residual_network import random_weights, small_resnet

MAP = (8, 6, 4)
SERIES = (9, 4)
VECTOR = (5,)


@pytest.fixture(scope="module", autouse=True)
def tensorflow_backend() -> None:
    from edgefm.keras_graph.backend import use_backend

    use_backend("tensorflow")


def inputs_for(model: Any, count: int = 3, seed: int = 1) -> Any:
    shape = model.inputs[0].shape
    return np.random.default_rng(seed).normal(size=(shape[0] or count, *shape[1:])).astype(np.float32) * 2


def outputs_of(model: Any, inputs: Any) -> list[Any]:
    outputs = model(inputs, training=False)
    return [np.asarray(output) for output in (outputs if isinstance(outputs, list) else [outputs])]


def chain(shape: tuple[int, ...], *sequence: Any) -> Any:
    """Return a Functional model whose outputs are those of every layer, one after the other."""
    import keras

    image = tensor = keras.Input(shape, name="picture")
    outputs = []
    for layer in sequence:
        tensor = layer(tensor)
        outputs.append(tensor)
    return random_weights(keras.Model(image, outputs))


def convolutions() -> list[Any]:
    from keras import layers

    return [
        chain(MAP, layers.Conv2D(6, 3, strides=2, padding="same"), layers.Conv2D(4, (2, 1), groups=2, dilation_rate=1)),
        chain(MAP, layers.Conv2D(3, 3, dilation_rate=2, use_bias=False, activation="relu", kernel_regularizer="l2")),
        chain(
            MAP,
            layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same"),
            layers.SeparableConv2D(5, 3, activation="tanh"),
        ),
        chain(MAP, layers.Conv2DTranspose(3, 3, strides=2), layers.Conv2DTranspose(2, 4, strides=2, padding="same")),
        chain(MAP, layers.Conv2DTranspose(3, 3, strides=2, padding="same", output_padding=1)),
        chain(SERIES, layers.Conv1D(6, 3, padding="causal"), layers.DepthwiseConv1D(3), layers.SeparableConv1D(4, 3)),
        chain(SERIES, layers.Conv1D(6, 3, strides=2, padding="same"), layers.Conv1DTranspose(3, 4, strides=2)),
        chain((4, 4, 4, 2), layers.Conv3D(3, 2), layers.MaxPooling3D(2), layers.GlobalAveragePooling3D()),
        chain(
            (4, 4, 4, 2), layers.AveragePooling3D(2), layers.GlobalMaxPooling3D(), layers.Dense(3, activation="softmax")
        ),
        chain((5, 4), layers.EinsumDense("abc,cd->abd", (5, 6), bias_axes="d", activation="relu")),
    ]


def poolings_and_shapes() -> list[Any]:
    from keras import layers

    return [
        chain(
            MAP,
            layers.MaxPooling2D(3, 1, "same"),
            layers.AveragePooling2D(2, padding="same"),
            layers.GlobalMaxPooling2D(),
        ),
        chain(
            MAP,
            layers.AveragePooling2D((2, 3)),
            layers.GlobalAveragePooling2D(keepdims=True),
            layers.Flatten(),
            layers.RepeatVector(3),
        ),
        chain(MAP, layers.GlobalMaxPooling2D(keepdims=True), layers.Reshape((2, -1)), layers.GlobalMaxPooling1D()),
        chain(
            SERIES, layers.MaxPooling1D(2), layers.AveragePooling1D(2, padding="same"), layers.GlobalAveragePooling1D()
        ),
        chain(MAP, layers.Permute((3, 1, 2)), layers.Reshape((8, 24)), layers.Flatten()),
        chain(
            MAP,
            layers.ZeroPadding2D(((0, 1), (2, 0))),
            layers.Cropping2D(((1, 0), (0, 2))),
            layers.UpSampling2D((2, 3)),
        ),
        chain(
            MAP,
            layers.UpSampling2D(2, interpolation="bilinear"),
            layers.Resizing(5, 7),
            layers.Resizing(3, 3, "nearest"),
        ),
        chain(SERIES, layers.ZeroPadding1D((2, 1)), layers.Cropping1D((0, 3)), layers.UpSampling1D(2)),
    ]


def normalisations_and_noise() -> list[Any]:
    from keras import layers

    return [
        chain(
            MAP,
            layers.BatchNormalization(epsilon=0.01),
            layers.BatchNormalization(scale=False),
            layers.BatchNormalization(axis=1),
        ),
        chain(VECTOR, layers.BatchNormalization(center=False), layers.LayerNormalization(), layers.UnitNormalization()),
        chain(
            MAP,
            layers.LayerNormalization(axis=(1, 2)),
            layers.GroupNormalization(2),
            layers.LayerNormalization(center=False),
        ),
        chain(
            MAP, layers.Normalization(mean=[1, 2, 3, 4.0], variance=[1, 0.5, 2, 3.0]), layers.Rescaling(1 / 127.5, -1)
        ),
        chain(
            MAP,
            layers.Dropout(0.3, seed=1),
            layers.SpatialDropout2D(0.2),
            layers.GaussianNoise(0.1),
            layers.GaussianDropout(0.1),
        ),
        chain(
            SERIES,
            layers.SpatialDropout1D(0.2),
            layers.AlphaDropout(0.1),
            layers.ActivityRegularization(l2=0.1),
            layers.Identity(),
        ),
        chain((3, 3, 3, 2), layers.SpatialDropout3D(0.2), layers.Rescaling([2.0, 3.0], [0.5, 1.0])),
        chain(SERIES, layers.LSTM(4, return_sequences=True), layers.GRU(3, return_sequences=True), layers.SimpleRNN(2)),
        chain(SERIES, layers.GRU(3, reset_after=False, go_backwards=True), layers.Dense(2)),
    ]


def activations() -> list[Any]:
    from keras import layers

    return [
        chain(MAP, layers.ReLU()),
        chain(MAP, layers.ReLU(max_value=1.5, negative_slope=0.1, threshold=0.2)),
        chain(MAP, layers.LeakyReLU(), layers.LeakyReLU(negative_slope=0.05)),
        chain(MAP, layers.PReLU(), layers.PReLU(shared_axes=[1, 2])),
        chain(MAP, layers.ELU(0.7), layers.Softmax(), layers.Softmax(axis=1)),
        *(chain(VECTOR, layers.Activation(name), layers.Dense(4, activation=name)) for name in known_activations()),
    ]


def known_activations() -> list[str]:
    from edgefm_converters.bridge.tf_layers import ACTIVATIONS

    return sorted(set(ACTIVATIONS) - {"gelu_tanh"})  # that one is an operation


@pytest.mark.parametrize(
    "models",
    [convolutions, poolings_and_shapes, normalisations_and_noise, activations],
    ids=lambda models: models.__name__,
)
def test_every_layer_computes_the_same_in_tf_keras_and_back(models: Callable[[], list[Any]]) -> None:
    from edgefm_converters.bridge.bridge import check_parity, to_tf_keras
    from edgefm_converters.bridge.reverse_bridge import keras_from_tf

    for model in models():
        inputs = inputs_for(model)
        copy = to_tf_keras(model)
        assert [layer.name for layer in copy.layers] == [layer.name for layer in model.layers]
        for layer, given, copied in zip(
            model.layers[1:], outputs_of(model, inputs), outputs_of(copy, inputs), strict=True
        ):
            assert given.std() > 0, layer  # a constant would agree with anything
            np.testing.assert_allclose(copied, given, rtol=1e-5, atol=2e-6, err_msg=str(layer))
        returned = keras_from_tf(copy)  # as a model of Keras 2 comes, without the one that it was made from
        assert [layer.name for layer in returned.layers] == [layer.name for layer in copy.layers]
        check_parity(returned, copy, inputs)


def test_the_models_above_hold_every_layer_of_the_table() -> None:
    import keras

    from edgefm.keras_graph.folding import ChannelShift
    from edgefm_converters.bridge.bridge_layers import SUPPORTED

    groups = (convolutions, poolings_and_shapes, normalisations_and_noise, activations)
    tried = {type(layer) for models in groups for model in models() for layer in model.layers}
    merges = {getattr(keras.layers, name) for name in MERGES} | {keras.layers.Concatenate, keras.layers.Dot}
    assert tried | merges | {ChannelShift} >= SUPPORTED


MERGES = ("Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract")


def merged() -> Any:
    import keras
    from keras import layers

    image = keras.Input(MAP, name="picture")
    shared = layers.Conv2D(4, 3, padding="same", name="shared")
    left, right = shared(image), shared(layers.ReLU()(image))
    outputs = [getattr(layers, name)()([left, right]) for name in MERGES]
    outputs.append(layers.Add(name="three")([left, right, image]))
    outputs.append(layers.Multiply(name="gate")([left, layers.GlobalAveragePooling2D(keepdims=True)(right)]))
    outputs.append(layers.Concatenate(axis=1)([left, right]))
    outputs.append(layers.Dot(axes=-1, normalize=True)([layers.Reshape((48, 4))(left), layers.Reshape((48, 4))(right)]))
    return random_weights(keras.Model(image, outputs))


def test_branches_merge_and_a_layer_called_twice_stays_one() -> None:
    from edgefm_converters.bridge.bridge import check_parity, from_tf_keras, to_tf_keras
    from edgefm_converters.bridge.reverse_bridge import keras_from_tf

    model = merged()
    copy, inputs = to_tf_keras(model), inputs_for(model)
    for given, copied in zip(outputs_of(model, inputs), outputs_of(copy, inputs), strict=True):
        np.testing.assert_allclose(copied, given, rtol=1e-5, atol=1e-6)
    assert [layer.name for layer in copy.layers].count("shared") == 1
    assert len(copy.get_layer("shared")._inbound_nodes) == 2
    for back in (from_tf_keras(copy, model), keras_from_tf(copy)):
        assert len(back.get_layer("shared")._inbound_nodes) == 2
        check_parity(back, copy, inputs)


def test_operations_become_layers_of_their_names() -> None:
    import keras
    from keras import layers, ops

    image = keras.Input(MAP, name="picture")
    other = layers.Conv2D(4, 1)(image)
    small = layers.Cropping2D(((0, 7), (0, 0)))(image)
    outputs = [
        image + other,
        image - other,
        image * other,
        2.5 + image,
        image + np.arange(4, dtype=np.float32),
        image - 1.5,
        1.0 - image,
        image * np.array([1.0, 2.0, 3.0, 4.0], np.float32),
        image / 3.0,
        -image,
        image**2,
        ops.square(image),
        ops.maximum(image, other),
        ops.minimum(image, other),
        ops.maximum(image, 0.0),
        ops.add(x1=image, x2=other),
        ops.concatenate([image, other], axis=2),
        ops.relu(image),
        ops.relu6(image * 4.0),
        ops.sigmoid(image),
        ops.tanh(image),
        ops.softmax(image, axis=1),
        ops.log_softmax(image),
        ops.leaky_relu(image, 0.1),
        ops.elu(image, 0.5),
        ops.gelu(image),
        ops.gelu(image, approximate=False),
        ops.silu(image),
        ops.hard_sigmoid(image),
        ops.hard_silu(image),
        ops.hard_tanh(image),
        ops.softplus(image),
        ops.exp(image),
        ops.clip(image, 0, 1.5),
        keras.activations.relu(image, max_value=1.0),
        ops.reshape(image, (-1, 16, 12)),
        ops.squeeze(small, axis=1),
        ops.expand_dims(image, 1),
        ops.transpose(image, (0, 3, 1, 2)),
        ops.mean(image, axis=(1, 2)),
        ops.mean(image, axis=[-3, -2], keepdims=True),
        ops.max(image, axis=(1, 2)),
        ops.pad(image, ((0, 0), (1, 2), (0, 1), (0, 0))),
        ops.average_pool(image, 2),
        ops.max_pool(image, 3, strides=2, padding="same"),
        ops.image.resize(image, (4, 9)),
        ops.cast(image, "float32"),
        ops.copy(image),
    ]
    model = random_weights(keras.Model(image, outputs))
    from edgefm_converters.bridge.bridge import from_tf_keras, to_tf_keras

    copy, inputs = to_tf_keras(model), inputs_for(model)
    operations = [tensor._keras_history.operation.name for tensor in outputs]
    assert set(operations) <= {layer.name for layer in copy.layers}
    for name, given, copied in zip(operations, outputs_of(model, inputs), outputs_of(copy, inputs), strict=True):
        np.testing.assert_allclose(copied, given, rtol=1e-5, atol=1e-6, err_msg=name)
    back = from_tf_keras(copy, model)
    for given, returned in zip(outputs_of(model, inputs), outputs_of(back, inputs), strict=True):
        np.testing.assert_array_equal(returned, given)


def unbridgeable() -> dict[str, tuple[Callable[[Any], Any], str]]:
    from keras import layers

    def one_more(x: Any) -> Any:
        return x + 1

    return {
        "activation": (layers.Dense(2, activation=one_more, name="scores"), "'one_more' of the layer 'scores'"),
        "channels first": (layers.ZeroPadding2D(1, data_format="channels_first", name="pad"), "channels first"),
    }


def carried() -> dict[str, tuple[Callable[[Any], Any], str]]:
    import keras
    from keras import layers, ops

    @keras.saving.register_keras_serializable(package="test_bridge")
    class Twice(layers.Layer):
        def call(self, inputs: Any) -> Any:
            return 2 * inputs

    return {
        "layer": (layers.RMSNormalization(name="root"), "RMSNormalization"),
        "custom layer": (Twice(name="double"), "Twice"),
        "lambda": (layers.Lambda(lambda x: 3 * x, name="code"), "Lambda"),
        "option": (layers.Resizing(3, 3, antialias=True, name="small"), "Resizing"),
        "operation": (lambda x: ops.sort(x), "Sort"),
        "reshape": (lambda x: ops.reshape(x, (-1, 4)), "Reshape"),
        "slice": (lambda x: x[:, 1:], "GetItem"),
        "division": (lambda x: 1.0 / x, "TrueDivide"),
        "matrix": (lambda x: x + np.ones((6, 4), np.float32), "Add"),
        "axes": (lambda x: x + ops.mean(x, axis=(1, 2)), "Add"),
    }


def test_what_has_no_counterpart_is_carried_and_computes_the_same() -> None:
    import keras

    from edgefm_converters.bridge.bridge import check_parity, from_tf_keras, to_tf_keras

    for name, (apply, kind) in carried().items():
        image = keras.Input((8, 6, 4), 6 if name == "axes" else None)
        model = keras.Model(image, apply(image))
        inputs = np.random.default_rng(0).uniform(0.5, 1, (6, 8, 6, 4)).astype(np.float32)
        copy = to_tf_keras(model)
        assert copy.layers[-1].carried_kind == kind
        check_parity(model, copy, inputs)
        if name != "lambda":
            check_parity(from_tf_keras(copy, model), copy, inputs)


def test_augmentation_is_left_out() -> None:
    import keras
    from keras import layers

    from edgefm_converters.bridge.bridge import from_tf_keras, to_tf_keras

    image = keras.Input((8, 6, 3))
    model = keras.Model(image, layers.Conv2D(2, 3)(layers.RandomShear(0.1)(layers.RandomFlip(name="flip")(image))))
    copy = to_tf_keras(model)
    inputs = np.random.default_rng(0).uniform(0, 1, (4, 8, 6, 3)).astype(np.float32)
    np.testing.assert_allclose(copy(inputs, training=True), model(inputs, training=False), atol=1e-6)
    kinds = {type(layer).__name__ for layer in from_tf_keras(copy, model).layers}
    assert kinds == {"InputLayer", "Conv2D"}


def test_layer_without_counterpart_is_named_with_class_and_what_to_do() -> None:
    import keras

    from edgefm_converters.bridge.bridge import to_tf_keras

    for layer, message in unbridgeable().values():
        image = keras.Input((8, 6, 4))
        with pytest.raises(ModelError, match=message):
            to_tf_keras(keras.Model(image, layer(image)))


def test_quantised_layer_and_subclassed_model_are_refused() -> None:
    import keras

    from edgefm_converters.bridge.bridge import to_tf_keras

    model = chain(VECTOR, keras.layers.Dense(4, name="scores"))
    model.quantize("int8")
    with pytest.raises(ModelError, match=r"'scores' \(Dense\) is already quantised"):
        to_tf_keras(model)

    class Own(keras.Model):
        def call(self, inputs: Any) -> Any:
            return inputs

    with pytest.raises(ModelError, match="subclassed model"):
        to_tf_keras(Own())


def test_weights_trained_in_tf_keras_come_back() -> None:
    import keras
    import tf_keras

    from edgefm_converters.bridge.bridge import check_parity, from_tf_keras, parity, to_tf_keras

    keras.utils.set_random_seed(0)
    model = small_resnet()
    before = [np.array(weight) for weight in model.weights]
    images = np.random.default_rng(0).integers(0, 256, (32, 16, 16, 3)).astype(np.float32)
    copy = to_tf_keras(model)
    start = check_parity(model, copy, images)
    assert start["images"] == 32
    assert start["max_abs_difference"] <= 1e-5
    copy.compile(tf_keras.optimizers.SGD(0.05), "sparse_categorical_crossentropy")
    copy.fit(images, np.arange(32) % 7, epochs=2, batch_size=8, verbose=0)
    back = from_tf_keras(copy, model)
    assert parity(model, copy, images)["max_abs_difference"] > 1e-3  # the training changed something
    assert check_parity(back, copy, images)["max_abs_difference"] <= 1e-5
    assert [layer.name for layer in back.layers] == [layer.name for layer in model.layers]
    for weight, old in zip(model.weights, before, strict=True):  # the model that was sent is as it was
        np.testing.assert_array_equal(np.array(weight), old)
    with pytest.raises(ModelError, match="computes something else"):
        check_parity(model, copy, images)


def test_back_refuses_a_model_of_other_layers_or_shapes() -> None:
    from keras import layers

    from edgefm_converters.bridge.bridge import from_tf_keras, to_tf_keras

    sent = chain(VECTOR, layers.Dense(4, name="one"), layers.Dense(3, name="two"))
    other = chain(VECTOR, layers.Dense(4, name="one"), layers.Dense(3, name="three"))
    wider = chain(VECTOR, layers.Dense(6, name="one"), layers.Dense(3, name="two"))
    with pytest.raises(ModelError, match="lacks the layers 'three'; it has the other layers 'two'"):
        from_tf_keras(to_tf_keras(sent), other)
    with pytest.raises(ModelError, match=r"'one' \(Dense\) have the shapes \[\(5, 6\), \(6,\)\] in Keras 3"):
        from_tf_keras(to_tf_keras(sent), wider)


def test_channel_shift_goes_over_and_back() -> None:
    import tf_keras

    from edgefm.keras_graph.folding import fold
    from edgefm_converters.bridge.bridge import TfChannelShift, check_parity, from_tf_keras, to_tf_keras
    from tests.fixtures.classifiers import small_classifier

    folded, _ = fold(small_classifier())
    copy, inputs = to_tf_keras(folded), inputs_for(folded)
    shifts = [layer for layer in copy.layers if isinstance(layer, TfChannelShift)]
    names = [layer.name for layer in folded.layers if type(layer).__name__ == "ChannelShift"]
    assert [layer.name for layer in shifts] == names
    cloned = tf_keras.models.clone_model(copy)
    cloned.set_weights(copy.get_weights())
    check_parity(folded, cloned, inputs)
    check_parity(from_tf_keras(cloned, folded), copy, inputs)


def test_shift_layer_adds_its_weight_after_saving(tmp_path: Any) -> None:
    import tf_keras

    from edgefm_converters.bridge.bridge import TfChannelShift

    shift = TfChannelShift(name="shift")
    model = tf_keras.Sequential([tf_keras.Input((2, 2, 3)), shift])
    shift.set_weights([np.array([1.0, 2.0, 3.0], np.float32)])
    model.save(tmp_path / "shift.keras")
    loaded = tf_keras.models.load_model(tmp_path / "shift.keras")
    np.testing.assert_array_equal(np.asarray(loaded(np.zeros((1, 2, 2, 3), np.float32)))[0, 0, 0], [1, 2, 3])


def test_fixed_batch_frozen_layers_and_mixed_precision_come_over() -> None:
    import keras
    from keras import layers

    from edgefm_converters.bridge.bridge import to_tf_keras

    image = keras.Input(batch_shape=(2, 4, 4, 1), name="picture", dtype="uint8")
    x = layers.Conv2D(3, 3, name="conv", dtype="mixed_bfloat16")(layers.Rescaling(1 / 255)(image))
    frozen = layers.Dense(2, name="frozen", trainable=False)
    copy = to_tf_keras(keras.Model(image, frozen(layers.Flatten()(x))))
    assert copy.inputs[0].shape == (2, 4, 4, 1)
    assert copy.inputs[0].dtype == "float32"
    assert all(layer.dtype_policy.name == "float32" for layer in copy.layers[1:])
    assert [layer.trainable for layer in copy.layers if layer.weights] == [True, False]


def test_models_within_models_are_opened_or_kept_shared() -> None:
    import keras
    from keras import layers

    from edgefm_converters.bridge.bridge import check_parity, from_tf_keras, to_tf_keras

    once = keras.Sequential([keras.Input(MAP), layers.Conv2D(4, 3, padding="same", name="inner")], name="once")
    twice = keras.Sequential([keras.Input(MAP), layers.Conv2D(4, 3, padding="same", name="own")], name="twice")
    image = keras.Input(MAP)
    model = random_weights(keras.Model(image, twice(twice(once(image)))))
    copy, inputs = to_tf_keras(model), inputs_for(model)
    assert [layer.name for layer in copy.layers[1:]] == ["inner", "twice"]
    assert len(copy.weights) == 4
    check_parity(model, copy, inputs)
    copy.set_weights([weight * 0.5 for weight in copy.get_weights()])
    check_parity(from_tf_keras(copy, model), copy, inputs)


def test_mobilenet_v2_computes_the_same() -> None:
    import keras

    from edgefm_converters.bridge.bridge import check_parity, from_tf_keras, to_tf_keras

    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV2(input_shape=(96, 96, 3), alpha=0.35, weights=None)
    inputs = np.random.default_rng(0).uniform(-1, 1, (4, 96, 96, 3)).astype(np.float32)
    copy = to_tf_keras(model)
    assert check_parity(model, copy, inputs)["max_abs_difference"] <= 1e-6
    back = from_tf_keras(copy, model)
    for weight, given in zip(back.weights, model.weights, strict=True):
        np.testing.assert_array_equal(np.array(weight), np.array(given))
