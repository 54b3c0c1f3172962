"""Samples of a model with several inputs as one array: a field an input (docs/adr/0019).

A structured array of numpy is sliced, shuffled, counted, hashed and saved like any other array of samples, so that
only the ends of the way, data, Keras and the runtimes, need to know of the fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def join(arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """Return arrays [n, ...] of one length as a structured array [n] with a field of each name.

    >>> samples = join({"x": np.zeros((5, 2), np.float32), "y": np.ones((5, 3, 1), np.int32)})
    >>> samples.shape, samples.dtype.names, samples["y"].shape
    ((5,), ('x', 'y'), (5, 3, 1))
    """
    length = len(next(iter(arrays.values())))
    joined = np.empty(length, [(name, array.dtype, array.shape[1:]) for name, array in arrays.items()])
    for name, array in arrays.items():
        joined[name] = array
    return joined


def split(samples: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return the fields of a structured array by name, each contiguous."""
    return {name: np.ascontiguousarray(samples[name]) for name in samples.dtype.names or ()}


def is_joined(samples: NDArray[Any]) -> bool:
    """Return whether samples are those of a model with several inputs."""
    return samples.dtype.names is not None


def described(samples: NDArray[Any]) -> str:
    """Return names, dtypes and shapes of the fields, in words.

    >>> described(join({"x": np.zeros((5, 2), np.float32), "y": np.ones((5, 1), np.int32)}))
    "'x' (float32 [2]), 'y' (int32 [1])"
    """
    fields = (samples.dtype.fields or {}).items()
    return ", ".join(f"'{name}' ({dtype.base.name} {list(dtype.shape)})" for name, (dtype, *_) in fields)
