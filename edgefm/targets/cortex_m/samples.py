"""What goes into a firmware and comes out of it, as arrays: inputs, outputs, instructions by operator."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import ModelError
from edgefm.targets.cortex_m.graph import FirmwareGraph, FirmwareTensor
from edgefm.targets.cortex_m.run import Counted, FirmwareError


def random_inputs(graph: FirmwareGraph, *, count: int) -> NDArray[Any]:
    """Return a few repeatable inputs, [count, ...]: the whole range of integers, or [0, 1)."""
    tensor = graph.inputs[0]
    generator = np.random.default_rng(0)
    shape = (count, *tensor.shape[1:])
    if tensor.dtype == "float32":
        return generator.random(shape, dtype=np.float32)
    if tensor.dtype not in ("int8", "uint8"):
        raise ModelError(f"the input '{tensor.name}' of {graph.path} is {tensor.dtype}; allowed: int8, uint8, float32")
    limits = np.iinfo(tensor.dtype)
    return generator.integers(limits.min, limits.max, shape, endpoint=True).astype(tensor.dtype)


def outputs_of(graph: FirmwareGraph, counted: Counted) -> tuple[NDArray[Any], ...]:
    """Return the outputs by tensor; a FirmwareError where the firmware's have other sizes."""
    sizes = tuple(tensor.size_bytes for tensor in graph.outputs)
    if counted.output_bytes != sizes:
        raise FirmwareError(f"the firmware's outputs have {counted.output_bytes} bytes, those of the model {sizes}")
    return arrays(graph, counted.outputs)


def arrays(graph: FirmwareGraph, content: bytes, *, batch: bool = False) -> tuple[NDArray[Any], ...]:
    """Return the outputs of samples, one after the other in bytes, by tensor: [n, ...] each.

    Args:
      graph: the model's.
      content: all outputs of the first sample, then of the next.
      batch: of one sample; the tensors have the model's own shapes.
    """
    sizes = [tensor.size_bytes for tensor in graph.outputs]
    rows = np.frombuffer(content, np.uint8).reshape(-1, sum(sizes))
    ends = np.cumsum(sizes)
    return tuple(
        np.ascontiguousarray(rows[:, end - size : end])
        .view(np.dtype(tensor.dtype))
        .reshape(tensor.shape if batch else (len(rows), *_sample(tensor)))
        for tensor, end, size in zip(graph.outputs, ends, sizes, strict=True)
    )


def _sample(tensor: FirmwareTensor) -> tuple[int, ...]:
    """Return the shape of one sample: without the batch of 1, where there is one."""
    return tensor.shape[1:] if tensor.shape[:1] == (1,) else tensor.shape


def by_operator(counted: Counted, steps: tuple[tuple[int, str], ...]) -> list[dict[str, Any]]:
    """Return the instructions of each operator run alone; those of a user's firmware have no names."""
    return [
        {"index": steps[place][0], "operator": steps[place][1], "instructions": count}
        if place < len(steps)
        else {"index": place, "operator": None, "instructions": count}
        for place, count in counted.by_operator.items()
    ]
