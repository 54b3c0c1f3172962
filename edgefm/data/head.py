"""What a model's first output is, as the model alone tells: its shape, last activation and compiled loss.

Together with the labels it says what the task is (`edgefm.data.own.tasks`), and what has to be added so that the
answers are probabilities (`edgefm.quantization.heads`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

# Of units that each answer yes or no, of classes that exclude each other, and of numbers.
_BINARY = ("binary_crossentropy", "binary_focal_crossentropy", "hinge", "squared_hinge")
_CATEGORICAL = (
    "categorical_crossentropy",
    "sparse_categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_hinge",
    "kl_divergence",
)
_NUMBERS = (
    "mean_squared_error",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_logarithmic_error",
    "huber",
    "log_cosh",
    "poisson",
    "cosine_similarity",
)
_MARGINS = ("hinge", "squared_hinge", "categorical_hinge")


@dataclass(frozen=True, kw_only=True)
class ModelHead:
    """The end of a model.

    Attributes:
      shape: of the first output for one sample, without the batch.
      activation: what the first output comes from: 'softmax', 'sigmoid', 'log_softmax', 'log_sigmoid', 'linear' (a
        dense or convolutional layer without activation), or 'other', of which only the values tell more.
      loss: that the first output was compiled with, e.g. 'binary_crossentropy'; '' where none is stored.
      from_logits: whether that loss takes logits.
    """

    shape: tuple[int, ...]
    activation: str
    loss: str = ""
    from_logits: bool = False

    @property
    def units(self) -> int | None:
        """Length of a first output that is a vector; None where it is none."""
        return self.shape[0] if len(self.shape) == 1 else None

    @property
    def loss_is_binary(self) -> bool:
        """Whether the loss lets each unit answer yes or no by itself."""
        return self.loss in _BINARY

    @property
    def loss_is_categorical(self) -> bool:
        """Whether the loss is one of classes that exclude each other."""
        return self.loss in _CATEGORICAL

    @property
    def loss_is_of_numbers(self) -> bool:
        """Whether the loss compares numbers."""
        return self.loss in _NUMBERS

    @property
    def loss_takes_scores(self) -> bool:
        """Whether the loss takes any number: a logit, or a margin around 0."""
        return self.from_logits or self.loss in _MARGINS

    def to_json(self) -> dict[str, Any]:
        """Return the head as a JSON object."""
        return {**asdict(self), "shape": list(self.shape)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ModelHead:
        """Return what `to_json` wrote."""
        return cls(**{**value, "shape": tuple(value["shape"])})
