"""Which variants of a recipe a source can give, and why not the others; nothing is trained or converted."""

from __future__ import annotations

from collections.abc import Mapping

from edgefm.core.errors import DataError, ModelError
from edgefm.core.progress import SILENT, Progress
from edgefm.data.dataset import Dataset
from edgefm.quantization.source import Source
from edgefm.recipes import CALIBRATED, Quantization, Variant

# With fewer training samples, fine-tuning learns them by heart.
LEAST_TO_TRAIN = 2_000


def for_data(
    recipe: Quantization, few: Quantization | None, dataset: Dataset | None, *, progress: Progress = SILENT
) -> Quantization:
    """Return the recipe that is used.

    Args:
      recipe: what was asked for, or the default.
      few: taken instead where the training split holds fewer than 2,000 samples; None where `recipe` was asked for.
      dataset: None without data.
      progress: receives what was decided.
    """
    if few is None or dataset is None or len(dataset.train) >= LEAST_TO_TRAIN:
        return recipe
    progress.note(
        f"{len(dataset.train):,} training samples are few to fine-tune on (below {LEAST_TO_TRAIN:,}): variants without "
        "training only, the recipe 'quick'; the recipe 'default' has all"
    )
    return few


def feasible(source: Source, recipe: Quantization) -> tuple[tuple[Variant, ...], tuple[Mapping[str, str], ...]]:
    """Return the variants that can be made, and those that are left out: `variant` and `reason` each.

    Args:
      source: the model and its data.
      recipe: names the variants.
    Raises:
      ModelError, DataError: none can be made.
    """
    obstacles = [(variant, _obstacle(source, variant)) for variant in recipe.variants]
    chosen = [variant for variant, error in obstacles if error is None]
    refused = [(variant, error) for variant, error in obstacles if error is not None]
    if not chosen:
        _, error = refused[0]
        if len(refused) == 1:
            raise error
        raise ModelError("no variant of the recipe can be made", hint=error.message)
    skipped = [{"variant": variant.name, "reason": error.message} for variant, error in refused]
    return tuple(chosen), tuple(skipped)


def _obstacle(source: Source, variant: Variant) -> ModelError | DataError | None:
    options = variant.quantization
    if variant.passes and source.model is None:
        return ModelError(
            f"'{variant.name}' trains, and {source.file} holds no Keras model to train",
            hint="Give the .keras or .h5 file, or choose variants that need no training: the recipe 'quick'.",
        )
    if variant.passes and source.task is None:
        return DataError(
            f"'{variant.name}' trains, and no data were given",
            hint="Give data, or choose variants that need no training: the recipe 'quick'.",
        )
    if variant.passes and source.several_inputs:
        return ModelError(
            f"'{variant.name}' trains, and passes take models of one input; {source.file} has several",
            hint="Choose variants that need no training: the recipe 'quick'.",
        )
    if variant.passes and source.takes_tokens:
        return ModelError(
            f"'{variant.name}' trains, and passes take inputs of floats; {source.file} takes tokens (whole numbers)",
            hint="Choose variants that need no training: the recipe 'quick'.",
        )
    if options is not None and (options.equalize or options.correct_bias) and source.model is None:
        return ModelError(
            f"'{variant.name}' equalises or corrects biases, and {source.file} holds no Keras model",
            hint="Give the .keras or .h5 file.",
        )
    if options is not None and options.scheme in CALIBRATED and not source.calibrates:
        return DataError(
            f"'{variant.name}' needs samples to calibrate with, and no data were given",
            hint="Give data, or calibration data (a .npz file with an array 'images'), or choose the variants float32, "
            "float16 and drq_w8.",
        )
    return None
