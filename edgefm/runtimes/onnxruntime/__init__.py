"""ONNX Runtime on the CPU: .onnx files as they are, .tflite files through tf2onnx.

A .tflite file is converted once, in a process of its own (see `tflite_to_onnx`), and kept in edgefm's cache; the
answers of the conversion are compared with LiteRT's before it is used.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import ModelError
from edgefm.runtimes import onnx_file, tflite_ends
from edgefm.runtimes.base import Availability, Available, TensorDetails, Unavailable
from edgefm.runtimes.model_ends import End, ModelEnds, check, with_batch_of_1
from edgefm.runtimes.onnxruntime import tflite_to_onnx
from edgefm.runtimes.session import BaseSession, check_available, check_input, check_threads, split_input

name = "onnxruntime"
INSTALL = "pip install 'edgefm[peers]'"
_PACKAGE = "onnxruntime"
_ERRORS_ONLY = 3
# ONNX Runtime's name of a type -> numpy's; others cannot be an end of a model that edgefm feeds.
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    **{f"tensor({kind})": kind for kind in ("bool", "int8", "int16", "int32", "int64")},
    **{f"tensor({kind})": kind for kind in ("uint8", "uint16", "uint32", "uint64")},
}


def version() -> str:
    """Return the version of onnxruntime."""
    return importlib.metadata.version(_PACKAGE)


def availability() -> Availability:
    """Return whether ONNX Runtime can be used here; its native library is loaded for this."""
    try:
        library = importlib.import_module("onnxruntime")
        library.get_available_providers()
    except (ImportError, AttributeError) as error:
        return Unavailable(f"{_PACKAGE} cannot be imported: {error}")
    return Available()


def prepare(path: Path) -> None:
    """Convert a .tflite file ahead, so that no time or memory of the conversion is counted as that of loading.

    Raises:
      ModelError: it cannot be converted, or not rightly.
    """
    if path.suffix.lower() != onnx_file.SUFFIX:
        check(path, tflite_ends.read(path))
        tflite_to_onnx.converted(path)


def load(path: Path, *, threads: int = 1) -> ONNXRuntimeSession:
    """Return a session of an .onnx or .tflite file; see `edgefm.runtimes.base.Runtime.load`."""
    check_threads(threads)
    ends, model, facts = None, path, {}
    if path.suffix.lower() == onnx_file.SUFFIX:
        onnx_file.check(path)
    else:
        ends = tflite_ends.read(path)
        check(path, ends)
        model = tflite_to_onnx.converted(path)
        facts = {"converted_by": tflite_to_onnx.title()}
    check_available(availability(), install=INSTALL)
    native = _native(path, model, threads)
    native_ends = ModelEnds(inputs=_ends(path, native.get_inputs()), outputs=_ends(path, native.get_outputs()))
    check(path, native_ends)
    if ends is not None:
        _check_same(path, ends, native_ends)
    return ONNXRuntimeSession(native, ends or native_ends, facts)


class ONNXRuntimeSession(BaseSession):
    """A loaded .onnx file; inputs and outputs are bound to memory of ONNX Runtime's once."""

    def __init__(self, native: Any, ends: ModelEnds, facts: dict[str, Any]) -> None:
        library = importlib.import_module("onnxruntime")
        binding = native.io_binding()
        invoke = partial(native.run_with_iobinding, binding)
        super().__init__(ends.source, [end.details for end in ends.outputs], invoke)
        self._facts = facts
        self._sources = [
            library.OrtValue.ortvalue_from_numpy(np.zeros(end.details.shape, end.details.dtype)) for end in ends.inputs
        ]
        self._sinks = [
            library.OrtValue.ortvalue_from_numpy(np.zeros(tensor.shape, tensor.dtype)) for tensor in self.outputs
        ]
        for port, source in zip(native.get_inputs(), self._sources, strict=True):
            binding.bind_ortvalue_input(port.name, source)
        for port, sink in zip(native.get_outputs(), self._sinks, strict=True):
            binding.bind_ortvalue_output(port.name, sink)

    def set_input(self, array: NDArray[Any]) -> None:
        """Copy an array of the input's dtype and shape into the model."""
        check_input(self.input, array)
        for source, (_, values) in zip(self._sources, split_input(self.input, array), strict=True):
            source.update_inplace(np.ascontiguousarray(values))

    def get_output(self) -> NDArray[Any]:
        """Return a copy of the first output of the last invoke."""
        return np.array(self._sinks[0].numpy())

    def get_outputs(self) -> tuple[NDArray[Any], ...]:
        """Return copies of all outputs of the last invoke."""
        return tuple(np.array(sink.numpy()) for sink in self._sinks)

    def facts(self) -> dict[str, Any]:
        """Return what converted a .tflite file; nothing of an .onnx file."""
        return self._facts


def _native(path: Path, model: Path, threads: int) -> Any:
    library = importlib.import_module("onnxruntime")
    options = library.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    try:
        return library.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # each of its status codes is a class of its own, derived from Exception alone
        if isinstance(error, MemoryError):
            raise
        message = " ".join(str(error).split())
        raise ModelError(f"onnxruntime cannot load {path}: {message}") from error


def _ends(path: Path, ports: Sequence[Any]) -> list[End]:
    """Return the ends of an .onnx file; it tells no scales: they are in operators, not in the ends."""
    ends = []
    for port in ports:
        if port.type not in _DTYPES:
            raise ModelError(f"'{port.name}' of {path} has the type {port.type}, which numpy does not support")
        # A length that is not fixed has a name, or none at all.
        shape = tuple(length if isinstance(length, int) else -1 for length in port.shape)
        dtype, at_one = _DTYPES[port.type], with_batch_of_1(shape)
        details = TensorDetails(name=port.name, dtype=dtype, shape=at_one, scale=None, zero_point=None)
        ends.append(End(details=details, signature=shape))
    return ends


def _check_same(path: Path, ends: ModelEnds, native_ends: ModelEnds) -> None:
    """Raise a ModelError where the conversion gave an end another type or shape than it has in the .tflite file."""
    expected = [(end.details.dtype, end.details.shape) for end in (*ends.inputs, *ends.outputs)]
    has = [(end.details.dtype, end.details.shape) for end in (*native_ends.inputs, *native_ends.outputs)]
    if has != expected:
        raise ModelError(f"tf2onnx changes the inputs and outputs of {path} from {expected} to {has}")
