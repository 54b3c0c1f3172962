"""A model that a function of the user's own builds, for the pictures and classes of the data where it takes them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgefm.core import artefacts
from edgefm.core.named_function import trust_function
from edgefm.core.progress import Progress
from edgefm.jobs.to_learn.data import Learnt
from edgefm.jobs.to_learn.network import check_classes, check_probabilities, for_pixels, input_shape_of, say_of_loss
from edgefm.jobs.to_learn.weights import check_learns, sha256_of_pretrained, take_over_pretrained
from edgefm.recipes import Training
from edgefm.training.named_model import NamedModel
from edgefm.training.own_objects import check_found_again, files_of_own_code
from edgefm_converters.readers.stored_loss import loss_in_memory

if TYPE_CHECKING:
    from edgefm.data.dataset import Dataset

# What Keras counts up within a process.
_NUMBERED = re.compile(r"'(keras_tensor_\d+|shared_object_id': \d+)")


class FunctionModel:
    """A function that builds a model, as a recipe names it.

    Attributes:
      fixed: (height, width, channels) that the model takes only; None where the function takes the shape, or has not
        been called yet, since it takes the number of classes.
      usual: None: it has no size of a source.
    """

    usual: tuple[int, int, int] | None = None

    def __init__(self, recipe: Training, *, named_in: Path | None) -> None:
        """Import the function; it is called now where it takes neither a shape nor classes."""
        self._recipe = recipe
        self._named = NamedModel(recipe.model, named_in=named_in)
        if named_in is None:
            trust_function(recipe.model)  # a stopped training names it in a file of the run
        self._model: Any = None
        self.fixed: tuple[int, ...] | None = None
        self._content: dict[str, str] = {}
        if not self._named.takes_shape and not self._named.takes_classes:
            self._model = self._build(None, None)
            self.fixed = input_shape_of(self._model, source=recipe.model)

    def fitted(self, learnt: Learnt, progress: Progress) -> Learnt:
        """Return the data at the size of the model, which is built for them now where it was not."""
        dataset, where = learnt.dataset, self._recipe.model
        if self._model is None:
            self._model = self._build(tuple(dataset.train.images.shape[1:]), len(dataset.labels))
        shape = input_shape_of(self._model, source=where)
        if shape != dataset.train.images.shape[1:]:
            learnt = _at(learnt, shape)
        check_classes(self._model, learnt.dataset, source=where)
        self._check_range(learnt.dataset, shape)
        return learnt

    def builder(self, dataset: Dataset, progress: Progress) -> Callable[[], tuple[Any, Collection[str]]]:
        """Return what returns the model: it is built already."""
        where = self._recipe.model
        self._content = {
            "architecture": _architecture_sha256(self._model, where=where),
            "weights": _weights_sha256(self._model),
        }
        loss, _ = loss_in_memory(self._model)
        say_of_loss(loss, self._recipe, source=where, progress=progress)
        frozen = take_over_pretrained(self._model, self._recipe, progress)
        model = for_pixels(
            self._model,
            source=where,
            value_range=self._recipe.value_range,
            said=self._recipe.value_range is not None,
            new=True,
            progress=progress,
        )
        check_learns(model, source=where, progress=progress)
        check_probabilities(model, dataset, source=where)
        check_found_again(model, where=where)
        return lambda: (model, frozen)

    def inputs(self) -> dict[str, str]:
        """Return the sha256 of the model's layers, of the weights it begins with, and of its pretrained weights."""
        return {**self._content, **sha256_of_pretrained(self._recipe)}

    def _build(self, input_shape: tuple[int, ...] | None, classes: int | None) -> Any:
        import keras

        keras.utils.set_random_seed(self._recipe.seed)
        return self._named.build(input_shape=input_shape, classes=classes, options=self._recipe.model_options)

    def _check_range(self, dataset: Dataset, shape: tuple[int, ...]) -> None:
        from edgefm.data.checks import check_fit

        check_fit(dataset, input_shape=shape, value_range=(0.0, 255.0), classes=len(dataset.labels))


def _at(learnt: Learnt, shape: tuple[int, ...]) -> Learnt:
    """Return data at the size of a model that takes no other; check_fit says where that cannot be."""
    from edgefm.data.dataset import resized

    if len(shape) != 3:
        return learnt
    height, width, channels = shape
    why, source = "the model's only size", learnt.source
    if source is not None and source.holds_pictures():
        return Learnt(dataset=source.load(shape), source=source, why=why)
    changed = resized(learnt.dataset, (height, width, channels))
    return Learnt(dataset=changed, source=None if source is None else replace(source, resize=True), why=why)


def _weights_sha256(model: Any) -> str:
    arrays = [artefacts.sha256_bytes(np.ascontiguousarray(array).tobytes()) for array in model.get_weights()]
    return artefacts.sha256_json(arrays)


def _architecture_sha256(model: Any, *, where: str) -> str:
    """Return the sha256 of a model's layers, whatever Keras has numbered them.

    What layers of the user's own compute is in the files of their modules, which count too.
    """
    layers = model._flatten_layers()
    try:
        config = _NUMBERED.sub("", repr(model.get_config()))
    except Exception:  # a layer of the user's own without get_config
        config = ""
    for place, layer in enumerate(layers):
        config = config.replace(repr(layer.name), f"'layer {place}'")
    files = [[path.name, artefacts.sha256_file(path)] for path in files_of_own_code(model, where=where)]
    return artefacts.sha256_json([[type(layer).__name__ for layer in layers], config, files])
