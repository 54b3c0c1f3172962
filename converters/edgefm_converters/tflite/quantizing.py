"""float32 TFLite -> the post-training schemes, with litert-quantizer and without TensorFlow.

int8 is symmetric per channel for weights and affine per tensor for activations, whose ranges go from the least to
the greatest value over all calibration samples. Moving averages of each sample's extremes, which litert-quantizer
takes by itself, cut off the extremes of half of the samples, and of a regression's output nearly everything.
Source: Jacob et al. 2018, arXiv:1712.05877; the scheme is specified at
https://ai.google.dev/edge/litert/models/quantization_spec.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core import joined
from edgefm.core.errors import ModelError, NonFiniteError, unknown_name
from edgefm.recipes import CALIBRATED, SCHEMES
from edgefm.tflite import flatbuffer
from edgefm_converters.tflite import quantizer
from edgefm_converters.tflite.biases import with_biases, with_whole_biases
from edgefm_converters.tflite.embedding_tables import with_float16_tables, with_int8_tables
from edgefm_converters.tflite.finite import check_float16
from edgefm_converters.tflite.float_file import float_file
from edgefm_converters.tflite.operator_layers import TracedOperator, named_operators
from edgefm_converters.tflite.outputs import first_non_finite_sample
from edgefm_converters.tflite.shared_scales import SharedScale, operators_of, shared_scales
from edgefm_converters.tflite.sixteen_bits import with_any_scale
from edgefm_converters.tflite.surgery import with_int8_io, with_uint8_io, with_unread_results_quantised

# Activation bits of the calibrated schemes.
_BITS = {"int8_w8a8": 8, "int8_w8a8_fc4": 8, "int16x8": 16}
# What litert-quantizer leaves to be done to its files.
_COMPLETED = {"drq_w8": with_int8_tables, "float16": with_float16_tables, "int16x8": with_any_scale}


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Ranges of a model's activations, shared by its calibrated schemes.

    Attributes:
      ranges: litert-quantizer's result: {tensor name: {'min': array, 'max': array}}.
      images: number of samples that they come from.
      pixels: the inputs are encoded 8-bit pixels, so that uint8 levels can go in.
    """

    ranges: Mapping[str, Any]
    images: int
    pixels: bool = True


def calibrate(
    float32: bytes,
    images: NDArray[np.float32],
    *,
    value_range: tuple[float, float] | None,
    pixels: bool | None = None,
    earlier: Calibration | None = None,
) -> Calibration:
    """Return the activation ranges of a float32 model over some samples.

    Args:
      float32: .tflite file, its own or from elsewhere.
      images: float32 [n, ...], encoded as the model wants them; of several inputs a structured array [n] with a field
        of each name in the signature.
      value_range: least and greatest value that the input can have; it sets the input's scale exactly, whatever
        the samples hold: (0, 255) gives scale 1. None measures the input's range like any other, as do several inputs.
      pixels: the inputs are encoded 8-bit pixels; by default they are where a value range is given.
      earlier: ranges over other samples, which these may widen.
    Raises:
      ModelError: samples of another shape than the model's, none, or values that are not finite; a model that is
        quantised already, see `float_file`.
    """
    prepared = float_file(float32)
    model = flatbuffer.editable(prepared)
    graph = model.subgraphs[0]
    signature = model.signatureDefs[0]
    sources = {entry.name.decode(): graph.tensors[entry.tensorIndex] for entry in signature.inputs}
    given = joined.split(images) if joined.is_joined(images) else dict.fromkeys(sources, images)
    _check_samples(given, sources)
    broken = first_non_finite_sample(tuple(given.values()))
    if broken is not None:
        raise NonFiniteError(
            f"calibration sample {broken} holds NaN or infinite values", hint="Remove the sample.", sample=broken
        )
    key = signature.signatureKey.decode()
    typed = {name: values.astype(flatbuffer.dtype(sources[name])) for name, values in given.items()}
    samples = [{name: values[place : place + 1] for name, values in typed.items()} for place in range(len(images))]
    before = None if earlier is None else dict(earlier.ranges)
    unread = _unread(graph)
    ranges = quantizer.ranges(prepared, {key: samples}, before=before, needed=_activations(model) - set(unread))
    ranges |= {name: ranges[taken] for name, taken in unread.items() if not ranges.get(name) and ranges.get(taken)}
    (only, *others) = sources.values()
    if value_range is not None and not others and flatbuffer.dtype(only) == "float32":
        tensor = only.name.decode()
        low, high = (np.full_like(ranges[tensor]["min"], value) for value in value_range)
        ranges[tensor] = {**ranges[tensor], "min": low, "max": high}
    seen = len(images) + (earlier.images if earlier else 0)
    return Calibration(ranges=ranges, images=seen, pixels=value_range is not None if pixels is None else pixels)


def _check_samples(given: Mapping[str, NDArray[Any]], sources: Mapping[str, Any]) -> None:
    """Raise a ModelError unless there are samples of the shape of each input."""
    if given.keys() != sources.keys():
        raise ModelError(f"calibration samples have the inputs {', '.join(given)}; {', '.join(sources)} are expected")
    for name, values in given.items():
        shape = tuple(int(length) for length in sources[name].shape)
        if len(values) == 0 or values.shape[1:] != shape[1:]:
            wanted = ", ".join(map(str, shape[1:]))
            raise ModelError(f"calibration images have shape {values.shape}; [n, {wanted}], n >= 1 is expected")


