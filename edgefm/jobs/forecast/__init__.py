"""`edgefm.forecast`: what each variant of a model will cost and buy, before any training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgefm.core.arguments import PathLike, as_path, check_type
from edgefm.core.errors import RecipeError, RunError
from edgefm.core.progress import Progress, shown
from edgefm.jobs.arguments import source_in_memory
from edgefm.jobs.forecast.result import FILE_NAME, ForecastResult, Interval, VariantForecast
from edgefm.jobs.quantize import quantization_recipe, quick_like
from edgefm.recipes import Variant
from edgefm.recipes.quantization import DEFAULT_VARIANTS

if TYPE_CHECKING:
    from edgefm.core.runs import RunDirectory
    from edgefm.data.dataset import Dataset
    from edgefm.data.source import DataSource
    from edgefm.profiling.cost_model import CostModel

__all__ = ["FILE_NAME", "VARIANTS", "ForecastResult", "Interval", "VariantForecast", "forecast"]

# What `quantize` makes, and the strongest of pruning and of channel removal.
VARIANTS = (*DEFAULT_VARIANTS, "pruned90_qat_int8", "slim25_qat_int8")


def forecast(
    model: Any,
    variants: str | Variant | Sequence[str | Variant] | None = None,
    *,
    data: Dataset | DataSource | PathLike | None = None,
    target: str = "host",
    runtime: str = "litert",
    cost_model: CostModel | PathLike | None = None,
    quality: str | None = None,
    labels: Sequence[str] | None = None,
    value_range: Sequence[float] | None = None,
    calibration_data: PathLike | None = None,
    head: str = "auto",
    trust: bool = False,
    progress: Progress | bool | None = None,
) -> ForecastResult:
    """Return what each variant of a model will cost and buy, told before any training.

    Each variant is made without its training and converted: the file's size and its multiply-accumulates are exact, its
    arena is that of TensorFlow Lite Micro on this machine. Times come from a cost model, losses of quality from the
    untrained file and recorded runs.

    Args:
      model: a keras.Model, a path (.keras, .h5, SavedModel, float .tflite), or what `edgefm.train` or
        `edgefm.compress` gave.
      variants: names such as 'int8_w8a8', 'qat_int8', 'pruned80_qat_int8', or `Variant` recipes; by default those of
        `edgefm.quantize`, pruned90_qat_int8 and slim25_qat_int8. Those that cannot be made are listed with the reason.
      data: what losses are measured on, and what channels are ranked by; without them no loss is known, and variants
        that need data are left out.
      target: 'host', this machine; a board, e.g. 'ssh://pi@board', is forecast by a cost model of it, which
        `edgefm.cost_model` measures there.
      runtime: that will run the file.
      cost_model: an `edgefm.CostModel`, or the file of one; by default that of this machine, which is built when it
        is first needed (two minutes) and kept.
      quality: measure of quality; by default that of the data's task.
      labels: class names; by default those of the data.
      value_range: lowest and highest input value of the model, for pixels 0 and 255; by default (0, 255).
      calibration_data: .npz with `images`, for a model without `data`.
      head: what the outputs become, see `edgefm.quantize`.
      trust: run code that a model file contains, e.g. Lambda layers.
      progress: True, False, None (bars in a terminal and a notebook) or a receiver.
    Raises:
      ArgumentError: an argument of another type.
      RecipeError: an unknown variant, target or runtime, a target on which operators cannot be timed, or another one
        than this machine without a cost model.
      CostModelError: the cost model is missing, damaged, or of another target or runtime.
      ModelError: the model cannot be loaded or converted, or no variant can be made of it.
      DataError: the data cannot be read or do not fit the model.
    """
    recipe = quantization_recipe(VARIANTS if variants is None else variants)
    few = quick_like(recipe) if variants is None else None
    known = given_cost_model(cost_model, target=target, runtime=runtime)
    with shown(progress) as receiver:
        from edgefm.jobs.forecast.make import forecast_source
        from edgefm.quantization.feasibility import for_data

        source = source_in_memory(
            model,
            recipe,
            data=data,
            quality=quality,
            labels=labels,
            value_range=value_range,
            calibration_data=calibration_data,
            head=head,
            trust=trust,
            progress=receiver,
        )
        recipe = for_data(recipe, few, source.task.dataset if source.task else None, progress=receiver)
        return forecast_source(
            source, recipe, cost_model=lambda: known or kept_cost_model(runtime, receiver), progress=receiver
        )


def forecast_run(
    directory: RunDirectory,
    variants: str | Variant | Sequence[str | Variant] | None,
    *,
    known: CostModel | None,
    runtime: str,
    data_dir: Path | None,
    progress: Progress,
) -> ForecastResult:
    """Return what each variant of a run's model will be like, and write it into the run's folder; see `forecast`.

    What forecast.json holds of other variants of the model stays in it.
    """
    from edgefm.data.source import data_source_of, dataset_of
    from edgefm.jobs.forecast.make import forecast_source
    from edgefm.quantization.feasibility import for_data
    from edgefm.quantization.source import open_source

    recipe = quantization_recipe(VARIANTS if variants is None else variants)
    has_data = data_source_of(directory) is not None
    dataset = dataset_of(directory, data_dir=data_dir, anew=True, progress=progress) if has_data else None
    recipe = for_data(recipe, quick_like(recipe) if variants is None else None, dataset, progress=progress)
    source = open_source(directory, recipe=recipe, dataset=dataset, progress=progress)
    result = forecast_source(
        source, recipe, cost_model=lambda: known or kept_cost_model(runtime, progress), progress=progress
    )
    path = directory.path / FILE_NAME
    _with_earlier(result, path).save(path)
    return result


def _with_earlier(result: ForecastResult, path: Path) -> ForecastResult:
    """Return a forecast with what a file holds of other variants; one that cannot be read holds nothing."""
    if not path.exists():
        return result
    try:
        return result.with_earlier(ForecastResult.open(path))
    except RunError:
        return result


def given_cost_model(cost_model: CostModel | PathLike | None, *, target: str, runtime: str) -> CostModel | None:
    """Return the cost model that was given, None where this machine's own is to be taken.

    Raises:
      RecipeError: an unknown target or runtime, a target on which operators cannot be timed, or another one than this
        machine without a cost model.
      CostModelError: it is missing, damaged, or of another target or runtime.
    """
    from edgefm import runtimes
    from edgefm.profiling.cost_model import CostModel
    from edgefm.profiling.cost_model.build import measurable
    from edgefm.profiling.cost_model.model import HOST, CostModelError

    check_type(target, "target", str, "the name of a target")
    runtimes.module_of(runtime)
    measurable(target)
    if cost_model is None:
        if target != HOST:
            raise RecipeError(
                f"the times of target '{target}' are not known here: its operators were not measured",
                hint="Build a cost model of that target and give its file.",
            )
        return None
    known = cost_model if isinstance(cost_model, CostModel) else CostModel.load(as_path(cost_model, "cost_model"))
    if known.target != target:
        raise CostModelError(
            f"the cost model is of the target '{known.target}'; '{target}' was asked for",
            hint=f"Ask for the target {known.target}, or build a cost model of {target}.",
        )
    if known.runtime != runtime:
        raise CostModelError(
            f"the cost model is of the runtime '{known.runtime}'; '{runtime}' was asked for",
            hint=f"Ask for the runtime {known.runtime}, or build a cost model of {runtime}.",
        )
    return known


def kept_cost_model(runtime: str, progress: Progress) -> CostModel:
    """Return the cost model of this machine, built where there is none yet."""
    from edgefm.profiling.cost_model.kept import of_this_machine

    return of_this_machine(runtime=runtime, progress=progress)
