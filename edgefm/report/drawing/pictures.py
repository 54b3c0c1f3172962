"""All pictures of a report, drawn once as PNG and twice as SVG (wide and narrow), each with its caption."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from edgefm.report.content.facts import Facts, Model
from edgefm.report.content.inputs import REFERENCE
from edgefm.report.content.measure import Measure
from edgefm.report.content.waterfall import Waterfall
from edgefm.report.content.weights import Weights
from edgefm.report.drawing import style
from edgefm.report.drawing.confusion import draw_confusion
from edgefm.report.drawing.curves import curves_figure
from edgefm.report.drawing.galleries import Tile, gallery_figure
from edgefm.report.drawing.histograms import draw_histograms
from edgefm.report.drawing.ladder import draw_ladder
from edgefm.report.drawing.latency import beyond, draw_latency
from edgefm.report.drawing.sizes import draw_sizes
from edgefm.report.drawing.staircase import draw_staircase
from edgefm.report.drawing.tradeoff import draw_tradeoff
from edgefm.report.drawing.tuning import Course, draw_courses

# A file alone has nothing to be compared with.
MOST_ALONE = 2


@dataclass(frozen=True, kw_only=True)
class ReportPicture:
    """One picture.

    Attributes:
      name: of the PNG file, without '.png'.
      caption: what it shows, and n.
      mode: 'measured', 'simulated' or 'estimated'; 'counted' for what needs no measuring.
      wide: SVG for a screen or paper; '' where the page shows something else in its place.
      narrow: SVG for a phone.
      png: for documents.
    """

    name: str
    caption: str
    mode: str
    wide: str
    narrow: str
    png: bytes


def benchmark_pictures(facts: Facts) -> dict[str, ReportPicture]:
    """Return the pictures of a benchmark by name; one without data is left out."""
    pictures: list[ReportPicture] = []
    n = f"n = {facts.images:,} {facts.split} images" if facts.images else "no labelled images"
    timed = [model for model in facts.models if model.invoke_ns.size]
    samples = sum(int(model.invoke_ns.size) for model in timed)
    if any(model.p50 and model.quality for model in facts.models):
        side = "above" if facts.measure.higher_is_better else "below"
        caption = (
            f"{facts.measure.title} against p50 latency, both with 95 % intervals; the area of a mark is the size of "
            f"its file. No model lies {side} and left of the dashed front. {n}; {samples:,} timed invokes in "
            f"{facts.rounds} rounds."
        )
        pictures.append(themed("tradeoff", caption, facts.mode, lambda width: draw_tradeoff(facts, width=width)))
    if timed:
        left_out = beyond(facts)
        tail = f"; {left_out:,} slower ones lie beyond the right edge" if left_out else ""
        caption = (
            f"Distribution of every timed invoke (n = {samples:,}{tail}), relative to each model's own p50. The tall "
            f"line is p50, the short ones p90 and p99; each dot is the median of one of {facts.rounds} interleaved "
            "rounds: dots far apart mean that the machine was disturbed."
        )
        pictures.append(themed("latency", caption, facts.mode, lambda width: draw_latency(facts, width=width)))
    if facts.models:
        caption = (
            "Size of each file as stored (pale) and after gzip (full), close to what a user downloads. "
            f"n = {len(facts.models)} files."
        )
        pictures.append(themed("sizes", caption, "counted", lambda width: draw_sizes(facts, width=width)))
    models = confusion_models(facts)
    if models:
        names = " and ".join(model.name for model in models)
        caption = (
            f"Of the images of each true class (row), the percentage predicted as each class (column), by {names}. "
            f"Blue is right, orange is wrong; empty cells are below 0.5 %. {n}."
        )
        pictures.append(
            themed("confusion", caption, facts.mode, lambda width: draw_confusion(facts, models, width=width))
        )
    return {picture.name: picture for picture in pictures}


def confusion_models(facts: Facts) -> list[Model]:
    """Return the models whose confusion matrices are shown: the reference and the chosen one."""
    models = [model for model in (facts.reference, facts.chosen) if model is not None and model.confusion.size]
    return models or [model for model in facts.models if model.confusion.size][:1]


def curves_picture(history: Mapping[str, Any]) -> ReportPicture:
    """Return the training curves."""
    epochs = len(history["epochs"])
    caption = (
        f"Loss and accuracy after each of {epochs} epochs. Training figures are means over an epoch, with "
        "augmentation and dropout on; validation figures are taken at its end, without them: so the validation "
        "curve may lie above."
    )
    return themed("curves", caption, "measured", lambda width: curves_figure(history, width=width))


def steps_picture(waterfall: Waterfall, facts: Facts | None) -> ReportPicture:
    """Return the steps from float32 to each file."""
    timed = f", {facts.rounds} interleaved rounds" if facts and facts.rounds else ""
    samples = f"n = {waterfall.samples:,} {waterfall.split} samples" if waterfall.samples else "no labelled data"
    caption = (
        "Each file starts where the file that it was made from ends: blue is better, orange worse, grey no difference "
        "shown. Thin lines are 95 % intervals of the difference. Time and sizes are shares of float32's, on "
        f"logarithmic axes. {samples}{timed}."
    )
    return themed("steps", caption, "measured", lambda width: draw_staircase(waterfall, width=width))


def tuning_picture(measure: Measure, courses: Sequence[Course], samples: int) -> ReportPicture:
    """Return validation quality through the passes."""
    caption = (
        f"{measure.title} on n = {samples:,} validation samples after each epoch of each pass, from the float32 file "
        "(dashed) to the variant's own file (ring). A pass that ends below its start has not recovered its loss."
    )
    return themed("tuning", caption, "measured", lambda width: draw_courses(measure, courses, width=width))


def weights_pictures(files: Mapping[str, Weights]) -> dict[str, ReportPicture]:
    """Return the histograms of weights and the bytes by layer, where there is a float32 file beside another one."""
    if REFERENCE not in files or not files[REFERENCE].layers or len(files) < MOST_ALONE:
        return {}
    shown = {name: weights for name, weights in files.items() if weights.layers}
    caption = (
        "Weights of the largest layers of each file (blue), read back from it, over those of float32 (grey outline); "
        "counts are logarithmic, zeros orange where more than 2 % are zero. Levels: the most different values stored "
        f"in one channel. n = {len(shown)} files."
    )
    pictures = [themed("weights", caption, "counted", lambda width: draw_histograms(shown, REFERENCE, width=width))]
    caption = (
        "Bytes of each layer's constants (KB), as stored (pale) / after zlib, each alone (full), all to one scale; "
        "the share is of the float32 file. All else: smaller layers, other constants, graph and metadata. "
        f"n = {len(shown)} files."
    )
    pictures.append(themed("layers", caption, "counted", lambda width: draw_ladder(shown, REFERENCE, width=width)))
    return {picture.name: picture for picture in pictures}


def gallery_picture(name: str, caption: str, tiles: list[Tile]) -> ReportPicture:
    """Return a sheet of images for documents; the page shows the tiles themselves."""
    with style.drawing():
        return ReportPicture(
            name=name, caption=caption, mode="measured", wide="", narrow="", png=style.png(gallery_figure(tiles))
        )


def themed(name: str, caption: str, mode: str, draw: Callable[[float], Figure]) -> ReportPicture:
    """Return a picture drawn for a screen and for a phone; `draw` takes the width in inches."""
    with style.drawing():
        wide = draw(style.WIDE)
        return ReportPicture(
            name=name,
            caption=caption,
            mode=mode,
            wide=style.svg(wide, prefix=f"{name}-w", alt=caption),
            narrow=style.svg(draw(style.NARROW), prefix=f"{name}-n", alt=caption),
            png=style.png(wide),
        )
