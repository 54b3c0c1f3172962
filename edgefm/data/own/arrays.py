"""Arrays as a user gives them, by name and split, made into a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core import joined
from edgefm.core.documents import shown
from edgefm.core.errors import DataError, unknown_name
from edgefm.core.progress import SILENT, Progress
from edgefm.core.task_names import TASKS
from edgefm.core.text import few
from edgefm.data import checks, masks
from edgefm.data.dataset import Dataset, Split, content_sha256
from edgefm.data.head import ModelHead
from edgefm.data.origins import Origins
from edgefm.data.own import several_inputs
from edgefm.data.own.cut import cut
from edgefm.data.own.tasks import one_hot, signs, task_of
from edgefm.data.repeated import note_shared

SPLITS = ("train", "validation", "test")
# The words for a split in the names of arrays, folders and files.
SPLIT_WORDS = {"train": "train", "training": "train", "val": "validation", "valid": "validation"} | {
    "validation": "validation",
    "test": "test",
}
_INPUTS, _TARGETS = ("x", "images", "data", "inputs"), ("y", "labels", "targets")
_NAMES = ("label_names", "class_names")
_FLIPPABLE = "flippable"
_ALLOWED = (
    "x_train, y_train and, where there are any, x_val, y_val, x_test, y_test (or train_images, train_labels, …); "
    "or x and y (or images and labels), which are split; of a model with several inputs x_train_<input>, … for each"
)


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """Samples as they were read, not checked yet.

    Attributes:
      splits: for 'train' and perhaps 'validation' and 'test': inputs [n, ...], and targets [n, ...] or None.
      source: where they come from, for messages, e.g. a file's name.
      labels: class names, where the source itself gives them.
      flippable: see `Dataset`, where the source itself says it.
      fresh: nobody else holds the arrays: they may be overwritten, so that no second copy is needed.
      files: the file of each sample, relative to the source, where it is a folder of them; by split.
    """

    splits: Mapping[str, tuple[NDArray[Any], NDArray[Any] | None]]
    source: str
    labels: tuple[str, ...] | None = None
    flippable: bool | None = None
    fresh: bool = False
    files: Mapping[str, Sequence[str]] = field(default_factory=dict)


def by_name(values: Mapping[str, Any], *, source: str, progress: Progress = SILENT) -> Arrays:
    """Return the arrays that stand under the usual names: x_train, y_train, x_test, …; or x and y; or images, labels.

    Of a model with several inputs, x_train is a mapping of an array for each input, or there are x_train_<input>, ….

    Raises:
      DataError: no inputs under a known name, inputs both split and not split, or targets without inputs.
    """
    by_split: dict[tuple[str, str], NDArray[Any]] = {}
    labels: tuple[str, ...] | None = None
    flippable: bool | None = None
    unknown: list[str] = []
    for name, value in several_inputs.gathered(values, source=source).items():
        array = _array(value, name=shown(name), source=source)
        if name.lower() in _NAMES:
            if array.ndim != 1 or array.dtype.kind not in "USOiu":
                raise DataError(
                    f"'{name}' of {source} is {array.dtype} {array.shape}; a name for each class is expected",
                    hint="Give a list of texts.",
                )
            labels = tuple(_text(label) for label in array)
            continue
        if name.lower() == _FLIPPABLE:
            if array.size != 1 or array.dtype.kind not in "bi":
                raise DataError(f"'{name}' of {source} is {array.dtype} {array.shape}; True or False is expected")
            flippable = bool(array.item())
            continue
        key = _key(name.lower())
        if key is None:
            unknown.append(shown(name))
        elif key in by_split:
            raise DataError(f"{source} gives the {key[1]} of '{key[0] or 'all samples'}' twice, once as '{name}'")
        else:
            by_split[key] = array
    if unknown:
        what = "the array" if len(unknown) == 1 else f"{len(unknown):,} arrays"
        progress.note(
            f"{what} of {source} with an unknown name {'is' if len(unknown) == 1 else 'are'} ignored: {few(unknown)}"
        )
    present = [split for split in ("", *SPLITS) if (split, "inputs") in by_split]
    if not present:
        raise DataError(
            f"{source} holds no inputs under a known name; it holds: {few(list(map(shown, values))) or 'nothing'}",
            hint=f"Allowed: {_ALLOWED}.",
        )
    if "" in present and len(present) > 1:
        raise DataError(f"{source} holds arrays with and without a split in their names", hint=f"Allowed: {_ALLOWED}.")
    for split, kind in by_split:
        if kind == "targets" and split not in present:
            raise DataError(f"{source} holds targets of '{split or 'all samples'}' without inputs")
    return Arrays(
        splits={split or "train": (by_split[split, "inputs"], by_split.get((split, "targets"))) for split in present},
        source=source,
        labels=labels,
        flippable=flippable,
    )


def dataset_of(
    arrays: Arrays,
    *,
    name: str,
    input_shape: tuple[int, ...] | None,
    task: str | None = None,
    labels: tuple[str, ...] | None = None,
    seed: int = 0,
    head: ModelHead | None = None,
    progress: Progress = SILENT,
) -> Dataset:
    """Return a checked data set; splits that are not given are cut from the training samples.

    A tenth of the training samples of each class is held out for each missing split, at least one where the class
    has more than two; for other tasks a tenth of all. Equal seeds give equal splits.

    Args:
      arrays: as read.
      name: of the data set.
      input_shape: of one sample, as the model takes it; a missing last axis of length 1 is added. None takes the
        samples as they are.
      task: one of `edgefm.core.task_names.TASKS`; None tells it from the targets, see `edgefm.data.own.tasks`.
      labels: class names; None takes those of the source, or numbers the classes.
      seed: of the cut.
      head: of the model that the data are for; None where it is not known.
      progress: told what was decided here.
    Raises:
      DataError: the arrays are no such data; the message says why.
      RecipeError: the task has an unknown name.
    """
    if task is not None and task not in TASKS:
        raise unknown_name("task", task, TASKS)
    source = arrays.source
    if "train" not in arrays.splits:
        raise DataError(
            f"{source} holds no training samples, only: {', '.join(arrays.splits)}", hint=f"Allowed: {_ALLOWED}."
        )
    inputs, raw = {}, {}
    for split, (x, y) in arrays.splits.items():
        where = f"the {split} samples of {source}"
        inputs[split] = _inputs(x, input_shape, where=where)
        if y is not None:
            checks.check_lengths(x, y, where=where)
        raw[split] = y
    task = task_of(
        raw,
        task,
        inputs=inputs["train"],
        source=source,
        head=head,
        named=bool(labels or arrays.labels),
        progress=progress,
    )
    targets, names = _targets(inputs, raw, task, labels or arrays.labels, source=source)
    origins = {
        split: Origins(given=split, rows=np.arange(len(x)), files=tuple(arrays.files[split]) if arrays.files else None)
        for split, x in inputs.items()
    }
    missing = [split for split in ("test", "validation") if split not in inputs]
    if missing:
        cut(inputs, targets, origins, missing, classes=task == "classification", seed=seed, fresh=arrays.fresh)
        sizes = ", ".join(f"{len(inputs[split])} {split}" for split in SPLITS)
        progress.note(f"{source} has no {' and no '.join(missing)} split: cut from train with seed {seed}; now {sizes}")
    # Some figures are taken on the first samples alone: these must not be all of one class.
    order = np.random.default_rng(seed).permutation(len(inputs["validation"]))
    inputs["validation"], targets["validation"] = inputs["validation"][order], targets["validation"][order]
    origins["validation"] = origins["validation"].taken(order)
    parts = [Split(name=split, images=inputs[split], labels=targets[split], origins=origins[split]) for split in SPLITS]
    progress.step("check data", 0, 3)
    dataset = Dataset(
        name=name,
        labels=names,
        train=parts[0],
        validation=parts[1],
        test=parts[2],
        sha256=content_sha256(parts, labels=names, task=task),
        task=task,
        flippable=arrays.flippable,
    )
    progress.step("check data", 1, 3)
    checks.check(dataset, source=source, progress=progress)
    progress.step("check data", 2, 3)
    note_shared(dataset, progress)
    progress.step("check data", 3, 3)
    return dataset


def _array(value: Any, *, name: str, source: str) -> NDArray[Any]:
    """Return what a user gives as an array; a table's column of texts or numbers, which is of Python objects, as such.

    Raises:
      DataError: its entries are of unequal shapes.
    """
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise DataError(
            f"the entries of {name} of {source} are of unequal shapes: {error}",
            hint="Give each sample the same shape; pictures of several sizes can lie in class folders, as files.",
        ) from error
    if array.dtype == object and array.ndim == 1:
        for kinds, dtype in (((str,), str), ((bool, np.bool_), bool), ((int, np.integer), np.int64)):
            if len(array) and all(isinstance(entry, kinds) for entry in array):
                return array.astype(dtype)
    return array


def _key(name: str) -> tuple[str, str] | None:
    """Return (split or '', 'inputs' or 'targets') that the name of an array says, or None."""
    words = name.split("_")
    split = [SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS]
    rest = [word for word in words if word not in SPLIT_WORDS]
    if len(split) > 1 or len(rest) != 1:
        return None
    for kind, known in (("inputs", _INPUTS), ("targets", _TARGETS)):
        if rest[0] in known:
            return (split[0] if split else ""), kind
    return None


def _inputs(x: NDArray[Any], shape: tuple[int, ...] | None, *, where: str) -> NDArray[Any]:
    """Return inputs as uint8 or float32 of the model's shape, or raise a DataError."""
    if joined.is_joined(x):
        return joined.join({name: _typed(part, f"'{name}' of {where}") for name, part in joined.split(x).items()})
    x = _typed(x, where)
    if shape is None or shape == ():
        return x[..., np.newaxis] if x.ndim == 3 and x.dtype == np.uint8 else x
    if x.shape[1:] == shape[:-1] and shape[-1] == 1:
        return x[..., np.newaxis]
    checks.check_shape(x.shape[1:], shape, where=where)
    return x


