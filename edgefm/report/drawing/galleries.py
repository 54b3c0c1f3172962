"""Which single images to show: those whose prediction changed, and the most confident mistakes."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from edgefm.report.content import wording
from edgefm.report.content.inputs import ModelAnswers
from edgefm.report.drawing import style

RIGHT, WRONG = "\N{CHECK MARK}", "\N{BALLOT X}"
_LARGEST_TILE = 96
_ACROSS_WIDE = 6


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Images, their classes and what the models said.

    Attributes:
      truth: int64 [n], true classes.
      predictions: by model name.
      images: uint8 [n or more, height, width, channels].
      labels: class names.
    """

    truth: NDArray[np.int64]
    predictions: Mapping[str, ModelAnswers]
    images: NDArray[np.uint8]
    labels: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A model's answer to one image.

    Attributes:
      confidence: the highest output.
      probability: whether the model's outputs are probabilities; otherwise the confidence is a raw score.
    """

    model: str
    label: str
    confidence: float
    probability: bool
    right: bool

    @property
    def text(self) -> str:
        """The answer in words, e.g. '✗ Shirt 71 %'; a confidence is never rounded up to certainty."""
        mark = RIGHT if self.right else WRONG
        if not self.probability:
            return f"{mark} {self.label} {self.confidence:.4g}"
        share = ">99" if 0.995 <= self.confidence < 1 else wording.percent(self.confidence, 0)
        return f"{mark} {self.label} {share}\N{NO-BREAK SPACE}%"


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One image of a gallery.

    Attributes:
      index: place of the image in the test set.
      pixels: uint8 [height, width, channels].
      truth: true label.
      kind: 'lost' (became wrong), 'won' (became right), 'both wrong' or 'wrong'.
      answers: of the reference first, where there is one.
    """

    index: int
    pixels: NDArray[np.uint8]
    truth: str
    kind: str
    answers: tuple[Answer, ...]


def flipped(evidence: Evidence, model: str, reference: str, *, most: int = 12) -> list[Tile]:
    """Return images whose predicted class differs from the reference's.

    The three kinds (became wrong, became right, wrong both ways) take turns; within a kind the change that both
    models were surest of comes first.
    """
    truth = evidence.truth
    answers, other = evidence.predictions[model], evidence.predictions[reference]
    differ = np.flatnonzero(answers.predicted != other.predicted)
    kinds: dict[str, list[int]] = {"lost": [], "won": [], "both wrong": []}
    surest = np.argsort(-(answers.confidence + other.confidence)[differ], kind="stable")
    for index in differ[surest]:
        lost, won = other.predicted[index] == truth[index], answers.predicted[index] == truth[index]
        kinds["lost" if lost else "won" if won else "both wrong"].append(int(index))
    turns = max(map(len, kinds.values()))
    order = [(places[turn], kind) for turn in range(turns) for kind, places in kinds.items() if turn < len(places)]
    chosen = sorted(order[:most], key=lambda pair: list(kinds).index(pair[1]))
    return [_tile(evidence, index, kind, (reference, model)) for index, kind in chosen]


def misclassified(evidence: Evidence, model: str, reference: str | None, *, most: int = 18) -> list[Tile]:
    """Return the images that a model classifies wrongly with the highest confidence, surest first.

    Where there is another model as the reference, its answer stands first on each tile.
    """
    answers = evidence.predictions[model]
    wrong = np.flatnonzero(answers.predicted != evidence.truth)
    surest = wrong[np.argsort(-answers.confidence[wrong], kind="stable")][:most]
    alone = reference is None or reference == model or reference not in evidence.predictions
    models = (model,) if alone or reference is None else (reference, model)
    return [_tile(evidence, int(index), "wrong", models) for index in surest]


def data_uri(pixels: NDArray[np.uint8]) -> str:
    """Return an image as a PNG data address, shrunk where a side is longer than 96 pixels."""
    from PIL import Image

    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    image.thumbnail((_LARGEST_TILE, _LARGEST_TILE))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def gallery_figure(tiles: Sequence[Tile], *, width: float = style.WIDE) -> Figure:
    """Return a sheet of tiles: the image, the truth above it, the answers below it."""
    across = _ACROSS_WIDE
    down = -(-len(tiles) // across)
    # One pair of axes for all tiles, in units of one image's side: a pair for each would take seconds.
    step_x, step_y = 1.35, 1.42 + 0.17 * max(len(tile.answers) for tile in tiles)
    figure = Figure(figsize=(width, width * down * step_y / (across * step_x)))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    for place, tile in enumerate(tiles):
        left, top = (place % across) * step_x, (place // across) * step_y
        image = tile.pixels[..., 0] if tile.pixels.shape[-1] == 1 else tile.pixels
        axes.imshow(
            image, cmap="gray", vmin=0, vmax=255, interpolation="nearest", extent=(left, left + 1, top + 1, top)
        )
        axes.text(left + 0.5, top - 0.06, tile.truth, ha="center", va="bottom", fontsize=8.5, fontweight="bold")
        for row, answer in enumerate(tile.answers):
            hue = style.BLUE if answer.right else style.ORANGE
            axes.text(left + 0.5, top + 1.05 + 0.17 * row, answer.text, ha="center", va="top", fontsize=8, color=hue)
    axes.set_xlim(-(step_x - 1) / 2, across * step_x - (step_x - 1) / 2)
    axes.set_ylim(down * step_y - 0.32, -0.32)
    axes.set_aspect("equal")
    return figure


def _tile(evidence: Evidence, index: int, kind: str, models: Sequence[str]) -> Tile:
    true = int(evidence.truth[index])
    answers = []
    for name in models:
        prediction = evidence.predictions[name]
        guess = int(prediction.predicted[index])
        answers.append(
            Answer(
                model=name,
                label=evidence.labels[guess],
                confidence=float(prediction.confidence[index]),
                probability=prediction.probabilities,
                right=guess == true,
            )
        )
    return Tile(
        index=index,
        pixels=evidence.images[index],
        truth=evidence.labels[true],
        kind=kind,
        answers=tuple(answers),
    )
