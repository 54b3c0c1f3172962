"""Pictures of a data set: how many there are of each class, and what they look like."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.drawing import settings
from edgefm.core.errors import missing_extra
from edgefm.data.dataset import Dataset, Split, class_counts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INK, _QUIET, _GRID = "#1a1a1a", "#5f6b76", "#d9dee3"
# Okabe & Ito's palette: told apart by colour-blind readers, and by lightness in grey print.
_SPLIT_COLOURS = {"train": "#0072b2", "validation": "#e69f00", "test": "#009e73"}
_DPI = 160


def class_balance(dataset: Dataset) -> bytes:
    """Return a PNG with the number of pictures of each class in each split.

    Raises:
      RuntimeUnavailableError: matplotlib is not installed.
    """
    with _drawing():
        figure = _figure(width=9.0, height=1.3 + 0.3 * len(dataset.labels))
        axes = figure.subplots(1, 3, sharey=True)
        for panel, split in zip(axes, dataset.splits, strict=True):
            _bars(panel, split, dataset.labels)
        axes[0].set_yticks(range(len(dataset.labels)), dataset.labels)
        axes[0].invert_yaxis()
        _title(figure, f"Class balance of {dataset.name}")
        return _png(figure)


def samples(dataset: Dataset, *, per_class: int = 10) -> bytes:
    """Return a PNG with the first training pictures of each class, a class a row.

    Raises:
      RuntimeUnavailableError: matplotlib is not installed.
    """
    sheet = sample_sheet(dataset.train, classes=len(dataset.labels), per_class=per_class)
    rows, columns = sheet.shape[:2]
    width = 7.5
    with _drawing():
        figure = _figure(width=width, height=0.7 + (width - 1.6) * rows / columns)
        axes = figure.subplots()
        axes.imshow(sheet.squeeze(-1) if sheet.shape[-1] == 1 else sheet, cmap="gray", vmin=0, vmax=255)
        cell = rows / len(dataset.labels)
        axes.set_yticks([cell * (row + 0.5) - 0.5 for row in range(len(dataset.labels))], dataset.labels)
        axes.set_xticks([])
        axes.tick_params(length=0, labelsize=10, labelcolor=_INK)
        axes.spines[:].set_visible(False)
        _title(figure, f"{dataset.name}: the first {per_class} training pictures of each class")
        return _png(figure)


def sample_sheet(split: Split, *, classes: int, per_class: int) -> NDArray[np.uint8]:
    """Return a mosaic: a row for each class, its first `per_class` pictures side by side, white gaps between.

    Args:
      split: where the pictures come from.
      classes: number of classes.
      per_class: pictures a row; a class with fewer leaves white cells.
    Returns:
      uint8 [classes * (height + 2), per_class * (width + 2), channels].
    """
    height, width, channels = split.images.shape[1:]
    cells = np.full((classes, per_class, height + 2, width + 2, channels), 255, np.uint8)
    for label in range(classes):
        chosen = np.flatnonzero(split.labels == label)[:per_class]
        cells[label, : len(chosen), 1:-1, 1:-1] = split.images[chosen]
    return cells.swapaxes(1, 2).reshape(classes * (height + 2), per_class * (width + 2), channels)


def _bars(panel: Any, split: Split, labels: tuple[str, ...]) -> None:
    counts = class_counts(split, classes=len(labels))
    panel.barh(range(len(labels)), counts, height=0.7, color=_SPLIT_COLOURS[split.name])
    for row, count in enumerate(counts):
        panel.annotate(f"{count:,}", (count, row), (4, 0), textcoords="offset points", va="center", color=_INK)
    panel.set_title(f"{split.name}: {len(split):,} pictures", loc="left", fontsize=11, color=_INK)
    panel.set_xlim(0, 1.22 * max(counts))
    panel.set_xticks([])
    panel.tick_params(length=0, labelsize=10, labelcolor=_INK)
    panel.spines[["top", "right", "bottom"]].set_visible(False)
    panel.spines["left"].set_color(_GRID)


@contextmanager
def _drawing() -> Iterator[None]:
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise missing_extra("matplotlib", "report") from None
    with settings():
        yield


def _figure(*, width: float, height: float) -> Figure:
    """Return an empty figure that belongs to no window; call it inside `_drawing`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _title(figure: Figure, text: str) -> None:
    figure.suptitle(text, x=0.01, ha="left", fontsize=12.5, fontweight="bold", color=_INK)


def _png(figure: Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()
