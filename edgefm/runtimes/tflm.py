"""TensorFlow Lite for Microcontrollers: the answers a microcontroller gives, and the arena it needs for them.

The kernels are the portable C++ ones, compiled for this machine: the answers are those of a microcontroller without
CMSIS-NN or other tuned kernels, the times are not. `arena_bytes` is what its allocator recorded, and an arena of
exactly that size suffices here; on a 32-bit microcontroller its persistent part is smaller, since pointers are.

It is a pre-release on PyPI (`pip install --pre tflite-micro`), for Linux on x86-64.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import ModelError, RecipeError
from edgefm.runtimes import tflite_ends
from edgefm.runtimes.base import Availability
from edgefm.runtimes.model_ends import ModelEnds, check
from edgefm.runtimes.native_output import captured
from edgefm.runtimes.session import BaseSession, check_available, check_input, check_threads, imported, split_input

name = "tflm"
INSTALL = "pip install 'edgefm[micro]'"
_PACKAGE = "tflite-micro"
_MODULE = "tflite_micro.python.tflite_micro.runtime"
# An arena that does not suffice can crash TFLite Micro, so that the first one must: room for every tensor that is
# computed, twice, for what its tables take of the file's own, and for the least that any model takes. Memory that is
# never touched is never taken.
_LEAST_ARENA_BYTES = 1 << 20
GREATEST_ARENA_BYTES = 1 << 30
_ALIGNMENT = 16
# What TFLite Micro says where an allocation in the arena fails.
_TOO_SMALL = re.compile(r"Requested: \d+, available \d+|Arena size is too small")
_HYBRID = re.compile(r"Hybrid models|Input type: FLOAT32 with filter type: INT")
_RECORDED = re.compile(r"Arena allocation (total|head|tail) (\d+) bytes")
_FACTS = {"total": "arena_bytes", "head": "arena_activation_bytes", "tail": "arena_persistent_bytes"}


def version() -> str:
    """Return the version of tflite-micro."""
    return importlib.metadata.version(_PACKAGE)


def availability() -> Availability:
    """Return whether TFLite Micro can be used here; its native library is loaded for this."""
    return imported(_PACKAGE, _MODULE)


def load(path: Path, *, threads: int = 1) -> TFLMSession:
    """Return a session of a .tflite file; see `edgefm.runtimes.base.Runtime.load`."""
    check_threads(threads)
    if threads > 1:
        raise RecipeError(f"threads {threads} is not allowed: tflm has one thread", hint="Use 1 thread.")
    ends = tflite_ends.read(path)
    check(path, ends)
    check_available(availability(), install=INSTALL)
    return TFLMSession(_interpreter(path), ends, path=path)


class TFLMSession(BaseSession):
    """A loaded .tflite file, its tensors in an arena.

    `invoke` raises a ModelError with TFLite Micro's own words where the model does not run on the input.
    """

    def __init__(self, interpreter: Any, ends: ModelEnds, *, path: Path) -> None:
        super().__init__(ends.source, [end.details for end in ends.outputs], self._invoke)
        self._interpreter, self._path, self._run = interpreter, path, interpreter.invoke

    def set_input(self, array: NDArray[Any]) -> None:
        """Copy an array of the input's dtype and shape into the model."""
        check_input(self.input, array)
        for place, (_, values) in enumerate(split_input(self.input, array)):
            self._interpreter.set_input(np.ascontiguousarray(values), place)

    def get_output(self) -> NDArray[Any]:
        """Return a copy of the first output of the last invoke."""
        return np.array(self._interpreter.get_output(0))

    def get_outputs(self) -> tuple[NDArray[Any], ...]:
        """Return copies of all outputs of the last invoke."""
        return tuple(np.array(self._interpreter.get_output(place)) for place in range(len(self.outputs)))

    def facts(self) -> dict[str, Any]:
        """Return what the model takes of the arena, in bytes: all, its activations, what stays for good."""
        with captured() as output:
            self._interpreter.print_allocations()
        return {_FACTS[part]: int(size) for part, size in _RECORDED.findall(output.text)}

    def close(self) -> None:
        """Free the model."""
        super().close()
        self._interpreter = self._run = None

    def _invoke(self) -> None:
        try:
            self._run()
        except RuntimeError as error:  # its words went to standard error: catching them each time would be timed too
            raise ModelError(
                f"tflm loads {self._path}, and fails to run it on this input: {self._words() or error}"
            ) from error

    def _words(self) -> str:
        """Return what TFLite Micro says of the input that is set, by running it again; '' where it says nothing."""
        with captured() as output, contextlib.suppress(RuntimeError):
            self._run()
        return "; ".join(output.lines)


def arena_bytes(path: Path) -> int:
    """Return the size of an arena that suffices for a .tflite file, generously.

    Raises:
      ModelError: it would be larger than 1 GiB.
    """
    size = _LEAST_ARENA_BYTES + 2 * tflite_ends.computed_bytes(path) + path.stat().st_size
    if size > GREATEST_ARENA_BYTES:
        raise ModelError(
            f"tflm does not load {path}: it may need an arena of {size >> 20:,} MiB; "
            f"{GREATEST_ARENA_BYTES >> 20:,} MiB is the limit",
            hint="The model is too large for microcontrollers.",
        )
    return size + -size % _ALIGNMENT


def _interpreter(path: Path) -> Any:
    size = arena_bytes(path)
    library = importlib.import_module(_MODULE)
    try:
        with captured() as output:
            return library.Interpreter.from_bytes(path.read_bytes(), arena_size=size)
    except MemoryError:
        raise
    except Exception as error:  # its Python part raises whatever a graph that it cannot read leads to
        message = "; ".join(output.lines) or f"{type(error).__name__}: {error}"
        if _TOO_SMALL.search(output.text):
            raise ModelError(
                f"tflm cannot load {path}: an arena of {size:,} bytes was too small ({message})"
            ) from error
        raise _explain(path, message) from error


def _explain(path: Path, message: str) -> ModelError:
    """Return the error in TFLite Micro's own words: those of the kernel first, then which operator it was."""
    hint = None
    if _HYBRID.search(message):
        hint = "It has no kernels for int8 weights with float activations: use full int8 quantization (int8_w8a8)."
    elif "Failed to get registration from op code" in message:
        hint = "TFLite Micro has no kernel for this operator: convert the model without it."
    elif "failed to prepare" in message:
        hint = "Its kernel for this operator does not take these types; int8_w8a8 and float32 are supported best."
    return ModelError(f"tflm cannot load {path}: {message}", hint=hint)
