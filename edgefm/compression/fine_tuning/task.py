"""What a compression pass is given beside the model and its recipe, and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from edgefm.data.dataset import Dataset
from edgefm.data.preprocessing import Preprocessing
from edgefm.data.quality import Quality


@dataclass(frozen=True, kw_only=True)
class Task:
    """The data that a model is compressed for.

    A pass learns from `dataset.train` and chooses by `dataset.validation`; `dataset.test` is not for it.

    Attributes:
      dataset: its images are uint8 pixels, which `encoding` turns into inputs, or float32 inputs already.
      encoding: how pixels become the model's inputs.
      quality: what `accuracy` means here.
      head: what the model's first output means: 'softmax', 'sigmoid', 'logits' or 'values'; '' leaves it to the
        model's last layer.
    """

    dataset: Dataset
    encoding: Preprocessing
    quality: Quality
    head: str = ""

    def inputs(self, images: NDArray[Any]) -> NDArray[Any]:
        """Return images as the model's inputs, float32 of the same shape; tokens (whole numbers) as they are."""
        return self.encoding.inputs(images)


@dataclass(frozen=True, kw_only=True)
class PassResult:
    """What a pass gives back.

    Attributes:
      model: new keras.Model (Keras 3), same inputs and outputs as before.
      history: one entry an epoch of fine-tuning: epoch, loss, val_quality, learning_rate, seconds,
        images_per_second.
      facts: measured on the model that it gives back, as JSON, e.g. the sparsity of each kernel; never echoed from
        the recipe.
    """

    model: Any
    history: tuple[Mapping[str, Any], ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
