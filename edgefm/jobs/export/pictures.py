"""Sample pictures of a bundle: test pictures of each class, as PNG, to try an app with."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping

import numpy as np

from edgefm.core.errors import DataError, missing_extra
from edgefm.core.text import markdown
from edgefm.data.dataset import Dataset

FOLDER = "pictures"
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def sample_pictures(dataset: Dataset | None, count: int, *, seed: int) -> dict[str, bytes]:
    """Return test pictures of each class by their path, `pictures/CLASS-NAME-PLACE.png`; {} where none are wanted.

    They are as the model sees them, and drawn at random: neither the easiest nor the finest. A class with fewer test
    pictures gives all that it has. CLASS is its number, NAME its label in small letters and PLACE that of the picture
    in the test split, from 0.

    Args:
      dataset: uint8 pictures [n, height, width, 1, 3 or 4], one class each.
      count: how many of each class.
      seed: draws them.
    Raises:
      DataError: there are no data, or they are no pictures of classes.
      RuntimeUnavailableError: Pillow is not installed.
    """
    if not count:
        return {}
    if dataset is None:
        raise DataError("pictures of each class were asked for, and no data were given", hint="Give data, or a run.")
    images, labels = dataset.test.images, np.asarray(dataset.test.labels).reshape(-1)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in _MODES:
        raise DataError(f"{dataset.name} holds no pictures: {images.dtype} {list(images.shape[1:])}")
    if dataset.task != "classification" or len(labels) != len(images):
        raise DataError(f"{dataset.name} is for {dataset.task}: its pictures have no class each")
    try:
        from PIL import Image
    except ImportError:
        raise missing_extra("Pillow", "pictures") from None
    random, files = np.random.default_rng(seed), {}
    digits = len(str(len(dataset.labels) - 1))
    for number, label in enumerate(dataset.labels):
        places = np.flatnonzero(labels == number)
        for place in sorted(random.permutation(places)[:count]):
            pixels = images[place]
            stream = io.BytesIO()
            image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
            image.save(stream, format="PNG", optimize=False)
            files[f"{FOLDER}/{number:0{digits}d}-{_slug(label)}{place}.png"] = stream.getvalue()
    return files


def picture_words(files: Mapping[str, bytes], dataset: Dataset | None) -> str:
    """Return a paragraph on the sample pictures of a bundle, Markdown; '' where it has none."""
    if not files or dataset is None:
        return ""
    return (
        f"\n\n`{FOLDER}/` holds {len(files)} test pictures of {markdown(dataset.name)}, "
        f"{sum(map(len, files.values())):,} bytes, to try an app with. They were drawn at random: their names say the "
        "number of the class, the class and the place in the test split. They do not go into the app."
    )


def _slug(label: str) -> str:
    """Return a label as it may stand in the name of a file anywhere, with a '-' behind it.

    >>> _slug("T-shirt/top"), _slug("猫")
    ('t-shirt-top-', '')
    """
    words = re.sub("[^a-z0-9]+", "-", label.lower()).strip("-")[:40]
    return f"{words}-" if words else ""
