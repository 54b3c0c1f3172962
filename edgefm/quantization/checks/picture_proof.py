"""Proof of a contract: pictures, through the path of `edgefm predict`, must give what the given model says."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core import scratch
from edgefm.core.errors import ModelError
from edgefm.data.picture_file import MODES, ModelPicture, open_picture, pixels_of
from edgefm.data.pixel_range import RANGES, picture_range
from edgefm.data.preprocessing import Preprocessing, preprocessing
from edgefm.runtimes import apart, picture_answer
from edgefm.runtimes.base import RuntimeSession
from edgefm.tflite.contract import Contract, dequantize, quantize

Answers = Callable[[NDArray[np.float32]], tuple[NDArray[np.float32], ...]]

PICTURES = 4
# Pictures may give answers that differ so much, as a share of the greatest output, from those to the same real inputs.
EXACT = 1e-4
# Samples of floats lie between the levels of 8-bit pictures. Those that span fewer levels are no pictures by a formula:
# floats 0 to 1 span two where they are taken for levels themselves.
_FEWEST_LEVELS = 16


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Samples of the given model, what it says of them, and the model itself.

    Attributes:
      inputs: float32 [n, ...], real inputs in the encoding of `encoding`.
      expected: float32 [n, ...] each, the given model's outputs for them.
      encoding: how pixels become them.
      answers: gives the model's outputs for other inputs of this encoding.
    """

    inputs: NDArray[np.float32]
    expected: tuple[NDArray[np.float32], ...]
    encoding: Preprocessing
    answers: Answers


def prove(model: Path, contract: Contract, samples: Samples) -> dict[str, Any]:
    """Return how a file's answers to pictures compare with the given model's, or raise where they cannot.

    The samples are made pictures by the given encoding, written as PNG files where Pillow can, and go the way of
    `edgefm predict`: read, encoded by the contract, run by LiteRT, decoded. The model is given the same pixels. Where
    data in folders are read in the contract's way, two more pictures are written in other sizes and shapes, partly
    transparent; the model is given what the reader of such data makes of these files.

    Args:
      model: the .tflite file.
      contract: to be proved.
      samples: the first 4 of them are taken.
    Returns:
      JSON: `pictures`, `through` ('PNG', or 'pixels' with `reason`), and largest differences of the outputs:
      `max_abs_difference` against the given model on these pixels, `of_conversion` where the file is fed the same real
      inputs directly, `of_rounding` (what 8 bits a pixel change in the given model's outputs), `of_other_sizes`
      (against the given model on pictures of other sizes; None where there were none); or `pictures` 0 and a `reason`
      where the model takes no pictures.
    Raises:
      ModelError: the samples do not survive as pictures, or pictures give other answers than the same real inputs.
    """
    if contract.no_pixels is not None or len(contract.input.shape) != 4:
        reason = contract.no_pixels or f"an input of shape {list(contract.input.shape[1:])} is no picture"
        return {"pictures": 0, "reason": reason}
    _check_survives(contract, samples)
    inputs = samples.inputs[:PICTURES]
    pixels = _pixels(inputs, samples.encoding)
    encoded = samples.encoding.encode(pixels)
    given = tuple(output[:PICTURES] for output in samples.expected)
    # Pixels give a sample back to a thousandth of a level, unless it was no picture of 8 bits.
    same = np.allclose(encoded, inputs, rtol=0, atol=1e-3 / samples.encoding.std)
    expected = given if same else samples.answers(encoded)
    no_png = _why_no_png(contract)
    with apart.load(model) as session:
        answered = _of_pictures(session, contract, pixels, png=no_png is None)
        directly = _directly(session, contract, encoded)
        difference, of_conversion = _difference(answered, expected), _difference(directly, expected)
        if difference > of_conversion + _rounding(contract, expected):
            raise _wrong(session, contract, samples, answered, expected)
        stretched = no_png is None and contract.pictures.fit == "stretch"
        of_other_sizes = _of_other_sizes(session, contract, samples, pixels) if stretched else None
    return {
        "pictures": len(pixels),
        "through": "PNG" if no_png is None else "pixels",
        **({} if no_png is None else {"reason": no_png}),
        "max_abs_difference": difference,
        "of_conversion": of_conversion,
        "of_rounding": 0.0 if same else _difference(expected, given),
        "of_other_sizes": of_other_sizes,
    }


