"""Data from a function of the user's own, named as 'module:function'.

The function takes nothing and returns an `edgefm.data.dataset.Dataset`, or a dict of arrays named as in a .npz file:
{"x_train": …, "y_train": …, "x_test": …, "y_test": …}.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgefm.core.errors import DataError, EdgefmError
from edgefm.core.named_function import function_named, imports_from
from edgefm.core.progress import SILENT, Progress
from edgefm.data.dataset import Dataset
from edgefm.data.own import arrays
from edgefm.data.own.arrays import Arrays


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
    if isinstance(returned, Mapping) and all(isinstance(name, str) for name in returned):
        return arrays.by_name(returned, source=where, progress=progress)
    raise DataError(
        f"{where} returned {type(returned).__name__}",
        hint="It must return a dict of arrays, {'x_train': …, 'y_train': …}, or an edgefm Dataset.",
    )
