import numpy as np
import pytest

from edgefm import zoo
from edgefm.core.errors import RecipeError


@pytest.mark.parametrize(
    ("name", "options", "layers"),
    [
        (
            "enhanced_cnn",
            {"batch_norm": "before_relu"},
            ["Conv2D", "BatchNormalization", "ReLU", "MaxPooling2D"],
        ),
        (
            "enhanced_cnn",
            {"batch_norm": "after_relu"},
            ["Conv2D", "BatchNormalization", "MaxPooling2D", "Conv2D"],
        ),
        ("basic_cnn", {}, ["Conv2D", "MaxPooling2D", "Flatten", "Dense"]),
    ],
    ids=["before", "after", "basic"],
)
def test_build_gives_the_stated_layers_and_parameters(name: str, options: dict, layers: list[str]) -> None:
    model = zoo.build(name, options)
    known = zoo.architecture(name)
    assert [type(layer).__name__ for layer in model.layers[1:5]] == layers
    assert model.count_params() == known.trainable + known.non_trainable
    pixels = np.full((2, *known.input_shape), 255, np.uint8)
    probabilities = np.asarray(model.predict_on_batch(pixels))
    assert probabilities.shape == (2, known.classes)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_enhanced_cnn_has_the_documents_parameters() -> None:
    known = zoo.architecture("enhanced_cnn")
    assert (known.trainable, known.non_trainable) == (422_474, 448)
    assert zoo.architecture("basic_cnn").trainable == 1_386_506


# What the sources say of the shape and the classes that they give: Keras's table of applications (to 0.1 M) and the
# sums of its models, MLPerf Tiny's model, the 0.27 M of He et al., and a count by hand of the PyTorch code of hysts.
PUBLISHED = {
    "mobilenet_v2": (3_538_984, 3.5e6),
    "mobilenet_v3_small": (2_554_968, 2.5e6),
    "efficientnetv2_b0": (7_200_312, 7.2e6),
    "ds_cnn": (24_908, 24_908),
    "resnet20": (272_474 + 1_568, 0.27e6),
    "resnet_preact20": (
        # first convolution, three stages of three blocks, last normalisation, dense; then moving statistics
        144
        + 3 * (2 * 32 + 2 * 9 * 16 * 16)
        + (32 + 9 * 16 * 32 + 64 + 9 * 32 * 32 + 16 * 32)
        + 2 * (2 * 64 + 2 * 9 * 32 * 32)
        + (64 + 9 * 32 * 64 + 128 + 9 * 64 * 64 + 32 * 64)
        + 2 * (2 * 128 + 2 * 9 * 64 * 64)
        + 128
        + 650
        + 1_376,
        0.27e6,
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_network_has_the_published_number_of_parameters(name: str) -> None:
    total, rounded = PUBLISHED[name]
    model = zoo.build(name)  # it raises where the architecture states another number
    assert model.count_params() == total
    assert total == pytest.approx(rounded, rel=0.03)


@pytest.mark.parametrize("name", [name for name in zoo.names() if zoo.is_sized(name)])
def test_network_is_built_for_rectangles_grey_and_any_number_of_classes(name: str) -> None:
    side = zoo.architecture(name).smallest
    for shape, classes in (((side, side + 8, 1), 2), ((side + 3, side, 3), 101)):
        model = zoo.build(name, input_shape=shape, classes=classes)
        assert (model.input_shape, model.output_shape) == ((None, *shape), (None, classes))
        assert type(model.layers[0 if model.layers[0].name != "image" else 1]).__name__ == "Rescaling"


@pytest.mark.parametrize("name", [name for name in zoo.names() if zoo.architecture(name).smallest > 1])
def test_picture_that_is_too_small_for_a_network_is_refused(name: str) -> None:
    side = zoo.architecture(name).smallest
    with pytest.raises(RecipeError, match=rf"at least {side} x {side} pixels; {side - 1} x {side}") as caught:
        zoo.build(name, input_shape=(side - 1, side, 3), classes=4)
    assert str(side) in str(caught.value.hint)


def test_smallest_picture_is_the_smallest_that_keras_can_build() -> None:
    from edgefm.zoo import basic_cnn, enhanced_cnn

    for module, side in ((enhanced_cnn, 8), (basic_cnn, 4)):
        module.build(input_shape=(side, side, 1), classes=2)
        with pytest.raises(ValueError, match=r"."):
            module.build(input_shape=(side - 1, side - 1, 1), classes=2)


def test_one_class_is_refused() -> None:
    with pytest.raises(RecipeError, match="1 class; at least 2"):
        zoo.build("ds_cnn", input_shape=(28, 28, 1), classes=1)


def test_pixels_are_scaled_once_inside_the_model() -> None:
    model = zoo.build("enhanced_cnn")
    scaled = model.get_layer("scale_pixels")
    np.testing.assert_allclose(np.asarray(scaled(np.array([[0.0, 255.0]]))), [[0.0, 1.0]], rtol=1e-6)


def test_mobilenet_v2_takes_pixels_as_keras_preprocesses_them() -> None:
    import keras

    model = zoo.build("mobilenet_v2", {"alpha": "0.35"}, input_shape=(32, 32, 3), classes=4)
    plain = keras.applications.MobileNetV2(input_shape=(32, 32, 3), alpha=0.35, weights=None, classes=4)
    plain.set_weights(model.get_weights())
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.float32)
    wanted = plain.predict_on_batch(keras.applications.mobilenet_v2.preprocess_input(pixels.copy()))
    np.testing.assert_allclose(model.predict_on_batch(pixels), wanted, atol=1e-5)


def test_build_names_the_nearest_model_option_and_value() -> None:
    with pytest.raises(RecipeError, match="did you mean 'enhanced_cnn'"):
        zoo.build("enhanced_cn")
    with pytest.raises(RecipeError, match="did you mean 'batch_norm'"):
        zoo.build("enhanced_cnn", {"batchnorm": "before_relu"})
    with pytest.raises(RecipeError, match="did you mean 'after_relu'"):
        zoo.build("enhanced_cnn", {"batch_norm": "afterrelu"})
    with pytest.raises(RecipeError, match="has no options"):
        zoo.build("basic_cnn", {"batch_norm": "before_relu"})
