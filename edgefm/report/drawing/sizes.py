"""The picture of file sizes: as stored and after gzip."""

from __future__ import annotations

from matplotlib.figure import Figure

from edgefm.report.content import wording
from edgefm.report.content.facts import Facts
from edgefm.report.drawing import style
from edgefm.report.drawing.tradeoff import colour


def draw_sizes(facts: Facts, *, width: float) -> Figure:
    """Return one row a model: a pale bar for the raw file, a full one for the gzip-compressed file."""
    models = list(reversed(facts.models))
    small = width < style.WIDE
    figure = style.new_figure(width, 0.7 + (0.62 if small else 0.46) * len(models))
    axes = figure.add_subplot()
    largest = max(model.size_bytes for model in models)
    for row, model in enumerate(models):
        hue = colour(facts, model)
        raw, packed = model.size_bytes / 1e3, model.size_gzip_bytes / 1e3
        axes.barh(row, raw, height=0.5, color=hue, alpha=0.3, linewidth=0)
        axes.barh(row, packed, height=0.22, color=hue, linewidth=0)
        text = f"{wording.size(model.size_bytes)}, gzip {wording.size(model.size_gzip_bytes)}"
        if small:
            axes.text(0, row + 0.3, f"{model.name}: {text}", fontsize=8, va="bottom")
        else:
            axes.text(raw + largest / 1e3 * 0.012, row, text, fontsize=8.5, va="center")
    axes.set_xlim(0, largest / 1e3 * (1.03 if small else 1.36))
    axes.set_ylim(-0.5, len(models) - 0.15)
    names = [] if small else [model.name for model in models]
    axes.set_yticks(range(len(names)), names)
    axes.xaxis.set_major_formatter(lambda value, _: wording.number(value, 0))
    style.as_rows(axes)
    axes.set_xlabel("file size (KB, 1 KB = 1,000 bytes)")
    return figure
