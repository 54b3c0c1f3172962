"""LiteRT, the successor of TensorFlow Lite: `ai_edge_litert.interpreter.Interpreter`, with each of its kernel sets."""

from __future__ import annotations

import importlib
import importlib.metadata
from pathlib import Path
from typing import Any

from edgefm.runtimes import interpreter_session
from edgefm.runtimes.base import Availability
from edgefm.runtimes.interpreter_session import InterpreterSession
from edgefm.runtimes.session import check_available, check_threads, imported

name = "litert"
KERNELS = interpreter_session.KERNELS
INSTALL = "pip install --force-reinstall ai-edge-litert"
_PACKAGE = "ai-edge-litert"
_MODULE = "ai_edge_litert.interpreter"


def version() -> str:
    """Return the version of ai-edge-litert."""
    return importlib.metadata.version(_PACKAGE)


def availability() -> Availability:
    """Return whether LiteRT can be used here; its native library is loaded for this."""
    return imported(_PACKAGE, _MODULE)


def load(path: Path, *, threads: int = 1, kernels: str | None = None) -> InterpreterSession:
    """Return a session of a .tflite file with one of KERNELS; see `edgefm.runtimes.base.Runtime.load`."""
    check_threads(threads)
    check_available(availability(), install=INSTALL)
    return interpreter_session.load(path, module=_MODULE, title="LiteRT", threads=threads, kernels=kernels)


def with_all_tensors(content: bytes) -> Any:
    """Return an `Interpreter` of a .tflite file whose every tensor can be read after an invoke, one thread.

    XNNPACK would merge operators, and hide the tensors between them. Strange files belong in a process apart
    (`edgefm.runtimes.apart`).
    """
    module = importlib.import_module(_MODULE)
    interpreter = module.Interpreter(
        model_content=content,
        num_threads=1,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    return interpreter
