"""How a compression pass trains a model on, and what it may learn from a teacher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgefm.core.errors import RecipeError
from edgefm.recipes.base import Recipe, at_least, between, one_of

# A teacher's name that stands for the model before its first pass.
SELF = "source"


@dataclass(frozen=True, kw_only=True)
class Distillation(Recipe):
    """What is learnt from teachers beside the labels.

    loss = (1 - weight) * CE(labels, student) + weight * temperature^2 * KL(teacher_T || student_T), with
    p_T ~ p^(1 / T). Source: Hinton et al. 2015, arXiv:1503.02531.

    Attributes:
      teachers: runs or model files, by path; 'source' is the model as it was before its first pass. The
        probabilities of several are averaged.
      temperature: T above.
      weight: of the teachers, 0 to 1.
    """

    kind: ClassVar[str] = "distillation"

    teachers: tuple[str, ...] = (SELF,)
    temperature: float = 2.0
    weight: float = 0.7

    def __post_init__(self) -> None:
        if not self.teachers:
            raise RecipeError("a distillation names no teacher", hint="Give the paths of runs or model files.")
        between("distillation weight", self.weight, 0, 1)
        if not self.temperature > 0:
            raise RecipeError(f"temperature {self.temperature} is not allowed: it must be above 0")


@dataclass(frozen=True, kw_only=True)
class FineTuning(Recipe):
    """How the weights are trained on while or after a pass changes the model.

    Attributes:
      epochs: passes over the training split; 0 trains nothing.
      batch_size: samples a step.
      learning_rate: peak rate of Adam.
      schedule: 'constant', or 'one_cycle': linear warm-up over the first tenth, then cosine decay to zero.
      flip: mirror every second image, on average, left to right. Only for images, and
        never for those that are marked as not flippable.
      shift_pixels: move each image by up to this many pixels in x and y.
      label_smoothing: share of the target spread over all classes.
      distillation: teachers; None learns the labels alone.
    """

    kind: ClassVar[str] = "fine_tuning"

    epochs: int = 1
    batch_size: int = 64
    learning_rate: float = 2e-4
    schedule: str = "one_cycle"
    flip: bool = True
    shift_pixels: int = 0
    label_smoothing: float = 0.0
    distillation: Distillation | None = None

    def __post_init__(self) -> None:
        at_least("epochs", self.epochs, 0)
        at_least("batch size", self.batch_size, 1)
        at_least("shift_pixels", self.shift_pixels, 0)
        between("label smoothing", self.label_smoothing, 0, 1, below=True)
        one_of("schedule", self.schedule, ("constant", "one_cycle"))
        if not self.learning_rate > 0:
            raise RecipeError(f"learning rate {self.learning_rate} must be above 0")
