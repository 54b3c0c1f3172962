"""Data in a .npz file, as numpy.savez writes it.

It holds x_train, y_train and, where there are any, x_val, y_val, x_test, y_test (train_images, train_labels and so
on are understood too); or x and y, or images and labels, which are split. x is uint8 pixels [n, height, width,
channels] ([n, height, width] for grey), or float inputs of the model [n, ...]. y is whole numbers, names or one-hot
rows for classes, floats for a regression. `label_names` may hold the class names, and `flippable` False where a
mirrored picture is no picture of its class. Of a model with several inputs there is an array for each: x_train_<input>,
x_test_<input>, ….
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgefm.core.errors import DataError
from edgefm.core.given import npz
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
      DataError: no such file, it is damaged, unpacks to more than it may (see `edgefm.core.given.limits`), holds
        Python objects, or no inputs under a known name.
    """
    values = npz.read(
        path,
        DataError,
        missing=f"no data at {path}",
        hint="Write a .npz file with: numpy.savez(path, x_train=…, y_train=…)",
        trust=trust,
        told=lambda done, total, name: progress.step(f"read {path.name}", done, total, {"array": name}),
    )
    return replace(arrays.by_name(values, source=path.name, progress=progress), fresh=True)
