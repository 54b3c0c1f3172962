"""What the sessions of all runtimes share: one run from input to output, and their end."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, TypeVar

from numpy.typing import NDArray

from edgefm.core import joined
from edgefm.core.errors import RecipeError, RuntimeUnavailableError
from edgefm.runtimes.base import Availability, Available, TensorDetails, Unavailable

_Self = TypeVar("_Self", bound="BaseSession")  # typing.Self is not in a board's Python 3.10


class BaseSession(ABC):
    """A loaded model with the parts of `edgefm.runtimes.base.RuntimeSession` that are the same in every runtime.

    Attributes:
      input: the input tensor; of several inputs, one that has them as `parts`.
      outputs: the output tensors in the model's order.
      output: the first of them.
      invoke: runs the model on the input that is set; once the session is closed it raises a RuntimeError.
    """

    def __init__(self, source: TensorDetails, sinks: Sequence[TensorDetails], invoke: Callable[[], object]) -> None:
        self.input = source
        self.outputs = tuple(sinks)
        self.output = self.outputs[0]
        self.invoke = invoke

    @abstractmethod
    def set_input(self, array: NDArray[Any]) -> None:
        """Copy an array of the input's dtype and shape into the model."""

    @abstractmethod
    def get_outputs(self) -> tuple[NDArray[Any], ...]:
        """Return copies of all outputs of the last invoke."""

    def get_output(self) -> NDArray[Any]:
        """Return a copy of the first output of the last invoke."""
        return self.get_outputs()[0]

    def run(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return the first output for one input."""
        self.set_input(array)
        self.invoke()
        return self.get_output()

    def close(self) -> None:
        """Free what the session holds."""
        self.invoke = _closed

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_input(details: TensorDetails, array: NDArray[Any]) -> None:
    """Raise a ValueError where an array has not the dtype and shape of an input."""
    if details.parts:
        for part, values in split_input(details, array):
            check_input(part, values)
        return
    if array.dtype.name != details.dtype or array.shape != details.shape:
        raise ValueError(f"the input is {array.dtype.name} {array.shape}; {details.dtype} {details.shape} is expected")


def split_input(details: TensorDetails, array: NDArray[Any]) -> list[tuple[TensorDetails, NDArray[Any]]]:
    """Return each part of a model's input with its values; the input itself where it has no parts.

    Raises:
      ValueError: the fields of a structured array are not the names of the parts.
    """
    if not details.parts:
        return [(details, array)]
    values = joined.split(array)
    if set(values) != {part.name for part in details.parts}:
        raise ValueError(f"the inputs are {', '.join(values) or 'one array'}; {details.name} are expected")
    return [(part, values[part.name]) for part in details.parts]


def check_threads(threads: int) -> None:
    """Raise a RecipeError for a number of threads below 1."""
    if threads < 1:
        raise RecipeError(f"threads {threads} is not allowed: it must be 1 or more")


def check_available(availability: Availability, *, install: str | None = None) -> None:
    """Raise a RuntimeUnavailableError where a runtime cannot be used here; `install` is the command that mends it."""
    if isinstance(availability, Unavailable):
        hint = None if install is None else f"Install it with: {install}"
        raise RuntimeUnavailableError(availability.reason, hint=hint)


def imported(package: str, module: str) -> Availability:
    """Return whether a package's module can be imported; its native library is loaded for this."""
    try:
        importlib.import_module(module)
    except ImportError as error:
        return Unavailable(f"{package} cannot be imported: {error}")
    return Available()


def _closed() -> None:
    raise RuntimeError("the session is closed")
