"""How long a call in the process apart may be silent: by what is known of its work before it begins."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

# What no file asks for by itself: a call, an allocation, a machine that is busy with other things.
SECONDS = 10.0
# Slow machines do more of both; a file that describes very much gets no more time for that.
_BYTES_A_SECOND = 10 << 20
_MACS_A_SECOND = 100_000_000
_MOST_FOR_MACS = 20.0


def patience(size_bytes: int, *, runs: bytes | Path | None = None) -> float:
    """Return the seconds after which a call that tells nothing is taken for one that never ends.

    >>> patience(0), patience(100 << 20)
    (10.0, 20.0)

    Args:
      size_bytes: of the file that is read.
      runs: a .tflite file, or its content, of which one inference may pass until the next sign of life.
    """
    macs = 0 if runs is None else _macs(runs)
    return SECONDS + size_bytes / _BYTES_A_SECOND + min(macs / _MACS_A_SECOND, _MOST_FOR_MACS)


@lru_cache(maxsize=1)  # the same file is asked again for its next samples
def _macs(model: bytes | Path) -> int:
    """Return the multiply-accumulates of one inference; 0 where they cannot be told."""
    from edgefm.tflite import flatbuffer, graph, tflite_file

    try:
        parsed = flatbuffer.read(tflite_file.content_of(model) if isinstance(model, Path) else model)
        return sum(operator.macs for operator in graph.operators(parsed, graph.tensors(parsed)))
    except Exception:  # a damaged graph: whatever runs it says what is wrong
        return 0
