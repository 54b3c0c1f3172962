"""The picture of a calibration check: quality by the number of samples, and what each tensor's range cuts off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from edgefm.report.drawing import style

_ROW_INCHES = 0.24


def calibration_png(check: Mapping[str, Any]) -> bytes:
    """Return the picture of a calibration check as PNG.

    Args:
      check: what `edgefm.quantization.analysis.calibration_check.CalibrationReport.to_json` gives.
    """
    return style.wide_png(calibration_figure, check)


def calibration_figure(check: Mapping[str, Any], *, width: float) -> Figure:
    """Return the quality of int8 files by their calibration samples, and clipped values by tensor."""
    tensors: Sequence[Mapping[str, Any]] = check["saturation"]
    height = max(3.4, 1.2 + _ROW_INCHES * len(tensors))
    figure = style.new_figure(width, 2 * height if width < style.WIDE else height)
    curve, saturation = style.two_panels(figure, width)
    _curve(curve, check)
    _saturation(saturation, tensors)
    return figure


def _curve(axes: Axes, check: Mapping[str, Any]) -> None:
    share = check["unit"] == "%"
    factor = 100.0 if share else 1.0
    xs = [point["images"] for point in check["curve"]]
    ys = [factor * point["measured"]["quality"] for point in check["curve"]]
    axes.axhline(factor * check["float32"], color=style.GREY, linestyle=(0, (5, 1.5)), linewidth=1.2, label="float32")
    axes.plot(xs, ys, color=style.BLUE, linewidth=1.6, marker="o", markersize=4, label="int8")
    if share and ys:
        # One sample more or less must not look like a cliff.
        middle = (max(*ys, factor * check["float32"]) + min(*ys, factor * check["float32"])) / 2
        reach = max(1.0, 1.2 * max(abs(y - middle) for y in ys))
        axes.set_ylim(middle - reach, middle + reach)
    if xs:
        axes.set_xscale("log", base=2)
        axes.set_xticks(xs, [f"{x:,}" for x in xs])
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set_title(f"{check['quality']}{' (%)' if share else ''}, {check['images']:,} validation samples")
    axes.set_xlabel("calibration samples")
    axes.grid(True)
    axes.legend(loc="best", frameon=False, fontsize=8)


def _saturation(axes: Axes, tensors: Sequence[Mapping[str, Any]]) -> None:
    rows = range(len(tensors))
    for offset, key, label, colour in (
        (-0.18, "clipped_calibration", "calibration", style.BLUE),
        (0.18, "clipped_held_out", "validation", style.ORANGE),
    ):
        values = [100 * tensor[key] for tensor in tensors]
        axes.barh([row + offset for row in rows], values, height=0.32, color=colour, label=label)
    names = [f"{tensor['layer']} ({tensor['operator'].lower()})" for tensor in tensors]
    axes.set_yticks(list(rows), [name if len(name) <= 30 else f"{name[:29]}…" for name in names])
    axes.set_ylim(len(tensors) - 0.4, -0.6)
    axes.set_title("values outside the range (%)")
    axes.grid(True, axis="x")
    axes.legend(loc="best", frameon=False, fontsize=8)
