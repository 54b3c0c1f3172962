"""What a worker is given: the search's work once, then tasks; and what it answers.

Work and tasks are pickled: a worker unpickles what its own driver sent it, or bytes whose sha256 its driver named.
"""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgefm.searching.driver import REFUSALS, Evaluate, Task
from edgefm.searching.trials import Outcome

if TYPE_CHECKING:
    from edgefm.quantization.checks.given_model import GivenModel
    from edgefm.quantization.source import Source
    from edgefm.searching.evaluation import Latency
    from edgefm.searching.sampling import Sampling
    from edgefm.searching.space import Space

Shelf = Callable[[Path], AbstractContextManager[object]]


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
      impossible: why its point is impossible.
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
        return Answer(outcome=evaluate(task))
    except REFUSALS as error:
        return Answer(impossible=error.message)
    except Exception as error:
        return Answer(error=portable(error))


def portable(error: Exception) -> Exception:
    """Return an exception that another process can read: itself, or its text."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever its class does
        return RuntimeError("".join(traceback.format_exception(error)))
    return error


@dataclass(frozen=True, kw_only=True)
class TrialsWork:
    """The trials of a search; see `edgefm.searching.evaluation.Trials`.

    Attributes:
      source: without its model.
      model: content of the model's .keras file.
      space, given, latency, arena, seed: see `edgefm.searching.evaluation.Evaluator`.
      sampling, epochs: see `edgefm.searching.evaluation.Trials`.
    """

    source: Source
    model: bytes = field(repr=False)
    space: Space
    given: GivenModel
    latency: Latency
    arena: bool
    seed: int
    sampling: Sampling
    epochs: int

    @classmethod
    def of(cls, source: Source, **rest: Any) -> TrialsWork:
        """Return the work of a source with its model."""
        from dataclasses import replace

        from edgefm.core import scratch

        with scratch.folder("search") as folder:
            source.model.save(folder / "model.keras")
            content = (folder / "model.keras").read_bytes()
        return cls(source=replace(source, model=None), model=content, **rest)

    def __call__(self, workplace: Workplace) -> Evaluate:
        """Return what does the trials."""
        from dataclasses import replace

        import keras

        import edgefm.keras_graph.folding  # noqa: F401  # ChannelShift is registered there
        from edgefm.core import artefacts, scratch
        from edgefm.searching.evaluation import Evaluator, Trials

        with scratch.folder("search") as folder:
            path = artefacts.write_bytes(folder / "model.keras", self.model)
            # The bytes come from the driver, whose user trusts the model.
            model = keras.saving.load_model(path, compile=False, safe_mode=False)
        evaluator = Evaluator(
            replace(self.source, model=model),
            self.space,
            given=self.given,
            kept=workplace.kept,
            shelf=workplace.shelf,
            latency=lambda: self.latency,
            arena=self.arena,
            seed=self.seed,
        )
        return Trials(evaluator=evaluator, sampling=self.sampling, epochs=self.epochs)
