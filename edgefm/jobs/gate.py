"""`edgefm.gate`: hold a project's budget of accuracy, size, latency ratio and arena."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgefm.comparison import budget as budgets
from edgefm.comparison.gate import gate as check_budget
from edgefm.comparison.gate_result import GateResult
from edgefm.core.arguments import PathLike, as_path
from edgefm.core.progress import Progress, shown
from edgefm.jobs.benchmark import BenchmarkRecord
from edgefm.jobs.compare import measured_now, refuse_measuring, subject_of
from edgefm.jobs.quantize import QuantizationResult, TfliteFile

if TYPE_CHECKING:
    from edgefm.data.dataset import Dataset
    from edgefm.data.source import DataSource
    from edgefm.jobs.run import Run
    from edgefm.recipes import BenchmarkProtocol


def gate(
    what: BenchmarkRecord | Run | QuantizationResult | TfliteFile | PathLike | Sequence[PathLike | TfliteFile],
    budget: PathLike = "budget.toml",
    *,
    baseline: BenchmarkRecord | PathLike | None = None,
    force: bool = False,
    junit: PathLike | None = None,
    data: Dataset | DataSource | PathLike | None = None,
    quality: str | None = None,
    protocol: BenchmarkProtocol | None = None,
    mean: float | None = None,
    std: float | None = None,
    out: PathLike | None = None,
    progress: Progress | bool | None = None,
) -> GateResult:
    """Check that models keep the limits of a budget.

    Args:
      what: a record, the path of a run or a record; or model files, which are measured now.
      budget: TOML file, see docs/ci.md.
      baseline: record that ratios and drops refer to; by default the model that the budget calls its baseline.
      force: take a baseline of another machine or other settings.
      junit: where JUnit XML is written, a test case a limit.
      data: of model files: whose test samples are answered; None measures no quality.
      quality: of model files: measure of quality; by default that of the data's task.
      protocol: of model files: how they are measured.
      mean: of files without contract: input = (pixel - mean) / std.
      std: see `mean`.
      out: of model files: folder for the record.
      progress: True, False, None (bars in a terminal and a notebook) or a receiver.
    Raises:
      ArgumentError: an argument of another type.
      BudgetError: the budget is missing, no TOML, or holds an unknown key or value.
      RunError: there is no record.
    """
    from edgefm.comparison.subjects import is_model

    limits = budgets.read(as_path(budget, "budget"))
    reference = None if baseline is None else subject_of(baseline, "baseline")
    measuring: dict[str, Any] = {
        "data": data,
        "quality": quality,
        "protocol": protocol,
        "mean": mean,
        "std": std,
        "out": out,
    }
    files: Any = what if isinstance(what, QuantizationResult | TfliteFile | list | tuple) else None
    if files is None and not isinstance(what, BenchmarkRecord) and is_model(str(what)):
        files = [what]
    if files is None:
        refuse_measuring(measuring)
        result = check_budget(subject_of(what, "what"), limits, baseline=reference, force=force)
    else:
        with shown(progress) as receiver, measured_now(files, **measuring, progress=receiver) as subject:
            result = check_budget(subject, limits, baseline=reference, force=force)
    if junit is not None:
        from edgefm.comparison.junit import write

        write(as_path(junit, "junit"), result)
    return result
