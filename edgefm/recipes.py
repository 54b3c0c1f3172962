"""Recipes: frozen descriptions of what to do, with a JSON round trip and strict checks.

A recipe is serialised as ``{"kind", "version", "params"}``. Unknown keys are errors that name the nearest
known key, so that a typing error never silently falls back to a default.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeVar, get_args

from edgefm.errors import RecipeError, unknown_name

Backend = Literal["tensorflow", "jax", "torch"]
Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]

BACKENDS: tuple[str, ...] = get_args(Backend)
PRECISIONS: tuple[str, ...] = get_args(Precision)

VARIANTS: dict[str, str] = {
    "float32": "float32 weights and activations: the reference",
    "float16": "float16 weights, float32 arithmetic",
    "drq_w8": "dynamic range: int8 weights, activations quantised at run time, float32 in and out",
    "int8_w8a8": "full integer: int8 weights and activations, uint8 in and out",
    "int8_w8a8_fc4": "as int8_w8a8 with int4 weights in the dense layers",
}

R = TypeVar("R", bound="Recipe")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Base of all recipes: JSON round trip."""

    kind: ClassVar[str]
    version: ClassVar[int] = 1

    def to_json(self) -> dict[str, Any]:
        """Return ``{"kind", "version", "params"}``."""
        return {"kind": self.kind, "version": self.version, "params": dataclasses.asdict(self)}

    @classmethod
    def from_json(cls: type[R], value: Mapping[str, Any]) -> R:
        """Return the recipe that `to_json` wrote.

        Raises:
          RecipeError: another kind, a newer version, or an unknown parameter.
        """
        if value.get("kind") != cls.kind:
            raise RecipeError(f"this is a recipe of kind '{value.get('kind')}', not '{cls.kind}'")
        if value.get("version", 0) > cls.version:
            raise RecipeError(f"recipe version {value['version']} is newer than {cls.version}: upgrade edgefm")
        known = [field.name for field in dataclasses.fields(cls)]
        for name in value["params"]:
            if name not in known:
                raise unknown_name(f"parameter of a '{cls.kind}' recipe", name, known)
        params = {name: tuple(item) if isinstance(item, list) else item for name, item in value["params"].items()}
        return cls(**params)


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

    def __post_init__(self) -> None:
        at_least("epochs", self.epochs, 1)
        at_least("batch size", self.batch_size, 1)
        at_least("seed", self.seed, 0)
        at_least("shift_pixels", self.shift_pixels, 0)
        if not self.learning_rate > 0:
            raise RecipeError(f"learning rate {self.learning_rate} must be above 0")
        for name, given, allowed in (
            ("optimizer", self.optimizer, ("adam", "adamw")),
            ("schedule", self.schedule, ("constant", "one_cycle")),
        ):
            if given not in allowed:
                raise unknown_name(name, given, allowed)


@dataclass(frozen=True, kw_only=True)
class Quantization(Recipe):
    """Which TFLite files are written and how they are calibrated.

    Attributes:
      variants: names from `VARIANTS`, in the order of writing.
      calibration_images: number of training images that set the activation ranges.
      seed: of the choice of calibration images.
      fold_batch_norm: fold BatchNormalization exactly before conversion.
    """

    kind: ClassVar[str] = "quantize"

    variants: tuple[str, ...] = tuple(VARIANTS)
    calibration_images: int = 256
    seed: int = 0
    fold_batch_norm: bool = True

    def __post_init__(self) -> None:
        at_least("calibration images", self.calibration_images, 1)
        at_least("seed", self.seed, 0)
        if not self.variants:
            raise RecipeError("no variant is named", hint=f"Known: {', '.join(VARIANTS)}.")
        for name in self.variants:
            if name not in VARIANTS:
                raise unknown_name("variant", name, VARIANTS)


@dataclass(frozen=True, kw_only=True)
class BenchmarkProtocol(Recipe):
    """How models are measured.

    Attributes:
      runtime: name of a runtime, see `edgefm doctor`.
      threads: threads of the runtime.
      rounds: times that each model's turn comes, in an order drawn anew each time.
      round_seconds: least time of one model's turn: half for invokes alone, half for end to end.
      round_invokes: least number of timed invokes in a turn.
      round_invokes_at_most: greatest number; a very fast model's turn is shorter for it.
      warmup_invokes: invokes before each turn's samples; timed apart.
      seed: of the order of models.
      model_seconds: a worker that gives no answer for this long is killed.
      model_memory_bytes: address space that a worker may use above the bare runtime's.
    """

    kind: ClassVar[str] = "benchmark"

    runtime: str = "litert"
    threads: int = 1
    rounds: int = 15
    round_seconds: float = 0.1
    round_invokes: int = 50
    round_invokes_at_most: int = 2000
    warmup_invokes: int = 20
    seed: int = 0
    model_seconds: float = 60.0
    model_memory_bytes: int = 4 << 30

    def __post_init__(self) -> None:
        at_least("threads", self.threads, 1)
        at_least("rounds", self.rounds, 1)
        at_least("round_invokes", self.round_invokes, 1)
        at_least("warmup_invokes", self.warmup_invokes, 0)
        at_least("round_invokes_at_most", self.round_invokes_at_most, 1)
        at_least("model_memory_bytes", self.model_memory_bytes, 1)
        at_least("seed", self.seed, 0)
        if not (self.model_seconds > 0 and self.round_seconds >= 0):
            raise RecipeError(
                f"model_seconds {self.model_seconds} and round_seconds {self.round_seconds}: "
                "the first must be above 0, the second 0 or more"
            )


def at_least(name: str, given: int, least: int) -> None:
    """Raise a RecipeError unless `given` is `least` or more."""
    if given < least:
        raise RecipeError(f"{name} {given} is not allowed: it must be {least} or more")


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
