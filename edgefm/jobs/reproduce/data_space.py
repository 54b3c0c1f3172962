"""What S2 shows of the data: their principal components, t-SNE, and how many images each class has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core import artefacts, whole_folders
from edgefm.core.documents import read_json
from edgefm.core.errors import RunError
from edgefm.core.progress import Progress
from edgefm.data.dataset import Dataset
from edgefm.data.sampling import interleaved
from edgefm.statistics.embedding import ITERATIONS, PERPLEXITY, principal_components, t_sne

DOCUMENT = "S2"
FOLDER = "data"
PICTURES = ("variance.png", "classes.png", "balance.png")
# S2 keeps this share of the variance, and states that it takes 187 components.
KEPT, STATED = 0.95, 187
_FILE = "data.json"
_SEED = 0
_DRAWN, _EMBEDDED = 5_000, 1_000
_LEAST_EMBEDDED = 20
_COMPONENTS = 50
_DIGITS = 6


def written(out: Path, dataset: Dataset, *, progress: Progress) -> None:
    """Write the figures of the data and, where matplotlib is installed, their pictures, unless they are there.

    Args:
      out: folder of the reproduction.
      dataset: what is learnt.
      progress: receives progress.
    """
    folder = out / FOLDER
    if (folder / _FILE).is_file() and all((folder / name).is_file() for name in PICTURES):
        return
    try:
        import matplotlib  # noqa: F401
        import PIL  # noqa: F401
    except ImportError:
        progress.note("no pictures of the data: matplotlib is not installed, see: edgefm doctor")
        return
    from edgefm.report.explanation import data_figures

    facts, arrays = described(dataset, progress=progress)
    files = {
        "variance.png": data_figures.variance_png(facts),
        "classes.png": data_figures.classes_png(facts, arrays),
        "balance.png": data_figures.balance_png(facts),
    }
    whole_folders.write(folder, {**files, _FILE: artefacts.json_bytes(facts)})


def recorded(out: Path) -> dict[str, Any] | None:
    """Return the figures of the data in a folder of a reproduction, whose pictures lie beside them; None without any.

    Raises:
      RunError: the file is damaged.
    """
    path = out / FOLDER / _FILE
    if not path.is_file():
        return None
    facts = read_json(path, what="figures of the data", error=RunError, hint=f"Remove {path} to have it made anew.")
    if not isinstance(facts, dict) or not {"needed", "stated_share", "counts", "perplexity"} <= set(facts):
        raise RunError(f"{path} is damaged", hint="Remove it to have it made anew.")
    return facts


def described(dataset: Dataset, *, progress: Progress) -> tuple[dict[str, Any], Mapping[str, NDArray[Any]]]:
    """Return figures of the data as JSON, and the points of the pictures.

    Args:
      dataset: uint8 pictures with classes. The components are those of the training images, scaled to 0..1 and centred.
      progress: receives progress.
    Returns:
      figures: 'n' training images; 'shares' of the variance of all components, greatest first; 'needed', how many keep
        'wanted' of it; 'stated' components of S2 and the 'stated_share' that they keep; 'drawn' and 'embedded' images
        in the pictures, 'perplexity' and 'divergence' (nats) of t-SNE, None where there are too few for it; 'counts'
        by split and class.
      points: 'pca' float64 [n, 2] and 'pca_class', 't_sne' float64 [m, 2] and 't_sne_class'.
    """
    train = dataset.train
    progress.step("principal components", 0, 1)
    pixels = train.images.reshape(len(train), -1).astype(np.float64) / 255
    pixels -= pixels.mean(axis=0)
    values, vectors = np.linalg.eigh(pixels.T @ pixels)
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    shares = values / values.sum() if values.any() else values
    axes = vectors[:, :2] * np.where(vectors[np.abs(vectors[:, :2]).argmax(axis=0), [0, 1]] < 0, -1.0, 1.0)
    progress.step("principal components", 1, 1)
    order = interleaved(train.labels.astype(np.int64), seed=_SEED)
    drawn, embedded = order[:_DRAWN], order[:_EMBEDDED]
    near: NDArray[np.float64] = np.zeros((0, 2))
    divergence: float | None = None
    if len(embedded) >= _LEAST_EMBEDDED and values.any():
        near, divergence = t_sne(
            principal_components(pixels[embedded], _COMPONENTS).points,
            told=lambda done: progress.step("t-SNE", done, ITERATIONS),
        )
    embedded = embedded[: len(near)]
    total = np.cumsum(shares)
    facts = {
        "n": len(train),
        "labels": list(dataset.labels),
        "shares": [round(float(share), _DIGITS) for share in shares],
        "wanted": KEPT,
        "needed": int(np.searchsorted(total, KEPT - 1e-12) + 1),
        "stated": STATED,
        "stated_share": round(float(total[min(STATED, len(total)) - 1]), _DIGITS),
        "drawn": len(drawn),
        "embedded": len(embedded),
        "perplexity": None if divergence is None else min(PERPLEXITY, (len(embedded) - 1) / 3),
        "divergence": None if divergence is None else round(divergence, 4),
        "counts": {
            split.name: np.bincount(split.labels, minlength=len(dataset.labels)).tolist() for split in dataset.splits
        },
    }
    points = {
        "pca": pixels[drawn] @ axes,
        "pca_class": train.labels[drawn],
        "t_sne": near,
        "t_sne_class": train.labels[embedded],
    }
    return facts, points
