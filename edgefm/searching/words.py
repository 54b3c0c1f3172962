"""Figures of a search as a person reads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

# What a loss is in: percentage points of a share such as the accuracy; else the measure's own unit, by its name.
POINTS = "points"
# Figure -> its title in tables; that of the loss says what it is in.
_TITLES: Mapping[str, str] = {
    "accuracy_loss": "loss",
    "p50_ratio": "p50 ratio",
    "p50_us": "p50 (us)",
    "download_bytes": "download",
    "size_bytes": "size",
    "macs": "MACs",
    "arena_bytes": "arena",
}


def titles(unit: str = POINTS) -> dict[str, str]:
    """Return the title of each figure in tables.

    >>> titles()["accuracy_loss"], titles("mse")["accuracy_loss"]
    ('loss (points)', 'loss (mse)')

    Args:
      unit: that losses are in, see `unit_of`.
    """
    return {**_TITLES, "accuracy_loss": f"{_TITLES['accuracy_loss']} ({unit})"}


def unit_of(quality: Any) -> str:
    """Return what a loss is in by a measure of quality, see `edgefm.data.quality.Quality.loss`."""
    return POINTS if quality.unit == "%" else str(quality.name)


def amount(figure: str, value: float | None, unit: str = POINTS) -> str:
    """Return the value of a figure with its unit; of a loss in another `unit` than points four digits.

    >>> amount("download_bytes", 40_000), amount("p50_ratio", 0.15), amount("macs", None)
    ('40.0 KB', '0.150', '-')
    >>> amount("accuracy_loss", 0.00012), amount("accuracy_loss", 0.00012, "mse")
    ('0.00', '0.00012')
    """
    if value is None:
        return "-"
    if figure.endswith("_bytes"):
        return f"{value / 1000:,.1f} KB"
    if figure == "macs":
        return f"{value:,.0f}"
    if figure == "accuracy_loss" and unit != POINTS:
        return f"{value:.4g}"
    return f"{value:.3f}" if figure == "p50_ratio" else f"{value:.2f}"


def row(figures: Mapping[str, Any], names: Iterable[str], unit: str = POINTS) -> list[str]:
    """Return the cells of a table for some figures by their names."""
    return [amount(name, figures.get(name), unit) for name in names]


def duration(seconds: float) -> str:
    """Return a time as people say it.

    >>> duration(8.4), duration(90), duration(4000), duration(7200)
    ('8 s', '2 min', '1 h 7 min', '2 h')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return " ".join([*([f"{hours} h"] if hours else []), *([f"{minutes} min"] if minutes or not hours else [])])