def _pixels(inputs: NDArray[np.float32], encoding: Preprocessing) -> NDArray[np.uint8]:
    """Return the pixels whose real inputs are nearest to some."""
    levels = np.round(inputs.astype(np.float64) * encoding.std + encoding.mean)
    return np.clip(levels, 0, 255).astype(np.uint8)


def _check_survives(contract: Contract, samples: Samples) -> None:
    """Raise a ModelError where samples lose more as pictures than 8 bits must cost."""
    low, high = float(samples.inputs.min()), float(samples.inputs.max())
    allowed = 0.5 * (high - low) / _FEWEST_LEVELS
    lost = _lost(samples.inputs, samples.encoding)
    if low == high or lost <= allowed:
        return
    fits = [picture_range(samples.inputs) or (low, high)]
    least, most = samples.encoding.value_range
    raise ModelError(
        f"the contract of {contract.name} says that pixels 0 to 255 become {least:g} to {most:g}, but its samples are "
        f"floats from {low:g} to {high:g}: as pictures they would be off by up to {lost:.3g}",
        hint=f"Give the value range that the model takes for pixels 0 and 255: {_options(fits)} fits the samples.",
    )


def _lost(inputs: NDArray[np.float32], encoding: Preprocessing) -> float:
    return float(np.abs(encoding.encode(_pixels(inputs, encoding)) - inputs).max())


def _why_no_png(contract: Contract) -> str | None:
    if not contract.takes_pictures:
        return f"predict reads pictures of 1, 3 or 4 channels; the model takes {contract.input.shape[-1]}"
    if contract.input.shape[-1] == 4 and contract.pictures.fit == "contain":
        return "predict centres no pictures of 4 channels on black"
    return None if importlib.util.find_spec("PIL") is not None else "Pillow is not installed: no picture was written"


def _of_pictures(
    session: RuntimeSession, contract: Contract, pixels: NDArray[np.uint8], *, png: bool
) -> tuple[NDArray[np.float32], ...]:
    """Return what a file says of pictures, float32 [n, ...] each output."""
    if png:
        pictures = _through_png(pixels, contract)
    else:
        pictures = [ModelPicture(pixels=picture, inverted=False) for picture in pixels]
    answers = [picture_answer.answer(session, contract, picture).outputs for picture in pictures]
    return tuple(np.concatenate(outputs) for outputs in zip(*answers, strict=True))


def _through_png(pixels: NDArray[np.uint8], contract: Contract) -> list[ModelPicture]:
    """Return pictures as `edgefm predict` reads them from PNG files."""
    from PIL import Image

    with scratch.folder("pictures") as folder:
        pictures = []
        for place, picture in enumerate(pixels):
            path = folder / f"{place}.png"
            Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(path)
            # A light border is no fault in these: they are what the model learnt from.
            pictures.append(picture_answer.read(path, contract, invert="no"))
    return pictures


def _of_other_sizes(session: RuntimeSession, contract: Contract, samples: Samples, pixels: NDArray[np.uint8]) -> float:
    """Return how a file's answers to pictures of other sizes and shapes differ from the given model's, at most.

    Raises:
      ModelError: they differ more than for the same real inputs.
    """
    _, height, width, channels = contract.input.shape
    with scratch.folder("pictures") as folder:
        paths = [
            _resized(pixels[0], folder / "wide.png", size=(2 * width + 3, height + 1)),
            _resized(pixels[-1], folder / "high.png", size=(width, 3 * height)),
        ]
        read = np.stack([pixels_of(open_picture(path), (height, width, channels)) for path in paths])
        answers = [
            picture_answer.answer(session, contract, picture_answer.read(path, contract, invert="no")).outputs
            for path in paths
        ]
    answered = tuple(np.concatenate(outputs) for outputs in zip(*answers, strict=True))
    encoded = samples.encoding.encode(read)
    expected = samples.answers(encoded)
    difference = _difference(answered, expected)
    if difference > _difference(_directly(session, contract, encoded), expected) + _rounding(contract, expected):
        raise ModelError(
            f"{contract.name}, {contract.variant}: of a picture of another size, read as its contract says, the file "
            f"says {_shown(answered[0][0])}; of what the reader of data makes of this picture the given model says "
            f"{_shown(expected[0][0])}",
            hint="Report this as a fault of edgefm, with the size of the model's input.",
        )
    return difference


