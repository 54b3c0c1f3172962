"""LiteRT, the successor of TensorFlow Lite: `ai_edge_litert.interpreter.Interpreter` with XNNPACK kernels."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.errors import ModelError, RecipeError, RuntimeUnavailableError
from edgefm.runtimes import tflite_file
from edgefm.runtimes.base import Availability, Available, TensorDetails, Unavailable

name = "litert"
_PACKAGE = "ai-edge-litert"
_CUSTOM_OPERATOR = re.compile(r"unresolved custom op: (\S+?)\.?(?:\s|$)")


def version() -> str:
    """Return the version of ai-edge-litert."""
    return importlib.metadata.version(_PACKAGE)


def availability() -> Availability:
    """Return whether LiteRT can be used here; its native library is loaded for this."""
    try:
        importlib.import_module("ai_edge_litert.interpreter")
    except ImportError as error:
        return Unavailable(f"{_PACKAGE} cannot be imported: {error}")
    return Available()


def load(path: Path, *, threads: int = 1) -> LiteRTSession:
    """Return a session of a .tflite file; see `edgefm.runtimes.base.Runtime.load`."""
    if threads < 1:
        raise RecipeError(f"threads {threads} is not allowed: it must be 1 or more")
    tflite_file.check(path)
    usable = availability()
    if isinstance(usable, Unavailable):
        raise RuntimeUnavailableError(usable.reason, hint=f"Install it with: pip install {_PACKAGE}")
    from ai_edge_litert.interpreter import Interpreter

    try:
        interpreter = Interpreter(model_path=str(path), num_threads=threads)
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        source = _only_input(path, inputs)
        _check_outputs(path, outputs)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise _explain(path, str(error)) from error
    # The shape of an output is known only after the tensors are allocated.
    return LiteRTSession(interpreter, source, interpreter.get_output_details())


class LiteRTSession:
    """A loaded .tflite file.

    The details of the tensors are read once: `get_input_details` takes longer than a small model's invoke. Arrays
    are copied in and out: a view from `tensor()` that is kept makes the next invoke raise.
    """

    def __init__(self, interpreter: Any, source: Mapping[str, Any], sinks: Sequence[Mapping[str, Any]]) -> None:
        self.input = _details(source)
        self.outputs = tuple(_details(sink) for sink in sinks)
        self.output = self.outputs[0]
        self.invoke: Callable[[], object] = interpreter.invoke
        self._interpreter = interpreter
        self._source = int(source["index"])
        self._sinks = [int(sink["index"]) for sink in sinks]

    def set_input(self, array: NDArray[Any]) -> None:
        """Copy an array of the input's dtype and shape into the model."""
        self._interpreter.set_tensor(self._source, array)

    def get_output(self) -> NDArray[Any]:
        """Return a copy of the first output of the last invoke."""
        output: NDArray[Any] = self._interpreter.get_tensor(self._sinks[0])
        return output

    def get_outputs(self) -> tuple[NDArray[Any], ...]:
        """Return copies of all outputs of the last invoke."""
        return tuple(self._interpreter.get_tensor(sink) for sink in self._sinks)

    def run(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return the first output for one input."""
        self.set_input(array)
        self.invoke()
        return self.get_output()

    def __enter__(self) -> LiteRTSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._interpreter = None
        self.invoke = _closed


def _closed() -> None:
    raise RuntimeError("the session is closed")


def _only_input(path: Path, details: list[dict[str, Any]]) -> dict[str, Any]:
    if len(details) != 1:
        raise ModelError(
            f"{path} has {len(details)} inputs ({_names(details)}); exactly one is expected",
            hint="edgefm feeds a model one sample at a time: one array in, one or more out.",
        )
    tensor = details[0]
    signature = _signature(path, "input", tensor)
    if signature and signature[0] != 1:
        raise ModelError(
            f"the input '{tensor['name']}' of {path} has a batch of {signature[0]}: {signature}",
            hint="Convert the model again with a fixed batch of 1.",
        )
    return tensor


def _check_outputs(path: Path, details: list[dict[str, Any]]) -> None:
    if not details:
        raise ModelError(f"{path} has no output")
    for tensor in details:
        _signature(path, "output", tensor)


def _signature(path: Path, end: str, tensor: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the shape of a tensor as the file says it, or raise a ModelError where it is not fixed."""
    signature = tuple(int(length) for length in tensor["shape_signature"])
    if -1 in signature:
        raise ModelError(
            f"the {end} '{tensor['name']}' of {path} has the dynamic shape {signature}",
            hint="Convert the model again with a fixed batch of 1.",
        )
    return signature


def _names(details: list[dict[str, Any]]) -> str:
    return ", ".join(f"'{tensor['name']}'" for tensor in details) or "none"


def _details(tensor: Mapping[str, Any]) -> TensorDetails:
    dtype = np.dtype(tensor["dtype"])
    parameters = tensor["quantization_parameters"]
    quantised = dtype.kind in "iu" and len(parameters["scales"]) == 1
    return TensorDetails(
        name=str(tensor["name"]),
        dtype=dtype.name,
        shape=tuple(int(length) for length in tensor["shape"]),
        scale=float(parameters["scales"][0]) if quantised else None,
        zero_point=int(parameters["zero_points"][0]) if quantised else None,
    )


def _explain(path: Path, message: str) -> ModelError:
    custom = _CUSTOM_OPERATOR.search(message)
    if custom:
        return ModelError(
            f"{path} uses the custom operator '{custom.group(1)}', which LiteRT does not have",
            hint="Convert the model with built-in operators only (no Flex or custom operators).",
        )
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return ModelError(f"LiteRT cannot load {path}: {lines[0] if lines else 'it gives no reason'}")
