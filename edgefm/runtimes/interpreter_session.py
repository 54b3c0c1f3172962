"""What LiteRT and its predecessor tflite-runtime share: the Interpreter of TensorFlow Lite's Python API."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import ModelError, unknown_name
from edgefm.runtimes import tflite_ends
from edgefm.runtimes.base import TensorDetails
from edgefm.runtimes.model_ends import End, ModelEnds, check
from edgefm.runtimes.session import BaseSession, check_threads, split_input
from edgefm.tflite import tflite_file

# Kernel set -> name in OpResolverType. 'xnnpack' is what the interpreter takes by itself: the XNNPACK delegate, and
# the optimised built-in kernels for what it leaves. 'reference' are the plain kernels, ten times slower and more.
RESOLVERS = {"xnnpack": "AUTO", "builtin": "BUILTIN_WITHOUT_DEFAULT_DELEGATES", "reference": "BUILTIN_REF"}
KERNELS = tuple(RESOLVERS)
_CUSTOM_OPERATOR = re.compile(r"unresolved custom op: (\S+?)\.?(?:\s|$)")


def load(path: Path, *, module: str, title: str, threads: int, kernels: str | None) -> InterpreterSession:
    """Return a session of a .tflite file; see `edgefm.runtimes.base.Runtime.load`.

    Args:
      path: .tflite file.
      module: that holds Interpreter and OpResolverType; it can be imported.
      title: name of the runtime in messages.
      threads: compute threads, 1 or more.
      kernels: one of KERNELS; None takes the first.
    Raises:
      ModelError: the file is no model, is damaged, or cannot be run by these kernels.
      RecipeError: an unknown kernel set, or no thread.
    """
    check_threads(threads)
    resolver = resolver_of(kernels)
    tflite_file.check(path)
    library = importlib.import_module(module)
    try:
        interpreter = library.Interpreter(
            model_path=str(path),
            num_threads=threads,
            experimental_op_resolver_type=getattr(library.OpResolverType, resolver),
        )
        _close_batch(interpreter)
        sources, sinks = _named(interpreter.get_input_details(), path), interpreter.get_output_details()
        check(path, ModelEnds(inputs=[_end(tensor) for tensor in sources], outputs=[_end(tensor) for tensor in sinks]))
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise _explain(path, str(error), title) from error
    # The shape of an output is known only after the tensors are allocated.
    session = InterpreterSession if len(sources) == 1 else SeveralInputsSession
    return session(interpreter, sources, interpreter.get_output_details())


def resolver_of(kernels: str | None) -> str:
    """Return the name in OpResolverType of a kernel set; None takes the default."""
    chosen = KERNELS[0] if kernels is None else kernels
    if chosen not in RESOLVERS:
        raise unknown_name("kernel set", chosen, KERNELS)
    return RESOLVERS[chosen]


class InterpreterSession(BaseSession):
    """A loaded .tflite file.

    The details of the tensors are read once: `get_input_details` takes longer than a small model's invoke. Arrays
    are copied in and out: a view from `tensor()` that is kept makes the next invoke raise.
    """

    def __init__(
        self, interpreter: Any, sources: Sequence[Mapping[str, Any]], sinks: Sequence[Mapping[str, Any]]
    ) -> None:
        source = TensorDetails.joined([_details(tensor) for tensor in sources])
        super().__init__(source, [_details(sink) for sink in sinks], interpreter.invoke)
        self._interpreter = interpreter
        self._source, *_ = self._sources = [int(tensor["index"]) for tensor in sources]
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

    def close(self) -> None:
        """Free the model."""
        super().close()
        self._interpreter = None


class SeveralInputsSession(InterpreterSession):
    """A loaded .tflite file with several inputs."""

    def set_input(self, array: NDArray[Any]) -> None:
        """Copy the fields of a structured array [1] into the inputs of their names."""
        for index, (_, values) in zip(self._sources, split_input(self.input, array), strict=True):
            self._interpreter.set_tensor(index, values)


def _named(sources: Sequence[Mapping[str, Any]], path: Path) -> list[Mapping[str, Any]]:
    """Return the details of inputs, several of them by the names of the file's signature."""
    names = tflite_ends.input_names(path) if len(sources) > 1 else {}
    return [{**tensor, "name": names.get(int(tensor["index"]), tensor["name"])} for tensor in sources]


def _close_batch(interpreter: Any) -> None:
    """Let inputs whose batch is open take one sample; as they lie in the file they mostly do."""
    for tensor in interpreter.get_input_details():
        shape, signature = tensor["shape"].tolist(), tensor["shape_signature"].tolist()
        if signature[:1] == [-1] and -1 not in signature[1:] and shape[0] != 1:
            interpreter.resize_tensor_input(tensor["index"], [1, *shape[1:]])


def _end(tensor: Mapping[str, Any]) -> End:
    return End(details=_details(tensor), signature=tuple(int(length) for length in tensor["shape_signature"]))


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


def _explain(path: Path, message: str, title: str) -> ModelError:
    custom = _CUSTOM_OPERATOR.search(message)
    if custom:
        return ModelError(
            f"{path} uses the custom operator '{custom.group(1)}', which {title} does not have",
            hint="Convert the model with built-in operators only (no Flex or custom operators).",
        )
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return ModelError(f"{title} cannot load {path}: {lines[0] if lines else 'no error message'}")
