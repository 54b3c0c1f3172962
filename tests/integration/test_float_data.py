"""Models brought with data of floats: real picture files through predict against Keras's own predict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import edgefm
from edgefm.core.errors import DataError, ModelError
from edgefm.data.dataset import Dataset
from edgefm.tflite.metadata_reader import normalization

PIXELS = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3)).astype(np.uint8)
GREY = np.random.default_rng(1).integers(0, 256, (60, 28, 28, 1)).astype(np.uint8)
LABELS = np.arange(60) % 3
NAMES = ("a", "b", "c")
MEAN, STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)


def model_for(inputs: NDArray[Any]) -> Any:
    """Return a model whose answers to these inputs differ: dense on centred inputs, as large as they need be."""
    import keras

    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [keras.Input(inputs.shape[1:]), keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")]
    )
    scale = 2 / (float(inputs.std()) * np.sqrt(np.prod(inputs.shape[1:])))
    kernel = np.random.default_rng(4).normal(size=(int(np.prod(inputs.shape[1:])), 3)) * scale
    model.layers[-1].set_weights([kernel, -float(inputs.mean()) * kernel.sum(axis=0)])
    return model


def data_of(inputs: NDArray[Any]) -> Dataset:
    return edgefm.data.from_arrays(inputs, LABELS, class_names=NAMES, progress=False)


def predicted(folder: Path, pixels: NDArray[np.uint8], model: Any) -> NDArray[np.float64]:
    """Return the probabilities that `edgefm.predict` gives for picture files, [n, classes]."""
    paths = []
    for place, picture in enumerate(pixels):
        paths.append(folder / f"{place}.png")
        Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(paths[-1])
    found = edgefm.predict(paths, model=model, top=3)
    return np.array([[{s.label: s.probability for s in item.top}[name] for name in NAMES] for item in found])


KINDS: dict[str, tuple[NDArray[np.uint8], NDArray[Any], tuple[float, float] | None]] = {
    "0 to 1": (PIXELS, PIXELS / np.float32(255), None),
    "-1 to 1": (PIXELS, PIXELS / np.float32(127.5) - np.float32(1), None),
    "0 to 255": (PIXELS, PIXELS.astype(np.float32), None),
    "0 to 1, said": (PIXELS, PIXELS / np.float32(255), (0, 1)),
    "grey": (GREY, GREY / np.float32(255), None),
    "max 0.97": (np.minimum(PIXELS, 247), np.minimum(PIXELS, 247) / np.float32(255), None),
    "float64": (PIXELS, PIXELS / 255.0, None),
    "float16": (PIXELS, (PIXELS / 255.0).astype(np.float16), None),
    "dark": (PIXELS // 6, PIXELS // 6 / np.float32(255), None),
    "0 to 16, said": (PIXELS, PIXELS * np.float32(16 / 255), (0, 16)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_picture_files_get_the_answers_of_the_given_model(tmp_path: Path, kind: str) -> None:
    pixels, inputs, said = KINDS[kind]
    model = model_for(inputs)
    written = edgefm.quantize(model, ["float32", "int8_w8a8"], data=data_of(inputs), value_range=said, progress=False)
    wanted = np.asarray(model.predict(inputs[:12].astype(np.float32), verbose=0), np.float64)
    assert wanted.std() > 0.1  # answers that differ: others would show nothing
    found = predicted(tmp_path, pixels[:12], written["float32"])
    # float16 data lie beside the levels of 8 bits by 2e-4; float32 differ by rounding alone.
    np.testing.assert_allclose(found, wanted, atol=2e-3 if kind == "float16" else 1e-4)
    in_int8 = predicted(tmp_path, pixels[:12], written["int8_w8a8"])
    np.testing.assert_allclose(in_int8, wanted, atol=0.05)
    for file in written.files:
        assert file.contract is not None and file.contract.made_by["pictures"]["through"] == "PNG"


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ((PIXELS / np.float32(255) - MEAN) / STD, "they look standardised"),
        (np.random.default_rng(5).normal(size=(60, 10)).astype(np.float32), "no picture"),
        (np.random.default_rng(5).normal(size=(60, 9, 5, 1)).astype(np.float32), "no range of pictures"),
    ],
    ids=["imagenet", "features", "spectra"],
)
def test_real_inputs_are_told_and_picture_files_refused(tmp_path: Path, inputs: NDArray[Any], reason: str) -> None:
    model = model_for(inputs)
    written = edgefm.quantize(model, ["float32", "int8_w8a8"], data=data_of(inputs), progress=False)
    Image.fromarray(PIXELS[0]).save(tmp_path / "a.png")
    for file in written.files:
        assert file.contract is not None and reason in str(file.contract.no_pixels)
        assert file.contract.made_by["pictures"]["pictures"] == 0
        with pytest.raises(ModelError, match="pictures"):
            edgefm.predict(tmp_path / "a.png", model=file)
        assert normalization(file.path) is None  # no metadata that call the input a picture
    # Real inputs go in as they are.
    contract = written["float32"].contract
    assert contract is not None
    np.testing.assert_array_equal(contract.encode(inputs[:3]), inputs[:3])


def test_four_channels_keep_their_formula_and_predict_takes_pictures_for_rgba(tmp_path: Path) -> None:
    inputs = np.concatenate([PIXELS, PIXELS[..., :1]], axis=-1) / np.float32(255)
    model = model_for(inputs)
    written = edgefm.quantize(model, "float32", data=data_of(inputs), progress=False)
    contract = written["float32"].contract
    assert contract is not None and contract.input_formula() == "x = pixel / 255"
    assert contract.made_by["pictures"]["through"] == "PNG"
    Image.fromarray(PIXELS[0]).save(tmp_path / "a.png")  # opaque: 255 in the fourth channel
    given = np.concatenate([PIXELS[:1], np.full_like(PIXELS[:1, ..., :1], 255)], axis=-1) / np.float32(255)
    found = {
        score.label: score.probability for score in edgefm.predict(tmp_path / "a.png", model=written["float32"])[0].top
    }
    expected = model.predict(given, verbose=0)[0]
    np.testing.assert_allclose([found[label] for label in contract.labels], expected, atol=1e-5)


def test_range_that_the_pictures_contradict_is_refused() -> None:
    inputs = PIXELS / np.float32(255)
    with pytest.raises(DataError, match="8-bit pictures scaled to 0 to 1"):
        edgefm.quantize(model_for(inputs), "float32", data=data_of(inputs), value_range=(-1, 1), progress=False)


def test_calibration_floats_without_data_set_the_formula(tmp_path: Path) -> None:
    inputs = PIXELS / np.float32(255)
    np.savez(tmp_path / "c.npz", images=inputs)
    model = model_for(inputs)
    written = edgefm.quantize(model, "int8_w8a8", calibration_data=tmp_path / "c.npz", labels=NAMES, progress=False)
    wanted = np.asarray(model.predict(inputs[:12], verbose=0), np.float64)
    np.testing.assert_allclose(predicted(tmp_path, PIXELS[:12], written["int8_w8a8"]), wanted, atol=0.05)
