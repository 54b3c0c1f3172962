"""An int8 .tflite file whose layers XNNPACK runs faster, with equal answers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import ModelError
from edgefm.tflite import flatbuffer
from edgefm_converters.rewriting.editing import Editing
from edgefm_converters.rewriting.few_channels import gather_patches
from edgefm_converters.rewriting.unread_positions import leave_out_unread_positions
from edgefm_converters.tflite.tflite_outputs import tflite_outputs

_SAMPLES = 16


def for_xnnpack(content: bytes) -> tuple[bytes, tuple[dict[str, Any], ...]]:
    """Return a file rewritten for XNNPACK and what was done; the content as it is where there is nothing to do.

    Args:
      content: of a .tflite file; only int8 layers are looked at.
    """
    model = flatbuffer.editable(content)
    if len(model.subgraphs) != 1:
        return content, ()
    editing = Editing(model)
    done = [*gather_patches(editing), *leave_out_unread_positions(editing)]
    return (flatbuffer.write(model), tuple(done)) if done else (content, ())


def check_equal(content: bytes, rewritten: bytes, inputs: NDArray[Any], *, seed: int = 0) -> int:
    """Raise a ModelError unless two files answer alike bit for bit, on LiteRT's both kernel sets.

    Args:
      content: of a .tflite file.
      rewritten: what `for_xnnpack` made of it.
      inputs: real samples as `tflite_outputs` takes them, of which some are used. A single input of 8 bits is also
        given samples of noise over all of its levels.
      seed: of the noise.
    Returns:
      The number of samples.
    """
    samples = inputs[:_SAMPLES]
    noise = _noise(content, seed)
    if noise is not None:
        samples = np.concatenate([samples, noise])
    for builtin in (False, True):
        expected = tflite_outputs(content, samples, builtin_kernels=builtin)
        given = tflite_outputs(rewritten, samples, builtin_kernels=builtin)
        if not all(np.array_equal(one, other) for one, other in zip(expected, given, strict=True)):
            kernels = "LiteRT's own" if builtin else "XNNPACK's"
            raise ModelError(
                f"the file rewritten for XNNPACK answers otherwise than before on {kernels} kernels",
                hint="Take the variant without '_xnnpack', and report this as a fault of edgefm.",
            )
    return len(samples)


def _noise(content: bytes, seed: int) -> NDArray[np.float32] | None:
    graph = flatbuffer.read(content).subgraphs[0]
    tensor = graph.tensors[graph.inputs[0]]
    if len(graph.inputs) != 1 or flatbuffer.dtype(tensor) not in ("int8", "uint8"):
        return None
    limits = np.iinfo(flatbuffer.dtype(tensor))
    shape = (_SAMPLES, *flatbuffer.indices(tensor.shape)[1:])
    levels = np.random.default_rng(seed).integers(limits.min, limits.max, shape, endpoint=True)
    scale, zero_point = tensor.quantization.scale[0], tensor.quantization.zeroPoint[0]
    return ((levels - zero_point) * np.float32(scale)).astype(np.float32)
