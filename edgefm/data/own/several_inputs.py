"""Arrays of a model with several inputs: given by name, or as a mapping, and made one array of samples."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from edgefm.core import joined
from edgefm.core.errors import DataError

# 'x_train_<input>', 'x_<input>', 'train_images_<input>': what stands before the name of an input.
_PREFIX = re.compile(
    r"(?P<stem>(x|images|inputs|data)(_(train|training|val|valid|validation|test))?"
    r"|(train|training|val|valid|validation|test)_(x|images|inputs|data))_(?P<input>.+)",
    re.IGNORECASE,
)
_SPLITS = ("train", "training", "val", "valid", "validation", "test")


def gathered(values: Mapping[str, Any], *, source: str) -> dict[str, Any]:
    """Return arrays by name, those of several inputs joined under the name that stands before the input's.

    Args:
      values: by name; a mapping of arrays, and arrays named x_train_<input>, are the inputs of one split.
      source: where they come from, for messages.
    Raises:
      DataError: the inputs of a split are of unequal lengths.

    >>> list(gathered({"x_train_left": np.zeros((4, 2)), "x_train_right": np.zeros((4, 3)), "y_train": 1}, source="a"))
    ['y_train', 'x_train']
    """
    plain: dict[str, Any] = {}
    several: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        match = _PREFIX.fullmatch(name)
        if isinstance(value, Mapping):
            several.setdefault(name, {}).update(value)
        elif match and match["input"].lower() not in _SPLITS:
            several.setdefault(match["stem"], {})[match["input"]] = value
        else:
            plain[name] = value
    for stem, inputs in several.items():
        if stem in plain:  # an array beside the samples, such as x_mean
            plain |= {f"{stem}_{name}": array for name, array in inputs.items()}
            continue
        plain[stem] = _joined(stem, {name: np.asarray(array) for name, array in inputs.items()}, source)
    return plain


def _joined(stem: str, inputs: dict[str, Any], source: str) -> Any:
    if not inputs:
        raise DataError(f"'{stem}' of {source} holds no inputs", hint="Give an array for each input of the model.")
    lengths = {name: len(array) if array.ndim else None for name, array in inputs.items()}
    if len(set(lengths.values())) > 1 or None in lengths.values():
        told = ", ".join(f"{length} of '{name}'" for name, length in lengths.items())
        raise DataError(
            f"the inputs '{stem}' of {source} are of unequal lengths: {told}", hint="Give each sample whole."
        )
    if any(array.dtype.hasobject for array in inputs.values()):
        raise DataError(f"the inputs '{stem}' of {source} hold Python objects", hint="Give arrays of numbers.")
    return joined.join(inputs)