def quantize_tflite(
    float32: bytes,
    scheme: str,
    *,
    calibration: Calibration | None = None,
    keep_float: Sequence[str] = (),
    keep_int8: Sequence[str] = (),
    layer_names: Sequence[str] = (),
) -> bytes:
    """Return a float32 TFLite file compressed by a scheme; 'float32' itself comes back with aligned weights.

    Inputs and outputs are uint8 for int8 schemes calibrated on pixels, int8 for other inputs, float32 otherwise. What
    `float32_for_shared_scales` gives stays float32.

    Args:
      float32: .tflite file, its own or from elsewhere.
      scheme: a name from `edgefm.recipes.SCHEMES`.
      calibration: needed by the schemes in `edgefm.recipes.CALIBRATED`.
      keep_float: names of Keras layers whose operators stay float32; `*` and `?` match as in file names. Where the
        last one stays, the output is float32.
      keep_int8: names of Keras layers whose weights are int8 where the scheme makes those of dense layers int4; as
        above.
      layer_names: all layers of the Keras model in order, without its inputs; makes the match of `keep_float`
        certain, see `operator_layers`.
    Raises:
      RecipeError: an unknown scheme, or a name in `keep_float` or `keep_int8` that no operator comes from.
      ModelError: a calibrated scheme without calibration, a model that is quantised already, or a graph whose ends
        cannot be quantised.
      NonFiniteError: a weight that float16 cannot hold.
    """
    if scheme not in SCHEMES:
        raise unknown_name("quantisation scheme", scheme, SCHEMES)
    prepared = float_file(float32)
    if scheme == "float32":
        return flatbuffer.write(flatbuffer.editable(prepared))
    needs = scheme in CALIBRATED
    if needs and calibration is None:
        raise ModelError(
            f"scheme '{scheme}' needs calibration images", hint="Give some, or choose float32, float16 or drq_w8."
        )
    if scheme == "float16":
        check_float16(prepared, tuple(layer_names))
    if scheme == "int16x8":
        prepared = with_biases(prepared)
    kept = _kept(prepared, scheme, calibration, keep_float=keep_float, layer_names=layer_names)
    ranges = dict(calibration.ranges) if needs and calibration else None
    eight_bits = named_operators(
        prepared, keep_int8, what="dense layer to keep in int8", kind="FULLY_CONNECTED", layer_names=layer_names
    )
    content = quantizer.quantized(prepared, scheme, kept, ranges, eight_bits)
    if needs:
        content = with_whole_biases(prepared, content)
    content = with_unread_results_quantised(content)
    if scheme in _COMPLETED:
        content = _COMPLETED[scheme](content)
    if not scheme.startswith("int8"):
        return flatbuffer.write(flatbuffer.editable(content))
    float_output = bool(kept)
    if calibration is not None and calibration.pixels:
        return with_uint8_io(content, float_output=float_output)
    return with_int8_io(content, float_output=float_output)


def float32_for_shared_scales(
    float32: bytes, scheme: str, calibration: Calibration | None, *, layer_names: Sequence[str] = ()
) -> tuple[SharedScale, ...]:
    """Return where a scheme leaves operators in float32 because one scale would lose a branch; () without ranges.

    Args:
      float32: see `quantize_tflite`.
      scheme: a name from `edgefm.recipes.SCHEMES`.
      calibration: of the scheme.
      layer_names: see `quantize_tflite`.
    """
    if calibration is None or scheme not in _BITS:
        return ()
    return shared_scales(float_file(float32), calibration.ranges, bits=_BITS[scheme], layer_names=layer_names)


def quantizer_recipe(
    float32: bytes,
    scheme: str,
    *,
    calibration: Calibration | None = None,
    keep_float: Sequence[str] = (),
    layer_names: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Return litert-quantizer's own recipe for a scheme, as JSON: what its `load_quantization_recipe` takes.

    Arguments are those of `quantize_tflite`, and the same operators stay float32.
    """
    import json

    prepared = float_file(float32)
    kept = _kept(prepared, scheme, calibration, keep_float=keep_float, layer_names=layer_names)
    recipe: list[dict[str, Any]] = json.loads(
        json.dumps(quantizer.configured(prepared, scheme, kept).get_quantization_recipe())
    )
    return recipe


def _kept(
    float32: bytes,
    scheme: str,
    calibration: Calibration | None,
    *,
    keep_float: Sequence[str],
    layer_names: Sequence[str],
) -> tuple[TracedOperator, ...]:
    """Return the operators that stay float32, by name or because one scale would lose a branch."""
    named = named_operators(float32, keep_float, what="layer to keep in float", layer_names=layer_names)
    shared = float32_for_shared_scales(float32, scheme, calibration, layer_names=layer_names)
    every = {operator.index: operator for operator in (*named, *operators_of(float32, shared))}
    return tuple(every[index] for index in sorted(every))


def _unread(graph: Any) -> dict[str, str]:
    """Return the results that nothing takes, with what the operator takes: its range serves, since it is in no answer.

    A SPLIT of a recurrent layer's bias and gates leaves such results, which no calibration sees.
    """
    read = {int(index) for operator in graph.operators for index in operator.inputs} | set(map(int, graph.outputs))
    made = {int(index) for operator in graph.operators for index in operator.outputs} | set(map(int, graph.inputs))
    unread = {}
    for operator in graph.operators:
        sources = [graph.tensors[index] for index in operator.inputs if int(index) in made]
        floats = [tensor.name.decode() for tensor in sources if flatbuffer.dtype(tensor) == "float32"]
        for index in operator.outputs:
            if int(index) not in read and floats:
                unread[graph.tensors[index].name.decode()] = floats[0]
    return unread


def _activations(model: Any) -> set[str]:
    """Return the names of the float tensors that are computed or given, not stored."""
    graph = model.subgraphs[0]
    activations = {index for operator in graph.operators for index in operator.outputs} | set(graph.inputs)
    tensors = [graph.tensors[index] for index in activations]
    return {tensor.name.decode() for tensor in tensors if flatbuffer.dtype(tensor) == "float32"}
