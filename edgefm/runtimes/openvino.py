"""OpenVINO on the CPU: Intel's runtime, through its own frontends for .tflite and .onnx files.

Left alone it computes float models in bfloat16 where the processor has it, and takes all cores; here it computes in
float32 with the threads that are asked for.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import re
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
from edgefm.runtimes.session import BaseSession, check_available, check_input, check_threads, split_input

name = "openvino"
INSTALL = "pip install 'edgefm[peers]'"
_PACKAGE = "openvino"
# Lines of its messages that say where in its own source it is, not what is wrong.
_OWN_SOURCE = re.compile(r"^(Exception from src/|FrontEnd API failed with |Check '.*' failed at src/)")


def version() -> str:
    """Return the version of openvino."""
    return importlib.metadata.version(_PACKAGE)


def availability() -> Availability:
    """Return whether OpenVINO can be used here; its native library is loaded for this."""
    try:
        library = importlib.import_module("openvino")
        devices = library.Core().available_devices
    except (ImportError, AttributeError, RuntimeError) as error:
        return Unavailable(f"{_PACKAGE} cannot be imported: {error}")
    if "CPU" not in devices:
        return Unavailable(f"{_PACKAGE} finds no usable CPU device, only {', '.join(devices) or 'nothing'}")
    return Available()


def load(path: Path, *, threads: int = 1) -> OpenVINOSession:
    """Return a session of a .tflite or .onnx file; see `edgefm.runtimes.base.Runtime.load`."""
    check_threads(threads)
    onnx = path.suffix.lower() == onnx_file.SUFFIX
    ends = None
    if onnx:
        onnx_file.check(path)
    else:
        ends = tflite_ends.read(path)
        check(path, ends)
    check_available(availability(), install=INSTALL)
    library = importlib.import_module("openvino")
    try:
        core = library.Core()
        model = core.read_model(str(path))
        if ends is None:
            ends = ModelEnds(inputs=_ends(model.inputs), outputs=_ends(model.outputs))
            check(path, ends)
        if any(end.open_batch for end in ends.inputs):
            shapes = [list(end.details.shape) for end in ends.inputs]
            model.reshape(dict(zip(model.inputs, shapes, strict=True)))
        compiled = core.compile_model(
            model,
            "CPU",
            {
                "INFERENCE_NUM_THREADS": threads,
                "NUM_STREAMS": 1,
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_PRECISION_HINT": "f32",
            },
        )
        _check_same(path, ends, compiled)
        return OpenVINOSession(library, compiled, ends)
    except (RuntimeError, ValueError, TypeError) as error:  # a name that is no text, a shape that is not fixed
        raise _explain(path, str(error)) from error


class OpenVINOSession(BaseSession):
    """A compiled model and one request; each input lies in an array of this session that the request reads."""

    def __init__(self, library: Any, compiled: Any, ends: ModelEnds) -> None:
        self._request = compiled.create_infer_request()
        # Views of the outputs, which nobody takes, instead of copies.
        invoke = partial(self._request.infer, share_outputs=True)
        super().__init__(ends.source, [end.details for end in ends.outputs], invoke)
        self._arrays: list[NDArray[Any]] = [np.zeros(end.details.shape, end.details.dtype) for end in ends.inputs]
        for place, array in enumerate(self._arrays):
            self._request.set_input_tensor(place, library.Tensor(array, shared_memory=True))

    def set_input(self, array: NDArray[Any]) -> None:
        """Copy an array of the input's dtype and shape into the model."""
        check_input(self.input, array)
        for own, (_, values) in zip(self._arrays, split_input(self.input, array), strict=True):
            own[...] = values

    def get_output(self) -> NDArray[Any]:
        """Return a copy of the first output of the last invoke."""
        return np.array(self._request.get_output_tensor(0).data)

    def get_outputs(self) -> tuple[NDArray[Any], ...]:
        """Return copies of all outputs of the last invoke."""
        return tuple(np.array(self._request.get_output_tensor(place).data) for place in range(len(self.outputs)))

    def close(self) -> None:
        """Free the model."""
        super().close()
        self._request = None


def _ends(ports: Sequence[Any]) -> list[End]:
    """Return the ends of a model that came from another format than .tflite; it tells no scales."""
    ends = []
    for port in ports:
        shape = tuple(int(length.get_length()) if length.is_static else -1 for length in port.partial_shape)
        dtype = np.dtype(port.element_type.to_dtype()).name
        name, at_one = port.any_name, with_batch_of_1(shape)
        details = TensorDetails(name=name, dtype=dtype, shape=at_one, scale=None, zero_point=None)
        ends.append(End(details=details, signature=shape))
    return ends


def _check_same(path: Path, ends: ModelEnds, compiled: Any) -> None:
    """Raise a ModelError where OpenVINO gave an end another type or shape than it has in the file."""
    counts = (len(compiled.inputs), len(compiled.outputs))
    if counts != (len(ends.inputs), len(ends.outputs)):
        raise ModelError(
            f"openvino makes {counts[0]} inputs and {counts[1]} outputs of {path}, "
            f"which has {len(ends.inputs)} and {len(ends.outputs)}"
        )
    for end, port in zip([*ends.inputs, *ends.outputs], [*compiled.inputs, *compiled.outputs], strict=True):
        has = (np.dtype(port.element_type.to_dtype()).name, tuple(int(length) for length in port.shape))
        if has != (end.details.dtype, end.details.shape):
            raise ModelError(
                f"openvino makes {has[0]} {has[1]} of '{end.details.name}' of {path}, "
                f"which is {end.details.dtype} {end.details.shape}"
            )


def _explain(path: Path, message: str) -> ModelError:
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    telling = [line for line in lines if not _OWN_SOURCE.match(line)] or lines
    hint = None
    if "Builtin Option is not accessible" in message:
        hint = (
            "Its TFLite frontend wants each operator's table of options, and the number of the operator in the older "
            "field deprecated_builtin_code too, which litert-quantizer leaves at 0 for the operators that it adds."
        )
    elif "Unknown tensor name" in message:
        hint = "Its TFLite frontend wants a name of its own for each tensor."
    message = "; ".join(telling) or "no error message"
    return ModelError(f"openvino cannot load {path}: {message}", hint=hint)
