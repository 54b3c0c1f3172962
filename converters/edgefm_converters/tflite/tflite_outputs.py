"""What a .tflite file answers to real inputs, whatever its ends are, as real numbers; LiteRT runs apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core import joined
from edgefm.core.errors import ModelError, NonFiniteError
from edgefm.core.progress import SILENT, Progress
from edgefm.runtimes import apart
from edgefm.tflite import flatbuffer
from edgefm_converters.tflite.finite import first_non_finite_operator
from edgefm_converters.tflite.outputs import first_non_finite_sample
from edgefm_converters.tflite.surgery import input_names

_MOST_AT_ONCE, _AT_ONCE_BYTES = 500, 32 << 20


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
      content: of the file, with a batch of 1.
      inputs: float32 [n, ...]; quantised by the file's own scale where its input is quantised. Of several inputs a
        structured array [n] with a field of each name in the file's signature.
      label: told to `progress`; '' tells nothing.
      progress: receives progress.
      builtin_kernels: run LiteRT's own kernels instead of its default set, which has XNNPACK's.
    Raises:
      ModelError: LiteRT cannot load or run the file.
      NonFiniteError: an output is not finite; the sample and, in a float file, the first such layer are named.
    """
    answers: list[tuple[NDArray[np.float32], ...]] = []
    floating = True
    at_once, doing = _at_once(content, inputs), "running the model in LiteRT"
    for start in range(0, max(1, len(inputs)), at_once):
        given = inputs[start : start + at_once]
        floating, outputs = apart.call(
            _answers, content, given, builtin_kernels, size_bytes=len(content), doing=doing, runs=content
        )
        sample = first_non_finite_sample(outputs)
        if sample is not None:
            raise _not_finite(content, floating, given, sample, start)
        answers.append(outputs)
        if label:
            progress.step(label, start + len(given), len(inputs))
    return tuple(np.concatenate(parts) for parts in zip(*answers, strict=True))


def _at_once(content: bytes, inputs: NDArray[Any]) -> int:
    """Return how many samples go into one call: as many as take a few megabytes, and at most some hundreds."""
    model = flatbuffer.read(content)
    graph = model.subgraphs[0]
    answer = sum(4 * flatbuffer.elements(graph.tensors[index]) for index in flatbuffer.indices(graph.outputs))
    sample = inputs.nbytes // max(1, len(inputs))
    return max(1, min(_MOST_AT_ONCE, _AT_ONCE_BYTES // max(1, sample, answer)))


def _answers(
    content: bytes, inputs: NDArray[np.float32], builtin_kernels: bool
) -> tuple[bool, tuple[NDArray[np.float32], ...]]:
    """Return whether a file takes real numbers as they are, and its outputs; called in the process apart."""
    try:
        interpreter = _interpreter(content, builtin_kernels)
        sources, sinks = interpreter.get_input_details(), interpreter.get_output_details()
        levels = [(source["index"], _levels(values, source)) for source, values in _by_input(content, inputs, sources)]
        answers: list[list[NDArray[Any]]] = [[] for _ in sinks]
        for index in range(len(inputs)):
            for place, values in levels:
                interpreter.set_tensor(place, values[index : index + 1])
            interpreter.invoke()
            for kept, sink in zip(answers, sinks, strict=True):
                kept.append(interpreter.get_tensor(sink["index"]))
            apart.tell(index)
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"LiteRT cannot run the file: {' '.join(str(error).split())[:300]}") from error
    floating = all(source["dtype"] not in (np.int8, np.uint8) for source in sources)
    return floating, tuple(_real(_joined(kept), sink) for kept, sink in zip(answers, sinks, strict=True))


@lru_cache(maxsize=1)  # the same file is asked again for its next samples
def _interpreter(content: bytes, builtin_kernels: bool) -> Any:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if builtin_kernels else OpResolverType.AUTO
    interpreter = Interpreter(model_content=content, num_threads=1, experimental_op_resolver_type=kernels)
    interpreter.allocate_tensors()
    return interpreter


def _joined(answers: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return the answers to single samples as [n, ...]; those without a batch of 1 get one."""
    return np.concatenate(answers) if answers[0].shape[:1] == (1,) else np.stack(answers)


def _by_input(
    content: bytes, inputs: NDArray[Any], sources: Sequence[Mapping[str, Any]]
) -> list[tuple[Mapping[str, Any], NDArray[Any]]]:
    """Return each input of a file with its values."""
    if len(sources) == 1:
        return [(sources[0], inputs)]
    names, values = input_names(content), joined.split(inputs)
    return [(source, values[name]) for source, name in zip(sources, names, strict=True)]


def _not_finite(content: bytes, floating: bool, inputs: NDArray[np.float32], place: int, start: int) -> NonFiniteError:
    given, sample = inputs[place : place + 1], start + place
    if first_non_finite_sample(tuple(joined.split(given).values()) or (given,)) is not None:
        return NonFiniteError(f"input {sample} holds NaN or infinite values", hint="Remove the sample.", sample=sample)
    first = first_non_finite_operator(content, given) if floating else None
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
