"""All that a report shows, before it becomes a page: figures derived, pictures drawn, images chosen."""

from __future__ import annotations

from dataclasses import dataclass

from edgefm.comparison.shipping.of_record import verdict_of
from edgefm.report.content import forecast, promises
from edgefm.report.content.facts import Facts
from edgefm.report.content.forecast import Forecasted
from edgefm.report.content.inputs import ReportInputs
from edgefm.report.content.promises import FileGate
from edgefm.report.content.record_facts import facts
from edgefm.report.content.waterfall import Waterfall, waterfall
from edgefm.report.drawing import pictures, tuning
from edgefm.report.drawing.galleries import Evidence, Tile, flipped, misclassified
from edgefm.report.drawing.pictures import ReportPicture
from edgefm.report.explanation.figures import explanation_figures
from edgefm.report.text.findings import flip_text
from edgefm.report.text.reasons import Story, stories

PICTURES = (
    "tradeoff",
    "steps",
    "latency",
    "sizes",
    "layers",
    "weights",
    "confusion",
    "flipped",
    "misclassified",
    "curves",
    "tuning",
)
_FLIPPED_SHOWN = 12
_MISCLASSIFIED_SHOWN = 18


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Some images of one model, for the page.

    Attributes:
      model: whose answers are shown.
      caption: what the images are, and n.
      tiles: the images.
    """

    model: str
    caption: str
    tiles: list[Tile]


@dataclass(frozen=True, kw_only=True)
class ReportContent:
    """All that a report shows.

    Attributes:
      facts: None where the run has no benchmark.
      waterfall: the steps from float32 to each file; None where none grew from another.
      stories: those steps in words.
      gates: what the files promised, and whether they hold it.
      skipped: variants that could not be made, each with the reason.
      pictures: by name, in the order of the page.
      flips: one gallery a model that flipped images, the chosen model's first.
      mistakes: the most confident mistakes of the chosen model, or None.
      explained: pictures of the explanation of the model, by name; {} without one.
      forecasted: what was forecast of the files, beside what came of it; [] without a forecast.
    """

    inputs: ReportInputs
    facts: Facts | None
    waterfall: Waterfall | None
    stories: list[Story]
    gates: list[FileGate]
    skipped: list[tuple[str, str]]
    pictures: dict[str, ReportPicture]
    flips: list[Gallery]
    mistakes: Gallery | None
    explained: dict[str, ReportPicture]
    forecasted: list[Forecasted]


def compose(inputs: ReportInputs) -> ReportContent:
    """Return the content of a report: figures derived, pictures drawn, images chosen."""
    measured: Facts | None = None
    if inputs.record is not None:
        measured = facts(inputs.record, verdict_of(inputs.record, path=inputs.record_path))
    drawn: dict[str, ReportPicture] = pictures.benchmark_pictures(measured) if measured else {}
    flips, mistakes = galleries(inputs, measured) if measured else ([], None)
    steps = waterfall(inputs, measured)
    described = inputs.quantize or {}
    if flips and measured and _speaks_of(measured, flips[0].model):
        drawn["flipped"] = pictures.gallery_picture("flipped", flips[0].caption, flips[0].tiles)
    if mistakes:
        drawn["misclassified"] = pictures.gallery_picture("misclassified", mistakes.caption, mistakes.tiles)
    if inputs.history is not None:
        drawn["curves"] = pictures.curves_picture(inputs.history)
    tales: list[Story] = []
    if steps is not None:
        drawn["steps"] = pictures.steps_picture(steps, measured)
        counted = {name: inside for name, weights in inputs.weights.items() if (inside := weights.inside()) is not None}
        tales = stories(steps, inside=counted, environment=measured.environment if measured else None)
    drawn |= pictures.weights_pictures(inputs.weights)
    measure, courses = tuning.courses(described)
    if courses:
        samples = max(
            variant["validation"]["samples"] for variant in described["variants"] if variant.get("validation")
        )
        drawn["tuning"] = pictures.tuning_picture(measure, courses, samples)
    return ReportContent(
        inputs=inputs,
        facts=measured,
        waterfall=steps,
        stories=tales,
        gates=promises.gates(described),
        skipped=promises.skipped(described),
        pictures={name: drawn[name] for name in PICTURES if name in drawn},
        flips=flips,
        mistakes=mistakes,
        explained={} if inputs.explanation is None else explanation_figures(inputs.explanation, prefix="explained-"),
        forecasted=forecast.figures(inputs.forecast, inputs.quantize, inputs.record),
    )


def _speaks_of(facts: Facts, name: str) -> bool:
    """Return whether a report's picture of changed answers is of this model: the recommended one, where it has any."""
    return facts.chosen is None or facts.chosen is facts.reference or facts.chosen.name == name


def galleries(inputs: ReportInputs, facts: Facts) -> tuple[list[Gallery], Gallery | None]:
    """Return the images to show: those that each model flipped (the chosen one first), and the worst mistakes."""
    if inputs.images is None or inputs.truth is None:
        return [], None
    evidence = Evidence(truth=inputs.truth, predictions=inputs.predictions, images=inputs.images, labels=facts.labels)
    chosen, reference = facts.chosen, facts.reference
    others = [model for model in facts.models if model.comparison is not None and model.name in inputs.predictions]
    others.sort(key=lambda model: model is not chosen)
    flips = []
    for model in others:
        assert model.comparison is not None
        if model.comparison.reference not in inputs.predictions:
            continue
        tiles = flipped(evidence, model.name, model.comparison.reference, most=_FLIPPED_SHOWN)
        if not tiles:
            continue
        caption = (
            f"{model.name}: {flip_text(model, facts)}. {len(tiles)} are shown, the surest of each kind: the true "
            f"class, then the answer of {model.comparison.reference} and of {model.name} with its confidence."
        )
        flips.append(Gallery(model=model.name, caption=caption, tiles=tiles))
    shown = chosen or reference
    if shown is None or shown.name not in inputs.predictions:
        return flips, None
    tiles = misclassified(evidence, shown.name, reference.name if reference else None, most=_MISCLASSIFIED_SHOWN)
    if not tiles:
        return flips, None
    names = [answer.model for answer in tiles[0].answers]
    answers = " and ".join(f"the answer of {name}" for name in names) + " with its confidence"
    wrong = int((inputs.predictions[shown.name].predicted != inputs.truth).sum())
    caption = (
        f"The {len(tiles)} mistakes that {shown.name} is surest of, of {wrong:,} among {len(inputs.truth):,} images. "
        f"The true class, then {answers}; some may be mistakes of the labels."
    )
    return flips, Gallery(model=shown.name, caption=caption, tiles=tiles)
