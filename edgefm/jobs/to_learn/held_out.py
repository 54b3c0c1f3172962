"""What a model has learnt of its validation and test samples before: from what it was trained, all the way back.

A training records the samples of its splits by their content, so that they are found in the splits of a later one,
whatever came to the data meanwhile, and counted. Older runs, and samples of other sizes, have the manifest alone: which
data, and in which cut. Of the same cut the validation and test samples are new to the model, but where it learnt the
validation samples, too. Where the data have changed since, they were cut anew: samples that it learnt may now be held
out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import EdgefmError
from edgefm.core.runs import RunDirectory, Step
from edgefm.jobs.to_learn.lineage import place_of, run_of, taken_over, trainings
from edgefm.recipes import Training
from edgefm.report.explanation.words import seen_remarks
from edgefm.training import split_record
from edgefm.training.split_record import SplitRecord

if TYPE_CHECKING:
    from edgefm.data.dataset import Dataset

UNKNOWN = "training data unknown"
_CHANGED = "trained on the same data before they changed: their splits were others"


@dataclass(frozen=True, kw_only=True)
class Learner:
    """A model that learnt some held-out samples.

    Attributes:
      name: in words.
      validation: how many of the validation samples it learnt.
      validation_of: how many there are.
      test: how many of the test samples.
      test_of: how many there are.
    """

    name: str
    validation: int
    validation_of: int
    test: int
    test_of: int


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What has learnt held-out samples.

    Attributes:
      learnt: what learnt all validation samples and no test sample, in words.
      learnt_some: what learnt others.
      may_have_learnt: what may have learnt validation or test samples, in words, and why.
    """

    learnt: tuple[str, ...] = ()
    learnt_some: tuple[Learner, ...] = ()
    may_have_learnt: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            "learnt_by": list(self.learnt),
            "learnt_some": [asdict(learner) for learner in self.learnt_some],
            "may_have_learnt": [{"name": name, "reason": reason} for name, reason in self.may_have_learnt],
        }


def seen_before(run: RunDirectory, trained: Step) -> Seen:
    """Return what a finished training of a run began with, or was taught by, that has seen its held-out samples."""
    models = list(taken_over(Training.from_json(trained.recipe)))
    return _seen(models, split_record.read(run.folder(trained)), trained)


def seen_by_recipe(recipe: Training, dataset: Dataset) -> Seen:
    """Return the same of a training that is in no run, on a data set."""
    models = list(taken_over(recipe))
    return _seen(models, split_record.record_of(dataset), None) if models else Seen()


def seen_by_file(path: Path, dataset: Dataset) -> Seen:
    """Return which held-out samples of a data set a model in a file has seen, where the file lies in a run."""
    return _seen([("model", str(path))], split_record.record_of(dataset), None)


def remarks(seen: Seen) -> list[str]:
    """Return what has seen held-out samples, or may have, a sentence each."""
    return seen_remarks(seen.to_json())


def _seen(models: Sequence[tuple[str, str]], held: SplitRecord | None, trained: Step | None) -> Seen:
    learnt, some, may = [], [], []
    for kind, name in models:
        path = Path(name).resolve()
        run = run_of(path)
        shown = f"the {kind} {path.name if run is None else path.relative_to(run.path.parent).as_posix()}"
        found = list(_found(path, held, trained, visited=frozenset()))
        known = [entry for entry in found if isinstance(entry, np.ndarray)]
        if any(entry is None for entry in found):
            learnt.append(shown)
        elif known and held is not None and (learner := _learner(shown, held, np.concatenate(known))) is not None:
            if learner.validation == learner.validation_of and not learner.test:
                learnt.append(shown)
            else:
                some.append(learner)
        may += [(shown, reason) for reason in dict.fromkeys(entry for entry in found if isinstance(entry, str))]
    return Seen(learnt=tuple(learnt), learnt_some=tuple(some), may_have_learnt=tuple(may))


def _learner(name: str, held: SplitRecord, learnt: NDArray[np.uint64]) -> Learner | None:
    """Return how many held-out samples are among those that a model learnt; None where there are none."""
    learner = Learner(
        name=name,
        validation=held.shared("validation", learnt),
        validation_of=len(held.digests["validation"]),
        test=held.shared("test", learnt),
        test_of=len(held.digests["test"]),
    )
    return learner if learner.validation or learner.test else None


def _found(
    path: Path, held: SplitRecord | None, trained: Step | None, *, visited: frozenset[str]
) -> Iterator[NDArray[np.uint64] | str | None]:
    """Yield what each training behind a model learnt: the samples; else None for all that validate, or why it may have.

    Args:
      path: of a model or a run.
      held: the samples that are held out, and those of the training beside them; None where they are not recorded.
      trained: the training that holds them out; None where there is none.
      visited: keys of the trainings that led here.
    """
    run = run_of(path)
    steps = [] if run is None else trainings(run, path)
    if run is None or not steps:
        yield UNKNOWN
    for step in steps:
        try:
            recipe = Training.from_json(step.recipe)
        except EdgefmError:  # a newer edgefm wrote it
            yield UNKNOWN
            continue
        record = None if run is None else split_record.read(run.folder(step))
        if record is not None and held is not None and record.shape == held.shape:
            yield record.digests["train"]
            if recipe.with_validation:
                yield record.digests["validation"]
        elif trained is None:
            yield UNKNOWN
        elif _same_cut(step, trained):
            if recipe.with_validation:
                yield None
        elif place_of(step) == place_of(trained):
            yield _CHANGED
        if step.key not in visited:
            for _, name in taken_over(recipe):
                yield from _found(Path(name).resolve(), held, trained, visited=visited | {step.key})


def _same_cut(one: Step, other: Step) -> bool:
    """Return whether two trainings had the same samples in the same splits, also where pictures had other sizes."""
    if one.inputs.get("dataset") == other.inputs["dataset"]:
        return True
    shapes = one.summary.get("input_shape"), other.summary.get("input_shape")
    counts = one.summary.get("dataset"), other.summary.get("dataset")
    return place_of(one) == place_of(other) and shapes[0] != shapes[1] and None not in counts and counts[0] == counts[1]
