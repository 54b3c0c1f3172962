"""What a model has learnt of its validation and test samples before: from what it was trained, all the way back.

A run says in its manifest which data it was trained on, and in which cut. Of the same cut the validation and test
samples are new to it, but where it learnt the validation samples, too. Where the data have changed since, such as a
folder into which pictures came, they were cut anew: samples that it learnt may now be held out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgefm.core.errors import EdgefmError
from edgefm.core.runs import Step
from edgefm.jobs.explain.leakage import place_of, run_of, taken_over, trainings
from edgefm.recipes import Training
from edgefm.report.explanation.words import seen_remarks

UNKNOWN = "training data unknown"
_CHANGED = "trained on the same data before they changed: their splits were others"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What has learnt held-out samples.

    Attributes:
      learnt: what learnt the validation samples, in words; none where they are new to the model.
      may_have_learnt: what may have learnt validation or test samples, in words, and why.
    """

    learnt: tuple[str, ...] = ()
    may_have_learnt: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            "learnt_by": list(self.learnt),
            "may_have_learnt": [{"name": name, "reason": reason} for name, reason in self.may_have_learnt],
        }


def seen_before(trained: Step) -> Seen:
    """Return what a finished training began with, or was taught by, that has seen its held-out samples."""
    learnt: list[str] = []
    may: list[tuple[str, str]] = []
    recipe = Training.from_json(trained.recipe)
    for kind, name in taken_over(recipe):
        path = Path(name).resolve()
        run = run_of(path)
        shown = f"the {kind} {path.name if run is None else path.relative_to(run.path.parent).as_posix()}"
        found = list(_found(path, trained, visited=frozenset()))
        if None in found:
            learnt.append(shown)
        may += [(shown, reason) for reason in dict.fromkeys(found) if reason is not None]
    return Seen(learnt=tuple(learnt), may_have_learnt=tuple(may))


def remarks_on_held_out(trained: Step) -> list[str]:
    """Return what a training learnt from that has seen its held-out samples, or may have, a sentence each."""
    return seen_remarks(seen_before(trained).to_json())


def _found(path: Path, trained: Step, *, visited: frozenset[str]) -> Iterator[str | None]:
    """Yield None for each training that learnt the validation samples, and why others may have learnt held-out ones."""
    run = run_of(path)
    steps = [] if run is None else trainings(run, path)
    if not steps:
        yield UNKNOWN
    for step in steps:
        try:
            recipe = Training.from_json(step.recipe)
        except EdgefmError:  # a newer edgefm wrote it
            yield UNKNOWN
            continue
        if _same_cut(step, trained):
            if recipe.with_validation:
                yield None
        elif place_of(step) == place_of(trained):
            yield _CHANGED
        if step.key not in visited:
            for _, name in taken_over(recipe):
                yield from _found(Path(name).resolve(), trained, visited=visited | {step.key})


def _same_cut(one: Step, other: Step) -> bool:
    """Return whether two trainings had the same samples in the same splits, also where pictures had other sizes."""
    if one.inputs.get("dataset") == other.inputs["dataset"]:
        return True
    shapes = one.summary.get("input_shape"), other.summary.get("input_shape")
    counts = one.summary.get("dataset"), other.summary.get("dataset")
    return place_of(one) == place_of(other) and shapes[0] != shapes[1] and None not in counts and counts[0] == counts[1]
