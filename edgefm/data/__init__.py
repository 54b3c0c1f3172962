"""Data sets: Fashion-MNIST, or a user's own from files, folders, TFRecords, arrays or a Python function.

data = edgefm.data.fashion_mnist()
data = edgefm.data.load("pictures/", input_shape=(96, 96, 3))
data = edgefm.data.from_arrays(images, labels, class_names=("cat", "dog"))
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgefm.core.arguments import PathLike, as_path, check_type
from edgefm.core.progress import Progress, shown
from edgefm.data.dataset import Dataset, Split
from edgefm.data.source import DataSource

__all__ = ["DataSource", "Dataset", "Split", "fashion_mnist", "from_arrays", "load"]


def fashion_mnist(data_dir: PathLike | None = None, *, progress: Progress | bool | None = None) -> Dataset:
    """Return Fashion-MNIST, verified: 48,000 training, 12,000 validation and 10,000 test pictures.

    Pictures are uint8 [n, 28, 28, 1], 0 is the black background; labels are int64 [n].

    Args:
      data_dir: folder of the four files; None searches the usual places and fetches them where none has them.
      progress: True, False, None (bars in a terminal and a notebook) or a receiver.
    Raises:
      DataError: the files are nowhere, or one is damaged.
    """
    from edgefm.data.reference.fashion_mnist import load_fashion_mnist

    with shown(progress) as receiver:
        return load_fashion_mnist(None if data_dir is None else as_path(data_dir, "data_dir"), progress=receiver)


def load(
    where: PathLike,
    *,
    input_shape: Sequence[int] | None = None,
    task: str | None = None,
    spec: PathLike | None = None,
    labels: Sequence[str] | None = None,
    seed: int = 0,
    trust: bool = False,
    progress: Progress | bool | None = None,
) -> Dataset:
    """Return a user's data in three splits that share no sample; missing splits are cut from the training samples.

    Args:
      where: a .npz file, a folder of class folders of pictures, a .tfrecord file or a folder of them,
        'module:function', or 'fashion-mnist'.
      input_shape: of one sample as the model takes it; pictures are resized to it. None takes samples as they are.
      task: 'classification', 'multilabel', 'regression', 'reconstruction'; None tells it from the labels.
      spec: JSON that says what is in TFRecords.
      labels: class names in the order of their numbers; None takes those of the data.
      seed: of the split.
      trust: read a .npz that holds Python objects, which may run code.
      progress: True, False, None (bars in a terminal and a notebook) or a receiver.
    Raises:
      ArgumentError: an argument of another type.
      DataError: the data cannot be read, or are not fit to be learnt.
    """
    from edgefm.data.own.load import load_data

    with shown(progress) as receiver:
        return load_data(
            str(as_path(where, "where")),
            input_shape=None if input_shape is None else tuple(input_shape),
            task=task,
            spec=None if spec is None else as_path(spec, "spec"),
            labels=None if labels is None else tuple(labels),
            seed=seed,
            trust=trust,
            progress=receiver,
        )


def from_arrays(
    images: Any,
    labels: Any = None,
    *,
    validation: tuple[Any, Any] | None = None,
    test: tuple[Any, Any] | None = None,
    class_names: Sequence[str] | None = None,
    task: str | None = None,
    flippable: bool | None = None,
    name: str = "arrays",
    seed: int = 0,
    progress: Progress | bool | None = None,
) -> Dataset:
    """Return arrays in memory as a checked data set in three splits.

    Args:
      images: uint8 [n, height, width, channels], 0 to 255; or float32 [n, ...], which are model inputs already; of a
        model with several inputs a mapping of an array for each, by the input's name.
      labels: whole numbers [n] of the classes, rows of 0 and 1 [n, labels] where a sample has several, or float32
        [n, ...] targets; None where the targets are the inputs.
      validation: (images, labels); None cuts a tenth from the training samples.
      test: (images, labels); None cuts a tenth from the training samples.
      class_names: in the order of their numbers; None numbers the classes.
      task: 'classification', 'multilabel', 'regression', 'reconstruction'; None tells it from the labels.
      flippable: whether a picture mirrored left to right is one of the same class; False for text, digits, signs.
      name: of the data set.
      seed: of the splits that are cut.
      progress: True, False, None (bars in a terminal and a notebook) or a receiver.
    Raises:
      ArgumentError: a split that is no pair.
      DataError: the arrays do not fit together, or are not fit to be learnt.
    """
    from edgefm.data.own import arrays

    values = {"x_train": images, "y_train": labels}
    for split, pair in (("validation", validation), ("test", test)):
        if pair is not None:
            check_type(pair, split, tuple, "a pair (images, labels)")
            values |= {f"x_{split}": pair[0], f"y_{split}": pair[1]}
    if flippable is not None:
        check_type(flippable, "flippable", bool, "True or False")
        values |= {"flippable": flippable}
    given = {key: value for key, value in values.items() if value is not None}
    with shown(progress) as receiver:
        return arrays.dataset_of(
            arrays.by_name(given, source="the arrays", progress=receiver),
            name=name,
            input_shape=None,
            task=task,
            labels=None if class_names is None else tuple(class_names),
            seed=seed,
            progress=receiver,
        )
