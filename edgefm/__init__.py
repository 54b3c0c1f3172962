"""edgefm: take an image classifier from training to a phone, a board or a browser, and measure honestly.

The names below are imported when they are first used (PEP 562), so that `import edgefm` stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "EdgefmError": "edgefm.core.errors",
    "RunDirectory": "edgefm.core.runs",
    "Training": "edgefm.recipes",
    "Quantization": "edgefm.recipes",
    "BenchmarkProtocol": "edgefm.recipes",
    "load_fashion_mnist": "edgefm.data.reference.fashion_mnist",
    "train": "edgefm.jobs.main_job",
    "quantize": "edgefm.jobs.main_job",
    "benchmark": "edgefm.jobs.main_job",
    "write_report": "edgefm.jobs.main_job",
    "inspect": "edgefm.tflite.inspection",
    "predict": "edgefm.jobs.predict",
}

__all__ = sorted([*_PUBLIC, "__version__"])

if TYPE_CHECKING:
    from edgefm.core.errors import EdgefmError as EdgefmError
    from edgefm.core.runs import RunDirectory as RunDirectory
    from edgefm.data.reference.fashion_mnist import load_fashion_mnist as load_fashion_mnist
    from edgefm.jobs.main_job import benchmark as benchmark
    from edgefm.jobs.main_job import quantize as quantize
    from edgefm.jobs.main_job import train as train
    from edgefm.jobs.main_job import write_report as write_report
    from edgefm.jobs.predict import predict as predict
    from edgefm.recipes import BenchmarkProtocol as BenchmarkProtocol
    from edgefm.recipes import Quantization as Quantization
    from edgefm.recipes import Training as Training
    from edgefm.tflite.inspection import inspect as inspect


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'edgefm' has no attribute '{name}'")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return __all__
