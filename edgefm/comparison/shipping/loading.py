"""Which files phones and microcontrollers load, from what the record holds of their tensors and where they ran.

Phones: LiteRT's default kernels, which take every built-in operator. A microcontroller: TensorFlow Lite Micro with
integer kernels; it has none for int8 weights with float activations (dynamic range), float16 or int4 weights, takes
a batch of 1, and has kernels for fewer operators: the record holds what `tflite-micro` said when it loaded the file, or
what a table of its kernels says (`edgefm.tflite.micro_kernels`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LITERT = ("litert", "tflite-runtime")
_MICRO_RUNTIMES = ("tflm",)
_MICRO_TARGETS = ("cortex-m",)
_INTEGERS = frozenset({"int8", "int16", "int32", "int64", "bool"})
# 8-bit pixels go through a QUANTIZE at either end.
_INTEGER_ENDS = _INTEGERS | {"uint8"}
_UNREAD = "the record does not tell its tensors, and the file is not there"


def not_on_phones(row: Mapping[str, Any], contents: Mapping[str, Any] | None) -> str | None:
    """Return why a phone does not load a file; None where it does.

    Args:
      row: of the record, status 'ok'.
      contents: see `edgefm.benchmarking.file_facts`.
    """
    custom = list(contents["custom_operators"]) if contents else []
    if custom:
        return f"LiteRT's default kernels lack {', '.join(name.removeprefix('CUSTOM:') for name in custom)}"
    if contents or str(row["runtime"]["name"]).partition(":")[0] in _LITERT:
        return None
    return "it is no .tflite file" if not str(row["file"]).endswith(".tflite") else _UNREAD


def not_on_microcontrollers(
    row: Mapping[str, Any],
    contents: Mapping[str, Any] | None,
    *,
    micro: Mapping[str, Any] | None = None,
    target: str = "host",
) -> str | None:
    """Return why a microcontroller does not load a file; None where it does.

    Args:
      row: of the record, status 'ok'.
      contents: see `edgefm.benchmarking.file_facts`.
      micro: its 'tflite_micro'; None in older records.
      target: name of the record's target.
    """
    ran = str(row["runtime"]["name"]) in _MICRO_RUNTIMES or target.partition(":")[0] in _MICRO_TARGETS
    if contents is None:
        return None if ran and not _float_ends(row) else _UNREAD
    others = sorted({*contents["dtypes"]} - _INTEGERS | ({*contents["end_dtypes"]} - _INTEGER_ENDS))
    if others:
        return f"it holds {', '.join(others)} tensors; integer kernels take int8, int16 and int32 alone"
    if contents["custom_operators"]:
        return f"it holds {', '.join(contents['custom_operators'])}"
    if contents["batch"] != 1:
        return f"its batch is {contents['batch']}, where 1 is expected"
    return str(micro["refused"]) if micro and micro["refused"] and not ran else None


def _float_ends(row: Mapping[str, Any]) -> bool:
    return any(end and str(end["dtype"]).startswith("float") for end in (row["input"], row["output"]))
