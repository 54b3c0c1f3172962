"""A model as C99 that needs no interpreter: what edgefm's cortex-m target generates, for any compiler."""

from __future__ import annotations

from pathlib import Path

_KERNELS = ("edgefm_firmware.h", "edgefm_kernels.c", "edgefm_kernels.h")


def network(model: Path) -> dict[str, str]:
    """Return the network of an int8 model and its kernels, by file name.

    Raises:
      ModelError: an operator, or how it is used, is not among what the kernels do.
    """
    from edgefm.targets.cortex_m import graph
    from edgefm.targets.cortex_m.boards import FIRMWARE
    from edgefm.targets.cortex_m.source import source_of

    kernels = {name: (FIRMWARE / name).read_text(encoding="utf-8") for name in _KERNELS}
    return {**source_of(graph.read(model)).portable(), **kernels}
