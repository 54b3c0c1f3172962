"""Removing channels must give what zeroing them gives. The oracle is numeric and knows nothing of groups.

The filters of the removed channels are set to zero in the whole model, which is then run layer by layer; where a
normalisation, a shift or a depthwise bias meets a channel that is zero for all inputs, its own numbers for this
channel are set to zero too. What the whole model then answers, the slimmed one has to answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops
from numpy.typing import NDArray

from edgefm.compression.channels.channel_groups import channels_of, describe_groups
from edgefm.compression.channels.channel_removal import without_channels
from edgefm.core.errors import ModelError, RecipeError
from edgefm.keras_graph.folding import ChannelShift
from edgefm.keras_graph.graph import Graph

SAMPLES = 24
TOLERANCE = 1e-5  # float32 sums of up to some thousand products in another order


def sequential(order: str) -> Any:
    network = [keras.Input((12, 12, 3)), layers.Rescaling(0.5)]
    for filters in (8, 12):
        network.append(layers.Conv2D(filters, 3, padding="same", activation="relu" if order == "after" else None))
        network.append(layers.BatchNormalization())
        if order == "before":
            network.append(layers.ReLU())
        network.append(layers.MaxPooling2D())
    dense = [layers.Flatten(), layers.Dense(20, activation="relu"), layers.Dropout(0.5), layers.Dense(4, "softmax")]
    return keras.Sequential([*network, *dense])


def residual() -> Any:
    inputs = keras.Input((8, 8, 3))
    stem = layers.Conv2D(8, 3, padding="same", use_bias=False)(inputs)
    x = layers.BatchNormalization()(stem)
    y = layers.Conv2D(16, 3, padding="same", activation="relu")(x)
    y = layers.Conv2D(8, 3, padding="same")(y)
    x = layers.Add()([x, y])
    x = ops.relu(x + layers.Conv2D(8, 1)(stem))
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Dense(4, activation="relu")(gate)
    x = layers.Multiply()([x, layers.Dense(8, activation="sigmoid")(gate)])
    x = layers.Maximum()([x, layers.Conv2D(8, 3, padding="same")(x)])
    return keras.Model(inputs, layers.Dense(4)(layers.GlobalAveragePooling2D()(x)))


def concatenation() -> Any:
    """A small ResNet with a concatenation, whose halves are tied to another layer's by an addition."""
    inputs = keras.Input((10, 10, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(inputs)
    left = layers.BatchNormalization()(layers.Conv2D(6, 3, padding="same")(x))
    right = layers.Conv2D(10, 1, activation="relu")(x)
    both = layers.Concatenate()([left, right])
    both = layers.Add()([both, layers.Conv2D(16, 1)(x)])
    y = ops.concatenate([both, x], axis=-1)
    y = layers.Conv2DTranspose(6, 2, strides=2)(layers.ZeroPadding2D()(y))
    y = layers.PReLU(shared_axes=[1, 2])(y)
    return keras.Model(inputs, layers.Dense(4)(layers.Flatten()(layers.AveragePooling2D(2)(y))))


def separable() -> Any:
    inputs = keras.Input((9, 9, 3))
    x = layers.Conv2D(8, 3, strides=2)(inputs)
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.DepthwiseConv2D(2, depth_multiplier=2)(x)
    x = layers.SeparableConv2D(10, 2, depth_multiplier=3, activation="relu")(x)
    x = ChannelShift()(x)
    x = layers.Reshape((-1, 10))(x)
    x = layers.Conv1D(12, 2, activation="relu")(x)
    return keras.Model(inputs, layers.Dense(3)(layers.GlobalMaxPooling1D()(x)))


def decoder() -> Any:
    """A dense layer becomes a picture: one channel of it is many units."""
    inputs = keras.Input((6,))
    x = layers.Dense(4 * 4 * 6, activation="relu")(layers.Dense(10, activation="relu")(inputs))
    x = layers.Reshape((4, 4, 6))(x)
    x = layers.Conv2D(5, 3, activation="tanh")(layers.UpSampling2D()(x))
    return keras.Model(inputs, layers.Conv2D(1, 1)(x))


def shared() -> Any:
    """One convolution and one normalisation are called twice; a nested model is opened up."""
    inputs = keras.Input((6, 6, 3))
    conv, norm = layers.Conv2D(6, 3, padding="same"), layers.BatchNormalization()
    first = layers.Conv2D(6, 1, name="first")(inputs)
    x = norm(conv(norm(conv(first))))
    inner = keras.Sequential([keras.Input((6, 6, 6)), layers.Conv2D(7, 3, name="inner"), layers.ReLU()])
    return keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(inner(x))))


def mobilenet() -> Any:
    return keras.applications.MobileNetV2(alpha=0.35, input_shape=(96, 96, 3), weights=None, classes=10)


