"""The content of a variant's .tflite file: its passes, then folding, conversion and post-training quantisation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core import artefacts
from edgefm.core.errors import NothingToQuantizeError
from edgefm.core.progress import Progress
from edgefm.data.preprocessing import Preprocessing
from edgefm.quantization.checks.scheme import check_scheme
from edgefm.quantization.folded_model import folded_model
from edgefm.quantization.source import Source
from edgefm.recipes import PostTraining, Quantization, Variant
from edgefm_converters.rewriting.for_xnnpack import check_equal, for_xnnpack
from edgefm_converters.tflite.outputs import of_model
from edgefm_converters.tflite.quantizing import Calibration, calibrate, float32_for_shared_scales, quantize_tflite
from edgefm_converters.tflite.sixteen_bits import check_kernels

if TYPE_CHECKING:
    from edgefm.quantization.chain import Chain, Link
    from edgefm.training.distillation import Teacher

# Schemes whose dense weights have other than eight bits.
_DENSE_BITS = {"int8_w8a8_fc4": 4}


@dataclass(frozen=True, kw_only=True)
class Made:
    """A variant's content.

    Attributes:
      content: of the .tflite file, not yet described.
      encoding: how pixels become its inputs.
      links: the passes behind it.
      post_training: what equalisation and bias correction did; `shared_scales`: what stays float32 because one scale
        would lose a branch; `kernels`: errors of an int16x8 file on a phone's kernels, see `check_kernels`;
        `for_xnnpack`: which layers were rewritten, and for how many samples the answers were found equal.
    """

    content: bytes
    encoding: Preprocessing
    links: tuple[Link, ...] = ()
    post_training: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Float:
    """A model without quantisation: TFLite, the names of its Keras layers, and what folding did."""

    tflite: bytes
    layer_names: tuple[str, ...]
    folding: Mapping[str, Any]


class Converter:
    """Makes variants of one source; variants that share passes, a conversion or a calibration share the work."""

    def __init__(
        self,
        source: Source,
        recipe: Quantization,
        *,
        kept: Path,
        progress: Progress,
        teachers: dict[tuple[str, ...], Teacher] | None = None,
        shelf: Callable[[Path], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._source = source
        self._teachers = {} if teachers is None else teachers
        self._shelf = shelf
        self._recipe = recipe
        self._kept = kept
        self._progress = progress
        self._chain_made: Chain | None = None
        self._floats: dict[tuple[str, bool, int], _Float] = {}
        self._calibrations: dict[bytes, Calibration] = {}

    def make(self, variant: Variant) -> Made:
        """Return the content of a variant's file."""
        made = self._quantised(variant)
        if not variant.for_xnnpack:
            return made
        rewritten, rewrites = for_xnnpack(made.content)
        if not rewrites:
            raise NothingToQuantizeError(
                f"{variant.name} would be the same file as without '_xnnpack': none of its layers gains",
                hint="Take the variant without '_xnnpack'.",
            )
        samples = check_equal(made.content, rewritten, self._source.compared.inputs)
        facts = {"rewrites": list(rewrites), "equal_samples": samples}
        return replace(made, content=rewritten, post_training={**made.post_training, "for_xnnpack": facts})

    def forget(self) -> None:
        """Let go of the conversions that are kept in memory; passes stay in their folder."""
        self._floats.clear()
        self._calibrations.clear()

    def _quantised(self, variant: Variant) -> Made:
        links = self._chain().run(variant.passes, label=variant.name) if variant.passes else ()
        if variant.trained_int8:
            encoding = links[-1].encoding
            assert encoding is not None, "qat says how its file is fed"
            return Made(content=links[-1].int8(), encoding=encoding, links=links)
        options = variant.quantization
        assert options is not None, "a variant either ends in qat or is quantised after training"
        if options.scheme == "int16x8":
            self._progress.note(f"{variant.name}: int16x8 has no fast kernel; expect many times the latency of int8")
        floating, done = self._float(links, options)
        calibration = self._calibration(floating.tflite) if variant.calibrated else None
        content = quantize_tflite(
            floating.tflite,
            options.scheme,
            calibration=calibration,
            keep_float=options.keep_float,
            keep_int8=options.keep_int8,
            layer_names=floating.layer_names,
        )
        check_scheme(content, options.scheme, variant=variant.name)
        shared = float32_for_shared_scales(
            floating.tflite, options.scheme, calibration, layer_names=floating.layer_names
        )
        for finding in shared:
            self._progress.note(f"{variant.name}: {finding.sentence}")
        if shared:
            done = {**done, "shared_scales": [finding.to_json() for finding in shared]}
        if options.scheme == "int16x8":
            done = {**done, "kernels": check_kernels(floating.tflite, content, self._source.compared.inputs)}
        return Made(content=content, encoding=self._source.encoding, links=links, post_training=done)

    def folding(self) -> Mapping[str, Any]:
        """Return what folding did to the source's model."""
        return self._float((), PostTraining(scheme="float32"))[0].folding

    def _chain(self) -> Chain:
        if self._chain_made is None:
            from edgefm.quantization.chain import Chain

            source = self._source
            assert source.task is not None, "passes are refused without data"
            self._chain_made = Chain(
                model=source.model,
                key=artefacts.sha256_json(
                    {"model": source.sha256, "head": source.head.kind, "added": source.head.added}
                ),
                task=source.task,
                folder=self._kept,
                seed=self._recipe.seed,
                teachers=self._teachers,
                shelf=self._shelf,
                progress=self._progress,
            )
        return self._chain_made

    def _float(self, links: tuple[Link, ...], options: PostTraining) -> tuple[_Float, Mapping[str, Any]]:
        bits = _DENSE_BITS.get(options.scheme, 8) if options.correct_bias else 0
        key = (links[-1].key if links else "", options.equalize, bits)
        if key not in self._floats:
            self._floats[key] = self._converted(links, equalize=options.equalize, bias_bits=bits)
        found = self._floats[key]
        extras = ("equalization", "bias_correction")
        return found, {name: found.folding[name] for name in extras if name in found.folding}

    def _converted(self, links: tuple[Link, ...], *, equalize: bool, bias_bits: int) -> _Float:
        source = self._source
        if source.model is None:
            assert source.float32 is not None, "a source is either a Keras model or a .tflite file"
            return _Float(tflite=source.float32, layer_names=(), folding={"used": False, "reason": "no Keras model"})
        from edgefm.keras_graph.graph import Graph
        from edgefm_converters.tflite.keras_to_tflite import float32_tflite

        given = links[-1].load() if links else source.model
        inputs = source.compared.inputs
        expected = of_model(given, inputs) if links else source.expected
        model, folding = self._folded(given, inputs, expected)
        if equalize:
            from edgefm.compression.post_training.equalization import equalize as equalized

            model, report = equalized(model)
            folding = {**folding, "equalization": report}
        if bias_bits:
            from edgefm.compression.post_training.bias_correction import correct_bias

            model, report = correct_bias(model, inputs, dense_bits=bias_bits, progress=self._progress)
            folding = {**folding, "bias_correction": report}
        names = tuple(call.name for call in Graph(model).calls)
        return _Float(tflite=float32_tflite(model), layer_names=names, folding=folding)

    def _folded(
        self, model: Any, inputs: NDArray[np.float32], expected: tuple[NDArray[np.float32], ...]
    ) -> tuple[Any, Mapping[str, Any]]:
        """Return the model to convert, folded where that is wanted and proved right, and what was done."""
        if not self._recipe.fold_batch_norm:
            return model, {"used": False, "reason": "not wanted"}
        folded, facts = folded_model(model, inputs, expected)
        if not facts["used"]:
            self._progress.note(f"batch normalisation is not folded: {facts['reason']}")
            return model, facts
        for layer in facts["left_out"]:
            self._progress.note(f"{layer['layer']} is not folded: {layer['reason']}")
        return folded, facts

    def _calibration(self, float32: bytes) -> Calibration:
        if float32 not in self._calibrations:
            source = self._source
            floats = source.several_inputs or (
                source.task is not None and source.task.dataset.train.images.dtype != np.uint8
            )
            self._calibrations[float32] = calibrate(
                float32, source.compared.inputs, value_range=source.encoding.value_range, pixels=not floats
            )
        return self._calibrations[float32]
