"""Which figures of a model are judged, which way is better, and what two of them must have in common.

What a runtime or a target tells is judged where it is listed here alone: most of it describes (threads, a browser's
name), or is one reading of a clock (`load_ns`, `compile_ns`), of which chance decides whether the next is greater.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

Better = Literal["less", "more"]

# Counted or computed, so that the same model gives the same figure again.
DIRECTIONS: Mapping[str, Better] = MappingProxyType(
    {
        "arena_bytes": "less",  # tflm, vela
        "instructions": "less",  # qemu-aarch64, cortex-m
        "flash_bytes": "less",  # cortex-m
        "ram_bytes": "less",
        "latency_ns": "less",  # vela's estimate
        "npu_latency_ns": "less",
        "npu_cycles": "less",
        "npu_operator_share": "more",
        "model_bytes": "less",
        "sram_bytes": "less",
        "dram_bytes": "less",
        "on_chip_flash_bytes": "less",
        "off_chip_flash_bytes": "less",
    }
)

# Of a figure's details: what it was counted or computed with. The others are results themselves, or words.
_CONFIGURATION = (
    "cpu",
    "machine",
    "qemu",
    "threads",
    "runtime",
    "version",
    "kernels",
    "compiler",
    "flags",
    "resolution",
    "accelerator_config",
    "system_config",
    "memory_mode",
    "core_clock_hz",
    "vela_version",
)

# Of the accelerator's part alone: a model of which more runs there takes more of it, and is no worse for that.
_OF_THE_NPU = frozenset({"npu_latency_ns", "npu_cycles", "sram_bytes", "dram_bytes", "on_chip_flash_bytes",
                         "off_chip_flash_bytes"})  # fmt: skip
_SHARE = "npu_operator_share"

Figures = Mapping[str, tuple[float, str, Mapping[str, Any]]]


def configuration(details: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a figure depends on beside the model.

    >>> configuration({"cpu": "cortex-a72", "spread": 12, "invokes": 3})
    {'cpu': 'cortex-a72'}
    """
    return {name: details[name] for name in _CONFIGURATION if name in details}


def unjudged(name: str, first: Figures, second: Figures) -> str | None:
    """Return why two figures of this name do not say which model is better; None where they do.

    Args:
      name: of the figure.
      first: all figures of the first model, see `edgefm.comparison.subjects.figures_of`.
      second: of the second.
    """
    if name in _OF_THE_NPU and _SHARE in first and _SHARE in second and first[_SHARE][0] != second[_SHARE][0]:
        return "it covers the operators on the accelerator, whose share differs between the models"
    return None
