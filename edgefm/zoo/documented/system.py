"""What a document says of a system beside its layers: how it was trained, what is claimed, what it leaves open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgefm.recipes import Training
from edgefm.zoo.catalogue import Architecture, Claim, architecture

# Every system of the documents learns Fashion-MNIST.
SHAPE = (28, 28, 1)
CLASSES = 10
# Fields of a recipe of which a document says nothing at all.
WHOLE_TRAINING = ("optimizer", "learning_rate", "batch_size", "epochs")
DOCUMENTS = ("S0", "S1", "S2", "S3", "S4")


@dataclass(frozen=True, kw_only=True)
class DocumentedSystem:
    """A system of the project's source documents.

    Attributes:
      id: its name in `edgefm zoo reproduce`.
      document: that describes or cites it, 'S0' to 'S4'.
      cites: whom the document cites for it; '' where it is the document's own.
      recipe: the training as the document states it; what it does not state is in `assumed`.
      assumed_training: the fields of the recipe that the document does not state, of those that its page prints.
      assumed: what was chosen here because the document does not say it, a sentence each.
      reading: what the document says in two ways, or wrongly, and which way is built; '' where it is clear.
      doubt: why its claim is not credible; '' where it may be true.
    """

    id: str
    document: str
    cites: str = ""
    recipe: Training
    assumed_training: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    reading: str = ""
    doubt: str = ""

    @property
    def architecture(self) -> Architecture:
        """The architecture that the recipe trains."""
        return architecture(self.recipe.model)

    @property
    def claim(self) -> Claim:
        """What the document claims."""
        return self.architecture.claim


def as_stated(model: str, **stated: Any) -> Training:
    """Return a training with nothing that these documents do not use: a constant rate, no decay, no augmentation.

    Args:
      model: name of the architecture.
      stated: what the document states: fields of `Training`.
    """
    plain: dict[str, Any] = {
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "schedule": "constant",
        "weight_decay": 0.0,
        "flip": False,
        "shift_pixels": 0,
        "label_smoothing": 0.0,
    }
    return Training(model=model, **{**plain, **stated})


def sequential(name: str, layers: list[Any]) -> Any:
    """Return a keras.Sequential of layers behind the picture and its scaling to 0..1."""
    import keras

    scaled = [keras.Input(SHAPE, name="image"), keras.layers.Rescaling(1 / 255, name="scale_pixels")]
    return keras.Sequential([*scaled, *layers], name=name)
