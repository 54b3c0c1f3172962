"""The picture of a search: accuracy lost against latency of all trials, the front, and the finalists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgefm.core.errors import missing_extra


def front_png(result: Mapping[str, Any]) -> bytes:
    """Return the picture as a PNG.

    Args:
      result: see `edgefm.searching.result.document`.
    Raises:
      RuntimeUnavailableError: matplotlib is not installed.
    """
    try:
        from edgefm.report.drawing import style
    except ImportError as error:
        raise missing_extra("matplotlib", "report") from error
    return style.wide_png(_drawn, result)


def _drawn(result: Mapping[str, Any], *, width: float) -> Any:
    from edgefm.report.drawing import style

    figure = style.new_figure(width, 4.0)
    axes = figure.add_subplot()
    series = (
        ("others", style.GREY, "o", "trial"),
        ("front", style.BLUE, "o", "on the front"),
        ("finalists", style.ORANGE, "D", "finalist, measured, test samples"),
    )
    for name, colour, marker, label in series:
        entries = [one["figures"] for one in result[name] if one["figures"].get("p50_ratio") is not None]
        entries = [one for one in entries if one.get("accuracy_loss") is not None]
        axes.scatter(
            [one["p50_ratio"] for one in entries],
            [one["accuracy_loss"] for one in entries],
            s=[12 + one["download_bytes"] / 2000 for one in entries],
            color=colour,
            marker=marker,
            alpha=0.85,
            label=label,
        )
    axes.set_xlabel("p50 latency, as a share of int8_w8a8's (predicted; finalists: measured)")
    axes.set_ylabel("accuracy lost (points)")
    axes.set_xlim(left=0)
    axes.grid(True)
    axes.set_title("The larger the mark, the larger the download")
    axes.legend(frameon=False, fontsize=8)
    return figure
