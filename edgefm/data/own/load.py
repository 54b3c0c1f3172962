"""A user's own data: arrays in a file, pictures in folders, TFRecords, or what a Python function returns."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from edgefm.core.errors import DataError
from edgefm.core.progress import SILENT, Progress
from edgefm.data import checks
from edgefm.data.dataset import Dataset
from edgefm.data.head import ModelHead
from edgefm.data.own import arrays
from edgefm.data.repeated import note_shared

if TYPE_CHECKING:
    from edgefm.data.own.image_folders import Sizes

FASHION_MNIST = "fashion-mnist"
_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_ALLOWED = (
    "Allowed: a .npz file; a folder of class folders of pictures; a .tfrecord file or a folder of them, with a spec; "
    f"module:function; {FASHION_MNIST}."
)


def load_data(
    where: str,
    *,
    input_shape: tuple[int, ...] | None,
    task: str | None = None,
    spec: Path | None = None,
    labels: tuple[str, ...] | None = None,
    seed: int = 0,
    head: ModelHead | None = None,
    trust: bool = False,
    named_in: Path | None = None,
    progress: Progress = SILENT,
) -> Dataset:
    """Return a user's data as a checked data set in three splits; missing splits are cut from the training samples.

    Args:
      where: one of
        a .npz file, see `edgefm.data.own.npz_data`;
        a folder of class folders of pictures, see `edgefm.data.own.image_folders`;
        a .tfrecord file or a folder of them, see `edgefm.data.own.tfrecord_data`;
        'module:function' in Python, see `edgefm.data.own.python_data`: this runs the user's code;
        'fashion-mnist'.
      input_shape: of one sample as the model takes it, without the batch; pictures are resized to it. None takes
        the samples as they are.
      task: 'classification', 'multilabel' (rows of 0 and 1), 'regression', 'reconstruction' (the targets are the
        inputs); None tells it from the labels, see `edgefm.data.own.tasks`.
      spec: JSON that says what is in TFRecords.
      labels: class names in the order of their numbers; None takes those of the data, or numbers the classes.
      seed: of the cut into splits.
      head: of the model that the data are for; None where it is not known.
      trust: also unpickle arrays of Python objects in a .npz file, which runs code that the file brings.
      named_in: file that says `where`; None where the user does. A function that a file names must be on the user's
        list, see `edgefm.core.trust`.
      progress: receives progress, and what was decided on the way.
    Raises:
      DataError: there are no such data, or something is wrong with them.
      RecipeError: the task has an unknown name.
      RuntimeUnavailableError: a needed library is not installed.
    """
    path = Path(where).expanduser()
    if spec is not None and not is_tfrecords(path):
        raise DataError(f"the spec {spec} is for TFRecords; {where} holds none", hint=_ALLOWED)
    if is_tfrecords(path):
        from edgefm.data.own import tfrecord_data

        loaded = tfrecord_data.read(path, spec=spec, input_shape=input_shape, task=task, progress=progress)
    elif path.is_dir():
        from edgefm.data.own import image_folders

        loaded = image_folders.read(path, input_shape=input_shape, labels=labels, task=task, progress=progress)
    elif path.suffix.lower() == ".npz":
        from edgefm.data.own import npz_data

        loaded = npz_data.read(path, trust=trust, progress=progress)
    elif where == FASHION_MNIST and not path.exists():
        from edgefm.data.reference.fashion_mnist import load_fashion_mnist

        return load_fashion_mnist(progress=progress)
    elif is_function(where):
        from edgefm.data.own import python_data

        returned = python_data.call(where, named_in=named_in, progress=progress)
        if isinstance(returned, Dataset):
            checks.check(returned, source=where, progress=progress)
            note_shared(returned, progress)
            return returned
        loaded = returned
    else:
        what = "is not in a format that edgefm reads" if path.exists() else "does not exist"
        raise DataError(f"{where} {what}", hint=_ALLOWED)
    return arrays.dataset_of(
        loaded,
        name=path.name or where,
        input_shape=input_shape,
        task=task,
        labels=labels,
        seed=seed,
        head=head,
        progress=progress,
    )


def holds_pictures(path: Path, *, spec: Path | None) -> bool:
    """Return whether data are encoded pictures, in folders or TFRecords, which are read at any size; or else arrays.

    Raises:
      DataError: TFRecords without a spec, or with a wrong one.
    """
    if not is_tfrecords(path):
        return path.is_dir()
    from edgefm.data.own import tfrecord_data

    return tfrecord_data.holds_pictures(path, spec=spec)


def sizes(path: Path, *, spec: Path | None, progress: Progress = SILENT) -> Sizes:
    """Return the sizes of encoded pictures in folders or TFRecords; their pixels are not read.

    Raises:
      DataError: there is no picture that can be read, or something is wrong with the folders, the records or the spec.
      RuntimeUnavailableError: a needed library is not installed.
    """
    if is_tfrecords(path):
        from edgefm.data.own import tfrecord_data

        return tfrecord_data.sizes(path, spec=spec, progress=progress)
    from edgefm.data.own import image_folders

    return image_folders.sizes(path, progress=progress)


def is_function(where: str) -> bool:
    """Return whether data are named as a function, 'module:function', and not as a file or folder."""
    return _FUNCTION.fullmatch(where) is not None and not Path(where).expanduser().exists()


def is_tfrecords(path: Path) -> bool:
    """Return whether a path is a TFRecord file or a folder of them."""
    if path.is_dir():
        return any(".tfrecord" in entry.name for entry in path.iterdir() if entry.is_file())
    return ".tfrecord" in path.name
