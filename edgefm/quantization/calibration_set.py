"""Pictures that calibrate a model, and show that its conversions agree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core import joined
from edgefm.core.artefacts import sha256_bytes
from edgefm.core.errors import DataError
from edgefm.core.given import npz
from edgefm.data.calibration import calibration_images
from edgefm.data.dataset import Dataset
from edgefm.data.own.several_inputs import gathered
from edgefm.data.preprocessing import Preprocessing
from edgefm_converters.readers.model_file import Input

_NOISE, _NOISE_VALUES = 16, 1 << 24


def rescales_first(model: Any) -> bool:
    """Return whether a Keras model rescales first, so that it takes pixels as they are.

    Layers before the Rescaling may work in training alone (augmentation, dropout), or move pixels and change their
    number: levels stay levels. A Rescaling of values of 0 to 1, such as one by 255, is none of pixels.
    """
    from keras import layers

    from edgefm.keras_graph.graph import Graph
    from edgefm.keras_graph.inference import does_nothing
    from edgefm.keras_graph.own_scaling import is_of_pixels

    crops = (layers.CenterCrop, layers.RandomCrop, layers.Cropping2D, layers.ZeroPadding2D)
    sizes = (layers.Resizing, layers.AveragePooling2D, layers.UpSampling2D)
    shapes = (layers.Reshape, layers.Permute, layers.Flatten)
    for call in Graph(model, for_reading=True).calls:
        if type(call.layer) is layers.Rescaling:
            scale, offset = call.layer.scale, call.layer.offset
            return is_of_pixels(offset, scale) or bool(np.all(np.equal(scale, 1)) and not np.any(offset))
        if not does_nothing(call) and type(call.layer) not in (*crops, *sizes, *shapes):
            return False
    return False


@dataclass(frozen=True, kw_only=True)
class CalibrationSet:
    """Samples that calibrate a model and show that its conversions agree.

    Attributes:
      inputs: float32 [n, ...], as the model wants them; int32 for a model that takes tokens.
      source: where they come from, in words.
      seed: of the choice, None where all were taken.
      sha256: of the inputs' bytes.
      real: they may set ranges; False for noise.
    """

    inputs: NDArray[Any]
    source: str
    seed: int | None
    sha256: str
    real: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return what identifies the pictures as a JSON object."""
        value = asdict(self)
        del value["inputs"]
        return {"images": len(self.inputs), **value}


def from_dataset(dataset: Dataset, encoding: Preprocessing, *, count: int, seed: int) -> CalibrationSet:
    """Return `count` samples of a data set's training split, as the model's inputs."""
    images = calibration_images(dataset.train, count=count, seed=seed)
    return _calibration_set(encoding.inputs(images), source=f"{dataset.name}, training split", seed=seed)


def from_npz(
    path: Path, encoding: Preprocessing, *, count: int, seed: int, shape: tuple[int, ...], tokens: bool = False
) -> CalibrationSet:
    """Return up to `count` pictures of a .npz file, encoded; more than that are chosen by the seed.

    Args:
      path: holds `images` [n, height, width, channels]: uint8 pixels, or floats that are inputs already.
      encoding: of the model.
      count: pictures wanted; fewer are taken where the file has fewer.
      seed: of the choice.
      shape: [height, width, channels] of the model's input.
      tokens: the model takes whole numbers.
    Raises:
      DataError: no such file, no array `images`, or one of another dtype, shape or range.
    """
    images, _ = read_samples(path)
    if joined.is_joined(images):
        chosen = np.sort(np.random.default_rng(seed).permutation(len(images))[:count])
        return _calibration_set(encoding.inputs(images[chosen]), source=f"{path.name}, {len(images)} images", seed=seed)
    if images.shape[1:] != shape or len(images) == 0:
        wanted = ", ".join(map(str, shape))
        raise DataError(f"'images' in {path} has shape {images.shape}; [n, {wanted}], n >= 1 is expected")
    chosen = np.sort(np.random.default_rng(seed).permutation(len(images))[:count])
    source = f"{path.name}, {len(images)} images"
    if images.dtype == np.uint8:
        return _calibration_set(encoding.encode(images[chosen]), source=source, seed=seed)
    if tokens and images.dtype.kind in "iu":
        return _calibration_set(images[chosen].astype(np.int32), source=source, seed=seed)
    if images.dtype.kind != "f":
        raise DataError(f"'images' in {path} has dtype {images.dtype}; uint8 pixels or float inputs are expected")
    inputs = images[chosen].astype(np.float32)
    low, high = encoding.value_range
    if not np.isfinite(inputs).all():
        bad = chosen[~np.isfinite(inputs).reshape(len(inputs), -1).all(axis=1)]
        raise DataError(
            f"'images' in {path} holds NaN or infinite values, first in sample {bad[0]}", hint="Remove these samples."
        )
    if inputs.min() < low - 1e-6 or inputs.max() > high + 1e-6:
        raise DataError(
            f"'images' in {path} goes from {inputs.min():g} to {inputs.max():g}; the model takes {low:g} to {high:g}",
            hint="Give floats as the model takes them, or uint8 pixels; or give the value range that the model takes.",
        )
    return _calibration_set(inputs, source=source, seed=seed)


def read_samples(path: Path) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Return `images` and, where it is there, `labels` of a .npz file, as they are.

    Raises:
      DataError: no such file, or one that cannot be read.
    """
    held = npz.read(
        path,
        DataError,
        missing=f"no calibration data at {path}",
        hint="Write it with: numpy.savez(path, images=array)",
    )
    arrays = gathered(held, source=path.name)
    if "images" not in arrays:
        raise DataError(f"{path} holds no array called 'images'", hint="numpy.savez(path, images=array)")
    return arrays["images"], arrays.get("labels")


def noise(encoding: Preprocessing, inputs: Sequence[Input]) -> CalibrationSet:
    """Return 16 samples of uniform noise, fewer of large ones: enough to compare conversions, not to calibrate.

    Args:
      encoding: of the model.
      inputs: of the model. Of whole numbers those that it knows are drawn; of several inputs of floats 0 to 1.
    """
    generator = np.random.default_rng(0)
    values_of_one = sum(math.prod(given.shape) for given in inputs)
    count = max(1, min(_NOISE, _NOISE_VALUES // max(1, values_of_one)))

    def drawn(given: Input) -> NDArray[Any]:
        shape = (count, *given.shape)
        if given.tokens is not None:
            return generator.integers(0, given.tokens, shape, dtype=np.int32)
        if len(inputs) > 1:
            return generator.random(shape, np.float32)
        return encoding.encode(generator.integers(0, 256, shape, dtype=np.uint8))

    values = {given.name: drawn(given) for given in inputs}
    samples = joined.join(values) if len(inputs) > 1 else next(iter(values.values()))
    return replace(_calibration_set(samples, source="uniform noise", seed=0), real=False)


def _calibration_set(inputs: NDArray[Any], *, source: str, seed: int | None) -> CalibrationSet:
    if joined.is_joined(inputs):
        return CalibrationSet(inputs=inputs, source=source, seed=seed, sha256=sha256_bytes(inputs.tobytes()))
    little_endian = np.ascontiguousarray(inputs, "<i4" if inputs.dtype.kind in "iu" else "<f4")
    return CalibrationSet(inputs=little_endian, source=source, seed=seed, sha256=sha256_bytes(little_endian.tobytes()))