def _resized(pixels: NDArray[np.uint8], path: Path, *, size: tuple[int, int]) -> Path:
    """Write pixels as a picture of another size, less and less transparent from left to right, and return its path."""
    from PIL import Image

    height, width, channels = pixels.shape
    image = Image.frombytes(MODES[channels], (width, height), pixels.tobytes()).convert("RGBA").resize(size)
    image.putalpha(Image.linear_gradient("L").rotate(90).resize(size))
    image.save(path)
    return path


def _directly(
    session: RuntimeSession, contract: Contract, inputs: NDArray[np.float32]
) -> tuple[NDArray[np.float32], ...]:
    """Return what a file says of real inputs, float32 [n, ...] each output."""
    answers = []
    for sample in inputs:
        session.run(quantize(sample[np.newaxis], contract.input))
        outputs = zip(session.get_outputs(), contract.outputs, strict=True)
        answers.append([dequantize(output, tensor) for output, tensor in outputs])
    return tuple(np.concatenate(outputs) for outputs in zip(*answers, strict=True))


def _difference(answered: Sequence[NDArray[np.float32]], expected: Sequence[NDArray[np.float32]]) -> float:
    return max(
        float(np.abs(output - wanted.reshape(output.shape)).max())
        for output, wanted in zip(answered, expected, strict=True)
    )


def _rounding(contract: Contract, expected: Sequence[NDArray[np.float32]]) -> float:
    """Return how much outputs may differ for rounding alone: two levels where they are quantised."""
    greatest = max(1.0, *(float(np.abs(output).max()) for output in expected))
    levels = max((tensor.scale or 0.0) for tensor in contract.outputs)
    return max(EXACT * greatest, 2 * levels)


def _wrong(
    session: RuntimeSession,
    contract: Contract,
    samples: Samples,
    answered: Sequence[NDArray[np.float32]],
    expected: Sequence[NDArray[np.float32]],
) -> ModelError:
    """Return the error of a contract by which pictures give other answers than they should."""
    gaps = [np.abs(output - wanted.reshape(output.shape)) for output, wanted in zip(answered, expected, strict=True)]
    worst = int(np.argmax(np.max([gap.reshape(len(gap), -1).max(axis=1) for gap in gaps], axis=0)))
    fits = []
    for limits in RANGES:
        encoding = preprocessing(limits)
        tried = replace(contract, mean=encoding.mean, std=encoding.std)
        answers = _of_pictures(session, tried, _pixels(samples.inputs[:PICTURES], encoding), png=False)
        if _difference(answers, [output[:PICTURES] for output in samples.expected]) <= _rounding(contract, expected):
            fits.append(limits)
    low, high = 0.0 - contract.mean / contract.std, (255 - contract.mean) / contract.std
    return ModelError(
        f"{contract.name}, {contract.variant}: by its contract pixels 0 to 255 become {low:g} to {high:g}, and of a "
        f"picture the file then says {_shown(answered[0][worst])}; the given model says {_shown(expected[0][worst])}",
        hint=f"Give the value range that the model takes for pixels 0 and 255: {_options(fits)} fits."
        if fits
        else "No usual range of pixels fits (0,1; -1,1; 0,255): give the value range that the model takes.",
    )


def _options(ranges: Sequence[tuple[float, float]]) -> str:
    return " or ".join(f"{low:g},{high:g}" for low, high in ranges)


def _shown(values: NDArray[np.float32]) -> str:
    flat = values.reshape(-1)
    return "[" + ", ".join(f"{value:.4g}" for value in flat[:5]) + (", …]" if flat.size > 5 else "]")
