"""Data from a function of the user's own, named as 'module:function'.

The function takes nothing and returns an `edgefm.data.dataset.Dataset`, or a dict of arrays named as in a .npz file:
{"x_train": …, "y_train": …, "x_test": …, "y_test": …}; or a tuple of arrays (x, y), or of such pairs, as
the data sets of Keras are loaded: ((x, y), (x, y)) for train and test, three pairs for train, validation and test.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgefm.core.errors import DataError, EdgefmError
from edgefm.core.named_function import function_named, imports_from
from edgefm.core.progress import SILENT, Progress
from edgefm.data.dataset import Dataset
from edgefm.data.own import arrays
from edgefm.data.own.arrays import Arrays

_SPLITS = {2: ("train", "test"), 3: ("train", "validation", "test")}  # by the number of pairs


def call(where: str, *, named_in: Path | None = None, progress: Progress = SILENT) -> Arrays | Dataset:
    """Import a module, from the working folder too, call its function, and return what it gave.

    Args:
      where: 'module:function'.
      named_in: file that names it, see `function_named`; None where the user does.
      progress: receives notes.
    Raises:
      DataError: there is no such function, it is not trusted, it raised, or it returned something else.
    """
    function, folder = function_named(where, named_in=named_in)
    with imports_from(folder):
        try:
            returned = function()
        except EdgefmError:  # it would have imported what is not trusted, say
            raise
        except Exception as error:  # whatever the user's code raises
            raise DataError(f"{where} raised {type(error).__name__}: {error}") from error
    if isinstance(returned, Dataset):
        return returned
    returned = _by_name(returned)
    if isinstance(returned, Mapping) and all(isinstance(name, str) for name in returned):
        return arrays.by_name(returned, source=where, progress=progress)
    raise DataError(
        f"{where} returned {type(returned).__name__}",
        hint="It must return a dict of arrays, {'x_train': …, 'y_train': …}, a tuple (x, y) or ((x_train, y_train), "
        "(x_test, y_test)), or an edgefm Dataset.",
    )


def _by_name(returned: Any) -> Any:
    """Return the arrays of a tuple (x, y), or of two or three of them, by the names of their splits.

    Anything else is returned as it is.

    >>> sorted(_by_name((([0], [1]), ([2], [3]))))
    ['x_test', 'x_train', 'y_test', 'y_train']
    """
    if not isinstance(returned, tuple):
        return returned
    pairs = [part for part in returned if isinstance(part, tuple) and len(part) == 2]
    if len(pairs) == len(returned) and len(pairs) in _SPLITS:
        splits = zip(_SPLITS[len(pairs)], pairs, strict=True)
        return {f"{kind}_{split}": array for split, pair in splits for kind, array in zip("xy", pair, strict=True)}
    return dict(zip("xy", returned, strict=True)) if len(returned) == 2 and not pairs else returned
