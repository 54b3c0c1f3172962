"""An experiment of a document: the same network trained in several ways, and what is claimed of each."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgefm.recipes import Training
from edgefm.zoo.catalogue import Claim


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One way of training in an experiment.

    Attributes:
      label: what differs, e.g. 'batch 8'.
      recipe: the training.
      claim: what the document claims of it.
      doubt: why that is not credible; '' where it may be true.
      folds: of a cross-validation: the recipe is trained once for each; None for a plain training.
    """

    label: str
    recipe: Training
    claim: Claim = field(default_factory=Claim)
    doubt: str = ""
    folds: int | None = None


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A comparison that a document makes.

    Attributes:
      id: its name in `edgefm zoo reproduce`.
      document: that makes it, 'S0' to 'S4'.
      title: what is compared.
      trials: the ways of training, in the document's order.
      reading: what the document leaves open, and what is run.
      search: one of the trials is chosen, by the validation images; the test images are for that one alone.
    """

    id: str
    document: str
    title: str
    trials: tuple[Trial, ...]
    reading: str
    search: bool = False
