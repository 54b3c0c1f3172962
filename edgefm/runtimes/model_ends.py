"""The ends of a model, its inputs and outputs, and what edgefm asks of them: one input, fixed shapes, a batch of 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgefm.core.errors import ModelError
from edgefm.runtimes.base import TensorDetails

_FIXED_BATCH = "Convert the model again with a fixed batch of 1."


@dataclass(frozen=True, kw_only=True)
class End:
    """An input or output as its file has it.

    Attributes:
      details: what a session tells of it.
      signature: its shape, -1 where a length is not fixed.
    """

    details: TensorDetails
    signature: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class ModelEnds:
    """The inputs and outputs of a model, in its order."""

    inputs: Sequence[End]
    outputs: Sequence[End]


def check(path: Path, ends: ModelEnds) -> None:
    """Raise a ModelError where a model cannot be run one sample at a time.

    Raises:
      ModelError: not exactly one input, no output, a shape that is not fixed, or a batch other than 1.
    """
    if len(ends.inputs) != 1:
        names = ", ".join(f"'{end.details.name}'" for end in ends.inputs) or "none"
        raise ModelError(
            f"{path} has {len(ends.inputs)} inputs ({names}); exactly one is expected",
            hint="edgefm feeds a model one sample at a time: one array in, one or more out.",
        )
    source = ends.inputs[0]
    _check_fixed(path, "input", source)
    if source.signature and source.signature[0] != 1:
        raise ModelError(
            f"the input '{source.details.name}' of {path} has a batch of {source.signature[0]}: {source.signature}",
            hint=_FIXED_BATCH,
        )
    if not ends.outputs:
        raise ModelError(f"{path} has no output")
    for sink in ends.outputs:
        _check_fixed(path, "output", sink)


def _check_fixed(path: Path, kind: str, end: End) -> None:
    if -1 in end.signature:
        raise ModelError(
            f"the {kind} '{end.details.name}' of {path} has the dynamic shape {end.signature}", hint=_FIXED_BATCH
        )
