"""How pictures look: one palette for light and dark, and a figure saved as PNG or as themed inline SVG.

Pictures are drawn once with the light palette. In the SVG, each of its colours becomes a CSS variable, so that
the page's dark palette applies to the same picture. The three data colours (blue, orange, grey) differ in
lightness too and stay apart for colour-blind readers (after Okabe & Ito 2008, jfly.uni-koeln.de/color).
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from html import escape
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager

from edgefm.core.drawing import settings

LIGHT = {
    "ink": "#1a1f24",
    "muted": "#5a646e",
    "line": "#d5dbe1",
    "paper": "#ffffff",
    "blue": "#0d6ab0",
    "orange": "#c8500b",
    "grey": "#7b8794",
}
DARK = {
    "ink": "#e7ebef",
    "muted": "#a3aeb9",
    "line": "#39424c",
    "paper": "#13171b",
    "blue": "#63b3ee",
    "orange": "#ff9f5a",
    "grey": "#8e9aa6",
}
INK, MUTED, LINE, PAPER = LIGHT["ink"], LIGHT["muted"], LIGHT["line"], LIGHT["paper"]
BLUE, ORANGE, GREY = LIGHT["blue"], LIGHT["orange"], LIGHT["grey"]

# Of class names in other scripts, what the systems that people have bring along; DejaVu Sans has none of their letters.
OTHER_SCRIPTS = (
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Droid Sans Fallback",
    "WenQuanYi Zen Hei",
    "Noto Sans Devanagari",
    "Noto Sans Bengali",
    "Noto Sans Thai",
    "Hiragino Sans",
    "Arial Unicode MS",
    "Apple SD Gothic Neo",
    "Yu Gothic",
    "Microsoft YaHei",
    "Malgun Gothic",
    "Nirmala UI",
    "Leelawadee UI",
)
# Inches. Text is 9 points in both, so a picture is drawn anew for a phone instead of being shrunk.
WIDE, NARROW = 8.4, 3.7
_PIXELS_PER_INCH = 200

_SETTINGS: dict[str, Any] = {
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "figure.facecolor": "none",
    "figure.constrained_layout.h_pad": 0.08,
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "edgefm",
}


def css_variables(palette: Mapping[str, str]) -> str:
    """Return the colours of a palette as CSS variables."""
    return "".join(f"--{name}:{colour};" for name, colour in palette.items())


@contextmanager
def drawing() -> Iterator[None]:
    """Draw with the report's fonts, colours and lines inside this block.

    Letters that DejaVu Sans lacks are drawn with the fonts of other scripts that are installed. Without one, a PNG has
    placeholders for them; the text of an SVG is drawn by the browser, with its own fonts.
    """
    with settings({**_SETTINGS, "font.family": ["sans-serif", *_installed(OTHER_SCRIPTS)]}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def _installed(names: Iterable[str]) -> list[str]:
    known = set(fontManager.get_font_names())
    return [name for name in names if name in known]


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches; call it inside `drawing`."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def as_rows(axes: Axes) -> None:
    """Make the axes those of a picture with a row a name: no line and no ticks at the left, a grid across."""
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.spines["left"].set_visible(False)
    axes.grid(True, axis="x")


def png(figure: Figure) -> bytes:
    """Return a figure as a PNG on white with two pixels a CSS pixel; call it inside `drawing`."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_PIXELS_PER_INCH, facecolor=PAPER, metadata={"Software": "edgefm"})
    return buffer.getvalue()


def wide_png(draw: Callable[..., Figure], *arguments: Any) -> bytes:
    """Return what `draw(*arguments, width=WIDE)` returns as a PNG."""
    with drawing():
        return png(draw(*arguments, width=WIDE))


def two_panels(figure: Figure, width: float) -> tuple[Axes, Axes]:
    """Return two pairs of axes: side by side, or below one another in a narrow figure."""
    shape = (2, 1) if width < WIDE else (1, 2)
    return figure.add_subplot(*shape, 1), figure.add_subplot(*shape, 2)


def svg(figure: Figure, *, prefix: str, alt: str) -> str:
    """Return a figure as SVG to stand inside an HTML page; call it inside `drawing`.

    Text stays text in the page's font, colours are the page's CSS variables, ids start with `prefix` so that
    several pictures do not share one, and nothing refers to an address.
    """
    buffer = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(buffer, format="svg", metadata=nothing)
    # The layout is found once; a PNG of the same figure keeps it.
    figure.set_layout_engine("none")
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    view = re.search(r'viewBox="([^"]*)"', text)
    assert view is not None
    text = re.sub(r"<svg[^>]*>", f'<svg viewBox="{view[1]}" role="img" aria-label="{escape(alt)}">', text, count=1)
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = text.replace("url(#", f"url(#{prefix}-").replace('xlink:href="#', f'href="#{prefix}-')
    text = text.replace("'DejaVu Sans'", "var(--sans)")
    for name, colour in LIGHT.items():
        text = text.replace(colour, f"var(--{name})")
    return re.sub(r"\n\s*", "\n", text)
