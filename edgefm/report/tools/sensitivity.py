"""The picture of a sensitivity table: what rounding each layer's weights, or its activations, costs by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edgefm.report.drawing import style

_ROW_INCHES = 0.3
_KINDS = (("weights_only", "weights only", style.BLUE), ("activations_only", "activations only", style.ORANGE))


def sensitivity_png(table: Mapping[str, Any]) -> bytes:
    """Return the picture of a sensitivity table as PNG.

    Args:
      table: what `edgefm.quantization.analysis.sensitivity.Sensitivity.to_json` gives.
    """
    return style.wide_png(sensitivity_figure, table)


def sensitivity_figure(table: Mapping[str, Any], *, width: float) -> Figure:
    """Return two panels with one row a layer: the error of the outputs, and the loss of quality."""
    # Layers that round nothing have nothing to show.
    layers = [layer for layer in table["layers"] if any(layer[kind] for kind, _, _ in _KINDS)]
    height = 1.3 + _ROW_INCHES * max(2, len(layers))
    figure = style.new_figure(width, 2 * height if width < style.WIDE else height)
    title = (
        f"One layer in int8, all else float32: {table['images']:,} validation samples, ranges from "
        f"{table['calibration_images']:,} others"
    )
    figure.suptitle(title, x=0.01, ha="left", fontsize=9, color=style.INK)
    share = table["unit"] == "%"
    loss = f"loss of {table['quality']} (points)" if share else f"loss of {table['quality']}"
    errors, losses = style.two_panels(figure, width)
    _panel(errors, layers, "output_error", "error of the outputs (% of their spread)", 100.0)
    _panel(losses, layers, "loss", loss, 1.0)
    errors.axvline(100 * table["int8"]["output_error"], color=style.GREY, linestyle=(0, (2, 2)), linewidth=1)
    losses.axvline(table["int8"]["loss"], color=style.GREY, linestyle=(0, (2, 2)), linewidth=1, label="all in int8")
    losses.legend(loc="best", frameon=False, fontsize=8)
    return figure


def _panel(axes: Axes, layers: Sequence[Mapping[str, Any]], key: str, title: str, factor: float) -> None:
    for place, (kind, label, colour) in enumerate(_KINDS):
        rows = [row + 0.19 * (2 * place - 1) for row in range(len(layers))]
        values = [factor * layer[kind][key] if layer[kind] else 0.0 for layer in layers]
        axes.barh(rows, values, height=0.34, color=colour, label=label)
    axes.set_yticks(range(len(layers)), [layer["layer"] for layer in layers])
    axes.set_ylim(len(layers) - 0.4, -0.6)
    axes.set_title(title)
    axes.axvline(0, color=style.MUTED, linewidth=0.8)
    axes.grid(True, axis="x")
