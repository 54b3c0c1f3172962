"""Keeps folds from being judged by models that learnt them: what a training took over may have seen the same pictures.

A fold is new to a model that begins with fresh weights. A teacher, pretrained weights or a model that goes on learning
may have learnt the pictures of every fold before. A run of edgefm says by its manifest which data it was trained on;
of any other file that is not known.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgefm.core.errors import EdgefmError, RecipeError
from edgefm.core.progress import Progress
from edgefm.core.runs import Step
from edgefm.jobs.to_learn.lineage import START_MODEL, place_of, run_of, taken_over, trainings
from edgefm.recipes import Training
from edgefm.report.explanation.words import fold_remarks


@dataclass(frozen=True, kw_only=True)
class FoldRecipe:
    """How the models of the folds are trained.

    Attributes:
      training: recipe of the run, without what has seen the same data.
      not_used: what that was, in words.
      may_have_seen: what the models are trained from that may have seen the pictures of the folds, in words, and why.
    """

    training: Training
    not_used: tuple[str, ...] = ()
    may_have_seen: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return what was left out and what may have seen the pictures as a JSON object."""
        return {
            "not_used": list(self.not_used),
            "may_have_seen": [{"name": name, "reason": reason} for name, reason in self.may_have_seen],
        }


def fold_recipe_of(trained: Step, progress: Progress) -> FoldRecipe:
    """Return how the models of the folds of a finished training are trained.

    A teacher and pretrained weights that have seen the same data are left out; those of which that is not known are
    used. Progress is told of both.

    Raises:
      RecipeError: the training began with a model that has seen the same data.
    """
    recipe = Training.from_json(trained.recipe)
    left_out, not_used, may_have_seen = set(), [], []
    for kind, name in taken_over(recipe):
        path = Path(name).resolve()
        run = run_of(path)
        shown = f"the {kind} {path.name if run is None else path.relative_to(run.path.parent).as_posix()}"
        seen = _has_seen(path, trained)
        if seen and kind == START_MODEL:
            raise RecipeError(
                f"the training began with {name}, which has seen the pictures of every fold",
                hint="Train the architecture itself, with new weights, into a new run, and ask for folds of that.",
            )
        if seen:
            left_out.add(name)
            not_used.append(shown)
        elif seen is None or run is None:
            may_have_seen.append((shown, "training data unknown"))
        else:
            may_have_seen.append((shown, f"trained on other data, by the record of run {run.run_id}"))
    if recipe.pretrained in left_out:
        recipe = replace(recipe, pretrained=None, frozen_epochs=0)
    if recipe.distillation is not None:
        teachers = tuple(name for name in recipe.distillation.teachers if name not in left_out)
        recipe = replace(recipe, distillation=replace(recipe.distillation, teachers=teachers) if teachers else None)
    found = FoldRecipe(training=recipe, not_used=tuple(not_used), may_have_seen=tuple(may_have_seen))
    if callbacks := trained.inputs.get("callbacks"):
        progress.note(f"the models of the folds are trained without the callbacks of the training: {callbacks}")
    for remark in fold_remarks(found.to_json()):
        progress.note(remark)
    return found


def _has_seen(path: Path, trained: Step, *, visited: frozenset[str] = frozenset()) -> bool | None:
    """Return whether a run or file, or what it was trained from, learnt the data of a training; None: not known."""
    path = path.resolve()
    run = run_of(path)
    steps = [] if run is None else trainings(run, path)
    answers: list[bool | None] = [] if steps else [None]
    for step in steps:
        answers.append(_same_data(step, trained))
        if step.key in visited:
            continue
        try:
            others = [name for _, name in taken_over(Training.from_json(step.recipe))]
        except EdgefmError:  # a newer edgefm wrote it
            answers.append(None)
        else:
            answers += [_has_seen(Path(name), trained, visited=visited | {step.key}) for name in others]
    if True in answers:
        return True
    return None if None in answers else False


def _same_data(one: Step, other: Step) -> bool:
    """Return whether two trainings learnt the same data, also where their pictures had other sizes."""
    return one.inputs.get("dataset") == other.inputs["dataset"] or place_of(one) == place_of(other)
