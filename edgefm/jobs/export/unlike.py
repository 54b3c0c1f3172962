"""From where on a picture is unlike the data of a run: found in training pictures, set on validation, told on test."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import missing_extra
from edgefm.tflite.contract import Contract

if TYPE_CHECKING:
    from edgefm.data.dataset import Dataset
    from edgefm_converters.bundles.unlike import Unlike, WarnedShare

QUANTILE = 0.99
# A quantile of fewer says little; components of fewer are noise.
FEWEST = 100
_MOST_TRAINING, _MOST_VALIDATION, _MOST_TEST, _OTHERS = 10_000, 3_000, 2_000, 200
_LONGEST_SIDE = 16  # of a picture made smaller
_COMPONENTS = 32
_LEVELS = 9999
NO_DATA = "no data were given"
_ANSWERED = ("classes", "second")
Models = Sequence[tuple[Path, Contract]]
# Scores of classes by the sums of a file and of its inputs: bundles of several kinds ask the same model the same again.
_answers: dict[tuple[str, str], NDArray[Any]] = {}
_KEPT_ANSWERS = 16


def unlike_data(models: Models, dataset: Dataset | None, *, seed: int) -> tuple[Unlike | None, str]:
    """Return from where on a picture is unlike the data, or why that is not known.

    Args:
      models: files with their contracts, which take the same pictures; shares are counted for the first.
      dataset: that they learnt; its pictures are red first, whichever order the models take.
      seed: draws pictures of larger splits.
    Raises:
      EdgefmError: LiteRT is not there, or a model crashed, hung or was refused.
    """
    from edgefm.core.artefacts import sha256_file
    from edgefm_converters.bundles.head import fields

    contract = models[0][1]
    if not contract.takes_pictures:
        return None, "no pictures go in"
    if fields(contract)[0].head not in _ANSWERED:
        return None, "the model does not tell one class of several"
    if dataset is None:
        return None, NO_DATA
    shape = tuple(contract.input.shape[1:])
    splits = {split.name: split.images for split in dataset.splits}
    for images in splits.values():
        if len(images) and (images.dtype != np.uint8 or images.shape[1:] != shape):
            return None, f"the pictures of {dataset.name} are not those that go in"
    few = [f"{len(splits[name]):,} {name}" for name in ("train", "validation") if len(splits[name]) < FEWEST]
    if few:
        return None, f"{dataset.name} has {' and '.join(few)} pictures; {FEWEST} are the fewest"
    random = np.random.default_rng(seed)
    training = _drawn(splits["train"], _MOST_TRAINING, random)
    validation = _drawn(splits["validation"], _MOST_VALIDATION, random)
    found = _components(training, shape)
    distances = found.distances(validation)
    thresholds = {sha256_file(path): _threshold(_entropies(path, one, validation)) for path, one in models}
    found = dataclasses.replace(
        found,
        distance=_threshold(distances),
        entropies=thresholds,
        validation=len(validation),
        source=dataset.name,
    )
    test = _drawn(splits["test"], _MOST_TEST, random)
    kinds = {
        "test pictures": test,
        **other_pictures(test, dark=contract.pictures.invert == "light_border", random=random),
    }
    kinds = {what: pictures for what, pictures in kinds.items() if len(pictures)}
    entropies = _entropies(models[0][0], contract, np.concatenate(list(kinds.values())))
    each = np.split(entropies, np.cumsum([len(pictures) for pictures in kinds.values()])[:-1])
    measured = [
        _share(what, pictures, found, unsure=bits > found.entropies[contract.sha256])
        for (what, pictures), bits in zip(kinds.items(), each, strict=True)
    ]
    return dataclasses.replace(found, measured=tuple(measured)), ""


def other_pictures(
    known: NDArray[np.uint8], *, dark: bool, random: np.random.Generator, n: int = _OTHERS
) -> dict[str, NDArray[np.uint8]]:
    """Return pictures that are clearly others than the known ones, uint8 of their shape [n, height, width, channels].

    Noise, the known pictures inverted, and printed digits and letters, bright on black where `dark`.

    Raises:
      RuntimeUnavailableError: Pillow is not installed.
    """
    shape = known.shape[1:]
    first = known[:n]
    return {
        "noise": random.integers(0, 256, (n, *shape), dtype=np.uint8),
        "inverted test pictures": 255 - first,
        "printed digits": _printed("0123456789", shape, n=n, dark=dark, random=random),
        "printed letters": _printed("ABCDEFGHKLMNPRSTUXYZ", shape, n=n, dark=dark, random=random),
    }


def _components(training: NDArray[np.uint8], shape: tuple[int, ...]) -> Unlike:
    """Return mean, components and variances of training pictures; thresholds are not set yet."""
    from edgefm_converters.bundles.unlike import Unlike, block_means

    height, width, channels = shape
    block = -(-max(height, width) // _LONGEST_SIDE)
    means = block_means(training, block)
    mean = means.mean(0).round(2)
    variances, directions = np.linalg.eigh(np.cov((means - mean).T).reshape(means.shape[1], -1))
    variances, directions = variances[::-1], directions[:, ::-1].T
    kept = max(1, min(_COMPONENTS, len(variances) - 1, len(training) - 1))
    greatest = np.abs(directions[:kept]).max(1, keepdims=True)
    least = max(float(variances[0]) * 1e-6, 1e-6)  # pictures may be flat along a direction
    return Unlike(
        shape=(height, width, channels),
        block=block,
        mean=mean,
        components=np.round(directions[:kept] / greatest * _LEVELS).astype(np.int16),
        scales=(greatest[:, 0] / _LEVELS),
        variances=np.maximum(variances[:kept], least),
        rest=max(float(variances[kept:].mean()) if len(variances) > kept else 0.0, least),
        distance=0.0,
        entropies={},
        quantile=QUANTILE,
        training=len(training),
        validation=0,
        source="",
    )


def _threshold(values: NDArray[np.float64]) -> float:
    """Return the quantile, a little above: sums in another order must not cross it."""
    return float(np.ceil(float(np.quantile(values, QUANTILE, method="higher")) * 1e6) / 1e6)


def _entropies(path: Path, contract: Contract, pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
    from edgefm.agreement.asking import ask
    from edgefm.agreement.cells import HOST, AgreementCell
    from edgefm.core.artefacts import sha256_bytes, sha256_file
    from edgefm.jobs.export.golden import KERNELS
    from edgefm_converters.bundles.unlike import entropies

    values = contract.encode(pictures)
    key = (sha256_file(path), sha256_bytes(values.tobytes()))
    if key not in _answers:
        _answers[key] = ask(AgreementCell(runtime=KERNELS["xnnpack"], target=HOST), path, values).outputs[0]
        for former in list(_answers)[:-_KEPT_ANSWERS]:
            del _answers[former]
    scores = contract.decode(_answers[key]).reshape(len(pictures), -1)
    return entropies(contract.probabilities(scores))


def _share(what: str, pictures: NDArray[np.uint8], unlike: Unlike, *, unsure: NDArray[np.bool_]) -> WarnedShare:
    from edgefm_converters.bundles.unlike import WarnedShare

    far = unlike.distances(pictures) > unlike.distance
    return WarnedShare(
        what=what,
        n=len(pictures),
        entropy=int(unsure.sum()),
        distance=int(far.sum()),
        either=int((unsure | far).sum()),
    )


def _printed(
    signs: str, shape: tuple[int, ...], *, n: int, dark: bool, random: np.random.Generator
) -> NDArray[np.uint8]:
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError:
        raise missing_extra("Pillow", "pictures") from None
    height, width, channels = shape
    pictures = []
    for place in range(n):
        image = Image.new("L", (width, height), 0)
        font = ImageFont.load_default(size=float(random.uniform(0.65, 0.95)) * min(height, width))
        middle = (width * float(random.uniform(0.43, 0.57)), height * float(random.uniform(0.43, 0.57)))
        ImageDraw.Draw(image).text(middle, signs[place % len(signs)], fill=255, font=font, anchor="mm")
        turned = image.rotate(float(random.normal(0, 8)), resample=Image.Resampling.BILINEAR)
        pictures.append(np.asarray(turned, np.uint8))
    grey = np.stack(pictures)[..., np.newaxis]
    return np.repeat(grey if dark else 255 - grey, channels, axis=-1)


def _drawn(images: NDArray[Any], most: int, random: np.random.Generator) -> NDArray[np.uint8]:
    if len(images) <= most:
        return images
    drawn: NDArray[np.uint8] = images[np.sort(random.choice(len(images), most, replace=False))]
    return drawn
