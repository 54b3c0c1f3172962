"""What a user read out on a device: the model's outputs, and perhaps the bytes that went in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import DataError
from edgefm.core.given import regular
from edgefm.tflite.contract import Contract, Tensor

_LARGEST = 64_000_000
_MOST_DECIMALS = 6
_HINT = (
    "A .json file: a list of the first output's values, an object of probabilities by label, or "
    '{"outputs": [[…], …], "input": […]}; a .npy or .npz file (outputs, input); or a .bin file of all output tensors.'
)


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What the device gave.

    Attributes:
      outputs: one flat array an output that was read out, float64; levels or real values, see `levels`.
      levels: whether they are levels of quantised outputs, not real values.
      decimals: behind the point of real values; 6 where they have more.
      labels: names beside the values of the first output; None where there are none.
      input: values that went in, flat, in the order in which they were given; None where they were not read out.
    """

    outputs: tuple[NDArray[np.float64], ...] = field(repr=False)
    levels: bool
    decimals: int
    labels: tuple[str, ...] | None
    input: NDArray[Any] | None = field(repr=False)


def read_expected(path: Path, contract: Contract) -> Expected:
    """Return what a file says that the device gave.

    Raises:
      DataError: it is missing, cannot be read, or does not fit the model's outputs.
    """
    missing = f"there is no file {path} of what the device gave"
    with regular.open_file(path, DataError, missing=missing, hint=_HINT) as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise DataError(f"{path} has more than {_LARGEST:,} bytes: too many for outputs", hint=_HINT)
    try:
        outputs, given, labels = _parsed(path, content, contract)
    except (ValueError, TypeError, KeyError, OSError, RecursionError) as error:
        raise DataError(f"{path} cannot be read as outputs of a model: {error}", hint=_HINT) from None
    return _checked(path, outputs, given, labels, contract)


def _parsed(path: Path, content: bytes, contract: Contract) -> tuple[list[Any], Any, tuple[str, ...] | None]:
    if path.suffix == ".bin":
        return _of_bytes(content, contract.outputs), None, None
    if path.suffix in (".npy", ".npz"):
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return [loaded], None, None
            stored = sorted(name for name in loaded.files if name != "input")
            return [loaded[name] for name in stored], loaded["input"] if "input" in loaded.files else None, None
    value = json.loads(content.decode("utf-8-sig"))
    if isinstance(value, Mapping) and "outputs" not in value:
        names = tuple(str(name) for name in value)
        return [list(value.values())], None, names
    if isinstance(value, Mapping):
        outputs = value["outputs"]
        return (outputs if _is_nested(outputs) else [outputs]), value.get("input"), None
    return (value if _is_nested(value) and len(value) == len(contract.outputs) else [value]), None, None


def _is_nested(values: Any) -> bool:
    return isinstance(values, Sequence) and bool(values) and all(isinstance(value, Sequence) for value in values)


def _of_bytes(content: bytes, tensors: Sequence[Tensor]) -> list[NDArray[Any]]:
    arrays, start = [], 0
    for tensor in tensors:
        size = tensor.size * np.dtype(tensor.dtype).itemsize
        arrays.append(np.frombuffer(content[start : start + size], np.dtype(tensor.dtype).newbyteorder("<")))
        start += size
    if start != len(content):
        raise ValueError(f"it has {len(content):,} bytes, the outputs take {start:,}")
    return arrays


def _checked(
    path: Path, outputs: list[Any], given: Any, labels: tuple[str, ...] | None, contract: Contract
) -> Expected:
    flat = [np.asarray(output).reshape(-1) for output in outputs]
    if not flat or any(array.dtype.kind not in "iuf" for array in flat):
        raise DataError(f"{path} holds no numbers", hint=_HINT)
    values = [array.astype(np.float64) for array in flat]
    if not all(np.isfinite(array).all() for array in values):
        raise DataError(f"{path} holds numbers that are NaN or infinite", hint="Read the outputs out again.")
    sizes, wanted = [len(array) for array in values], [tensor.size for tensor in contract.outputs]
    fits = len(sizes) <= len(wanted) and all(size == want for size, want in zip(sizes, wanted, strict=False))
    if not fits and sizes != [len(contract.labels)]:
        raise DataError(
            f"{path} holds {', '.join(map(str, sizes))} values; the model's outputs have {', '.join(map(str, wanted))}",
            hint=_HINT,
        )
    if labels is not None and sorted(labels) != sorted(contract.labels):
        raise DataError(
            f"{path} names {', '.join(labels[:5])}; the model's labels are {', '.join(contract.labels[:5])}",
            hint="Give the values as a list where labels may be mixed up.",
        )
    whole = all((array == np.round(array)).all() for array in values)
    # Beside labels there stand probabilities, or what was taken for them.
    levels = (
        labels is None
        and contract.output.scale is not None
        and whole
        and max(float(np.abs(array).max()) for array in values) > 1
    )
    seen = None if given is None else np.asarray(given).reshape(-1)
    if seen is not None and (seen.dtype.kind not in "iuf" or seen.size != contract.input.size):
        raise DataError(f"{path}: its input has {seen.size:,} values, the model takes {contract.input.size:,}")
    return Expected(outputs=tuple(values), levels=levels, decimals=_decimals(values), labels=labels, input=seen)


def _decimals(values: Sequence[NDArray[np.float64]]) -> int:
    """Return how many decimals all values have, at most 6.

    >>> _decimals([np.array([0.25, 0.5])]), _decimals([np.array([0.3333333, 1])])
    (2, 6)
    """
    together = np.concatenate(values)
    for count in range(_MOST_DECIMALS):
        if np.allclose(together, np.round(together, count), rtol=0, atol=1e-9):
            return count
    return _MOST_DECIMALS
