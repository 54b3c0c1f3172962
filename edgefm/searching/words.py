"""Figures of a search as a person reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Figure -> its title in tables.
TITLES: Mapping[str, str] = {
    "accuracy_loss": "loss (points)",
    "p50_ratio": "p50 ratio",
    "p50_us": "p50 (us)",
    "download_bytes": "download",
    "size_bytes": "size",
    "macs": "MACs",
    "arena_bytes": "arena",
}


def amount(figure: str, value: float | None) -> str:
    """Return the value of a figure with its unit.

    >>> amount("download_bytes", 40_000), amount("p50_ratio", 0.15), amount("macs", None)
    ('40.0 KB', '0.150', '-')
    """
    if value is None:
        return "-"
    if figure.endswith("_bytes"):
        return f"{value / 1000:,.1f} KB"
    if figure == "macs":
        return f"{value:,.0f}"
    return f"{value:.3f}" if figure == "p50_ratio" else f"{value:.2f}"


def row(figures: Mapping[str, Any], names: tuple[str, ...] = tuple(TITLES)) -> list[str]:
    """Return the cells of a table for some figures."""
    return [amount(name, figures.get(name)) for name in names]
