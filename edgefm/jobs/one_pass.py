"""`edgefm.slim`, `prune`, `cluster`, `qat`: `edgefm.compress` with one pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgefm.core.arguments import PathLike
from edgefm.core.progress import Progress
from edgefm.jobs.compress import CompressionResult, compress
from edgefm.recipes import Cluster, Prune, Qat, Slim

if TYPE_CHECKING:
    from edgefm.data.dataset import Dataset
    from edgefm.data.source import DataSource


def slim(
    model: Any,
    *,
    data: Dataset | DataSource | PathLike,
    recipe: Slim | None = None,
    quality: str | None = None,
    value_range: Sequence[float] | None = None,
    head: str = "auto",
    seed: int = 0,
    trust: bool = False,
    progress: Progress | bool | None = None,
) -> CompressionResult:
    """Return a model with whole channels removed: `compress` with one pass, `Slim`.

    Args:
      model: a keras.Model, a path, or what `edgefm.train` gave; it is not changed.
      data: what it is fine-tuned and measured on.
      recipe: of the pass; by default `Slim()`.
      quality: measure of quality, e.g. 'accuracy'; by default that of the data's task.
      value_range: lowest and highest input value of the model, for pixels 0 and 255; by default (0, 255).
      head: what the outputs become, see `edgefm.quantize`.
      seed: of fine-tuning.
      trust: run code that a model file contains, e.g. Lambda layers.
      progress: True, False, None (bars in a terminal and a notebook) or a receiver.
    Raises:
      ArgumentError: an argument of another type.
      RecipeError: the recipe names layers that are not there.
      ModelError: the model cannot be loaded, or the pass cannot work on it.
      DataError: the data cannot be read or do not fit the model.
    """
    passes = [Slim() if recipe is None else recipe]
    return compress(
        model,
        passes,
        data=data,
        quality=quality,
        value_range=value_range,
        head=head,
        seed=seed,
        trust=trust,
        progress=progress,
    )


def prune(
    model: Any,
    *,
    data: Dataset | DataSource | PathLike,
    recipe: Prune | None = None,
    quality: str | None = None,
    value_range: Sequence[float] | None = None,
    head: str = "auto",
    seed: int = 0,
    trust: bool = False,
    progress: Progress | bool | None = None,
) -> CompressionResult:
    """Return a model whose smallest weights are zero: `compress` with one pass, `Prune`.

    Args:
      model: a keras.Model, a path, or what `edgefm.train` gave; it is not changed.
      data: what it is fine-tuned and measured on.
      recipe: of the pass; by default `Prune()`.
      quality: measure of quality, e.g. 'accuracy'; by default that of the data's task.
      value_range: lowest and highest input value of the model, for pixels 0 and 255; by default (0, 255).
      head: what the outputs become, see `edgefm.quantize`.
      seed: of fine-tuning.
      trust: run code that a model file contains, e.g. Lambda layers.
      progress: True, False, None (bars in a terminal and a notebook) or a receiver.
    Raises:
      ArgumentError: an argument of another type.
      RecipeError: the recipe names layers that are not there.
      ModelError: the model cannot be loaded, or the pass cannot work on it.
      DataError: the data cannot be read or do not fit the model.
    """
    passes = [Prune() if recipe is None else recipe]
    return compress(
        model,
        passes,
        data=data,
        quality=quality,
        value_range=value_range,
        head=head,
        seed=seed,
        trust=trust,
        progress=progress,
    )


def cluster(
    model: Any,
    *,
    data: Dataset | DataSource | PathLike,
    recipe: Cluster | None = None,
    quality: str | None = None,
    value_range: Sequence[float] | None = None,
    head: str = "auto",
    seed: int = 0,
    trust: bool = False,
    progress: Progress | bool | None = None,
) -> CompressionResult:
    """Return a model whose kernels share few values: `compress` with one pass, `Cluster`.

    Args:
      model: a keras.Model, a path, or what `edgefm.train` gave; it is not changed.
      data: what it is fine-tuned and measured on.
      recipe: of the pass; by default `Cluster()`.
      quality: measure of quality, e.g. 'accuracy'; by default that of the data's task.
      value_range: lowest and highest input value of the model, for pixels 0 and 255; by default (0, 255).
      head: what the outputs become, see `edgefm.quantize`.
      seed: of fine-tuning.
      trust: run code that a model file contains, e.g. Lambda layers.
      progress: True, False, None (bars in a terminal and a notebook) or a receiver.
    Raises:
      ArgumentError: an argument of another type.
      RecipeError: the recipe names layers that are not there.
      ModelError: the model cannot be loaded, or the pass cannot work on it.
      DataError: the data cannot be read or do not fit the model.
    """
    passes = [Cluster() if recipe is None else recipe]
    return compress(
        model,
        passes,
        data=data,
        quality=quality,
        value_range=value_range,
        head=head,
        seed=seed,
        trust=trust,
        progress=progress,
    )


def qat(
    model: Any,
    *,
    data: Dataset | DataSource | PathLike,
    recipe: Qat | None = None,
    quality: str | None = None,
    value_range: Sequence[float] | None = None,
    head: str = "auto",
    seed: int = 0,
    trust: bool = False,
    progress: Progress | bool | None = None,
) -> CompressionResult:
    """Return a model after quantisation-aware training, and its int8 file: `compress` with one pass, `Qat`.

    Args:
      model: a keras.Model, a path, or what `edgefm.train` gave; it is not changed.
      data: what it is fine-tuned and measured on.
      recipe: of the pass; by default `Qat()`.
      quality: measure of quality, e.g. 'accuracy'; by default that of the data's task.
      value_range: lowest and highest input value of the model, for pixels 0 and 255; by default (0, 255).
      head: what the outputs become, see `edgefm.quantize`.
      seed: of fine-tuning.
      trust: run code that a model file contains, e.g. Lambda layers.
      progress: True, False, None (bars in a terminal and a notebook) or a receiver.
    Raises:
      ArgumentError: an argument of another type.
      RecipeError: the recipe names layers that are not there.
      ModelError: the model cannot be loaded, or the pass cannot work on it.
      DataError: the data cannot be read or do not fit the model.
    """
    passes = [Qat() if recipe is None else recipe]
    return compress(
        model,
        passes,
        data=data,
        quality=quality,
        value_range=value_range,
        head=head,
        seed=seed,
        trust=trust,
        progress=progress,
    )
