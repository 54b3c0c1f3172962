"""Memory of a training: its peak, and whether an error says that there was not enough."""

from __future__ import annotations

import sys

import keras

_NAMES = ("ResourceExhaustedError", "OutOfMemoryError")
_WORDS = (
    "RESOURCE_EXHAUSTED",
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "Dst tensor is not initialized",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error of a backend says that memory ran out.

    >>> is_out_of_memory(MemoryError()), is_out_of_memory(ValueError("shape"))
    (True, False)
    >>> is_out_of_memory(RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 68719476736 bytes."))
    True
    """
    if isinstance(error, MemoryError) or type(error).__name__ in _NAMES:
        return True
    known = isinstance(error, RuntimeError) or type(error).__name__ == "InternalError"  # TensorFlow's, on a GPU
    return known and any(words in str(error) for words in _WORDS)


def peak_bytes() -> dict[str, int]:
    """Return the most memory held at once so far: `process_bytes` of this process, `device_bytes` where the GPU says.

    Of the process it is the peak since it began, which counts its libraries and data too.
    """
    peaks = {"process_bytes": _process_bytes()}
    device = _device_bytes()
    if device:
        peaks["device_bytes"] = device
    return peaks


def _process_bytes() -> int:
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _device_bytes() -> int:
    backend = keras.config.backend()
    if backend == "jax":
        import jax

        return int((jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0))
    if backend == "torch":
        import torch

        return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    return int(tf.config.experimental.get_memory_info("GPU:0")["peak"]) if gpus else 0
