"""The documented systems: each builds to what its document counts, and carries what the document claims."""

import numpy as np
import pytest

from edgefm import zoo
from edgefm.core.errors import RecipeError
from edgefm.zoo.documented import documented_system, documented_systems, pca, system_ids
from tests.fixtures.small_data import small_fashion_mnist

# Id -> parameters that the document states, and its claims (train, validation, test) as it prints them.
STATED = {
    "enhanced_cnn": (422_474, (98.89, 93.3, None)),
    "basic_cnn": (1_386_506, (100.0, 91.7, None)),
    "kadam_arch3": (None, (93.09, None, 93.56)),
    "mcnn15": (None, (None, None, 94.04)),
    "vijayaraj_cnn": (None, (95.72, None, 94.52)),
    "augmented_cnn": (786_122, (None, None, 92.74)),
    "pca_dnn": (12_682, (None, 89.74, 89.0)),
    "pca_dnn_deep": (14_442, (None, (88.01, 89.58), None)),
    "leaky_cnn": (None, (94.40, 90.77, 90.0)),
    "ann": (235_146, (89.6, 88.4, 85.0)),
    "two_conv_cnn": (421_642, (98.4, 92.6, 90.0)),
    "tiny_vgg": (7_740, (88.29, None, 87.92)),
    "mobilenet_v2": (None, (None, None, 93.0)),
    "residual_cnn": (None, (None, None, (92.54, 92.74))),
    "lenet5": (None, (None, None, 98.0)),
}


def test_every_row_of_the_documents_is_there() -> None:
    assert set(system_ids()) == set(STATED)


@pytest.mark.parametrize("system_id", STATED)
def test_system_builds_to_the_documents_parameters(system_id: str) -> None:
    system = documented_system(system_id)
    model = zoo.build(system.recipe.model, system.recipe.model_options)  # which counts them
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    stated = STATED[system_id][0]
    assert stated is None or trainable == stated
    assert model.input_shape == (None, 28, 28, 1) and model.output_shape == (None, 10)
    probabilities = np.asarray(model.predict_on_batch(np.full((2, 28, 28, 1), 255, np.uint8)))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_leaky_cnn_has_about_the_stated_number() -> None:
    known = documented_system("leaky_cnn").architecture
    assert abs(known.trainable + known.non_trainable - 263_000) < 500


def test_mcnn15_has_fifteen_convolutions() -> None:
    model = zoo.build("mcnn15")
    assert sum(type(layer).__name__ == "Conv2D" for layer in model.layers) == 15


@pytest.mark.parametrize("system_id", STATED)
def test_claim_is_the_documents(system_id: str) -> None:
    claim = documented_system(system_id).claim
    assert (claim.train_accuracy, claim.validation_accuracy, claim.test_accuracy) == STATED[system_id][1]


@pytest.mark.parametrize("system", documented_systems(), ids=lambda system: system.id)
def test_recipe_uses_nothing_that_the_document_does_not(system) -> None:
    recipe = system.recipe
    assert (recipe.schedule, recipe.weight_decay, recipe.flip, recipe.label_smoothing) == ("constant", 0.0, False, 0.0)
    assert recipe.shift_pixels == recipe.mixup == recipe.erasing == 0 and recipe.distillation is None
    assert system.reading and system.document in ("S0", "S1", "S2", "S3", "S4")


def test_stated_training_is_the_documents() -> None:
    recipes = {system.id: system.recipe for system in documented_systems()}
    vijayaraj, vgg = recipes["vijayaraj_cnn"], recipes["tiny_vgg"]
    assert (vijayaraj.optimizer, vijayaraj.learning_rate, vijayaraj.batch_size, vijayaraj.epochs) == (
        "adam",
        5e-3,
        512,
        20,
    )
    assert (vgg.optimizer, vgg.learning_rate, vgg.batch_size, vgg.epochs) == ("sgd", 0.1, 32, 3)


def test_unknown_system_names_the_nearest() -> None:
    with pytest.raises(RecipeError, match="did you mean 'tiny_vgg'"):
        documented_system("tinyvgg")


def test_average_pooling_has_the_same_parameters() -> None:
    model = zoo.build("tiny_vgg", {"pooling": "average"})
    assert model.count_params() == 7_740
    assert any(type(layer).__name__ == "AveragePooling2D" for layer in model.layers)


def test_components_are_those_of_a_singular_value_decomposition() -> None:
    """The oracle is numpy's SVD of the centred pictures, of which each component is known up to its sign."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (400, 6, 5, 1)).astype(np.uint8)
    kernel, bias = pca.principal_components(images, 12)
    pixels = images.reshape(400, -1) / 255
    _, _, rows = np.linalg.svd(pixels - pixels.mean(axis=0), full_matrices=False)
    wanted = (pixels - pixels.mean(axis=0)) @ rows[:12].T
    got = pixels @ kernel + bias
    np.testing.assert_allclose(np.abs(got), np.abs(wanted), atol=1e-4)
    assert (kernel[np.abs(kernel).argmax(axis=0), np.arange(12)] > 0).all()


def test_187_components_keep_95_percent_of_the_variance_of_fashion_mnist() -> None:
    images = small_fashion_mnist(train=10_000, validation=10, test=10).train.images
    kernel, bias = pca.principal_components(images, pca.COMPONENTS)
    pixels = images.reshape(len(images), -1) / 255
    kept = (pixels @ kernel + bias).var(axis=0).sum() / pixels.var(axis=0).sum()
    assert abs(kept - 0.95) < 0.002


@pytest.mark.parametrize("name", ["pca_dnn", "pca_dnn_deep"])
def test_fixed_layer_is_learnt_from_the_pictures_and_not_trained(name: str) -> None:
    model = zoo.build(name)
    images = small_fashion_mnist(train=500, validation=10, test=10).train.images
    zoo.learn_from(name, model, images)
    layer = model.get_layer("pca")
    kernel, bias = pca.principal_components(images, 187)
    np.testing.assert_array_equal(np.asarray(layer.kernel), kernel)
    np.testing.assert_array_equal(np.asarray(layer.bias), bias)
    assert not layer.trainable_weights


def test_architectures_without_fixed_layers_are_left_as_they_are() -> None:
    model = zoo.build("tiny_vgg")
    before = model.get_weights()
    zoo.learn_from("tiny_vgg", model, np.zeros((2, 28, 28, 1), np.uint8))
    assert all(np.array_equal(*pair) for pair in zip(before, model.get_weights(), strict=True))
