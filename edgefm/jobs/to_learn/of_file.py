"""A Keras model in a file, which goes on learning."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgefm.core import trust as trust_list
from edgefm.core.progress import Progress
from edgefm.jobs.to_learn.data import Learnt
from edgefm.jobs.to_learn.network import check_classes, check_probabilities, for_pixels, input_shape_of, say_of_loss
from edgefm.jobs.to_learn.weights import check_learns, sha256_of_pretrained, take_over_pretrained
from edgefm.recipes import Training
from edgefm_converters.readers import model_file
from edgefm_converters.readers.keras_file import load_to_train

if TYPE_CHECKING:
    from edgefm.data.dataset import Dataset


class FileModel:
    """A model in a file, as a recipe names it.

    Attributes:
      fixed: (height, width, channels) that it takes.
      usual: None: it takes no other.
    """

    usual: tuple[int, int, int] | None = None

    def __init__(self, recipe: Training, *, trust: bool = False) -> None:
        """Load the model: code in it is run only with `trust`, or where this user trusted this file before."""
        self._recipe = recipe
        self._path = Path(recipe.model)
        self._model = load_to_train(self._path, trust=_is_trusted(self._path, trust))
        self.fixed: tuple[int, ...] | None = input_shape_of(self._model, source=self._path.name)
        self._value_range: tuple[float, float] | None = None

    def fitted(self, learnt: Learnt, progress: Progress) -> Learnt:
        """Return the data with the classes in the order of the model; how it reads pictures is found out by them."""
        from edgefm.data.checks import check_fit
        from edgefm.quantization.reading.interpretation import interpret

        name = self._path.name
        check_classes(self._model, learnt.dataset, source=name)
        reading = interpret(
            model_file.Loaded(keras=self._model),
            learnt.dataset,
            file=name,
            value_range=self._recipe.value_range,
            progress=progress,
        )
        self._value_range = reading.value_range
        if reading.dataset is not None and reading.dataset.labels != learnt.dataset.labels:
            source = learnt.source
            if source is not None:
                source = replace(source, labels=reading.dataset.labels)
            dataset = reading.dataset if source is None else source.load(self.fixed, progress=progress)
            learnt = Learnt(dataset=dataset, source=source, why=learnt.why)
        assert self.fixed is not None, "a file has one size"
        check_fit(learnt.dataset, input_shape=self.fixed, value_range=(0.0, 255.0), classes=len(learnt.dataset.labels))
        return learnt

    def builder(self, dataset: Dataset, progress: Progress) -> Callable[[], tuple[Any, Collection[str]]]:
        """Return what returns the model: it is loaded already."""
        name = self._path.name
        loss, _ = model_file.stored_loss_of(self._path, self._model)
        say_of_loss(loss, self._recipe, source=name, progress=progress)
        frozen = take_over_pretrained(self._model, self._recipe, progress)
        model = for_pixels(
            self._model,
            source=name,
            value_range=self._value_range,
            said=self._recipe.value_range is not None,
            new=False,
            progress=progress,
        )
        check_learns(model, source=name, progress=progress)
        check_probabilities(model, dataset, source=name)
        return lambda: (model, frozen)

    def inputs(self) -> dict[str, str]:
        """Return the sha256 of the file, and of its pretrained weights."""
        return {"model": model_file.sha256(self._path), **sha256_of_pretrained(self._recipe)}


def _is_trusted(path: Path, trust: bool) -> bool:
    """Return whether code in a file may run, and keep it where the user says so now."""
    if not path.exists():
        return False  # the reader says what is missing
    sha256 = model_file.sha256(path)
    if trust and model_file.code_in(path) is not None:
        trust_list.remember(sha256, f"model {path.name}")
    return trust or trust_list.is_trusted(sha256)
