"""edgefm: take an image classifier from training to a phone, a board or a browser, and measure honestly.

The names below are imported when they are first used (PEP 562), so that `import edgefm` stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Public name -> the module that holds it; a name that is a module of its own stands for that module.
_PUBLIC = {
    "AgreementResult": "edgefm.jobs.agree",
    "Applicability": "edgefm.quantization.applicability",
    "AppliedPass": "edgefm.jobs.compress",
    "ArgumentError": "edgefm.core.errors",
    "BenchmarkProtocol": "edgefm.recipes",
    "BenchmarkRecord": "edgefm.jobs.benchmark",
    "Cluster": "edgefm.recipes",
    "ComparisonResult": "edgefm.comparison.comparison_result",
    "CompressionResult": "edgefm.jobs.compress",
    "CostModel": "edgefm.profiling.cost_model",
    "Diagnosis": "edgefm.jobs.doctor",
    "Distillation": "edgefm.recipes",
    "EdgefmError": "edgefm.core.errors",
    "Explanation": "edgefm.jobs.explain",
    "ExportResult": "edgefm.jobs.export",
    "FineTuning": "edgefm.recipes",
    "ForecastResult": "edgefm.jobs.forecast",
    "GateResult": "edgefm.comparison.gate_result",
    "Inspection": "edgefm.tflite.inspection",
    "LatencyForecast": "edgefm.profiling.cost_model",
    "PostTraining": "edgefm.recipes",
    "Predictions": "edgefm.jobs.predict",
    "ProfileResult": "edgefm.profiling.result",
    "Prune": "edgefm.recipes",
    "Qat": "edgefm.recipes",
    "Quantization": "edgefm.recipes",
    "QuantizationResult": "edgefm.jobs.quantize",
    "Reproduction": "edgefm.jobs.reproduce",
    "Run": "edgefm.jobs.run",
    "SearchResult": "edgefm.jobs.search",
    "Slim": "edgefm.recipes",
    "TfliteFile": "edgefm.jobs.quantize",
    "Training": "edgefm.recipes",
    "TraceResult": "edgefm.jobs.trace",
    "TrainingResult": "edgefm.jobs.train",
    "Variant": "edgefm.recipes",
    "Verdict": "edgefm.comparison.shipping.verdict",
    "VerificationResult": "edgefm.jobs.export.verify",
    "agree": "edgefm.jobs.agree",
    "benchmark": "edgefm.jobs.benchmark",
    "cluster": "edgefm.jobs.one_pass",
    "compare": "edgefm.jobs.compare",
    "compress": "edgefm.jobs.compress",
    "cost_model": "edgefm.jobs.forecast.cost_model",
    "data": "edgefm.data",
    "doctor": "edgefm.jobs.doctor",
    "explain": "edgefm.jobs.explain",
    "export": "edgefm.jobs.export",
    "forecast": "edgefm.jobs.forecast",
    "gate": "edgefm.jobs.gate",
    "inspect": "edgefm.jobs.inspect",
    "predict": "edgefm.jobs.predict",
    "profile": "edgefm.jobs.profile",
    "prune": "edgefm.jobs.one_pass",
    "qat": "edgefm.jobs.one_pass",
    "quantize": "edgefm.jobs.quantize",
    "recipes": "edgefm.recipes",
    "reproduce": "edgefm.jobs.reproduce",
    "search": "edgefm.jobs.search",
    "slim": "edgefm.jobs.one_pass",
    "trace": "edgefm.jobs.trace",
    "train": "edgefm.jobs.train",
    "verdict": "edgefm.jobs.verdict",
    "verify": "edgefm.jobs.export.verify",
}

__all__ = [*_PUBLIC, "__version__"]

if TYPE_CHECKING:
    from edgefm import data as data
    from edgefm import recipes as recipes
    from edgefm.comparison.comparison_result import ComparisonResult as ComparisonResult
    from edgefm.comparison.gate_result import GateResult as GateResult
    from edgefm.comparison.shipping.verdict import Verdict as Verdict
    from edgefm.core.errors import ArgumentError as ArgumentError
    from edgefm.core.errors import EdgefmError as EdgefmError
    from edgefm.jobs.agree import AgreementResult as AgreementResult
    from edgefm.jobs.agree import agree as agree
    from edgefm.jobs.benchmark import BenchmarkRecord as BenchmarkRecord
    from edgefm.jobs.benchmark import benchmark as benchmark
    from edgefm.jobs.compare import compare as compare
    from edgefm.jobs.compress import AppliedPass as AppliedPass
    from edgefm.jobs.compress import CompressionResult as CompressionResult
    from edgefm.jobs.compress import compress as compress
    from edgefm.jobs.doctor import Diagnosis as Diagnosis
    from edgefm.jobs.doctor import doctor as doctor
    from edgefm.jobs.explain import Explanation as Explanation
    from edgefm.jobs.explain import explain as explain
    from edgefm.jobs.export import ExportResult as ExportResult
    from edgefm.jobs.export import export as export
    from edgefm.jobs.export.verify import VerificationResult as VerificationResult
    from edgefm.jobs.export.verify import verify as verify
    from edgefm.jobs.forecast import ForecastResult as ForecastResult
    from edgefm.jobs.forecast import forecast as forecast
    from edgefm.jobs.forecast.cost_model import cost_model as cost_model
    from edgefm.jobs.gate import gate as gate
    from edgefm.jobs.inspect import inspect as inspect
    from edgefm.jobs.one_pass import cluster as cluster
    from edgefm.jobs.one_pass import prune as prune
    from edgefm.jobs.one_pass import qat as qat
    from edgefm.jobs.one_pass import slim as slim
    from edgefm.jobs.predict import Predictions as Predictions
    from edgefm.jobs.predict import predict as predict
    from edgefm.jobs.profile import profile as profile
    from edgefm.jobs.quantize import QuantizationResult as QuantizationResult
    from edgefm.jobs.quantize import TfliteFile as TfliteFile
    from edgefm.jobs.quantize import quantize as quantize
    from edgefm.jobs.reproduce import Reproduction as Reproduction
    from edgefm.jobs.reproduce import reproduce as reproduce
    from edgefm.jobs.run import Run as Run
    from edgefm.jobs.search import SearchResult as SearchResult
    from edgefm.jobs.search import search as search
    from edgefm.jobs.trace import TraceResult as TraceResult
    from edgefm.jobs.trace import trace as trace
    from edgefm.jobs.train import TrainingResult as TrainingResult
    from edgefm.jobs.train import train as train
    from edgefm.jobs.verdict import verdict as verdict
    from edgefm.profiling.cost_model import CostModel as CostModel
    from edgefm.profiling.cost_model import LatencyForecast as LatencyForecast
    from edgefm.profiling.result import ProfileResult as ProfileResult
    from edgefm.quantization.applicability import Applicability as Applicability
    from edgefm.recipes import BenchmarkProtocol as BenchmarkProtocol
    from edgefm.recipes import Cluster as Cluster
    from edgefm.recipes import Distillation as Distillation
    from edgefm.recipes import FineTuning as FineTuning
    from edgefm.recipes import PostTraining as PostTraining
    from edgefm.recipes import Prune as Prune
    from edgefm.recipes import Qat as Qat
    from edgefm.recipes import Quantization as Quantization
    from edgefm.recipes import Slim as Slim
    from edgefm.recipes import Training as Training
    from edgefm.recipes import Variant as Variant
    from edgefm.tflite.inspection import Inspection as Inspection


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'edgefm' has no attribute '{name}'")
    module = importlib.import_module(_PUBLIC[name])
    return module if _PUBLIC[name] == f"edgefm.{name}" else getattr(module, name)


def __dir__() -> list[str]:
    return __all__
