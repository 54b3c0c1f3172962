"""What a runtime is: something that loads a model file and invokes it, one sample at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from edgefm.core.errors import ModelError


@dataclass(frozen=True)
class Available:
    """The runtime can be used here."""


@dataclass(frozen=True)
class Unavailable:
    """The runtime cannot be used here; `reason` says why, for a person, `remedy` what helps where that is known."""

    reason: str
    remedy: str | None = None


Availability = Available | Unavailable


@dataclass(frozen=True, kw_only=True)
class TensorDetails:
    """One end of a loaded model, as the runtime tells it; a ModelError where its scale is no finite number above 0.

    Attributes:
      name: tensor name in the file.
      dtype: numpy's name, e.g. 'float32', 'uint8', 'int8'.
      shape: fixed, the batch of 1 first.
      scale: real = scale * (q - zero_point); None for a tensor that is not quantised.
      zero_point: see `scale`.
      parts: the inputs of a model that has several, in the file's order, () of all other tensors. Samples are then one
        structured array with a field of each part's name (`edgefm.core.joined`), and `dtype` is 'record'.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    scale: float | None
    zero_point: int | None
    parts: tuple[TensorDetails, ...] = ()

    def __post_init__(self) -> None:
        if self.scale is not None and not 0 < self.scale < math.inf:
            raise ModelError(
                f"the tensor '{self.name}' has the scale {self.scale}: its values mean nothing",
                hint="A scale is a finite number above 0. Write the file again.",
            )

    def to_json(self) -> dict[str, Any]:
        """Return the details as a JSON object."""
        value = {**asdict(self), "shape": list(self.shape)}
        del value["parts"]
        return {**value, "parts": [part.to_json() for part in self.parts]} if self.parts else value

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> TensorDetails:
        """Return the details that `to_json` wrote."""
        parts = tuple(cls.from_json(part) for part in value.get("parts", ()))
        return cls(**{**value, "shape": tuple(value["shape"]), "parts": parts})

    @classmethod
    def joined(cls, parts: Sequence[TensorDetails]) -> TensorDetails:
        """Return the inputs of a model as one; that of a model with a single input is that one."""
        if len(parts) == 1:
            return parts[0]
        name = ", ".join(part.name for part in parts)
        return cls(name=name, dtype="record", shape=(1,), scale=None, zero_point=None, parts=tuple(parts))


class RuntimeSession(Protocol):
    """A loaded model; a context manager that frees it at the end."""

    @property
    def input(self) -> TensorDetails:
        """The input tensor; of several inputs, one that has them as `parts`."""

    @property
    def output(self) -> TensorDetails:
        """The first output tensor."""

    @property
    def outputs(self) -> tuple[TensorDetails, ...]:
        """The output tensors in the model's order."""

    @property
    def invoke(self) -> Callable[[], object]:
        """Run the model on the input that is set. The runtime's own function, so that timing it adds no call."""

    def set_input(self, array: NDArray[Any]) -> None:
        """Copy an array of the input's dtype and shape into the model; of several inputs, a structured array [1]."""

    def get_output(self) -> NDArray[Any]:
        """Return a copy of the first output of the last invoke."""

    def get_outputs(self) -> tuple[NDArray[Any], ...]:
        """Return copies of all outputs of the last invoke, in the order of `outputs`."""

    def run(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return the first output for one input: `set_input`, `invoke`, `get_output`."""

    def __enter__(self) -> RuntimeSession: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@dataclass(frozen=True, kw_only=True)
class TimedInvokes:
    """What a session that times itself found.

    Attributes:
      warmup_ns: calls before the samples, in order.
      invoke_ns: the samples, in order.
      disturbed: what went wrong meanwhile ('other programs used 1.0 of 4 cores'); empty where nothing did.
      refused: why the samples are no figure of this device at all ('the phone throttled'): they stay in the record and
        are never used, however few others there are; empty where they are.
    """

    warmup_ns: list[int]
    invoke_ns: list[int]
    disturbed: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


@runtime_checkable
class TimesItself(Protocol):
    """A session whose invokes must be timed elsewhere than around `invoke`: in a browser, on a phone."""

    def timed_invokes(
        self, *, warmup_calls: int, least_calls: int, least_ns: int, most_calls: int, most_ns: int
    ) -> TimedInvokes:
        """Return the time of invokes on the input that is set; the limits are those of `timed_calls`."""


@runtime_checkable
class TellsFacts(Protocol):
    """A session that knows more of the loaded model than times."""

    def facts(self) -> Mapping[str, Any]:
        """Return JSON values by name with unit, e.g. {'arena_bytes': 59440}; asked after the first invoke."""


@runtime_checkable
class TakesMany(Protocol):
    """A session to which the way is long (a phone): many inputs go there in one journey."""

    def outputs_of(self, inputs: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """Return the outputs [n, ...] each for inputs [n, ...] in the input's dtype, one invoke for each."""


class Runtime(Protocol):
    """A runtime; a module with these names is one.

    A module may also have `KERNELS`: the names of its kernel sets, the default first. The user then writes
    'litert:reference', and `load` is given `kernels='reference'`; without a set it is not given the argument.
    It may have `INSTALL` too: what to do to have it, shown by `edgefm doctor`. And `LIMITS_MEMORY = False`, where the
    model lies in another process than the worker (a browser): the worker's memory is neither limited nor told then.
    And `prepare(path)`: what is done once for a file, such as converting it, before memory and time are looked at.
    """

    @property
    def name(self) -> str:
        """Name in records and on the command line."""

    def version(self) -> str:
        """Return the installed version."""

    def availability(self) -> Availability:
        """Return whether the runtime can be used here, and why not; its native library is loaded for this."""

    def load(self, path: Path, *, threads: int = 1) -> RuntimeSession:
        """Return a session of a model file, its tensors allocated.

        Args:
          path: model file with inputs and outputs of fixed shape, batch 1.
          threads: compute threads, 1 or more.
        Raises:
          ModelError: the file is no model, is damaged, or cannot be run by this runtime.
          RuntimeUnavailableError: the runtime cannot be used here.
        """