MODELS: dict[str, Callable[[], Any]] = {
    "sequential with BN after ReLU": lambda: sequential("after"),
    "sequential with BN before ReLU": lambda: sequential("before"),
    "residual, squeeze and excite": residual,
    "ResNet with concatenation": concatenation,
    "depthwise and separable": separable,
    "dense to picture": decoder,
    "shared layers, nested model": shared,
    "MobileNetV2": mobilenet,
}


@pytest.mark.parametrize("build", MODELS.values(), ids=MODELS)
def test_removal_gives_what_zeroing_gives(build: Callable[[], Any]) -> None:
    model = build()
    generator = np.random.default_rng(3)
    fill(model, generator)
    inputs = generator.standard_normal((SAMPLES if len(model.weights) < 60 else 4, *model.inputs[0].shape[1:]))
    channels = channels_of(model)
    gone, others = (
        [mark for group in channels.removable for mark in generator.permutation(group.marks)[: group.channels // 2]]
        for _ in range(2)
    )
    for axes in channels.axes.values():
        if axes.mixes:
            zero_filters(axes.call.layer, np.isin(axes.given, gone))
    expected = run_with_dead_channels(model, inputs.astype(np.float32))

    slimmed = without_channels(channels, gone)
    found = np.asarray(slimmed(inputs.astype(np.float32), training=False))
    np.testing.assert_allclose(found, expected, atol=TOLERANCE * max(1, np.abs(expected).max()))
    wrong = np.asarray(without_channels(channels, others)(inputs.astype(np.float32), training=False))
    assert np.abs(wrong - expected).max() > 1e-3, "other channels would do as well: nothing was tested"
    assert slimmed.count_params() < 0.75 * model.count_params()
    assert [tensor.shape for tensor in slimmed.outputs] == [tensor.shape for tensor in model.outputs]
    named = {call.name for call in Graph(model).calls if isinstance(call.layer, keras.Layer)}
    assert {call.name for call in Graph(slimmed).calls if isinstance(call.layer, keras.Layer)} == named


def fill(model: Any, generator: np.random.Generator) -> None:
    """Give a model random weights; normalised values lie about 2, so that no ReLU is dead by chance."""
    for variable in model.weights:
        shape = tuple(variable.shape)
        values = generator.standard_normal(shape)
        if "gamma" in variable.path:
            values = 0.5 + 0.2 * np.abs(values)
        elif len(shape) > 1:
            values *= np.sqrt(2 / np.prod(shape[:-2] if "depthwise" in variable.path else shape[:-1]))
        else:
            values = 0.3 * np.abs(values) + 2.0 * ("beta" in variable.path)
        variable.assign(values.astype(np.float32))


def zero_filters(layer: Any, dead: NDArray[np.bool_]) -> None:
    *others, kernel = [weight for weight in layer.get_weights() if weight.ndim > 1]
    if isinstance(layer, layers.Conv2DTranspose):
        kernel[..., dead, :] = 0
    else:
        kernel[..., dead] = 0
    biases = [weight for weight in layer.get_weights() if weight.ndim == 1]
    for bias in biases:
        bias[dead] = 0
    layer.set_weights([*others, kernel, *biases])


def run_with_dead_channels(model: Any, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the outputs of a model, layer by layer; numbers that would revive a dead channel are set to zero.

    The normalisations of the other channels take their means and variances from what they see.
    """
    graph = Graph(model)
    known: dict[int, Any] = {id(model.inputs[0]): inputs}
    for call in graph.calls:
        aliases = {tensor: known[graph.root(tensor)] for tensor in graph._stands_for if graph.root(tensor) in known}
        args, kwargs = call.arguments.fill_in({**known, **aliases})
        layer, values = call.layer, np.asarray(known[call.inputs[0]])
        dead = ~values.any(axis=tuple(range(values.ndim - 1)))
        if isinstance(layer, layers.BatchNormalization) and not call.shared:
            layer.moving_mean.assign(values.mean(axis=tuple(range(values.ndim - 1))))
            layer.moving_variance.assign(values.var(axis=tuple(range(values.ndim - 1))) + 1e-3)
        if isinstance(layer, layers.DepthwiseConv2D):
            dead = np.repeat(dead, layer.depth_multiplier)
        if isinstance(layer, layers.BatchNormalization | layers.DepthwiseConv2D | ChannelShift):
            layer.set_weights([np.where(dead, 0, one) if one.ndim == 1 else one for one in layer.get_weights()])
        known[call.outputs[0]] = layer(*args, **kwargs)
    return np.asarray(known[graph.outputs[0]])


def test_channels_that_an_addition_ties_are_one_group() -> None:
    groups = {group.layers: group for group in describe_groups(concatenation())}
    halves = [layers_ for layers_ in groups if len(layers_) == 2]
    assert sorted(groups[half].channels for half in halves) == [6, 10]
    assert halves[0][1] == halves[1][1], "the third convolution is tied to both halves of the concatenation"


def test_flattened_channel_is_many_columns_of_the_next_kernel() -> None:
    model = sequential("after")
    channels = channels_of(model)
    group = channels.removable[1]
    slimmed = without_channels(channels, group.marks[:5])
    before = next(layer for layer in model.layers if isinstance(layer, layers.Dense))
    after = slimmed.get_layer(before.name)
    assert (before.kernel.shape[0], after.kernel.shape[0]) == (3 * 3 * 12, 3 * 3 * 7)
    kept = before.get_weights()[0].reshape(3, 3, 12, 20)[:, :, 5:].reshape(-1, 20)
    np.testing.assert_array_equal(after.get_weights()[0], kept)


def grouped() -> Any:
    inputs = keras.Input((6, 6, 4))
    x = layers.Conv2D(8, 1, name="before")(inputs)
    x = layers.Conv2D(8, 3, groups=2, name="grouped")(x)
    x = layers.Conv2D(6, 1, name="free")(x)
    return keras.Model(inputs, layers.Dense(2, name="scores")(layers.GlobalMaxPooling2D()(x)))


def unknown() -> Any:
    inputs = keras.Input((6, 6, 4))
    x = layers.Conv2D(8, 1, name="before")(inputs)
    x = layers.LayerNormalization(name="mixes")(x)
    x = layers.Conv2D(6, 1, name="free")(x)
    return keras.Model(inputs, layers.Dense(2, name="scores")(layers.GlobalMaxPooling2D()(x)))


def hidden_softmax() -> Any:
    inputs = keras.Input((6,))
    x = layers.Dense(8, activation="softmax", name="before")(inputs)
    return keras.Model(inputs, layers.Dense(2, name="scores")(layers.Dense(6, name="free")(x)))


def added_constant() -> Any:
    inputs = keras.Input((6,))
    x = layers.Dense(8, name="before")(inputs) + np.arange(8, dtype=np.float32)
    return keras.Model(inputs, layers.Dense(2, name="scores")(layers.Dense(6, name="free")(x)))


def added_input() -> Any:
    inputs = keras.Input((6,))
    x = layers.Add()([layers.Dense(6, name="before")(inputs), inputs])
    return keras.Model(inputs, layers.Dense(2, name="scores")(layers.Dense(6, name="free")(x)))


def time_major() -> Any:
    """The channels become positions: nothing can be said of them."""
    inputs = keras.Input((6, 4))
    x = layers.Permute((2, 1))(layers.Dense(8, name="before")(inputs))
    x = layers.GlobalMaxPooling1D()(layers.Dense(6, name="free")(x))
    return keras.Model(inputs, layers.Dense(2, name="scores")(x))


FROZEN = {
    "grouped convolution": (grouped, "grouped is a grouped convolution"),
    "layer that mixes": (unknown, "mixes (LayerNormalization) is not supported"),
    "activation that mixes": (hidden_softmax, "the activation softmax of before mixes channels or is unknown"),
    "array as operand": (added_constant, "add (Add) is not supported"),
    "tied to an input": (added_input, "it is an input of the model"),
    "channels moved to another axis": (time_major, "permute (Permute) is not supported"),
}


@pytest.mark.parametrize(("build", "reason"), FROZEN.values(), ids=FROZEN)
def test_channels_stay_with_the_reason_where_surgery_would_be_wrong(build: Callable[[], Any], reason: str) -> None:
    keras.backend.clear_session()
    groups = {name: group for group in describe_groups(build()) for name in group.layers}
    assert groups["before"].frozen == reason
    assert groups["scores"].frozen == "it is an output of the model"
    assert groups["free"].frozen is None


def test_excluded_layer_keeps_its_channels() -> None:
    groups = channels_of(grouped(), exclude=("fr*",)).groups
    assert {group.layers[0]: group.frozen for group in groups}["free"] == "'fr*' is excluded"


def test_exclude_that_matches_nothing_is_an_error() -> None:
    with pytest.raises(RecipeError, match="exclude 'conv9' matches no layer") as error:
        channels_of(grouped(), exclude=("conv9",))
    assert "before, grouped, free" in str(error.value)


def test_subclassed_model_is_an_error() -> None:
    class Mine(keras.Model):
        def call(self, inputs: Any) -> Any:
            return inputs

    with pytest.raises(ModelError, match="subclassed"):
        describe_groups(Mine())


def test_slimmed_model_is_saved_and_loaded(tmp_path: Any) -> None:
    model = separable()
    channels = channels_of(model)
    slimmed = without_channels(channels, channels.removable[0].marks[:3])
    slimmed.save(tmp_path / "slimmed.keras")
    inputs = np.random.default_rng(0).standard_normal((4, 9, 9, 3)).astype(np.float32)
    loaded = keras.saving.load_model(tmp_path / "slimmed.keras")
    np.testing.assert_array_equal(np.asarray(loaded(inputs)), np.asarray(slimmed(inputs)))
