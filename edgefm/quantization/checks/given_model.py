"""What the given model answers in its own framework: what every written file is held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import ModelError
from edgefm.core.progress import SILENT, Progress
from edgefm.quantization.source import Source
from edgefm_converters.tflite.outputs import of_model
from edgefm_converters.tflite.tflite_outputs import tflite_outputs

# Beyond what float32 sums in another order differ by, as a share of the output's greatest value.
ROUNDING = 1e-3
_SAMPLES = 12_000
_VALUES = 2**26
_CHUNK = 1024


@dataclass(frozen=True, kw_only=True)
class GivenModel:
    """What the given model answers.

    Attributes:
      inputs: float32 [n, ...], real inputs: validation samples, or what outputs are compared on without data.
      outputs: its own outputs for them, float32 [n, ...] each.
      targets: of the samples; None without data.
      quality: on them; None without data.
    """

    inputs: NDArray[np.float32]
    outputs: tuple[NDArray[np.float32], ...]
    targets: NDArray[Any] | None
    quality: float | None

    def to_json(self) -> dict[str, Any]:
        """Return what the table's row of the given model shows."""
        return {"samples": len(self.inputs), "labelled": self.targets is not None, "quality": self.quality}


def given_model(source: Source, *, progress: Progress = SILENT) -> GivenModel:
    """Return what the model of a source answers: a Keras model in Keras, a .tflite file in LiteRT.

    Args:
      source: with data, up to 12,000 validation samples are taken (fewer of a model with large outputs); without,
        the samples on which outputs are compared.
      progress: receives progress.
    Raises:
      ModelError: an output is not finite.
    """
    if source.task is None:
        return GivenModel(inputs=source.compared.inputs, outputs=source.expected, targets=None, quality=None)
    split = source.task.dataset.validation
    values = sum(int(np.prod(output.shape[1:])) for output in source.expected)
    count = max(1, min(_SAMPLES, len(split), _VALUES // max(1, values)))
    inputs, targets = source.task.inputs(split.images[:count]), split.labels[:count]
    if source.model is None:
        assert source.float32 is not None, "a source is either a Keras model or a .tflite file"
        outputs = tflite_outputs(source.float32, inputs, label="given model on validation", progress=progress)
    else:
        outputs = _in_keras(source.model, inputs, progress)
    return GivenModel(
        inputs=inputs, outputs=outputs, targets=targets, quality=float(source.task.quality.function(outputs, targets))
    )


def check_float32(given: GivenModel, outputs: Sequence[NDArray[np.float32]]) -> None:
    """Raise a ModelError unless the float32 file answers as the given model does.

    Each output may differ by 1e-3 of its greatest value: sums in another order, approximated functions.
    """
    for place, (answer, wanted) in enumerate(zip(outputs, given.outputs, strict=True)):
        difference = np.abs(answer - wanted.reshape(answer.shape)).reshape(len(answer), -1).max(axis=1)
        greatest = float(np.abs(wanted).max())
        if difference.max() > ROUNDING * greatest:
            raise ModelError(
                f"the float32 file does not answer as the given model: output {place} differs by up to "
                f"{difference.max():.3g} (sample {int(difference.argmax())} of {len(difference)}), where its values "
                f"reach {greatest:.3g}; rounding explains {ROUNDING * greatest:.1g}",
                hint="No file was written. Try without folding; if that does not help, a layer is converted wrongly: "
                "cut the model after single layers to find it.",
            )


def _in_keras(model: Any, inputs: NDArray[np.float32], progress: Progress) -> tuple[NDArray[np.float32], ...]:
    parts = []
    for start in range(0, len(inputs), _CHUNK):
        parts.append(of_model(model, inputs[start : start + _CHUNK]))
        progress.step("given model on validation", min(start + _CHUNK, len(inputs)), len(inputs))
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))
