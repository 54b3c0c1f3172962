"""The content of a variant's .tflite file: its passes, then folding, conversion and post-training quantisation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgefm import artefacts
from edgefm.data.preprocessing import Preprocessing
from edgefm.progress import Progress
from edgefm.recipes import Quantization, Variant
from edgefm_converters.outputs import Arrays, of_model
from edgefm_converters.quantizing import Calibration, calibrate, quantize_tflite
from edgefm_converters.source import Source

if TYPE_CHECKING:
    from edgefm.compression.chain import Chain, Link

# Outputs of the folded and the given model may differ by this much, relative to their size, before the fold is
# distrusted.
FOLD_TOLERANCE = 1e-4


@dataclass(frozen=True, kw_only=True)
class Made:
    """A variant's content.

    Attributes:
      content: of the .tflite file, not yet described.
      encoding: how pixels become its inputs.
      links: the passes behind it.
      post_training: what equalisation and bias correction did.
    """

    content: bytes
    encoding: Preprocessing
    links: tuple[Link, ...] = ()
    post_training: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Float:
    """A model without quantisation: Keras (None for a .tflite source), TFLite, and what folding did."""

    model: Any
    tflite: bytes
    folding: Mapping[str, Any]


class Converter:
    """Makes variants of one source; variants that share passes, a conversion or a calibration share the work."""

    def __init__(self, source: Source, recipe: Quantization, *, kept: Path, progress: Progress) -> None:
        self._source = source
        self._recipe = recipe
        self._kept = kept
        self._progress = progress
        self._chain_made: Chain | None = None
        self._floats: dict[tuple[str, bool, bool], _Float] = {}
        self._calibrations: dict[bytes, Calibration] = {}

    def make(self, variant: Variant) -> Made:
        """Return the content of a variant's file."""
        links = self._chain().run(variant.passes, label=variant.name) if variant.passes else ()
        if variant.trained_int8:
            encoding = links[-1].encoding
            assert encoding is not None, "qat says how its file is fed"
            return Made(content=links[-1].int8(), encoding=encoding, links=links)
        options = variant.quantization
        assert options is not None, "a variant either ends in qat or is quantised after training"
        if options.scheme == "int16x8":
            self._progress.note(f"{variant.name}: int16x8 has no fast kernel; expect many times the latency of int8")
        floating, done = self._float(links, equalize=options.equalize, correct_bias=options.correct_bias)
        calibration = self._calibration(floating.tflite) if variant.calibrated else None
        content = quantize_tflite(
            floating.tflite, options.scheme, calibration=calibration, keep_float=options.keep_float
        )
        return Made(content=content, encoding=self._source.encoding, links=links, post_training=done)

    def folding(self) -> Mapping[str, Any]:
        """Return what folding did to the source's model."""
        return self._float((), equalize=False, correct_bias=False)[0].folding

    def _chain(self) -> Chain:
        if self._chain_made is None:
            from edgefm.compression.chain import Chain

            source = self._source
            assert source.task is not None, "passes are refused without data"
            self._chain_made = Chain(
                model=source.model,
                key=artefacts.sha256_json({"model": source.sha256, "softmax_added": source.softmax_added}),
                task=source.task,
                folder=self._kept,
                seed=self._recipe.seed,
                progress=self._progress,
            )
        return self._chain_made

    def _float(
        self, links: tuple[Link, ...], *, equalize: bool, correct_bias: bool
    ) -> tuple[_Float, Mapping[str, Any]]:
        key = (links[-1].key if links else "", equalize, correct_bias)
        if key not in self._floats:
            self._floats[key] = self._converted(links, equalize=equalize, correct_bias=correct_bias)
        done = {
            name: self._floats[key].folding[name]
            for name in ("equalization", "bias_correction")
            if name in self._floats[key].folding
        }
        return self._floats[key], done

    def _converted(self, links: tuple[Link, ...], *, equalize: bool, correct_bias: bool) -> _Float:
        from edgefm_converters.keras_to_tflite import float32_tflite

        source = self._source
        if source.model is None:
            assert source.float32 is not None, "a source is either a Keras model or a .tflite file"
            return _Float(model=None, tflite=source.float32, folding={"used": False, "reason": "no Keras model"})
        given = links[-1].load() if links else source.model
        inputs = source.compared.inputs
        expected = of_model(given, inputs) if links else source.expected
        model, folding = self._folded(given, inputs, expected)
        if equalize:
            from edgefm.compression.equalization import equalize as equalized

            model, report = equalized(model)
            folding = {**folding, "equalization": report}
        if correct_bias:
            from edgefm.compression.bias_correction import correct_bias as corrected

            model, report = corrected(model, inputs)
            folding = {**folding, "bias_correction": report}
        return _Float(model=model, tflite=float32_tflite(model), folding=folding)

    def _folded(self, model: Any, inputs: NDArray[np.float32], expected: Arrays) -> tuple[Any, Mapping[str, Any]]:
        """Return the model to convert, folded where that is wanted and proved right, and what was done."""
        if not self._recipe.fold_batch_norm:
            return model, {"used": False, "reason": "not wanted"}
        from edgefm.compression.folding import fold

        folded, report = fold(model)
        difference, size = 0.0, 1.0
        for found, wanted in zip(of_model(folded, inputs), expected, strict=True):
            difference = max(difference, float(np.abs(found - wanted).max()))
            size = max(size, float(np.abs(wanted).max()))
        done = {"max_abs_difference": difference, **report.to_json()}
        if difference > FOLD_TOLERANCE * size:
            reason = (
                f"outputs differ by {difference:.1e} from the given model's; {FOLD_TOLERANCE * size:.0e} is allowed"
            )
            self._progress.note(f"batch normalisation is not folded: {reason}")
            return model, {"used": False, "reason": reason, **done}
        for layer in report.left_out:
            self._progress.note(f"{layer.layer} is not folded: {layer.reason}")
        return folded, {"used": True, **done}

    def _calibration(self, float32: bytes) -> Calibration:
        if float32 not in self._calibrations:
            compared = self._source.compared
            self._calibrations[float32] = calibrate(
                float32, compared.inputs, value_range=self._source.encoding.value_range
            )
        return self._calibrations[float32]
