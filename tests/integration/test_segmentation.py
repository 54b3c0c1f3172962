"""Masks, U-Net and autoencoders: from data without a word about the task to files that answer as Keras does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from keras import layers
from numpy.typing import NDArray

import edgefm
from edgefm.core.errors import DataError, ModelError
from edgefm.data.masks import mean_iou, pixel_accuracy
from edgefm.recipes import FineTuning, Qat
from tests.fixtures.protocols import ONCE

_SIZE = 16


def _unet(classes: int = 3) -> Any:
    inputs = keras.Input((_SIZE, _SIZE, 1))
    down = layers.Conv2D(8, 3, padding="same", activation="relu")(layers.Rescaling(1 / 255)(inputs))
    deep = layers.Conv2D(12, 3, padding="same", activation="relu")(layers.MaxPooling2D()(down))
    up = layers.Concatenate()([down, layers.Conv2DTranspose(8, 2, strides=2)(deep)])
    activation = "softmax" if classes > 1 else "sigmoid"
    return keras.Model(inputs, layers.Conv2D(classes, 1, activation=activation)(up))


def _scenes(count: int, *, classes: int = 3) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return grey pictures of bright rectangles, and the class of each pixel: its brightness in steps."""
    generator = np.random.default_rng(8)
    masks = np.zeros((count, _SIZE, _SIZE), np.int64)
    for mask in masks:
        for kind in range(1, classes):
            top, left = generator.integers(0, _SIZE - 6, 2)
            mask[top : top + 6, left : left + 6] = kind
    levels = masks * (200 // (classes - 1)) + generator.integers(0, 40, masks.shape)
    return levels[..., None].astype(np.uint8), masks


def _iou(predicted: NDArray[Any], masks: NDArray[Any]) -> float:
    values = []
    for kind in np.union1d(predicted, masks):
        inside, wanted = predicted == kind, masks == kind
        values.append((inside & wanted).sum() / (inside | wanted).sum())
    return float(np.mean(values))


@pytest.mark.parametrize("classes", [1, 2, 5])
def test_measures_of_masks_are_those_of_numpy(classes: int) -> None:
    generator = np.random.default_rng(classes)
    scores = generator.uniform(0, 1, (6, 7, 5, classes)).astype(np.float32)
    masks = generator.integers(0, max(2, classes), (6, 7, 5))
    predicted = scores.argmax(axis=-1) if classes > 1 else (scores[..., 0] > 0.5).astype(np.int64)
    assert mean_iou((scores,), masks) == pytest.approx(_iou(predicted, masks))
    np.testing.assert_allclose(pixel_accuracy((scores,), masks), (predicted == masks).mean(axis=(1, 2)))


@pytest.mark.parametrize("classes", [3, 1])
def test_unet_goes_from_masks_to_files_and_a_record(classes: int, tmp_path: Path) -> None:
    keras.utils.set_random_seed(9)
    pictures, masks = _scenes(60, classes=max(2, classes))
    model = _unet(classes)
    loss = "sparse_categorical_crossentropy" if classes > 1 else "binary_crossentropy"
    model.compile(keras.optimizers.Adam(0.01), loss)
    model.fit(pictures, masks[..., None], epochs=8, batch_size=12, verbose=0)
    np.savez(tmp_path / "scenes.npz", images=pictures, labels=masks)
    data = tmp_path / "scenes.npz"
    files = edgefm.quantize(model, ["float32", "int8_w8a8"], data=data, progress=False)
    expected = model.predict(pictures[:4].astype(np.float32), verbose=0)
    interpreter = Interpreter(str(files["float32"].path))
    interpreter.allocate_tensors()
    for picture, wanted in zip(pictures[:4], expected, strict=True):
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], picture[None].astype(np.float32))
        interpreter.invoke()
        answer = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
        np.testing.assert_allclose(answer, wanted, atol=1e-4)
    assert files["int8_w8a8"].report["validation"]["quality"] == "miou"
    dataset = edgefm.data.load(data)
    assert dataset.task == "segmentation"
    whole = model.predict(dataset.test.images.astype(np.float32), verbose=0)
    predicted = whole.argmax(axis=-1) if classes > 1 else (whole[..., 0] > 0.5).astype(np.int64)
    record = edgefm.benchmark(files, data=data, protocol=ONCE, progress=False)
    assert not record.failed
    assert record["float32"]["quality"]["value"] == pytest.approx(_iou(predicted, dataset.test.labels), abs=1e-6)
    assert record["float32"]["quality"]["value"] > 0.5
    assert record["int8_w8a8"]["quality"]["value"] == pytest.approx(record["float32"]["quality"]["value"], abs=0.05)


