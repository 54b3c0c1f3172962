"""How much each layer's rounding costs by itself: weights only, activations only, measured in LiteRT.

For each Keras layer two files are made from the float32 one: its weights rounded as the int8 file has them, and its
outputs rounded with the int8 file's scale; all else stays float32. Each is run on labelled samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import DataError
from edgefm.core.progress import SILENT, Progress
from edgefm.data.quality import Quality
from edgefm_converters.tflite.float_file import float_file
from edgefm_converters.tflite.operator_layers import traced_operators
from edgefm_converters.tflite.partly_quantised import OperatorPairs
from edgefm_converters.tflite.quantizing import Calibration, quantize_tflite
from edgefm_converters.tflite.tflite_outputs import tflite_outputs

SCHEMA_VERSION = 1
SCHEME = "int8_w8a8"


@dataclass(frozen=True, kw_only=True)
class FileQuality:
    """One file's answers.

    Attributes:
      quality: its value.
      loss: by how much it is worse than float32's; percentage points for a share.
      output_error: root mean square difference of the outputs from float32's, as a share of their standard deviation.
    """

    quality: float
    loss: float
    output_error: float


class Yardstick:
    """Samples, and the answers of the float32 file to them, by which other files are measured.

    Attributes:
      quality: the measure.
      best: its value for the float32 file.
    """

    def __init__(self, float32: bytes, inputs: NDArray[np.float32], targets: NDArray[Any], quality: Quality) -> None:
        """Run the float32 file."""
        self.quality = quality
        self._inputs, self._targets = inputs, targets
        self._reference = tflite_outputs(float32, inputs)
        self.best = quality.function(self._reference, targets)

    def measured(self, content: bytes) -> FileQuality:
        """Return how good a file's answers are, and how far they are from the float32 file's."""
        outputs = tflite_outputs(content, self._inputs)
        value = self.quality.function(outputs, self._targets)
        shares = []
        for ours, theirs in zip(outputs, self._reference, strict=True):
            spread = float(theirs.var())
            shares.append(float(((ours - theirs) ** 2).mean()) / spread if spread else 0.0)
        loss, error = self.quality.loss(self.best, value), float(np.sqrt(np.mean(shares)))
        return FileQuality(quality=value, loss=loss, output_error=error)


@dataclass(frozen=True, kw_only=True)
class LayerSensitivity:
    """One layer.

    Attributes:
      layer: Keras name; the operator's name and number where it comes from no known layer.
      known: it comes from a known layer.
      operators: names of its TFLite operators.
      weights: number of its int8 weights.
      weights_only: with nothing but its weights rounded; None for a layer without.
      activations_only: with nothing but its outputs rounded; None where it only moves values about, such as a
        maximum or a reshape, or gives no float numbers.
    """

    layer: str
    known: bool
    operators: tuple[str, ...]
    weights: int
    weights_only: FileQuality | None
    activations_only: FileQuality | None

    @property
    def error(self) -> float:
        """Both errors together, as if they were independent: what layers are ranked by.

        The quality of some thousand samples moves in steps of a tenth of a point; this figure does not.
        """
        errors = [measured.output_error for measured in (self.weights_only, self.activations_only) if measured]
        return float(np.sqrt(sum(error**2 for error in errors)))


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """The layers of a model in the order of running, and the two ends of the scale.

    Attributes:
      layers: one entry a layer.
      quality: name of the measure.
      unit: '%' where its value is a share.
      float32: value of the float32 file.
      int8: the whole file in int8.
      images: number of samples measured on.
      calibration_images: number of samples that set the ranges.
    """

    layers: tuple[LayerSensitivity, ...]
    quality: str
    unit: str
    float32: float
    int8: FileQuality
    images: int
    calibration_images: int

    @property
    def ranked(self) -> tuple[LayerSensitivity, ...]:
        """The layers, the most sensitive first."""
        return tuple(sorted(self.layers, key=lambda layer: -layer.error))

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        layers = [{**asdict(layer), "error": layer.error} for layer in self.layers]
        return {"schema_version": SCHEMA_VERSION, **asdict(self), "layers": layers}


def sensitivity(
    float32: bytes,
    inputs: NDArray[np.float32],
    targets: NDArray[Any],
    *,
    quality: Quality,
    calibration: Calibration,
    layer_names: Sequence[str] = (),
    progress: Progress = SILENT,
) -> Sensitivity:
    """Return how sensitive each layer of a model is to int8.

    Args:
      float32: .tflite file.
      inputs: float32 [n, ...], samples to measure on: of the validation split, since a choice is made by them.
      targets: what the model should answer to them.
      quality: the measure.
      calibration: ranges of its activations, of other samples.
      layer_names: see `operator_layers`.
      progress: told each file.
    Raises:
      DataError: no samples.
      ModelError: the model cannot be quantised as a whole.
    """
    check_samples(inputs, targets)
    prepared = float_file(float32)
    # int8 ends keep the tensors as they are.
    int8 = quantize_tflite(prepared, SCHEME, calibration=replace(calibration, pixels=False))
    pair = OperatorPairs(prepared, int8)
    groups: dict[str, list[int]] = {}
    names: dict[str, list[str]] = {}
    known: set[str] = set()
    for operator in traced_operators(prepared, layer_names):
        layer = operator.layers[0] if operator.layers else f"{operator.name} {operator.index}"
        known |= set(operator.layers[:1])
        groups.setdefault(layer, []).append(operator.index)
        names.setdefault(layer, []).append(operator.name)
    yardstick = Yardstick(prepared, inputs, targets, quality)
    rows = []
    for index, (layer, operators) in enumerate(groups.items()):
        progress.step("sensitivity", index, len(groups), {"now": layer})
        weights = sum(pair.weights(operator) for operator in operators)
        rounding = [operator for operator in operators if pair.rounds(operator)]
        rows.append(
            LayerSensitivity(
                layer=layer,
                known=layer in known,
                operators=tuple(names[layer]),
                weights=weights,
                weights_only=yardstick.measured(pair.with_weights(operators)) if weights else None,
                activations_only=yardstick.measured(pair.with_activations(rounding)) if rounding else None,
            )
        )
    progress.step("sensitivity", len(groups), len(groups))
    return Sensitivity(
        layers=tuple(rows),
        quality=quality.name,
        unit=quality.unit,
        float32=yardstick.best,
        int8=yardstick.measured(int8),
        images=len(inputs),
        calibration_images=calibration.images,
    )


def check_samples(inputs: NDArray[np.float32], targets: NDArray[Any]) -> None:
    """Raise a DataError unless there is at least one sample, and a target for each."""
    if len(inputs) == 0 or len(inputs) != len(targets):
        raise DataError(f"{len(inputs)} samples and {len(targets)} targets are given; one or more pairs are expected")
