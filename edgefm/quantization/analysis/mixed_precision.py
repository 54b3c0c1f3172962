"""Mixed precision: the layers that int8 hurts most stay float32, one after the other, until a stated quality holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.artefacts import sha256_bytes
from edgefm.core.errors import RecipeError
from edgefm.core.progress import SILENT, Progress
from edgefm.data.quality import Quality
from edgefm.quantization.analysis.sensitivity import SCHEME, FileQuality, Sensitivity, Yardstick, check_samples
from edgefm.recipes import PostTraining, Quantization, Variant
from edgefm_converters.tflite.quantizing import Calibration, quantize_tflite, quantizer_recipe

VARIANT = "int8_mixed"


@dataclass(frozen=True, kw_only=True)
class SearchedFile:
    """One file of the search.

    Attributes:
      keep_float: layers that stay float32.
      measured: the file, on the samples of the search.
      size_bytes: of the file.
    """

    keep_float: tuple[str, ...]
    measured: FileQuality
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class MixedPrecision:
    """What stays float32, and how it was found.

    Attributes:
      keep_float: Keras layer names, the most sensitive first.
      held: whether the stated quality holds with these; if not, all layers that could be kept are.
      drop_at_most: what was stated: percentage points for a share.
      steps: each file of the search, the pure int8 one first.
      images: number of samples measured on.
    """

    keep_float: tuple[str, ...]
    held: bool
    drop_at_most: float
    steps: tuple[SearchedFile, ...]
    images: int

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return asdict(self)


def choose_mixed_precision(
    float32: bytes,
    inputs: NDArray[np.float32],
    targets: NDArray[Any],
    *,
    layers: Sensitivity,
    quality: Quality,
    calibration: Calibration,
    drop_at_most: float,
    layer_names: Sequence[str] = (),
    progress: Progress = SILENT,
) -> MixedPrecision:
    """Return the layers to keep float32 so that int8 loses at most a stated quality, the fewest of the greedy order.

    Every step is a real file, run in LiteRT on the samples.

    Args:
      float32: .tflite file.
      inputs: float32 [n, ...], samples of the validation split.
      targets: what the model should answer to them.
      layers: how sensitive its layers are.
      quality: the measure.
      calibration: ranges of its activations.
      drop_at_most: against float32 on the same samples; percentage points for a share, the measure's own unit else.
      layer_names: see `operator_layers`.
      progress: told each step.
    Raises:
      RecipeError: the stated drop is no finite number.
      DataError: no samples.
      ModelError: the model cannot be quantised.
    """
    if not np.isfinite(drop_at_most):
        raise RecipeError(f"a drop of at most {drop_at_most} is not allowed: a finite number is expected")
    check_samples(inputs, targets)
    yardstick = Yardstick(float32, inputs, targets, quality)
    order = [layer.layer for layer in layers.ranked if layer.error > 0 and layer.known]
    steps: list[SearchedFile] = []
    for kept in range(len(order) + 1):
        progress.step("mixed precision", kept, len(order) + 1, {"float": str(kept)})
        keep = tuple(order[:kept])
        content = quantize_tflite(
            float32, SCHEME, calibration=calibration, keep_float=_exactly(keep), layer_names=layer_names
        )
        measured = yardstick.measured(content)
        steps.append(SearchedFile(keep_float=keep, measured=measured, size_bytes=len(content)))
        if measured.loss <= drop_at_most:
            break
    progress.step("mixed precision", len(order) + 1, len(order) + 1)
    last = steps[-1]
    return MixedPrecision(
        keep_float=last.keep_float,
        held=last.measured.loss <= drop_at_most,
        drop_at_most=drop_at_most,
        steps=tuple(steps),
        images=len(inputs),
    )


def portable_recipe(
    float32: bytes,
    keep_float: Sequence[str],
    *,
    layer_names: Sequence[str] = (),
    like: Quantization | None = None,
    drop_at_most: float | None = None,
) -> dict[str, Any]:
    """Return a recipe as JSON that others can use too.

    Args:
      float32: .tflite file that was examined.
      keep_float: layers that stay float32.
      layer_names: of the Keras model.
      like: recipe by which the search calibrated; the same calibration is written.
      drop_at_most: percentage points that the search allowed; the variant's limit.
    Returns:
      `recipe`: for `edgefm quantize --recipe`, with Keras layer names; `quantizer_recipe`: the same for
      litert-quantizer's `load_quantization_recipe`; `float32_sha256`: of the file whose tensor names it uses.
    """
    quantization = PostTraining(scheme=SCHEME, keep_float=_exactly(keep_float))
    variant = Variant(name=VARIANT, quantization=quantization, accuracy_drop_at_most=drop_at_most)
    description = f"int8 with {', '.join(keep_float)} in float32" if keep_float else "int8 throughout"
    return {
        "recipe": replace(like or Quantization(), variants=(variant,), description=description).to_json(),
        "quantizer_recipe": quantizer_recipe(float32, SCHEME, keep_float=_exactly(keep_float), layer_names=layer_names),
        "float32_sha256": sha256_bytes(float32),
    }


def _exactly(names: Sequence[str]) -> tuple[str, ...]:
    """Return patterns that fit these names and no others."""
    return tuple(name.replace("[", "[[]").replace("*", "[*]").replace("?", "[?]") for name in names)
