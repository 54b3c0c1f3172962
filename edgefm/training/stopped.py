"""A training that was stopped in a run: what it was, and whether what is given to go on with is the same."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from edgefm.core.documents import read_json
from edgefm.core.errors import RecipeError, RunError
from edgefm.core.runs import RunDirectory
from edgefm.data.source import DataSource
from edgefm.recipes import Training
from edgefm.training.fastest import AUTO

RECIPE_FILE = "recipe.json"


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """A training that was stopped: what it was, and what it ran on.

    Attributes:
      recipe: of the training.
      backend: name of the Keras backend.
      precision: Keras dtype policy.
      source: where its data come from.
      callbacks: class names of the callbacks that it was begun with.
      inputs: sha256 of each input of the step by name; empty where an older version wrote it.
      said_in: file that this was read from.
    """

    recipe: Training
    backend: str
    precision: str
    source: DataSource = field(default_factory=DataSource)
    callbacks: tuple[str, ...] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)
    said_in: Path | None = field(default=None, compare=False)

    def check(
        self,
        *,
        recipe: Training | None,
        backend: str | None,
        precision: str | None,
        source: DataSource | None = None,
        only: Collection[str] | None = None,
    ) -> None:
        """Raise a RecipeError where something is given that differs from the stopped training; None fits all.

        Of the recipe only the named parameters count, where `only` is given; files are the same from any folder.
        """
        settings: dict[str, Any] = {"backend": backend, "precision": precision}
        mine: dict[str, Any] = {"backend": self.backend, "precision": self.precision}
        if source is not None:
            settings |= {"data": source.where}
            mine |= {"data": self.source.where}
        if recipe is not None:
            params, others = _params(recipe), _params(self.recipe)
            settings |= {name: value for name, value in params.items() if only is None or name in only}
            mine |= {name: others[name] for name in params}
        for name, value in settings.items():
            if value not in (None, AUTO) and value != mine[name]:
                raise RecipeError(
                    f"the stopped training has {name} {mine[name]}; {value} was given to go on with",
                    hint="Leave it out to resume, or train into a new run.",
                )

    def check_inputs(self, inputs: Mapping[str, str]) -> None:
        """Raise a RecipeError where what is learnt from is not what it was, by the sha256 of each input by name."""
        teachers = () if self.recipe.distillation is None else self.recipe.distillation.teachers
        named = {"dataset": f"the data {self.source.where}", "pretrained": f"the file {self.recipe.pretrained}"}
        named |= dict.fromkeys(("model", "architecture"), f"the model {self.recipe.model}")  # of a file, of a function
        named |= {f"teacher {place}": f"the teacher {name}" for place, name in enumerate(teachers)}
        for name, what in named.items():
            if name in self.inputs and inputs.get(name) != self.inputs[name]:
                learnt = "; samples that were learnt may now be validation or test samples" if name == "dataset" else ""
                raise RecipeError(
                    f"{what} changed since the training was begun that was stopped{learnt}",
                    hint="Bring back what was there to resume, or train into a new run.",
                )


def stopped_training(run: RunDirectory) -> Stopped:
    """Return the training that was stopped in a run.

    Raises:
      RunError: nothing was stopped there.
    """
    path = run.partial("train") / RECIPE_FILE
    if not path.exists():
        raise RunError(f"run {run.path} holds no stopped training", hint="Start one with: edgefm train")
    hint = f"Remove {path.parent} and train again."
    value = read_json(path, what="stopped training", error=RunError, hint=hint, schema="stopped-training-1")
    return Stopped(
        recipe=Training.from_json(value["recipe"]),
        backend=value["backend"],
        precision=value["precision"],
        source=DataSource.from_json(value.get("data") or DataSource().to_json(), said_in=path),
        callbacks=tuple(value.get("callbacks", ())),
        inputs=value.get("inputs", {}),
        said_in=path,
    )


def _params(recipe: Training) -> dict[str, Any]:
    """Return all parameters of a recipe, its files by their whole paths."""
    params = {entry.name: getattr(recipe, entry.name) for entry in fields(recipe)}
    for name in ("model", "pretrained"):
        if params[name] is not None and Path(params[name]).exists():
            params[name] = str(Path(params[name]).resolve())
    return params
