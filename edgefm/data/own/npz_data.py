"""Data in a .npz file, as numpy.savez writes it.

It holds x_train, y_train and, where there are any, x_val, y_val, x_test, y_test (train_images, train_labels and so
on are understood too); or x and y, or images and labels, which are split. x is uint8 pixels [n, height, width,
channels] ([n, height, width] for grey), or float inputs of the model [n, ...]. y is whole numbers, names or one-hot
rows for classes, floats for a regression. `label_names` may hold the class names. Of a model with several inputs there
is an array for each: x_train_<input>, x_test_<input>, ….
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from edgefm.core.errors import DataError
from edgefm.core.progress import SILENT, Progress
from edgefm.data.own import arrays
from edgefm.data.own.arrays import Arrays


def read(path: Path, *, trust: bool = False, progress: Progress = SILENT) -> Arrays:
    """Return the arrays of a .npz file.

    Args:
      path: the file.
      trust: also read arrays of Python objects; unpickling runs code that the file brings.
      progress: receives a step an array.
    Raises:
      DataError: no such file, it is damaged, holds Python objects, or no inputs under a known name.
    """
    if not path.is_file():
        raise DataError(f"no data at {path}", hint="Write a .npz file with: numpy.savez(path, x_train=…, y_train=…)")
    values = {}
    name = ""
    try:
        with np.load(path, allow_pickle=trust) as archive:
            names = list(archive.files)
            for index, name in enumerate(names):
                values[name] = archive[name]
                progress.step(f"read {path.name}", index + 1, len(names), {"array": name})
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, TypeError, IndexError, AttributeError) as error:
        if "allow_pickle" in str(error) or "pickle" in str(error):
            raise DataError(
                f"{path} holds Python objects" + (f" in the array '{name}'" if name else ""),
                hint="Unpickling them can run code from the file. Save plain arrays of numbers, or, if you wrote "
                "the file yourself, trust it.",
            ) from None
        raise DataError(f"{path} cannot be read as a .npz file: {error}") from error
    return arrays.by_name(values, source=path.name, progress=progress)
