"""A program of PyTorch as ExecuTorch's .pte file, for XNNPACK; ExecuTorch's own runtime runs it here."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FILE_NAME = "model.pte"


def write(program: Any, inputs: NDArray[Any], path: Path) -> tuple[tuple[NDArray[Any], ...], str]:
    """Write a program as a .pte file; return what it answers inputs [n, ...], an array an output, and what ran it."""
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower
    from executorch.exir.passes.constant_prop_pass import constant_prop_pass
    from executorch.runtime import Runtime

    # XNNPACK takes a convolution whose weights are constants, and Keras turns them about in the graph.
    lowered = to_edge_transform_and_lower(constant_prop_pass(program), partitioner=[XnnpackPartitioner()])
    path.write_bytes(lowered.to_executorch().buffer)
    method = Runtime.get().load_program(path).load_method("forward")
    answers = [
        [np.array(output) for output in method.execute([torch.from_numpy(inputs[place : place + 1])])]
        for place in range(len(inputs))
    ]
    outputs = tuple(np.concatenate(each) for each in zip(*answers, strict=True))
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("executorch", "torch", "keras")]
    return outputs, ", ".join(versions)
