"""Files rewritten for XNNPACK: equal to those before bit for bit, to numpy's int8 arithmetic, and smaller in work."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgefm.core.errors import ModelError, RecipeError
from edgefm.recipes import Quantization, Variant, variant_named
from edgefm.report.content.lineage import plan, tree
from edgefm.tflite import flatbuffer
from edgefm_converters.rewriting.few_channels import phases
from edgefm_converters.rewriting.for_xnnpack import check_equal, for_xnnpack
from edgefm_converters.tflite.keras_to_tflite import float32_tflite
from edgefm_converters.tflite.quantizing import calibrate, quantize_tflite
from edgefm_converters.tflite.surgery import operators
from edgefm_converters.tflite.tflite_outputs import tflite_outputs

SAMPLES = 24


@pytest.fixture(autouse=True, scope="module")
def backend() -> None:
    from edgefm.keras_graph.backend import use_backend

    use_backend("tensorflow")


def quantised(body: Callable[[Any], Any], shape: tuple[int, int, int], *, pixels: bool = True) -> bytes:
    """Return layers behind an input as int8, calibrated on noise; biases and scales are random."""
    import keras

    keras.utils.set_random_seed(3)
    source = keras.Input(shape)
    model = keras.Model(source, body(source))
    generator = np.random.default_rng(4)
    for weight in model.weights:
        if weight.name == "bias":
            weight.assign(generator.normal(0, 0.2, weight.shape))
    content = float32_tflite(model)
    high = 1.0 if pixels else 3.0
    samples = generator.uniform(0 if pixels else -high, high, (16, *shape)).astype(np.float32)
    calibration = calibrate(content, samples, value_range=(0, 1) if pixels else None)
    return quantize_tflite(content, "int8_w8a8", calibration=calibration)


def first(filters: int, kernel: Any, padding: str = "same", activation: str | None = "relu") -> Callable[[Any], Any]:
    """Return a first convolution, a maximum over 2 x 2, and a dense layer."""

    def body(x: Any) -> Any:
        from keras import layers

        x = layers.Conv2D(filters, kernel, padding=padding, activation=activation)(x)
        return layers.Dense(5)(layers.Flatten()(layers.MaxPooling2D(2)(x)))

    return body


def pooled(convolution: Callable[[], Any], pooling: Callable[[], Any]) -> Callable[[Any], Any]:
    """Return a convolution of many channels and a pooling behind it."""

    def body(x: Any) -> Any:
        from keras import layers

        return layers.Dense(3)(layers.Flatten()(pooling()(convolution()(x))))

    return body


def enhanced(x: Any) -> Any:
    from keras import layers

    for filters in (32, 24, 16):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = layers.MaxPooling2D(2)(layers.ReLU()(layers.BatchNormalization()(x)))
    return layers.Dense(10, activation="softmax")(layers.Flatten()(x))


def depthwise() -> Any:
    from keras import layers

    return layers.DepthwiseConv2D(3, padding="same", activation="relu")


def convolution(*args: Any, **options: Any) -> Callable[[], Any]:
    def build() -> Any:
        from keras import layers

        return layers.Conv2D(*args, **options)

    return build


def pooling(kind: str, *args: Any) -> Callable[[], Any]:
    def build() -> Any:
        from keras import layers

        return getattr(layers, f"{kind}Pooling2D")(*args)

    return build


NETWORKS: dict[str, tuple[Callable[[Any], Any], tuple[int, int, int], list[str]]] = {
    "Enhanced CNN": (enhanced, (28, 28, 1), ["few_channels", "unread_positions"]),
    "no padding": (first(16, 3, "valid"), (28, 28, 1), ["few_channels"]),
    "odd sides": (first(16, 3), (27, 29, 1), ["few_channels"]),
    "odd sides, no padding": (first(16, 3, "valid", None), (19, 24, 1), ["few_channels"]),
    "5 x 5": (first(16, 5), (30, 22, 1), ["few_channels"]),
    "7 x 7, no padding": (first(32, 7, "valid"), (20, 20, 1), ["few_channels"]),
    "two channels": (first(64, 3), (16, 24, 2), ["few_channels"]),
    "one row": (first(16, (1, 3)), (12, 12, 1), ["few_channels"]),
    "even kernel": (first(24, 4, "same", None), (18, 20, 1), ["few_channels"]),
    "relu6, blocks of eight": (first(16, 3, "same", "relu6"), (32, 40, 1), ["few_channels"]),
    "row of seven": (
        pooled(convolution(12, 3, padding="same", activation="relu"), pooling("Max", 2)),
        (7, 9, 16),
        ["unread_positions"],
    ),
    "strided": (
        pooled(convolution(8, 3, strides=2, padding="same"), pooling("Max", 2)),
        (13, 12, 4),
        ["unread_positions"],
    ),
    "depthwise": (pooled(depthwise, pooling("Max", 2)), (9, 8, 16), ["unread_positions"]),
    "average": (pooled(convolution(8, 3, padding="same"), pooling("Average", 2)), (5, 7, 8), ["unread_positions"]),
    "window of three": (
        pooled(convolution(8, 5, padding="same"), pooling("Max", 3, 2)),
        (8, 8, 8),
        ["unread_positions"],
    ),
    "dilated": (
        pooled(convolution(8, 3, padding="same", dilation_rate=2), pooling("Max", 4)),
        (11, 10, 8),
        ["unread_positions"],
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_rewritten_network_answers_as_before_bit_for_bit(name: str) -> None:
    body, shape, wanted = NETWORKS[name]
    content = quantised(body, shape)
    rewritten, done = for_xnnpack(content)
    assert [one["rewrite"] for one in done] == wanted
    levels = np.random.default_rng(5).integers(0, 256, (SAMPLES, *shape))
    levels[0], levels[1] = 0, 255
    samples = (levels / 255).astype(np.float32)
    for builtin in (False, True):
        expected = tflite_outputs(content, samples, builtin_kernels=builtin)[0]
        given = tflite_outputs(rewritten, samples, builtin_kernels=builtin)[0]
        assert len(np.unique(expected)) > 20
        np.testing.assert_array_equal(given, expected)


def test_rewritten_network_answers_alike_on_tflite_micro() -> None:
    runtime = pytest.importorskip("tflite_micro").runtime
    content = quantised(*NETWORKS["Enhanced CNN"][:2])
    levels = np.random.default_rng(9).integers(0, 256, (6, 28, 28, 1)).astype(np.uint8)
    answers: list[list[NDArray[Any]]] = []
    for one in (content, for_xnnpack(content)[0]):
        interpreter = runtime.Interpreter.from_bytes(one, arena_size=1 << 20)
        answers.append([])
        for sample in levels:
            interpreter.set_input(sample[None], 0)
            interpreter.invoke()
            answers[-1].append(interpreter.get_output(0).copy())
    np.testing.assert_array_equal(*answers)


UNTOUCHED: dict[str, tuple[Callable[[Any], Any], tuple[int, int, int]]] = {
    "three channels": (first(32, 3), (16, 16, 3)),
    "1 x 1": (first(32, 1), (10, 14, 1)),
    "few filters": (first(4, 3), (16, 16, 1)),
    "no maximum": (pooled(convolution(16, 3, padding="same"), pooling("Average", 2)), (16, 16, 1)),
    "maximum over three": (pooled(convolution(16, 3, padding="same"), pooling("Max", 3)), (18, 18, 1)),
    "strided": (pooled(convolution(16, 3, strides=2, padding="same"), pooling("Max", 2)), (16, 16, 1)),
    "dilated": (pooled(convolution(16, 3, dilation_rate=2, padding="same"), pooling("Max", 2)), (16, 16, 1)),
    "last row of the input not read": (pooled(convolution(8, 3), pooling("Max", 2)), (9, 9, 8)),
    "every position read": (pooled(convolution(8, 3, padding="same"), pooling("Max", 2)), (8, 8, 8)),
}


@pytest.mark.parametrize("name", UNTOUCHED)
def test_network_that_gains_nothing_stays_the_same_file(name: str) -> None:
    body, shape = UNTOUCHED[name]
    content = quantised(body, shape)
    assert for_xnnpack(content) == (content, ())


def test_result_that_others_take_too_stays() -> None:
    def body(x: Any) -> Any:
        from keras import layers

        x = layers.Conv2D(16, 3, padding="same", activation="relu")(x)
        both = [layers.MaxPooling2D(2)(x), layers.Conv2D(4, 3, strides=2, padding="same")(x)]
        return layers.Dense(3)(layers.Flatten()(layers.Concatenate()(both)))

    content = quantised(body, (16, 16, 1))
    assert for_xnnpack(content) == (content, ())


def test_float_file_stays() -> None:
    import keras

    source = keras.Input((28, 28, 1))
    content = float32_tflite(keras.Model(source, enhanced(source)))
    assert for_xnnpack(content) == (content, ())


def test_int8_inputs_that_are_no_pixels_are_equal_too() -> None:
    content = quantised(first(16, 3), (16, 16, 1), pixels=False)
    rewritten, done = for_xnnpack(content)
    assert [one["rewrite"] for one in done] == ["few_channels"]
    samples = np.random.default_rng(6).uniform(-4, 4, (SAMPLES, 16, 16, 1)).astype(np.float32)
    np.testing.assert_array_equal(tflite_outputs(rewritten, samples)[0], tflite_outputs(content, samples)[0])


def test_one_scale_for_a_whole_kernel_is_kept() -> None:
    content = quantised(first(16, 3), (16, 16, 1))
    model = flatbuffer.editable(content)
    (graph,) = model.subgraphs
    (operator,) = (one for one in graph.operators if flatbuffer.operator_name(model, one) == "CONV_2D")
    for index in operator.inputs[1:]:
        parameters = graph.tensors[index].quantization
        parameters.scale, parameters.zeroPoint = [float(max(parameters.scale))], [0]
    content = flatbuffer.write(model)
    rewritten, done = for_xnnpack(content)
    assert [one["rewrite"] for one in done] == ["few_channels"]
    assert check_equal(content, rewritten, np.zeros((2, 16, 16, 1), np.float32)) > 2


def test_rewritten_layer_is_what_numpy_computes_from_the_layer_before() -> None:
    def body(x: Any) -> Any:
        from keras import layers

        return layers.MaxPooling2D(2)(layers.Conv2D(16, 3, padding="same", activation="relu")(x))

    content = quantised(body, (12, 10, 1), pixels=False)
    rewritten, done = for_xnnpack(content)
    assert done
    levels = np.random.default_rng(7).integers(-128, 128, (SAMPLES, 12, 10, 1))
    graph = flatbuffer.editable(content).subgraphs[0]
    source, sink = graph.tensors[graph.inputs[0]].quantization, graph.tensors[graph.outputs[0]].quantization
    samples = ((levels - source.zeroPoint[0]) * source.scale[0]).astype(np.float32)
    expected = (_by_numpy(content, levels) - sink.zeroPoint[0]) * np.float32(sink.scale[0])
    np.testing.assert_array_equal(tflite_outputs(rewritten, samples)[0], expected.astype(np.float32))


def _by_numpy(content: bytes, levels: NDArray[Any]) -> NDArray[Any]:
    """Return a 3 x 3 convolution with padding and its 2 x 2 maximum by Jacob et al.'s formula, as int8 levels."""
    model = flatbuffer.editable(content)
    graph = model.subgraphs[0]
    operator = next(one for one in graph.operators if flatbuffer.operator_name(model, one) == "CONV_2D")
    source, weights, bias, result = (graph.tensors[index] for index in (*operator.inputs, operator.outputs[0]))
    stored = [model.buffers[tensor.buffer].data for tensor in (weights, bias)]
    kernel = np.frombuffer(bytes(stored[0]), np.int8).reshape(weights.shape).astype(np.int64)
    sums = np.frombuffer(bytes(stored[1]), np.int32).astype(np.int64)
    zero = source.quantization.zeroPoint[0]
    padded = np.pad(levels - zero, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    sums = np.einsum("nhwcij,oijc->nhwo", windows, kernel) + sums
    factor = np.float32(source.quantization.scale[0]) * np.asarray(weights.quantization.scale, np.float32)
    scaled = sums.astype(np.float32) * (factor / np.float32(result.quantization.scale[0]))
    zero = result.quantization.zeroPoint[0]
    rounded = np.clip(np.rint(scaled).astype(np.int64) + zero, zero, 127)  # ReLU cuts at the zero point
    count, height, width, filters = rounded.shape
    return rounded.reshape(count, height // 2, 2, width // 2, 2, filters).max(axis=(2, 4))


def test_phases_are_the_kernel_at_the_four_positions_of_a_maximum() -> None:
    generator = np.random.default_rng(8)
    kernel = generator.integers(-127, 128, (6, 3, 5, 2)).astype(np.int8)
    patch = generator.integers(-128, 128, (4, 6, 2))
    products = phases(kernel).reshape(4, 6, -1).astype(np.int64) @ patch.reshape(-1)
    for down in (0, 1):
        for right in (0, 1):
            direct = (kernel * patch[down : down + 3, right : right + 5].astype(np.int64)).sum(axis=(1, 2, 3))
            np.testing.assert_array_equal(products[2 * down + right], direct)


def test_padding_of_unread_positions_stays_in_one_operator() -> None:
    body, shape, _ = NETWORKS["row of seven"]
    names = operators(for_xnnpack(quantised(body, shape))[0])
    assert names[1:4] == ("PAD", "CONV_2D", "MAX_POOL_2D")


def test_files_that_answer_otherwise_are_refused() -> None:
    content = quantised(first(16, 3), (16, 16, 1))
    other = quantised(first(16, 3, "same", None), (16, 16, 1))
    with pytest.raises(ModelError, match="answers otherwise than before on XNNPACK's kernels"):
        check_equal(content, other, np.zeros((2, 16, 16, 1), np.float32))


@pytest.mark.parametrize("name", ["int8_w8a8_xnnpack", "int8_w8a8_fc4_xnnpack", "slim50_qat_int8_xnnpack"])
def test_name_of_a_variant_for_xnnpack_goes_through_json(name: str) -> None:
    variant = variant_named(name)
    assert variant.for_xnnpack and "rewritten for XNNPACK" in variant.description
    assert Variant.from_json(json.loads(json.dumps(variant.to_json()))) == variant
    recipe = Quantization(variants=(variant,))
    assert Quantization.from_json(recipe.to_json()) == recipe


def test_recipe_from_before_the_option_reads_and_writes_the_same() -> None:
    before = {"name": "small", "passes": [], "quantization": "int8_w8a8", "accuracy_drop_at_most": None}
    variant = Variant.from_json({"kind": "variant", "params": before})
    assert not variant.for_xnnpack
    assert "for_xnnpack" not in variant.to_json()["params"]


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: variant_named("float32_xnnpack"), "is float32: only int8 layers"),
        (lambda: variant_named("int16x8_xnnpack"), "is int16x8: only int8 layers"),
        (lambda: variant_named("pruned80_qat_int8_xnnpack"), "has the pass prune"),
        (lambda: variant_named("clustered16_int8_w8a8_xnnpack"), "has the pass cluster"),
        (
            lambda: Variant.from_json({"kind": "variant", "params": {"name": "a", "for_xnnpack": "yes"}}),
            "true or false is expected",
        ),
    ],
    ids=["float32", "int16x8", "prune", "cluster", "a text"],
)
def test_variant_for_xnnpack_that_cannot_be_is_refused(build: Callable[[], Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        build()


def test_file_for_xnnpack_grew_from_the_one_without() -> None:
    names = ["float32", "int8_w8a8", "int8_w8a8_xnnpack", "qat_int8", "qat_int8_xnnpack"]
    grown = {one.name: one for one in tree({name: plan(variant_named(name)) for name in names}, names)}
    assert grown["int8_w8a8_xnnpack"].parent == "int8_w8a8"
    assert grown["qat_int8_xnnpack"].parent == "qat_int8"
    assert [added.kind for added in grown["qat_int8_xnnpack"].added] == ["for_xnnpack"]
