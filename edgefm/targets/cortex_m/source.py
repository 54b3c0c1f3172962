"""A model as C: its constants, its arena, and one function for each call of a kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import ModelError
from edgefm.targets.cortex_m.graph import FirmwareGraph, FirmwareTensor
from edgefm.targets.cortex_m.kernel_calls import Alias, Field, KernelCall, TensorPlace
from edgefm.targets.cortex_m.kernels import steps_of

_ALIGNMENT = 16
_WORDS_A_LINE = 8


@dataclass(frozen=True, kw_only=True)
class FirmwareSource:
    """What is written for a model.

    Attributes:
      code: text of model.c, which takes the constants from constants.bin.
      constants: weights, biases, multipliers and shifts, as they lie in memory.
      steps: operator's index and name of each call, in order.
      arena_bytes: for all tensors that are computed.
    """

    code: str
    constants: bytes
    steps: tuple[tuple[int, str], ...]
    arena_bytes: int

    def write(self, folder: Path) -> None:
        """Write model.c and constants.bin."""
        (folder / "model.c").write_text(self.code, encoding="ascii")
        (folder / "constants.bin").write_bytes(self.constants)

    def portable(self) -> dict[str, str]:
        """Return the same as C99 for any compiler, by file name: the constants are an array of 32-bit words."""
        words = np.frombuffer(self.constants + bytes(-len(self.constants) % 4), "<u4")
        rows = [words[start : start + _WORDS_A_LINE] for start in range(0, len(words), _WORDS_A_LINE)]
        table = [f"    {' '.join(f'0x{word:08x}u,' for word in row)}" for row in rows] or ["    0u,"]
        name = "edge_network_constants"
        return {
            "network.c": self.code.replace(
                _INCLUDED, f"extern const uint32_t {name}[];\n#define constants ((const unsigned char *){name})\n"
            ),
            "network_constants.c": "\n".join(
                ["#include <stdint.h>", "", f"extern const uint32_t {name}[];", "",
                 "/* Weights, biases, multipliers and shifts; little endian. */",
                 f"const uint32_t {name}[{max(1, len(words))}] = {{", *table, "};", ""]
            ),
        }  # fmt: skip


def source_of(graph: FirmwareGraph) -> FirmwareSource:
    """Return the C source of a model.

    Raises:
      ModelError: an operator, or how it is used, is not among what the kernels do.
    """
    try:
        work = [part for operator in graph.operators for part in steps_of(operator)]
    except (ValueError, TypeError, IndexError, AttributeError, ArithmeticError) as error:  # wild numbers, wrong options
        raise ModelError(f"{graph.path} is damaged: {error}", hint="Copy or write the file again.") from error
    steps = [part for part in work if isinstance(part, KernelCall)]
    same = _roots([part for part in work if isinstance(part, Alias)])
    offsets, arena_bytes = _plan(graph, steps, same)
    constants = _Constants()

    def text(field: Field) -> str:
        if isinstance(field, TensorPlace):
            root = same.get(field.tensor.index, field.tensor)
            if root.data is not None:
                return f"CONSTANT({constants.add(root.data) + field.offset_bytes})"
            return f"ARENA({offsets[root.index] + field.offset_bytes})"
        if isinstance(field, np.ndarray):
            return f"CONSTANT({constants.add(field)})"
        if isinstance(field, Mapping):
            return _struct(field)
        if isinstance(field, Sequence):
            return f"{{{', '.join(str(value) for value in field)}}}"
        if isinstance(field, float):
            return f"{field.hex()}f"
        return "NULL" if field is None else str(field)

    lines = [_HEAD, f"static unsigned char arena[{max(arena_bytes, 1)}] __attribute__((aligned({_ALIGNMENT})));", ""]
    for number, step in enumerate(steps):
        fields = {name: text(field) for name, field in step.fields.items()}
        lines.append(f"/* {step.operator.index}: {step.operator.name} */")
        lines.append(f"static const struct {step.struct} step_{number} = {_struct(fields)};")
    lines += ["", "static inline void run(uint32_t index) {", "  switch (index) {"]
    lines += [f"    case {n}: {step.function}(&step_{n}); break;" for n, step in enumerate(steps)]
    lines += ["    default: break;", "  }", "}", ""]
    lines.append(
        _tail(graph, [text(TensorPlace(tensor=tensor)) for tensor in (*graph.inputs, *graph.outputs)], len(steps))
    )
    return FirmwareSource(
        code="\n".join(lines),
        constants=constants.content(),
        steps=tuple((step.operator.index, step.operator.name) for step in steps),
        arena_bytes=arena_bytes,
    )


def _roots(aliases: Sequence[Alias]) -> dict[int, FirmwareTensor]:
    """Return the tensor that holds the values of each one that is only another name."""
    roots: dict[int, FirmwareTensor] = {}
    for alias in aliases:
        roots[alias.name.index] = roots.get(alias.of.index, alias.of)
    return roots


def _plan(
    graph: FirmwareGraph, steps: Sequence[KernelCall], same: Mapping[int, FirmwareTensor]
) -> tuple[dict[int, int], int]:
    """Return the place of each computed tensor in the arena, and the arena's size.

    The largest tensor is placed first; each goes to the lowest place that is free as long as it lives.
    """
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    tensors: dict[int, FirmwareTensor] = {}

    def used(tensor: FirmwareTensor, when: int) -> None:
        root = same.get(tensor.index, tensor)
        if root.data is None:
            tensors[root.index] = root
            first.setdefault(root.index, when)
            last[root.index] = max(last.get(root.index, when), when)

    for tensor in graph.inputs:
        used(tensor, -1)
    for when, step in enumerate(steps):
        for field in step.fields.values():
            if isinstance(field, TensorPlace):
                used(field.tensor, when)
    for tensor in graph.outputs:
        used(tensor, len(steps))

    offsets: dict[int, int] = {}
    for index in sorted(tensors, key=lambda index: (-tensors[index].size_bytes, first[index])):
        taken = sorted(
            (offsets[other], offsets[other] + tensors[other].size_bytes)
            for other in offsets
            if first[other] <= last[index] and first[index] <= last[other]
        )
        place = 0
        for start, end in taken:
            if place + tensors[index].size_bytes <= start:
                break
            place = max(place, _aligned(end))
        offsets[index] = place
    return offsets, max((offsets[index] + tensors[index].size_bytes for index in offsets), default=0)


class _Constants:
    """The constants one after the other; the same array is held once."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._known: dict[bytes, int] = {}

    def add(self, values: NDArray[Any]) -> int:
        """Return where the values lie."""
        raw = np.ascontiguousarray(values).tobytes()
        if raw not in self._known:
            self._known[raw] = self._size
            padded = raw + bytes(_aligned(len(raw)) - len(raw))
            self._parts.append(padded)
            self._size += len(padded)
        return self._known[raw]

    def content(self) -> bytes:
        return b"".join(self._parts)


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _struct(fields: Mapping[str, Any]) -> str:
    return f"{{{', '.join(f'.{name} = {value}' for name, value in fields.items())}}}"