def test_masks_of_one_channel_of_logits_are_measured_at_0_and_keep_their_names(tmp_path: Path) -> None:
    pictures, masks = _scenes(60, classes=2)
    inputs = keras.Input((_SIZE, _SIZE, 1))
    model = keras.Model(inputs, layers.Conv2D(1, 1)(layers.Rescaling(1 / 255)(inputs)))
    # Logits of -0.95 to 1.45 by the level: about half of those of the things lie between 0 and 0.5.
    model.layers[-1].set_weights([np.full((1, 1, 1, 1), 6.0), np.array([-5.1])])
    model.compile(loss=keras.losses.BinaryCrossentropy(from_logits=True))
    np.savez(tmp_path / "scenes.npz", images=pictures, labels=masks)
    data = tmp_path / "scenes.npz"
    files = edgefm.quantize(model, ["float32", "int8_w8a8"], data=data, labels=["paper", "thing"], progress=False)
    dataset = edgefm.data.load(data)

    def right(images: NDArray[Any], targets: NDArray[Any], threshold: float) -> float:
        return _iou((model.predict(images.astype(np.float32), verbose=0)[..., 0] > threshold).astype(int), targets)

    validation = files["float32"].report["validation"]
    held_out = dataset.validation
    assert validation["value"] == pytest.approx(right(held_out.images, held_out.labels, 0), abs=1e-6)
    assert right(held_out.images, held_out.labels, 0) - right(held_out.images, held_out.labels, 0.5) > 0.1
    agreed = files["float32"].contract
    assert agreed is not None and (agreed.labels, agreed.head) == (("paper", "thing"), "logits")
    assert (files["float32"].path.parent / "labels.txt").read_text().split() == ["paper", "thing"]
    bare = tmp_path / "bare.tflite"  # without its contract
    bare.write_bytes(files["float32"].path.read_bytes())
    record = edgefm.benchmark([files["float32"].path, bare], data=data, mean=0, std=1, protocol=ONCE, progress=False)
    for row in record.to_json()["models"]:
        assert row["quality"]["value"] == pytest.approx(right(dataset.test.images, dataset.test.labels, 0), abs=1e-6)
    with pytest.raises(ModelError, match="gives a class for each pixel"):
        edgefm.predict(tmp_path / "none.png", model=files["float32"])
    with pytest.raises(DataError, match="3 labels were given for 2 classes of the masks"):
        edgefm.quantize(model, ["float32"], data=data, labels=["a", "b", "c"], progress=False)


def test_qat_learns_masks(tmp_path: Path) -> None:
    keras.utils.set_random_seed(10)
    pictures, masks = _scenes(64)
    np.savez(tmp_path / "scenes.npz", images=pictures, labels=masks.astype(np.uint8)[..., None])
    tuned = FineTuning(epochs=6, batch_size=8, learning_rate=0.01)
    done = edgefm.qat(_unet(), data=tmp_path / "scenes.npz", recipe=Qat(fine_tuning=tuned), progress=False)
    answers = done.model.predict(pictures.astype(np.float32), verbose=0)
    assert (answers.argmax(axis=-1) == masks).mean() > 0.75 > (masks == 0).mean() - 0.1


def test_masks_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    pictures, masks = _scenes(30)
    np.savez(tmp_path / "more.npz", images=pictures, labels=masks + 3)
    with pytest.raises(DataError, match="hold the class 5; the model has 3 classes"):
        edgefm.quantize(_unet(), ["float32"], data=tmp_path / "more.npz", progress=False)
    np.savez(tmp_path / "scenes.npz", images=pictures, labels=masks)
    classifier = keras.Sequential([keras.Input((_SIZE, _SIZE, 1)), layers.Flatten(), layers.Dense(3)])
    with pytest.raises(DataError, match=r"masks \[16, 16\], the first output of the model is \[3\]"):
        edgefm.quantize(classifier, ["float32"], data=tmp_path / "scenes.npz", progress=False)


def test_autoencoder_without_labels_is_a_reconstruction_without_being_told(tmp_path: Path) -> None:
    pictures, _ = _scenes(40)
    samples = (pictures / 255).astype(np.float32)
    np.savez(tmp_path / "scenes.npz", images=samples)
    inputs = keras.Input((_SIZE, _SIZE, 1))
    code = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(inputs)
    model = keras.Model(inputs, layers.Conv2DTranspose(1, 3, strides=2, padding="same", activation="sigmoid")(code))
    files = edgefm.quantize(model, ["float32", "int8_w8a8"], data=tmp_path / "scenes.npz", progress=False)
    validation = files["float32"].report["validation"]
    held_out = edgefm.data.load(tmp_path / "scenes.npz").validation.images
    error = np.square(model.predict(held_out, verbose=0).astype(np.float64) - held_out).mean()
    assert (validation["quality"], validation["value"]) == ("mse", pytest.approx(error, rel=1e-4))
    classifier = keras.Sequential([keras.Input((_SIZE, _SIZE, 1)), layers.Flatten(), layers.Dense(3)])
    with pytest.raises(DataError, match="has no labels, and the first output of the model"):
        edgefm.quantize(classifier, ["float32"], data=tmp_path / "scenes.npz", progress=False)
