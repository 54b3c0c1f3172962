"""A function's own model as it is trained: it answers to pixels what Keras says it answers to what it takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import edgefm
from edgefm.core.errors import ModelError
from edgefm.core.progress import SILENT
from edgefm.jobs.to_learn import to_learn
from edgefm.jobs.to_learn.network import for_pixels
from edgefm.jobs.to_learn.weights import take_over_pretrained
from edgefm.recipes import Training
from tests.fixtures.notes import Notes

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 12, 16, 3)).astype(np.uint8)


class Prepares(layers.Layer):
    """Scales pixels."""

    def call(self, values: Any) -> Any:
        """Scale."""
        return values / 127.5 - 1


class Block(layers.Layer):
    """Scales pixels and convolves them."""

    def build(self, shape: Any) -> None:
        """Make the convolution."""
        self.convolution = layers.Conv2D(4, 3)
        self.convolution.build(shape)

    def call(self, values: Any) -> Any:
        """Scale and convolve."""
        return self.convolution(values / 255.0)


def _network(begins: Callable[[Any], Any]) -> Any:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((12, 16, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="relu")(begins(inputs)))
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(x))


def _transferred(folder: Path, **names: str) -> Any:
    """Return a new head behind a saved network whose names begin from the start, as in a new process."""
    keras.utils.set_random_seed(0)
    stack = [layers.Rescaling(1 / 255), layers.Conv2D(4, 3), layers.GlobalAveragePooling2D(), layers.Dense(8)]
    base = keras.Sequential([keras.Input((12, 16, 3)), *stack])
    base.layers[-1].name = "dense"
    base.save(folder / "old.keras")
    inputs = keras.Input((12, 16, 3))
    head = layers.Dense(3, activation="softmax", **{"name": "dense", **names})
    return keras.Model(inputs, head(keras.saving.load_model(folder / "old.keras")(inputs)))


def _made_ready(model: Any, **given: Any) -> Any:
    return for_pixels(model, source="own:build", **{"value_range": None, "new": True, "progress": SILENT, **given})


SCALING: dict[str, Callable[[Any], Any]] = {
    "layer of one's own": lambda x: Prepares()(x),
    "Lambda": lambda x: layers.Lambda(lambda values: values / 255.0)(x),
    "resized first": lambda x: layers.Resizing(8, 8)(x) / 255.0,
    "squeezed": lambda x: keras.ops.tanh(x / 127.5 - 1),
}


@pytest.mark.parametrize("name", SCALING)
def test_model_that_scales_pixels_gets_them_as_they_are(name: str) -> None:
    model = _network(SCALING[name])
    wanted = model.predict(PIXELS.astype(np.float32), verbose=0)
    np.testing.assert_allclose(_made_ready(model).predict(PIXELS, verbose=0), wanted, atol=1e-5)


@pytest.mark.parametrize("head", ["dense", "head"])
def test_head_behind_a_saved_network_gets_pixels_as_they_are_whatever_it_is_called(head: str, tmp_path: Path) -> None:
    model = _transferred(tmp_path, name=head)
    wanted = model.predict(PIXELS.astype(np.float32), verbose=0)
    np.testing.assert_allclose(_made_ready(model).predict(PIXELS, verbose=0), wanted, atol=1e-5)


def test_model_that_takes_0_to_1_and_makes_pixels_of_it_gets_0_to_1() -> None:
    model = _network(lambda x: layers.Rescaling(1 / 127.5, -1)(layers.Rescaling(255.0)(x)))
    wanted = model.predict(PIXELS.astype(np.float32) / 255, verbose=0)
    np.testing.assert_allclose(_made_ready(model).predict(PIXELS, verbose=0), wanted, atol=1e-4)


def test_scaling_is_put_before_a_nested_model_whose_operations_are_called_as_those_behind_it() -> None:
    inner_inputs = keras.Input((12, 16, 3))
    inner = keras.Model(inner_inputs, keras.ops.add(layers.Conv2D(3, 1)(inner_inputs), 1.0))
    keras.backend.clear_session()  # names begin from the start, as in a new process
    inputs = keras.Input((12, 16, 3))
    x = keras.ops.add(inner(inputs), 2.0)
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(x)))
    wanted = model.predict(PIXELS.astype(np.float32) / 255, verbose=0)
    np.testing.assert_allclose(_made_ready(model).predict(PIXELS, verbose=0), wanted, atol=1e-5)


def test_model_of_which_nothing_says_whether_it_scales_is_asked_for() -> None:
    model = _network(lambda x: Block()(x))
    with pytest.raises(ModelError, match=r"build scales .* cannot be told.*\(Block\)(.|\n)*255 where it scales"):
        _made_ready(model)
    for top in (255.0, 1.0):
        wanted = model.predict(PIXELS.astype(np.float32) * (top / 255), verbose=0)
        ready = _made_ready(model, value_range=(0.0, top), said=True)
        np.testing.assert_allclose(ready.predict(PIXELS, verbose=0), wanted, atol=1e-5)


def _ready(path: Path, notes: Notes) -> Any:
    """Return what makes a model in a file ready to be trained on some pictures."""
    labels = np.arange(60) % 3
    pixels = (np.random.default_rng(0).integers(0, 60, (60, 12, 16, 3)) + 60 * labels[:, None, None, None]).astype("u1")
    return to_learn(
        Training(model=str(path), value_range=(0.0, 255.0)),
        dataset=edgefm.data.from_arrays(pixels, labels, progress=False),
        source=None,
        backend="tensorflow",
        precision="float32",
        progress=notes,
    )


FROZEN: dict[str, Callable[[Any], list[Any]]] = {
    "none": lambda model: [],
    "the convolution": lambda model: [model.layers[2]],
    "the normalisation": lambda model: [model.layers[3]],
    "a nested model": lambda model: [model.layers[4]],
    "all but the head": lambda model: model.layers[1:-1],
    "all": lambda model: [model],
}


@pytest.mark.parametrize("kind", FROZEN)
def test_frozen_layers_of_a_file_are_said_and_a_model_of_frozen_ones_is_refused(kind: str, tmp_path: Path) -> None:
    inputs = keras.Input((12, 16, 3))
    x = layers.BatchNormalization()(layers.Conv2D(4, 3)(layers.Rescaling(1 / 255)(inputs)))
    x = keras.Sequential([keras.Input((10, 14, 4)), layers.Conv2D(5, 3), layers.GlobalAveragePooling2D()])(x)
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    for part in FROZEN[kind](model):
        part.trainable = False
    model.save(tmp_path / "mine.keras")
    notes = Notes()
    if kind == "all":
        with pytest.raises(ModelError, match=r"all layers of mine\.keras are frozen, (.|\n)*model\.trainable = True"):
            _ready(tmp_path / "mine.keras", notes)
        return
    _ready(tmp_path / "mine.keras", notes)
    said = [note for note in notes.notes if "frozen in mine.keras and stay so" in note]
    counts = {"the convolution": 3 * 9 * 4 + 4, "the normalisation": 2 * 4, "a nested model": 4 * 9 * 5 + 5}
    counts["all but the head"] = sum(counts.values())
    trained, whole = counts["all but the head"] + 5 * 3 + 3, counts["all but the head"] + 5 * 3 + 3 + 2 * 4
    if kind == "none":
        assert not said
    else:
        number = 3 if kind == "all but the head" else 1
        assert len(said) == 1 and said[0].startswith(f"{number} of 4 layers with weights are frozen")
        assert said[0].endswith(f"{trained - counts[kind]} of {whole} parameters learn")


def test_model_without_weights_is_refused(tmp_path: Path) -> None:
    stack = [layers.Rescaling(1 / 255), layers.GlobalAveragePooling2D(), layers.Softmax()]
    keras.Sequential([keras.Input((12, 16, 3)), *stack]).save(tmp_path / "mine.keras")
    with pytest.raises(ModelError, match=r"mine\.keras has no weights that could learn"):
        _ready(tmp_path / "mine.keras", Notes())


@pytest.mark.parametrize("frozen", [0, 1])
@pytest.mark.parametrize("head", ["dense", "head"])
def test_frozen_layers_that_share_a_name_with_a_new_one_are_refused(head: str, frozen: int, tmp_path: Path) -> None:
    model, notes = _transferred(tmp_path, name=head), Notes()
    wanted = [array + 1 for array in model.layers[1].get_weights()]
    model.layers[1].set_weights(wanted)
    model.layers[1].save(tmp_path / "better.keras")
    model.layers[1].set_weights([array * 0 for array in wanted])
    recipe = Training(model="own:build", pretrained=str(tmp_path / "better.keras"), frozen_epochs=frozen, epochs=2)
    if frozen and head == "dense":
        with pytest.raises(ModelError, match=r"share a name, dense: which(.|\n)*name='head'"):
            take_over_pretrained(model, recipe, notes)
        return
    names = take_over_pretrained(model, recipe, notes)
    assert len(names) == 2 * frozen
    for given, array in zip(model.layers[1].get_weights(), wanted, strict=True):
        np.testing.assert_array_equal(given, array)