_INCLUDED = f"""__asm(
    ".section .rodata.constants, \\"a\\"\\n"
    ".balign {_ALIGNMENT}\\n"
    ".global constants\\n"
    "constants:\\n"
    ".incbin \\"constants.bin\\"\\n"
    ".previous\\n");
extern const unsigned char constants[];
"""
_HEAD = f"""#include <stddef.h>

#include "edgefm_firmware.h"
#include "edgefm_kernels.h"

{_INCLUDED}
#define CONSTANT(offset) ((const void *)(constants + (offset)))
#define ARENA(offset) ((void *)(arena + (offset)))
"""


def _tail(graph: FirmwareGraph, places: Sequence[str], steps: int) -> str:
    """Return the functions of edgefm_firmware.h."""
    source, *sinks = places
    outputs = "\n".join(
        f"    case {place}: *bytes = {tensor.size_bytes}; return {sink};"
        for place, (tensor, sink) in enumerate(zip(graph.outputs, sinks, strict=True))
    )
    return f"""int edgefm_setup(void) {{ return 0; }}

void *edgefm_input(uint32_t *bytes) {{
  *bytes = {graph.inputs[0].size_bytes};
  return {source};
}}

uint32_t edgefm_outputs(void) {{ return {len(graph.outputs)}; }}

const void *edgefm_output(uint32_t index, uint32_t *bytes) {{
  switch (index) {{
{outputs}
    default: *bytes = 0; return NULL;
  }}
}}

uint32_t edgefm_operators(void) {{ return {steps}; }}

int edgefm_operator(uint32_t index) {{
  run(index);
  return 0;
}}

int edgefm_invoke(void) {{
  for (uint32_t index = 0; index < {steps}; index++) {{
    run(index);
  }}
  return 0;
}}
"""
