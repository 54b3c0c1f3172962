"""What a .tflite file answers to real inputs, whatever its ends are, as real numbers; run in LiteRT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import ModelError, NonFiniteError
from edgefm.core.progress import SILENT, Progress
from edgefm.core.silence import silenced
from edgefm_converters.tflite.finite import first_non_finite_operator
from edgefm_converters.tflite.outputs import first_non_finite_sample

_TOLD_EVERY = 500


def tflite_outputs(
    content: bytes,
    inputs: NDArray[np.float32],
    *,
    label: str = "",
    progress: Progress = SILENT,
    builtin_kernels: bool = False,
) -> tuple[NDArray[np.float32], ...]:
    """Return the real outputs of a .tflite file for real inputs, float32 [n, ...] each, in the file's order.

    Args:
      content: of the file, one input with a batch of 1.
      inputs: float32 [n, ...]; quantised by the file's own scale where its input is quantised.
      label: told to `progress`; '' tells nothing.
      progress: receives progress.
      builtin_kernels: run LiteRT's own kernels instead of its default set, which has XNNPACK's.
    Raises:
      ModelError: LiteRT cannot load or run the file.
      NonFiniteError: an output is not finite; the sample and, in a float file, the first such layer are named.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if builtin_kernels else OpResolverType.AUTO
    try:
        with silenced():
            interpreter = Interpreter(model_content=content, num_threads=1, experimental_op_resolver_type=kernels)
            interpreter.allocate_tensors()
        source, sinks = interpreter.get_input_details()[0], interpreter.get_output_details()
        levels = _levels(inputs, source)
        answers: list[list[NDArray[Any]]] = [[] for _ in sinks]
        for index in range(len(levels)):
            interpreter.set_tensor(source["index"], levels[index : index + 1])
            interpreter.invoke()
            for kept, sink in zip(answers, sinks, strict=True):
                kept.append(interpreter.get_tensor(sink["index"]))
            if label and ((index + 1) % _TOLD_EVERY == 0 or index + 1 == len(levels)):
                progress.step(label, index + 1, len(levels))
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"LiteRT cannot run the file: {' '.join(str(error).split())[:300]}") from error
    outputs = tuple(_real(np.concatenate(kept), sink) for kept, sink in zip(answers, sinks, strict=True))
    sample = first_non_finite_sample(outputs)
    if sample is not None:
        raise _not_finite(content, source, inputs, sample)
    return outputs


def _not_finite(content: bytes, source: Mapping[str, Any], inputs: NDArray[np.float32], sample: int) -> NonFiniteError:
    given = inputs[sample : sample + 1]
    if not np.isfinite(given).all():
        return NonFiniteError(f"input {sample} holds NaN or infinite values", hint="Remove the sample.", sample=sample)
    first = first_non_finite_operator(content, given) if source["dtype"] == np.float32 else None
    where = f"; {first[1]} of '{first[0]}' is the first operator that does" if first else ""
    return NonFiniteError(
        f"the file gives outputs that are not finite, first for input {sample}{where}",
        layer=first[0] if first else None,
        sample=sample,
    )


def _levels(inputs: NDArray[np.float32], tensor: Mapping[str, Any]) -> NDArray[Any]:
    scale, zero_point = tensor["quantization"]
    if not scale:
        return inputs.astype(tensor["dtype"])
    limits = np.iinfo(tensor["dtype"])
    rounded = np.round(inputs / np.float32(scale)) + zero_point
    return np.clip(rounded, limits.min, limits.max).astype(tensor["dtype"])


def _real(raw: NDArray[Any], tensor: Mapping[str, Any]) -> NDArray[np.float32]:
    scale, zero_point = tensor["quantization"]
    if not scale:
        return raw.astype(np.float32)
    return ((raw.astype(np.float32) - zero_point) * np.float32(scale)).astype(np.float32)
