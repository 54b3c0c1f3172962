"""What a training learns: the data and the model, in the forms that people have them in, made to fit each other."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edgefm.core.errors import ModelError, RecipeError
from edgefm.core.given import regular
from edgefm.core.progress import Progress
from edgefm.jobs.to_learn.data import (
    Learnt,
    adapted,
    check_axes,
    check_enough,
    check_flip,
    check_is_one_input,
    learnt_data,
    with_class_names,
)
from edgefm.recipes import Training

if TYPE_CHECKING:
    from edgefm.data.dataset import Dataset
    from edgefm.data.source import DataSource


class Model(Protocol):
    """The model of a recipe, by the kind of its name.

    Attributes:
      fixed: (height, width, channels) that it takes only; None where it is built for the data.
      usual: the same of its source; None where it has none.
    """

    fixed: tuple[int, ...] | None
    usual: tuple[int, int, int] | None

    def fitted(self, learnt: Learnt, progress: Progress) -> Learnt:
        """Return the data, checked against the model."""

    def builder(self, dataset: Dataset, progress: Progress) -> Callable[[], tuple[Any, Collection[str]]] | None:
        """Return what returns the model and the layers that are frozen at first; None: the zoo's own."""

    def inputs(self) -> dict[str, str]:
        """Return the sha256 of what it is made of."""


# What may suit the data and the device where nobody said it.
FREE = frozenset({"batch_size", "learning_rate", "epochs", "flip"})
_FILES = (".keras", ".h5", ".hdf5")


@dataclass(frozen=True, kw_only=True)
class ToLearn:
    """A training that can begin.

    Attributes:
      recipe: with what was adapted to the data, with whole paths, and with class weights by name.
      dataset: what is learnt.
      source: where it comes from; None of a data set in memory.
      model: returns the keras.Model that is trained and the names of layers that are frozen at first; None stands for
        the recipe's architecture as its source has it.
      inputs: sha256 of what the model is made of, by name.
    """

    recipe: Training
    dataset: Dataset
    source: DataSource | None
    model: Callable[[], tuple[Any, Collection[str]]] | None
    inputs: Mapping[str, str] = field(default_factory=dict)


def to_learn(
    recipe: Training,
    *,
    dataset: Dataset | None,
    source: DataSource | None,
    free: Collection[str] = (),
    backend: str | None,
    precision: str,
    data_dir: Path | None = None,
    named_in: Path | None = None,
    trust: bool = False,
    progress: Progress,
) -> ToLearn:
    """Return a training that can begin, its data read and its model checked against them.

    Args:
      recipe: names the model, and may say the size of the pictures.
      dataset: in memory; or
      source: where the data lie.
      free: names of the recipe's parameters that may be adapted to the data.
      backend: of Keras; None takes the usual one.
      precision: of Keras.
      data_dir: folder of the Fashion-MNIST files.
      named_in: file that the recipe was read from; None where the user says it now. A function that a file names must
        be on the user's list.
      trust: run code that the file of a model holds (Lambda layers).
      progress: receives progress, and first which pictures and classes are learnt.
    Raises:
      DataError: the data cannot be read, are too few, or do not fit the model.
      ModelError: the model or the pretrained weights cannot be read, or do not fit.
      RecipeError: an unknown model, or a size that it does not take.
    """
    recipe = _with_whole_paths(recipe)
    model = _model_of(recipe, backend=backend, precision=precision, named_in=named_in, trust=trust)
    if recipe.pretrained is not None:
        regular.check(Path(recipe.pretrained), ModelError, missing=f"no pretrained weights at {recipe.pretrained}")
    from edgefm.data.checks import check_dtype, check_has_classes

    learnt = learnt_data(
        recipe,
        dataset=dataset,
        source=source,
        fixed=model.fixed,
        usual=model.usual,
        data_dir=data_dir,
        progress=progress,
    )
    check_is_one_input(learnt.dataset)
    check_has_classes(learnt.dataset)
    check_dtype(learnt.dataset, takes_tokens=False)
    check_enough(learnt.dataset)
    with _without_tensorflow(recipe, backend, precision):
        learnt = model.fitted(learnt, progress)
    _say(recipe, learnt, progress)
    _say_of_optimizer(recipe, progress)
    recipe = with_class_names(recipe, learnt.dataset, progress=progress)
    recipe = adapted(recipe, learnt.dataset, free=free, progress=progress)
    recipe = _for_device(recipe, learnt.dataset, free=free, backend=backend, precision=precision, progress=progress)
    check_flip(recipe, learnt.dataset)
    check_axes(recipe, learnt.dataset)
    with _without_tensorflow(recipe, backend, precision):
        built = model.builder(learnt.dataset, progress)  # before its inputs are asked for
    return ToLearn(
        recipe=recipe,
        dataset=learnt.dataset,
        source=learnt.source,
        model=built,
        inputs=model.inputs(),
    )


