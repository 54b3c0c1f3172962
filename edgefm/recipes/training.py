"""How a model of the zoo is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

from edgefm.core.errors import RecipeError, unknown_name
from edgefm.recipes.base import MOST_SEED, Recipe, at_least, one_of
from edgefm.recipes.fine_tuning import Distillation

Backend = Literal["tensorflow", "jax", "torch"]
Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]

BACKENDS: tuple[str, ...] = get_args(Backend)
PRECISIONS: tuple[str, ...] = get_args(Precision)


@dataclass(frozen=True, kw_only=True)
class Training(Recipe):
    """How a model is trained.

    Attributes:
      model: name of an architecture in the zoo.
      model_options: options of that architecture, e.g. {"batch_norm": "after_relu"}.
      epochs: passes over the training split.
      batch_size: images a step.
      optimizer: 'adam' or 'adamw'.
      learning_rate: peak rate.
      schedule: 'constant', or 'one_cycle': linear warm-up, then cosine decay to zero.
      warmup_fraction: share of all steps spent warming up.
      weight_decay: decoupled decay of 'adamw' (Loshchilov & Hutter 2019, arXiv:1711.05101).
      flip: mirror every second image, on average, left to right.
      shift_pixels: move each image by up to this many pixels in x and y.
      label_smoothing: share of the target spread over all classes (Szegedy et al. 2016, arXiv:1512.00567).
      seed: of initial weights, order of images, augmentation and dropout.
      distillation: teachers whose answers are learnt beside the labels; None learns the labels alone.
    """

    kind: ClassVar[str] = "train"

    model: str = "enhanced_cnn"
    model_options: Mapping[str, str] = field(default_factory=dict)
    epochs: int = 9
    batch_size: int = 64
    optimizer: str = "adamw"
    learning_rate: float = 1.5e-3
    schedule: str = "one_cycle"
    warmup_fraction: float = 0.2
    weight_decay: float = 0.05
    flip: bool = True
    shift_pixels: int = 0
    label_smoothing: float = 0.1
    seed: int = 0
    distillation: Distillation | None = None

    def __post_init__(self) -> None:
        at_least("epochs", self.epochs, 1)
        at_least("batch size", self.batch_size, 1)
        at_least("seed", self.seed, 0, most=MOST_SEED)
        at_least("shift_pixels", self.shift_pixels, 0)
        if not self.learning_rate > 0:
            raise RecipeError(f"learning rate {self.learning_rate} must be above 0")
        one_of("optimizer", self.optimizer, ("adam", "adamw"))
        one_of("schedule", self.schedule, ("constant", "one_cycle"))

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as a JSON object; without a teacher as it was before there were any, to find old runs."""
        value = super().to_json()
        if self.distillation is None:
            del value["params"]["distillation"]
        return value


PRESETS: dict[str, Training] = {
    # A minute or two on two cores: enough to see every step work.
    "quick": Training(epochs=2, batch_size=128, learning_rate=2e-3),
    # Reaches the source document's 93.3 % validation accuracy in the fewest minutes.
    "standard": Training(),
    # As the source document says: 100 epochs, batch 512; Adam at 1e-3 and no augmentation are assumed.
    "paper": Training(
        epochs=100,
        batch_size=512,
        optimizer="adam",
        learning_rate=1e-3,
        schedule="constant",
        weight_decay=0.0,
        flip=False,
        shift_pixels=0,
        label_smoothing=0.0,
    ),
}


def preset(name: str) -> Training:
    """Return the training recipe of a preset, or raise a RecipeError that names the nearest one."""
    if name not in PRESETS:
        raise unknown_name("preset", name, PRESETS)
    return PRESETS[name]
