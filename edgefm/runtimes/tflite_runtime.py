"""tflite-runtime 2.14, LiteRT's predecessor: its last release (October 2023), still on many boards.

It was compiled against numpy 1. With numpy 2 it can be imported, and fails on first use; so a machine whose other
packages want numpy 2 gives it an environment of its own, which EDGEFM_PYTHON_TFLITE_RUNTIME names.
"""

from __future__ import annotations

import base64
import importlib
import importlib.metadata
from functools import cache
from pathlib import Path

import numpy as np

from edgefm.runtimes import interpreter_session
from edgefm.runtimes.base import Availability, Available, Unavailable
from edgefm.runtimes.interpreter_session import InterpreterSession
from edgefm.runtimes.native_output import captured
from edgefm.runtimes.session import check_available, check_threads

name = "tflite-runtime"
KERNELS = interpreter_session.KERNELS
INSTALL = (
    "python3.11 -m venv ~/tflite-runtime && ~/tflite-runtime/bin/pip install 'tflite-runtime==2.14.0' 'numpy<2' && "
    "export EDGEFM_PYTHON_TFLITE_RUNTIME=~/tflite-runtime/bin/python"
)
_PACKAGE = "tflite-runtime"
_MODULE = "tflite_runtime.interpreter"
_NUMPY = int(np.__version__.partition(".")[0])
# A whole .tflite file: one RELU of one float32. A test compares it with the one that the schema's own code writes.
TRIAL = base64.b64decode(
    "HAAAAFRGTDMAABIAHAAYABQAEAAMAAgAAAAEABIAAAAYAAAAGAAAACQAAAAsAAAA/AAAAAMAAAAAAAAAAQAAAAgAAAAEAAQABAAA"
    "AAUAAAB0ZXN0cwAAAAEAAAAUAAAAAAAOABgAFAAQAAwACAAEAA4AAAAUAAAAHAAAAEgAAABMAAAAUAAAAAUAAABncmFwaAAAAAEA"
    "AAAQAAAAAAAKAAwAAAAIAAQACgAAAAgAAAAMAAAAAQAAAAEAAAABAAAAAAAAAAEAAAABAAAAAQAAAAAAAAACAAAANAAAAAQAAADg"
    "////CAAAAAwAAAABAAAAeQAAAAIAAAABAAAAAQAAAAwADAAIAAAAAAAEAAwAAAAIAAAADAAAAAEAAAB4AAAAAgAAAAEAAAABAAAA"
    "AQAAABAAAAAMAAwACwAAAAAABAAMAAAAEwAAAAAAABM="
)


def version() -> str:
    """Return the version of tflite-runtime."""
    return importlib.metadata.version(_PACKAGE)


@cache
def availability() -> Availability:
    """Return whether tflite-runtime can be used here: it is imported, and runs a model of one operator."""
    try:
        with captured():  # numpy 2 writes a page about modules that were compiled with numpy 1
            library = importlib.import_module(_MODULE)
            interpreter = library.Interpreter(model_content=TRIAL)
            interpreter.allocate_tensors()
            interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.array([[2]], np.float32))
            interpreter.invoke()
            answer = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    except ImportError as error:
        return Unavailable(f"{_PACKAGE} cannot be imported: {error}")
    except Exception as error:  # whatever a native module raises that was compiled for another numpy
        cause = "it needs numpy < 2" if _NUMPY >= 2 else str(error)
        return Unavailable(
            f"{_PACKAGE} {version()} is installed, but fails on first use with numpy {np.__version__} "
            f"({type(error).__name__}): {cause}"
        )
    if answer.tolist() != [[2.0]]:
        return Unavailable(f"{_PACKAGE} {version()} is installed, but answers relu(2) with {answer.tolist()}")
    return Available()


def load(path: Path, *, threads: int = 1, kernels: str | None = None) -> InterpreterSession:
    """Return a session of a .tflite file with one of KERNELS; see `edgefm.runtimes.base.Runtime.load`."""
    check_threads(threads)
    check_available(availability(), install=INSTALL)
    return interpreter_session.load(path, module=_MODULE, title="tflite-runtime", threads=threads, kernels=kernels)
