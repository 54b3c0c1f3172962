"""What a variant does not buy, in words: from its recipe, and from what the forecast says of it and of the others."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from edgefm.core.environment import multiplies_bytes
from edgefm.recipes import Cluster, FromScratch, Prune, Qat, Slim, Variant

# Nothing is bought where a figure falls by less than this share.
_NOTHING = 0.02

# Operators that join or part branches, at whose ends TFLite has one scale.
_OF_ONE_SCALE = ("CONCATENATION", "PACK", "SPLIT", "SPLIT_V", "UNPACK")


def of_branches(variant: Variant, operators: Collection[str]) -> Iterator[str]:
    """Yield why the bytes of a file may be others after training, where its branches share one scale.

    Args:
      variant: how it is made; something of it is trained.
      operators: names of those in its file before that.
    """
    shared = [name for name in _OF_ONE_SCALE if name in operators]
    if shared and (variant.trained_int8 or variant.calibrated):
        yield (
            f"branches share one scale ({', '.join(shared)}); where their ranges are too different they stay float32. "
            "Ranges follow from the training: where it changes that, the trained file is of another size and speed"
        )


def notes(
    variant: Variant,
    *,
    size_bytes: int,
    p50_ns: float,
    macs: int,
    float32: Mapping[str, float],
    given_macs: int,
    environment: Mapping[str, Any],
) -> Iterator[str]:
    """Yield what a variant does not buy.

    Args:
      variant: how it is made.
      size_bytes: of its file.
      p50_ns: that is forecast.
      macs: of its file.
      float32: size_bytes and p50_ns of the float32 file.
      given_macs: of the float32 file.
      environment: of the machine of the cost model.
    """
    for recipe in variant.passes:
        if isinstance(recipe, FromScratch) and recipe.fine_tuning.epochs:
            yield (
                "biases of a network that is trained from scratch are zero before it, and left out of the file: the "
                "trained one is some hundred bytes larger"
            )
        elif isinstance(recipe, Prune):
            zeros = (
                "unstructured zeros change" if recipe.pattern == "unstructured" else f"zeros in {recipe.pattern} change"
            )
            yield f"{zeros} the download, not the file's size and not the time: kernels multiply zeros as well"
        elif isinstance(recipe, Cluster):
            yield (
                "clustering changes the download, not the file's size and not the time: weights are stored one by one"
            )
        elif isinstance(recipe, Slim) and macs > (1 - _NOTHING) * given_macs:
            saved = "no" if macs >= given_macs else "hardly any"
            yield f"removing channels saves {saved} multiply-accumulates here: it does not make the model faster"
    if len(variant.passes) == 1 and isinstance(variant.passes[0], Qat):
        yield "trained with quantisation in mind: it may be more accurate than int8_w8a8, not smaller or faster"
    options = variant.quantization
    if options is not None and options.scheme == "float16":
        yield "it computes in float32 here, so that the time does not change"
    elif options is not None and options.scheme == "int16x8":
        yield "no runtime has fast kernels for int16 activations: it is far slower than int8"
    integer = variant.trained_int8 or (options is not None and options.scheme.startswith(("int8", "drq")))
    slimmed = any(isinstance(recipe, Slim) for recipe in variant.passes)
    if integer and not slimmed and p50_ns > (1 - _NOTHING) * float32["p50_ns"]:
        why = "" if multiplies_bytes(environment) else ": it has no instruction that multiplies bytes in groups"
        yield f"int8 is not faster than float32 on this processor{why}"
    if size_bytes > (1 - _NOTHING) * float32["size_bytes"] and variant.name != "float32":
        yield "the file is not smaller than the float32 one"
