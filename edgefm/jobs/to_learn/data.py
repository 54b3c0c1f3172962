"""The data of a training: the size that its pictures get, and whether they are enough to be learnt."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgefm.core.errors import DataError, RecipeError
from edgefm.core.progress import Progress
from edgefm.core.text import few
from edgefm.recipes import Training
from edgefm.recipes.class_weights import by_name

if TYPE_CHECKING:
    from edgefm.data.dataset import Dataset
    from edgefm.data.source import DataSource

# Encoded pictures of one size are taken as they are up to this side; photographs would be far too much.
_LARGEST = 256
_CHANNELS = (1, 3, 4)  # of pictures
# Augmentation that takes the first axis of a picture for its rows and the second for its columns.
_OF_ROWS_AND_COLUMNS = ("flip", "shift_pixels", "rotation_degrees", "zoom", "erasing", "cutmix")
# Of each class: one to learn from, one to validate on and one to test.
_LEAST_OF_A_CLASS = 3


@dataclass(frozen=True, kw_only=True)
class Learnt:
    """The data of a training at the size at which they are learnt.

    Attributes:
      dataset: uint8 pictures with classes, as later steps of a run find them by `source`.
      source: where they come from; None of a data set in memory.
      why: what the size was taken from, in words.
    """

    dataset: Dataset
    source: DataSource | None
    why: str


def learnt_data(
    recipe: Training,
    *,
    dataset: Dataset | None,
    source: DataSource | None,
    fixed: tuple[int, ...] | None,
    usual: tuple[int, int, int] | None,
    data_dir: Path | None,
    progress: Progress,
) -> Learnt:
    """Return the data of a training, their pictures at the size of the model.

    The size is the recipe's, else the model's where it takes no other, else that of the data; of encoded pictures, in
    folders or TFRecords, that have several sizes, or a very large one, the one that the model's source has. The
    channels are the recipe's, else the model's where it takes no others, else those of the data: of encoded pictures 3
    where any may have colours.

    Args:
      recipe: may say a size and a number of channels.
      dataset: in memory; or
      source: where they lie.
      fixed: (height, width, channels) of a model that takes no other.
      usual: the same of the model's source, where it has one.
      data_dir: folder of the Fashion-MNIST files.
      progress: receives progress.
    Raises:
      DataError: the data cannot be read, do not fit the model, or are too few.
      RecipeError: the recipe's size is not that of a model that takes no other.
    """
    _check_fixed(recipe, fixed)
    if dataset is not None or source is None:
        assert dataset is not None, "data are either in memory or somewhere"
        return _resized(dataset, None, recipe, fixed)
    if source.holds_pictures():
        shape, why = (fixed, "the model's only size") if fixed else _of_pictures(source, recipe, usual, progress)
        return Learnt(dataset=source.load(shape, progress=progress), source=source, why=why)
    as_they_are = replace(source, resize=False).load(None, data_dir=data_dir, progress=progress)
    return _resized(as_they_are, source, recipe, fixed)


def check_is_one_input(dataset: Dataset) -> None:
    """Raise a DataError where the samples of a data set are for a model with several inputs."""
    from edgefm.core import joined

    if joined.is_joined(dataset.train.images):
        raise DataError(
            f"{dataset.name} has several inputs ({joined.described(dataset.train.images)}); a training learns from one "
            "picture to one class",
            hint="Train the model with Keras, and quantize the file with these data.",
        )


def check_channels_last(dataset: Dataset, *, otherwise: str = "") -> None:
    """Raise a DataError where samples are pictures whose channels come first, such as 3 x 32 x 32.

    What else can be done than to move them ends the message: `otherwise`.
    """
    shape = dataset.train.images.shape[1:]
    if len(shape) == 3 and shape[0] in _CHANNELS and min(shape[1:]) > max(_CHANNELS):
        raise DataError(
            f"the samples of {dataset.name} are {' x '.join(map(str, shape))}: the channels come first",
            hint=f"Move them to the end: x.transpose(0, 2, 3, 1){otherwise}.",
        )


def check_enough(dataset: Dataset) -> None:
    """Raise a DataError where a data set has a single class, or a class too few samples for three splits."""
    from edgefm.data.dataset import class_counts

    if len(dataset.labels) < 2:
        raise DataError(
            f"{dataset.name} has a single class, {few(dataset.labels)}: there is nothing to tell apart",
            hint="Give pictures of two classes or more, each in a folder of its own; 'others' may be one of them.",
        )
    counts = [class_counts(split, classes=len(dataset.labels)) for split in dataset.splits]
    scarce = [
        f"{label} ({sum(of_class)})"
        for label, *of_class in zip(dataset.labels, *counts, strict=True)
        if sum(of_class) < _LEAST_OF_A_CLASS and 0 in of_class
    ]
    if scarce:
        raise DataError(
            f"{len(scarce)} of {len(dataset.labels)} classes of {dataset.name} have too few samples: {few(scarce)}",
            hint=f"Each class needs {_LEAST_OF_A_CLASS} or more: one to learn from, one to validate on, one to test. "
            "Give more, or leave the class out.",
        )
    for split in dataset.splits:
        if not len(split):
            raise DataError(f"the {split.name} split of {dataset.name} is empty", hint="Give more samples.")


def check_flip(recipe: Training, dataset: Dataset) -> None:
    """Raise a RecipeError where a recipe mirrors pictures of which a mirrored one is none of its class."""
    if recipe.flip and dataset.flippable is False:
        raise RecipeError(
            f"the recipe mirrors pictures, and those of {dataset.name} are marked as not flippable",
            hint="Train with flip=False; or take the mark away, where a mirrored picture is of its class.",
        )


def check_axes(recipe: Training, dataset: Dataset) -> None:
    """Raise a DataError where a recipe mirrors, moves or covers pictures whose channels come first.

    A model of one's own may take them so, but rows and columns are then not where augmentation takes them from.
    """
    used = [name for name in _OF_ROWS_AND_COLUMNS if getattr(recipe, name)]
    if used:
        others = ", ".join(f"{name}={False if name == 'flip' else 0}" for name in used)
        check_channels_last(
            dataset,
            otherwise=" (a model that takes them first then begins with keras.layers.Permute((3, 1, 2))); or train "
            f"with {others}",
        )


def with_class_names(recipe: Training, dataset: Dataset, *, progress: Progress) -> Training:
    """Return a recipe whose class weights, if it has any, are by the names of the classes; they are said.

    Raises:
      RecipeError: see `edgefm.recipes.class_weights.by_name`.
    """
    if isinstance(recipe.class_weights, str):
        return recipe
    weights = by_name(recipe.class_weights, dataset.labels)
    if not isinstance(weights, str):
        told = few([f"{name} {weight:g}" for name, weight in weights.items()])
        others = " (the others: 1)" if len(weights) < len(dataset.labels) else ""
        progress.note(f"class weights: {told}{others}")
    return replace(recipe, class_weights=weights)


def adapted(recipe: Training, dataset: Dataset, *, free: Collection[str], progress: Progress) -> Training:
    """Return a recipe in which what nobody asked for suits the data; what was changed is said.

    Of fewer than 2,000 training samples an epoch has few steps: smaller batches and more epochs give 400 steps or more,
    in at most 100 epochs. Pictures that are marked as not flippable are not mirrored.

    Args:
      recipe: of which nobody said what is free.
      dataset: to learn.
      free: names of parameters that may be changed.
      progress: receives what was changed.
    """
    count = len(dataset.train)
    changes: dict[str, int | bool] = {}
    if count < _FEW and "batch_size" in free:
        batch = min(recipe.batch_size, max(_LEAST_BATCH, 1 << max(0, (count // _STEPS_AN_EPOCH).bit_length() - 1)))
        changes |= {"batch_size": batch} if batch != recipe.batch_size else {}
    if count < _FEW and "epochs" in free:
        steps = max(1, count // int(changes.get("batch_size", recipe.batch_size)))
        epochs = min(_MOST_EPOCHS, max(recipe.epochs, -(-_STEPS // steps)))
        changes |= {"epochs": epochs} if epochs != recipe.epochs else {}
    if changes:
        told = " and ".join(f"{name.replace('_', ' ')} {value}" for name, value in changes.items())
        progress.note(f"{count:,} training samples: {told}, so that there are enough steps")
    if recipe.flip and dataset.flippable is False and "flip" in free:
        changes |= {"flip": False}
        progress.note(f"{dataset.name} is marked as not flippable: pictures are not mirrored")
    return replace(recipe, **changes) if changes else recipe  # type: ignore[arg-type]  # each is of its field's type


_FEW, _LEAST_BATCH, _STEPS_AN_EPOCH = 2_000, 8, 16
_STEPS, _MOST_EPOCHS = 400, 100


def _check_fixed(recipe: Training, fixed: tuple[int, ...] | None) -> None:
    if fixed is None:
        return
    if len(fixed) != 3:
        raise DataError(
            f"the model takes inputs of shape {list(fixed)}, no pictures [height, width, channels]",
            hint="Train it with Keras, and quantize the file.",
        )
    wanted = {"image_size": recipe.image_size, "channels": recipe.channels}
    own = {"image_size": fixed[0] if fixed[0] == fixed[1] else -1, "channels": fixed[2]}
    for name, value in wanted.items():
        if value is not None and value != own[name]:
            raise RecipeError(
                f"{name} {value} was given, and {recipe.model_name} takes pictures of "
                f"{' x '.join(map(str, fixed))} only",
                hint="Leave it out.",
            )


def _of_pictures(
    source: DataSource,
    recipe: Training,
    usual: tuple[int, int, int] | None,
    progress: Progress,
) -> tuple[tuple[int, ...], str]:
    """Return the shape that encoded pictures are read at, and where it comes from."""
    known = source.sizes(progress)
    channels = recipe.channels or known.channels
    if recipe.image_size is not None:
        return (recipe.image_size, recipe.image_size, channels), "as given"
    if known.least == known.greatest and max(known.least) <= _LARGEST:
        return (*known.least, channels), "the size of the pictures"
    (height, width), (most_height, most_width) = known.least, known.greatest
    theirs = (
        f"{height} x {width}"
        if known.least == known.greatest
        else f"{height} x {width} to {most_height} x {most_width}"
    )
    if usual is None:
        raise RecipeError(
            f"the pictures of {source.where} are {theirs}: nothing says at which size they are to be learnt",
            hint="Give an image size, such as 96.",
        )
    return (*usual[:2], channels), f"the size that {recipe.model_name} is known for; the pictures are {theirs}"


def _resized(dataset: Dataset, source: DataSource | None, recipe: Training, fixed: tuple[int, ...] | None) -> Learnt:
    """Return data that are no picture files, at the size of the model; inputs that are no pictures as they are.

    Raises:
      RecipeError: the recipe says another size than that of data that are no uint8 pixels.
    """
    from edgefm.data import dataset as datasets

    shape = tuple(dataset.train.images.shape[1:])
    if len(shape) != 3:
        return Learnt(dataset=dataset, source=source, why="the size of the data")
    side = recipe.image_size
    if side is not None:  # a size of pictures
        check_channels_last(dataset)
    height, width, channels = fixed or (side or shape[0], side or shape[1], recipe.channels or shape[2])
    wanted = (height, width, channels)
    why = "the model's only size" if fixed else "as given" if side else "the size of the data"
    if wanted == shape:
        return Learnt(dataset=dataset, source=source, why=why)
    changed = datasets.resized(dataset, wanted)
    if changed is dataset and not fixed:
        raise RecipeError(
            f"pictures of {' x '.join(map(str, wanted))} were asked for; the data are {dataset.train.images.dtype} of "
            f"{' x '.join(map(str, shape))}, and only uint8 pixels of 1, 3 or 4 channels are resized",
            hint="Leave size and channels out, resize the data before, or give pixels as uint8, 0 to 255.",
        )
    if changed is not dataset and source is not None:
        source = replace(source, resize=True)
    return Learnt(dataset=changed, source=source, why=f"{why}; the data are {' x '.join(map(str, shape))}")
