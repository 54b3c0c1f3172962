"""The picture of a search: loss against latency of all trials, the front, and the finalists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgefm.core.errors import missing_extra
from edgefm.searching.result import unit_in
from edgefm.searching.words import POINTS


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


def front_svgs(result: Mapping[str, Any]) -> tuple[str, str]:
    """Return the picture as SVG for a wide page and for a phone; see `edgefm.report.drawing.style.svg`.

    Args:
      result: 'front', 'others' and 'finalists' of a result, each with its 'figures'; and 'loss_unit'.
    """
    from edgefm.report.drawing import style

    alt = "loss against p50 latency of the trials that went through all stages"
    with style.drawing():
        wide, narrow = (
            style.svg(_drawn(result, width=width), prefix=f"front{place}", alt=alt)
            for place, width in enumerate((style.WIDE, style.NARROW))
        )
    return wide, narrow


def _drawn(result: Mapping[str, Any], *, width: float) -> Any:
    from edgefm.report.drawing import style

    small = width < style.WIDE
    unit = unit_in(result)
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
        if not entries:
            continue
        axes.scatter(
            [one["p50_ratio"] for one in entries],
            [one["accuracy_loss"] for one in entries],
            s=[12 + one["download_bytes"] / 2000 for one in entries],
            color=colour,
            marker=marker,
            alpha=0.85,
            label=label,
        )
    measured = "predicted; finalists: measured" if result["finalists"] else "predicted"
    axes.set_xlabel(f"p50 latency, share of int8_w8a8's{chr(10) if small else ' '}({measured})")
    axes.set_ylabel("accuracy lost (points)" if unit == POINTS else f"increase of {unit}")
    axes.set_xlim(left=0)
    axes.grid(True)
    axes.set_title("The larger the mark, the larger the download")
    if axes.collections:
        axes.legend(frameon=False, fontsize=8)
    return figure
