"""The best small models: what each is to reach, and the recipe that it is trained by."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgefm.core.errors import unknown_name
from edgefm.recipes import Training, preset

DOCUMENT = "document"
FASTEST = "fastest"
# Share of a recipe's epochs in which candidates are compared on the validation images.
# Targets are of the mean of so many.
SEEDS = 3
CHOICE_SHARE = 0.25
# Test accuracy that a model must have to count as the fastest one, in percent.
FAST_ENOUGH = 93.3


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the table.

    Attributes:
      name: of the row, for `--rows`.
      title: what it is, in words.
      recipe: how its model is trained; with several candidates, one of them.
      candidates: options of the model that are compared on the validation images first; the best is taken.
      final: the training learns the validation images too, and the test images are answered once, with each seed.
        Otherwise the validation images are kept apart and give the figure.
      variant: 'int8_w8a8', the file that answers; None: the Keras model itself, in floating point.
      target: least accuracy in percent.
      moonshot: accuracy in percent that would be a record; None where none is set.
      published: the best clean figure that is published, in words.
      size_bytes: most bytes of the int8 file.
      macs: most multiply-accumulates.
      parameters: most parameters, those of batch normalisations included.
      p50_ratio: greatest p50 over that of the source document's network in float32, in one benchmark.
      p50_moonshot: the ratio that would be a record.
      attempts: what to try next if it misses the target.
    """

    name: str
    title: str
    recipe: Training
    candidates: tuple[Mapping[str, str], ...] = ()
    final: bool = True
    variant: str | None = "int8_w8a8"
    target: float
    moonshot: float | None = None
    published: str
    size_bytes: int | None = None
    macs: int | None = None
    parameters: int | None = None
    p50_ratio: float | None = None
    p50_moonshot: float | None = None
    attempts: str

    def training(self, *, seed: int, epochs: int | None, options: Mapping[str, str] | None = None) -> Training:
        """Return the recipe of one training.

        Args:
          seed: of it.
          epochs: instead of the recipe's; None takes those.
          options: of the model, those that were chosen; None takes the recipe's.
        """
        changes: dict[str, Any] = {"seed": seed, "with_validation": self.final}
        changes |= {} if epochs is None else {"epochs": epochs}
        changes |= {} if options is None else {"model_options": {**self.recipe.model_options, **options}}
        return dataclasses.replace(self.recipe, **changes)


def rows() -> tuple[Row, ...]:
    """Return all rows, those first that others are compared with."""
    return (
        Row(
            name=DOCUMENT,
            title="`enhanced_cnn`, the document's hyper-parameters, validation",
            recipe=preset("paper"),
            final=False,
            variant=None,
            target=93.3,
            published="93.3 (its own)",
            attempts="`batch_norm=before_relu`, which is the other reading of the document",
        ),
        Row(
            name="enhanced",
            title="`enhanced_cnn`, best recipe",
            recipe=preset("best", "enhanced_cnn"),
            target=94.8,
            moonshot=95.3,
            published="94.52 (cited, unverified)",
            attempts="twice the epochs; an out-of-fold teacher that is asked on mixed pictures; an average of weights",
        ),
        Row(
            name="small",
            title="<= 64 KB and <= 4.4 M MACs (`small_residual`)",
            recipe=preset("best", "small_residual"),
            target=94.0,
            moonshot=94.5,
            published="93.22 (µNAS)",
            size_bytes=64_000,
            macs=4_400_000,
            attempts="twice the epochs; the teacher of the last row, out of fold; fewer channels and a third block",
        ),
        Row(
            name="tiny",
            title="<= 10,000 parameters (`separable_tiny`)",
            recipe=preset("best", "separable_tiny"),
            target=91.5,
            moonshot=92.2,
            published="90",
            parameters=10_000,
            attempts="a teacher (it has too few parameters to overfit); the second pooling later, for more MACs",
        ),
        Row(
            name="half_million",
            title="<= 500,000 parameters (`resnet14`)",
            recipe=preset("best", "resnet14"),
            candidates=({"order": "postactivation"}, {"order": "preactivation"}),
            target=95.6,
            moonshot=96.0,
            published="95.51 (float, ResNet-preact-20 + Cutout)",
            parameters=500_000,
            attempts="200 epochs; SGD with Nesterov momentum from 0.2 as published; QAT for what int8 loses",
        ),
        Row(
            name=FASTEST,
            title=f"fastest with >= {FAST_ENOUGH} (`strided_cnn`)",
            recipe=preset("best", "strided_cnn"),
            target=FAST_ENOUGH,
            published="-",
            p50_ratio=0.11,
            p50_moonshot=0.08,
            attempts="more epochs; 24 channels in the first two layers; `slim` from the Enhanced CNN's best recipe",
        ),
        Row(
            name="teacher",
            title="teacher, any size, float (`wide_resnet16`)",
            recipe=preset("best", "wide_resnet16"),
            variant=None,
            target=96.0,
            moonshot=96.5,
            published="96.40 (shake-shake, one run)",
            attempts="127 epochs or more; SGD with Nesterov momentum; an ensemble of the seeds",
        ),
    )


def named(names: str | None) -> tuple[Row, ...]:
    """Return the rows of a comma-separated list, in the order of the table; all without one.

    Raises:
      RecipeError: an unknown row; the nearest one is named.
    """
    known = {row.name: row for row in rows()}
    wanted = list(known) if names is None else [name.strip() for name in names.split(",")]
    for name in wanted:
        if name not in known:
            raise unknown_name("row", name, known)
    return tuple(row for row in known.values() if row.name in wanted)