def _typed(x: NDArray[Any], where: str) -> NDArray[Any]:
    """Return inputs as uint8, as float32, or as int32 where they are tokens, or raise a DataError."""
    checks.check_inputs(x, where=where)
    if x.dtype.kind in "iu" and x.dtype != np.uint8:  # tokens: they go in as they are
        return x.astype(np.int32, copy=False)
    return x if x.dtype == np.uint8 else x.astype(np.float32, copy=False)


def _targets(
    inputs: Mapping[str, NDArray[Any]],
    raw: Mapping[str, NDArray[Any] | None],
    task: str,
    labels: tuple[str, ...] | None,
    *,
    source: str,
) -> tuple[dict[str, NDArray[Any]], tuple[str, ...]]:
    """Return the targets of each split, and the class names: none where the task has none, or masks were given none."""
    if task == "reconstruction":
        return dict(inputs), ()
    labelled = {split: y for split, y in raw.items() if y is not None}
    if task == "segmentation":
        return {split: masks.masks(y, where=f"the {split} labels of {source}") for split, y in labelled.items()}, (
            labels or ()
        )
    if task == "regression":
        numbers = {split: checks.numbers(y, where=f"the {split} labels of {source}") for split, y in labelled.items()}
        return numbers, ()
    if task == "multilabel":
        hot = {split: checks.hot_rows(y, where=f"the {split} labels of {source}") for split, y in labelled.items()}
        return dict(hot), labels or tuple(str(index) for index in range(hot["train"].shape[1]))
    if labels is None and any(y.dtype.kind in "US" for y in labelled.values()):
        labels = tuple(sorted({_text(value) for y in labelled.values() for value in np.unique(y)}))
    classes = {split: _classes(y, labels, where=f"the {split} labels of {source}") for split, y in labelled.items()}
    if labels is None:
        greatest, samples = max(int(y.max()) for y in classes.values()), len(classes["train"])
        if greatest >= samples:
            raise DataError(
                f"the labels of {source} go up to class {greatest}, and there are {samples} training samples: some "
                "classes have none",
                hint="Classes are numbered from 0 without gaps; for numeric targets use task 'regression'.",
            )
        labels = tuple(str(index) for index in range(greatest + 1))
    for split, y in classes.items():
        checks.check_classes(y, labels, where=f"the {split} labels of {source}")
    return dict(classes), labels


def _classes(y: NDArray[Any], labels: tuple[str, ...] | None, *, where: str) -> NDArray[np.int64]:
    """Return labels as int64 [n], or raise a DataError; names become their places."""
    if y.dtype.kind in "US":
        assert labels is not None
        places = {label: place for place, label in enumerate(labels)}
        names = [_text(value) for value in y.reshape(-1)]
        unknown = sorted(set(names) - places.keys())
        if unknown:
            raise DataError(f"{where} hold '{unknown[0]}', which is not one of the classes: {', '.join(labels)}")
        return np.array([places[name] for name in names], np.int64)
    if one_hot(y):
        hot: NDArray[np.int64] = y.argmax(axis=1).astype(np.int64)
        return hot
    return checks.whole_numbers((y + 1) / 2 if signs(y) else y, where=where)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