def _for_device(
    recipe: Training,
    dataset: Dataset,
    *,
    free: Collection[str],
    backend: str | None,
    precision: str,
    progress: Progress,
) -> Training:
    """Return a preset's recipe for the device that it is trained on; what was changed is said."""
    from edgefm.jobs.to_learn.scaling import scaled, scales
    from edgefm.keras_graph.backend import use_backend

    height, width, *_ = (*dataset.train.images.shape[1:], 1, 1)
    images, pixels = len(dataset.train), height * width
    if not scales(recipe, free=free, images=images, pixels=pixels):
        return recipe  # Keras need not be loaded to know the device
    kind = use_backend(backend, precision).kind
    chosen = scaled(recipe, kind=kind, free=free, images=images, pixels=pixels)
    if chosen != recipe:
        progress.note(
            f"on a GPU: batch size {chosen.batch_size} instead of {recipe.batch_size}, learning rate "
            f"{chosen.learning_rate:g} instead of {recipe.learning_rate:g}"
        )
    return chosen


def _without_tensorflow(recipe: Training, backend: str | None, precision: str) -> AbstractContextManager[None]:
    """Keep Keras from importing TensorFlow for a model of the user's own, where it runs on another backend."""
    from edgefm.keras_graph.backend import use_backend, without_tensorflow

    if not is_file(recipe.model) and ":" not in recipe.model:
        return nullcontext()  # the zoo sees to it when it builds
    return without_tensorflow(use_backend(backend, precision))


def _model_of(recipe: Training, *, backend: str | None, precision: str, named_in: Path | None, trust: bool) -> Model:
    """Return the model of a recipe, by the kind of its name, before its data are known."""
    from edgefm.keras_graph.backend import find_backend, use_backend

    find_backend(backend, precision)
    if is_file(recipe.model):
        if recipe.model_options:
            raise RecipeError(f"{recipe.model} is a file, which has no options")
        from edgefm.jobs.to_learn.of_file import FileModel

        use_backend(backend, precision)
        return FileModel(recipe, trust=trust)
    if ":" in recipe.model:
        from edgefm.jobs.to_learn.of_function import FunctionModel

        use_backend(backend, precision)
        return FunctionModel(recipe, named_in=named_in)
    from edgefm.jobs.to_learn.of_zoo import ZooModel

    return ZooModel(recipe, backend=backend, precision=precision)


def is_file(model: str) -> bool:
    """Return whether a model is named as a file or folder, and not as an architecture or a function."""
    path = Path(model).expanduser()
    return path.suffix in _FILES or "/" in model or (path.is_dir() and (path / "saved_model.pb").exists())


def _with_whole_paths(recipe: Training) -> Training:
    """Return a recipe whose files are found from any folder."""
    changes: dict[str, Any] = {}
    if is_file(recipe.model):
        changes["model"] = str(Path(recipe.model).expanduser().resolve())
    if recipe.pretrained is not None:
        changes["pretrained"] = str(Path(recipe.pretrained).expanduser().resolve())
    return replace(recipe, **changes)


def _say(recipe: Training, learnt: Learnt, progress: Progress) -> None:
    shape = " x ".join(map(str, learnt.dataset.train.images.shape[1:]))
    train, validation, test = (len(split) for split in learnt.dataset.splits)
    progress.note(
        f"{recipe.model_name} learns {learnt.dataset.name}: pictures of {shape} ({learnt.why}), "
        f"{len(learnt.dataset.labels)} classes; {train:,} to learn from, {validation:,} to validate on, {test:,} to "
        "test"
    )


def _say_of_optimizer(recipe: Training, progress: Progress) -> None:
    """Note what an optimiser does not do, and a decay that is another one's."""
    if recipe.momentum and recipe.optimizer != "sgd":
        progress.note(
            f"momentum {recipe.momentum:g} does nothing: the optimizer is {recipe.optimizer}, and sgd has one"
        )
    if recipe.optimizer == "sgd" and recipe.weight_decay == Training.weight_decay:
        progress.note(
            f"weight decay {recipe.weight_decay:g}, the default, is adamw's: as L2 of sgd it is strong; 0.0005 is usual"
        )
