"""An architecture of the zoo, built for the pictures and classes of the data."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgefm import zoo
from edgefm.core.errors import RecipeError
from edgefm.core.progress import Progress
from edgefm.jobs.to_learn.data import Learnt, check_channels_last
from edgefm.jobs.to_learn.weights import sha256_of_pretrained, take_over_pretrained
from edgefm.recipes import Training

if TYPE_CHECKING:
    from edgefm.data.dataset import Dataset


class ZooModel:
    """An architecture of the zoo as a recipe names it.

    Attributes:
      fixed: (height, width, channels) that it takes only; None where it is built for any.
      usual: the same of its source; None where that is no size of pictures, such as DS-CNN's 49 x 10 of sound.
    """

    def __init__(self, recipe: Training, *, backend: str | None, precision: str) -> None:
        """Find an architecture; nothing is built yet."""
        self._recipe, self._backend, self._precision = recipe, backend, precision
        self._known = zoo.check_options(recipe.model, recipe.model_options)
        if recipe.value_range is not None:
            raise RecipeError(
                f"a value range was given, and '{recipe.model}' takes pixels 0 to 255: it scales them itself",
                hint="Leave it out. It goes with a function or a file of your own.",
            )
        height, width, _ = self._known.input_shape
        self.usual: tuple[int, int, int] | None = self._known.input_shape if height == width else None
        self.fixed: tuple[int, ...] | None = None if zoo.is_sized(recipe.model) else self._known.input_shape

    def fitted(self, learnt: Learnt, progress: Progress) -> Learnt:
        """Return the data, checked: pixels, of a size and a number of classes that it can be built for."""
        from edgefm.data.checks import check_fit
        from edgefm.data.dataset import with_channel

        learnt = replace(learnt, dataset=with_channel(learnt.dataset))
        dataset = learnt.dataset
        check_channels_last(dataset)
        shape = self.fixed or dataset.train.images.shape[1:]
        classes = self._known.classes if self.fixed else len(dataset.labels)
        if len(shape) == 3:
            height, width, channels = shape
            zoo.check_shape(self._recipe.model, (height, width, channels), classes=classes)
        check_fit(
            dataset,
            input_shape=shape if len(shape) == 3 else self._known.input_shape,
            value_range=(0.0, 255.0),
            classes=classes,
        )
        return learnt

    def builder(self, dataset: Dataset, progress: Progress) -> Callable[[], tuple[Any, Collection[str]]] | None:
        """Return what builds it; None where that is the architecture as its source has it.

        With pretrained weights it is built now, so that weights that do not fit are noticed before a run is made.
        """
        recipe = self._recipe
        shape, classes = tuple(dataset.train.images.shape[1:]), len(dataset.labels)
        if recipe.pretrained is None and (shape, classes) == (self._known.input_shape, self._known.classes):
            return None

        def build() -> tuple[Any, Collection[str]]:
            import keras

            keras.utils.set_random_seed(recipe.seed)
            model = zoo.build(recipe.model, recipe.model_options, input_shape=_three(shape), classes=classes)
            return model, take_over_pretrained(model, recipe, progress)

        if recipe.pretrained is None:
            return build
        from edgefm.keras_graph.backend import use_backend, without_tensorflow

        with without_tensorflow(use_backend(self._backend, self._precision)):
            built = build()
        return lambda: built

    def inputs(self) -> dict[str, str]:
        """Return the sha256 of its files."""
        return sha256_of_pretrained(self._recipe)


def _three(shape: tuple[int, ...]) -> tuple[int, int, int]:
    height, width, channels = shape
    return height, width, channels
