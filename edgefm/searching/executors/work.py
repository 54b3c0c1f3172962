"""What a node of a cluster is given: the search's work once, then tasks; and what it answers.

Work and tasks are pickled: a node unpickles what its driver sent it, or bytes whose sha256 its driver named.
"""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgefm.core import artefacts, scratch
from edgefm.searching.driver import Evaluate, Task, outcome_of
from edgefm.searching.trials import Outcome

if TYPE_CHECKING:
    from edgefm.searching.evaluation import Shelf
    from edgefm.searching.parcel import Setup

MODEL_FILE = "model.keras"


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """Where a worker works.

    Attributes:
      kept: folder of finished passes.
      shelf: shares a pass's folder with other workers within its block, see `edgefm.quantization.chain.Chain`.
    """

    kept: Path
    shelf: Shelf


# What a search hands out: called once by each worker, it returns what does its trials. It can be pickled.
Work = Callable[[Workplace], Evaluate]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a worker answers.

    Attributes:
      outcome: of the trial; None where it has none.
      impossible: why it has none, see `edgefm.searching.driver.outcome_of`.
      error: what else went wrong: the search ends.
    """

    outcome: Outcome | None = None
    impossible: str = ""
    error: Exception | None = None

    def value(self) -> Outcome | str:
        """Return the outcome, or why there is none; raise what went wrong."""
        if self.error is not None:
            raise self.error
        return self.outcome or self.impossible


def answer(evaluate: Evaluate, task: Task) -> Answer:
    """Return what came of a task; nothing is raised."""
    try:
        outcome = outcome_of(evaluate, task)
    except Exception as error:
        return Answer(error=portable(error))
    return Answer(impossible=outcome) if isinstance(outcome, str) else Answer(outcome=outcome)


def portable(error: Exception) -> Exception:
    """Return an exception that another process can read: itself, or its text."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever its class does
        return RuntimeError("".join(traceback.format_exception(error)))
    return error


@dataclass(frozen=True, kw_only=True)
class SetupWork:
    """The trials of a search, on a machine that has nothing of it.

    Attributes:
      setup: what a worker needs.
      model: content of the model's .keras file.
    """

    setup: Setup
    model: bytes = field(repr=False)

    @classmethod
    def of(cls, setup: Setup, model: Any) -> SetupWork:
        """Return the work of a setup and its Keras model."""
        with scratch.folder("search") as folder:
            model.save(folder / MODEL_FILE)
            return cls(setup=setup, model=(folder / MODEL_FILE).read_bytes())

    def __call__(self, workplace: Workplace) -> Evaluate:
        """Return what does the trials."""
        import keras

        import edgefm.keras_graph.folding  # noqa: F401  # ChannelShift is registered there

        with scratch.folder("search") as folder:
            path = artefacts.write_bytes(folder / MODEL_FILE, self.model)
            model = keras.saving.load_model(path, compile=False)
        return replace(self.setup, kept=workplace.kept).trials(model, shelf=workplace.shelf)
