"""A model with several inputs: whether samples are those that it takes, and how values go in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core import joined
from edgefm.core.errors import DataError
from edgefm.core.progress import SILENT, Progress
from edgefm.data.preprocessing import Preprocessing, real_inputs
from edgefm_converters.readers.model_file import Input

_LARGEST = float(np.finfo(np.float32).max)


def check_inputs_fit(samples: NDArray[Any], inputs: Sequence[Input], *, file: str, source: str) -> None:
    """Raise a DataError unless samples have a field of the name, shape and kind of each input of a model.

    Args:
      samples: [n, ...] of a model with one input; a structured array [n] of one with several.
      inputs: of the model.
      file: its name, for messages.
      source: of the samples, for messages.
    """
    takes = ", ".join(f"'{given.name}' {list(given.shape)}" for given in inputs)
    if not joined.is_joined(samples):
        if len(inputs) > 1:
            raise DataError(
                f"{file} has {len(inputs)} inputs ({takes}), and {source} has one array of samples",
                hint=_how(inputs),
            )
        return
    if len(inputs) == 1:
        raise DataError(
            f"{file} has one input, and {source} has several: {joined.described(samples)}",
            hint="Give one array, x_train, … (images in Python).",
        )
    fields: Mapping[str, Any] = samples.dtype.fields or {}
    if set(fields) != {given.name for given in inputs}:
        missing = [given.name for given in inputs if given.name not in fields]
        unknown = [name for name in fields if name not in {given.name for given in inputs}]
        parts = [f"lacks {_quoted(missing)}"] * bool(missing) + [f"has the unknown {_quoted(unknown)}"] * bool(unknown)
        raise DataError(f"{file} has the inputs {takes}; {source} {' and '.join(parts)}", hint=_how(inputs))
    for given in inputs:
        dtype = fields[given.name][0]
        if dtype.shape != given.shape:
            raise DataError(
                f"the input '{given.name}' of {file} has shape {list(given.shape)}; {source} gives {list(dtype.shape)}"
            )
        if given.tokens is not None and dtype.base.kind == "f":
            raise DataError(
                f"the input '{given.name}' of {file} takes whole numbers, such as tokens; {source} gives {dtype.base}",
                hint="Use array.astype('int32').",
            )


def of_several(
    inputs: Sequence[Input], *, file: str, value_range: Sequence[float] | None = None, progress: Progress = SILENT
) -> Preprocessing:
    """Return how values go into a model with several inputs: each as the model takes it."""
    names = _quoted([given.name for given in inputs])
    if value_range is not None:
        progress.note(
            f"the value range is left aside: {file} has several inputs ({names}), each of which takes its own values"
        )
    return real_inputs((-_LARGEST, _LARGEST), reason=f"the model has several inputs ({names})")


def _how(inputs: Sequence[Input]) -> str:
    arrays = ", ".join(f"x_train_{given.name}" for given in inputs)
    return (
        f"Give an array for each, by its name: {arrays} in a .npz file; in Python a mapping "
        "{name: array} as the images."
    )


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
