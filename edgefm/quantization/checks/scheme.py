"""Whether a scheme changed anything: a file that is another variant's is left out instead of listed."""

from __future__ import annotations

from edgefm.core.errors import NothingToQuantizeError
from edgefm.tflite import flatbuffer
from edgefm_converters.tflite.quantizer import SMALL_KERNEL

# dtype that a scheme's weights must have somewhere, what it stands in for, and why there may be none.
_STORED = {
    "float16": ("float16", "float32", "it has no convolution and no dense layer"),
    "drq_w8": ("int8", "float32", f"none of its kernels has {SMALL_KERNEL:,} weights or more"),
    "int8_w8a8_fc4": ("int4", "int8_w8a8", "it has no dense layer whose weights could be int4"),
}


def check_scheme(content: bytes, scheme: str, *, variant: str) -> None:
    """Raise a NothingToQuantizeError where no weight of a file has the dtype that its scheme promises.

    Args:
      content: of the .tflite file.
      scheme: a name from `edgefm.recipes.SCHEMES`.
      variant: its name, for the message.
    """
    if scheme not in _STORED:
        return
    dtype, other, reason = _STORED[scheme]
    graph = flatbuffer.read(content).subgraphs[0]
    if not any(flatbuffer.dtype(tensor) == dtype for tensor in graph.tensors):
        raise NothingToQuantizeError(
            f"{variant} would be the same file as {other}: {reason}",
            hint=f"Take {other}, or name another variant.",
        )
