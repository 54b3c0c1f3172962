"""When a picture is unlike the data that a model learnt: how unsure the answer is, and how far away the picture lies.

Two measures, each with a threshold at a quantile of validation samples:

- the entropy of the model's probabilities (Hendrycks and Gimpel 2017, arXiv:1610.02136, use their greatest);
- the distance of the picture from the training pictures in their principal components: squared distances along the
  components, each by its variance, and what the components do not explain, by the mean variance of the rest
  (Moghaddam and Pentland 1997, doi:10.1109/34.598227; the Gaussian of Tipping and Bishop 1999).

A bundle holds them as `unlike.json`, in few bytes: pictures are first made smaller by means of blocks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core import documents
from edgefm.core.errors import ModelError

FILE_NAME = "unlike.json"
SCHEMA_VERSION = 1
_SCHEMA = "unlike-1"
_AGAIN = "Write the bundle again with: edgefm export"


@dataclass(frozen=True, kw_only=True)
class WarnedShare:
    """How many pictures of a kind are warned of.

    Attributes:
      what: the pictures, e.g. 'noise'.
      n: how many were tried.
      entropy: how many of them lie above the threshold of the entropy of the bundle's model.
      distance: how many lie above that of the distance.
      either: how many lie above one of them or both.
    """

    what: str
    n: int
    entropy: int
    distance: int
    either: int


@dataclass(frozen=True, kw_only=True)
class Unlike:
    """What pictures of the data look like, and where others begin.

    Attributes:
      shape: height, width and channels of a picture.
      block: side of the squares of pixels whose mean is taken, within each channel.
      mean: float64 [d], of the blocks' means over the training pictures.
      components: int16 [k, d], principal components times 9999 over their greatest magnitude.
      scales: float64 [k]; component = scale * int16.
      variances: float64 [k], of the training pictures along each component.
      rest: mean variance along the other d - k directions.
      distance: threshold.
      entropies: threshold of each model in bits, by the sha256 of its file.
      quantile: of validation samples that lie at or below each threshold.
      training: number of pictures that components were found in.
      validation: number of pictures that thresholds were set on.
      source: name of the data.
      measured: what share of pictures of several kinds is warned of.
    """

    shape: tuple[int, int, int]
    block: int
    mean: NDArray[np.float64] = field(repr=False)
    components: NDArray[np.int16] = field(repr=False)
    scales: NDArray[np.float64] = field(repr=False)
    variances: NDArray[np.float64] = field(repr=False)
    rest: float
    distance: float
    entropies: Mapping[str, float] = field(hash=False)
    quantile: float
    training: int
    validation: int
    source: str
    measured: tuple[WarnedShare, ...] = ()

    def distances(self, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return how far pictures, uint8 [n, height, width, channels], red first, lie from the data: float64 [n]."""
        centred = block_means(pixels, self.block) - self.mean
        along = centred @ (self.components * self.scales[:, np.newaxis]).T
        rest = np.maximum((centred**2).sum(1) - (along**2).sum(1), 0)
        squared: NDArray[np.float64] = (along**2 / self.variances).sum(1) + rest / self.rest
        return np.sqrt(squared)

    def measures(self, sha256: str, pixels: NDArray[np.uint8], probabilities: NDArray[Any]) -> tuple[str, ...]:
        """Return by which measures a picture is unlike the data, 'distance', 'entropy'; () for a model of other data.

        Args:
          sha256: of the model's file.
          pixels: that went in, uint8 [height, width, channels], red first.
          probabilities: that came out, [classes].
        """
        if sha256 not in self.entropies or pixels.shape != self.shape:
            return ()
        far = float(self.distances(pixels[np.newaxis])[0]) > self.distance
        unsure = float(entropies(probabilities[np.newaxis])[0]) > self.entropies[sha256]
        return (*(("distance",) if far else ()), *(("entropy",) if unsure else ()))

    def to_json(self) -> dict[str, Any]:
        """Return all of it as a JSON object."""
        return {
            "kind": "unlike-data",
            "schema_version": SCHEMA_VERSION,
            "shape": list(self.shape),
            "block": self.block,
            "mean": self.mean.tolist(),
            "components": self.components.tolist(),
            "scales": self.scales.tolist(),
            "variances": self.variances.tolist(),
            "entropies": dict(self.entropies),
            "measured": [dict(vars(share)) for share in self.measured],
            **{name: getattr(self, name) for name in ("rest", "distance", "quantile")},
            **{name: getattr(self, name) for name in ("training", "validation", "source")},
        }

    def file(self) -> bytes:
        """Return the content of `unlike.json`, on one line: it is mostly numbers."""
        return f"{json.dumps(self.to_json(), sort_keys=True, separators=(',', ':'))}\n".encode()


def block_means(pixels: NDArray[np.uint8], block: int) -> NDArray[np.float64]:
    """Return the means of squares of `block` x `block` pixels in each channel, float64 [n, rows * columns * channels].

    Where a side is no multiple of it, the last squares are filled with 0.

    >>> block_means(np.array([[[[1], [3], [5]], [[5], [7], [7]]]], np.uint8), 2)
    array([[4., 3.]])
    """
    n, height, width, channels = pixels.shape
    rows, columns = -(-height // block), -(-width // block)
    filled = np.zeros((n, rows * block, columns * block, channels))
    filled[:, :height, :width] = pixels
    means: NDArray[np.float64] = filled.reshape(n, rows, block, columns, block, channels).mean((2, 4)).reshape(n, -1)
    return means


def entropies(probabilities: NDArray[Any]) -> NDArray[np.float64]:
    """Return the entropy of each row of scores, made to sum to 1, in bits; a single score is that of the second of two.

    >>> entropies(np.array([[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]))
    array([1., 2.])
    """
    scores = probabilities.astype(np.float64)
    if scores.shape[1] == 1:
        scores = np.hstack([1 - scores, scores])
    scores = np.maximum(scores, 0)
    total = scores.sum(1, keepdims=True)
    shares = np.where(total > 0, scores / np.where(total > 0, total, 1), 1 / scores.shape[1])
    bits: NDArray[np.float64] = np.abs(-(shares * np.log2(np.where(shares > 0, shares, 1))).sum(1))
    return bits


def read_unlike(bundle: Path) -> Unlike | None:
    """Return what a bundle's folder says of pictures unlike the data; None where it says nothing.

    Raises:
      ModelError: it is damaged, or a newer edgefm wrote it.
    """
    path = bundle / FILE_NAME
    if not path.exists():
        return None
    value = documents.read_versioned(
        path, what="thresholds", newest=SCHEMA_VERSION, schema=_SCHEMA, error=ModelError, hint=_AGAIN
    )
    sides = [-(-side // value["block"]) for side in value["shape"][:2]]
    size, count = sides[0] * sides[1] * value["shape"][2], len(value["components"])
    lengths = [len(value["mean"]), *(len(row) for row in value["components"])]
    if set(lengths) != {size} or {len(value["scales"]), len(value["variances"])} != {count}:
        raise ModelError(f"{path} is damaged: its components do not fit pictures of {value['shape']}", hint=_AGAIN)
    height, width, channels = value["shape"]
    known = ("block", "rest", "distance", "entropies", "quantile", "training", "validation", "source")
    return Unlike(
        shape=(height, width, channels),
        mean=np.array(value["mean"], np.float64),
        components=np.array(value["components"], np.int16),
        scales=np.array(value["scales"], np.float64),
        variances=np.array(value["variances"], np.float64),
        measured=tuple(WarnedShare(**share) for share in value["measured"]),
        **{name: value[name] for name in known},
    )
