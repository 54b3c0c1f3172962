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


def test_pixels_are_scaled_once_inside_the_model() -> None:
    model = zoo.build("enhanced_cnn")
    scaled = model.get_layer("scale_pixels")
    np.testing.assert_allclose(np.asarray(scaled(np.array([[0.0, 255.0]]))), [[0.0, 1.0]], rtol=1e-6)


def test_build_names_the_nearest_model_option_and_value() -> None:
    with pytest.raises(RecipeError, match="did you mean 'enhanced_cnn'"):
        zoo.build("enhanced_cn")
    with pytest.raises(RecipeError, match="did you mean 'batch_norm'"):
        zoo.build("enhanced_cnn", {"batchnorm": "before_relu"})
    with pytest.raises(RecipeError, match="did you mean 'after_relu'"):
        zoo.build("enhanced_cnn", {"batch_norm": "afterrelu"})
    with pytest.raises(RecipeError, match="has no options"):
        zoo.build("basic_cnn", {"batch_norm": "before_relu"})
