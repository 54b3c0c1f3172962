"""The ends of a model, its inputs and outputs, and what edgefm asks of them: fixed sizes, a batch of 1.

A batch that the file leaves open (-1, as the stock converter writes it) is a batch of 1: that is what every runtime
takes unless it is told otherwise.
"""

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

    @property
    def open_batch(self) -> bool:
        """Whether the file leaves the batch open, and fixes every other size."""
        return self.signature[:1] == (-1,) and -1 not in self.signature[1:]


@dataclass(frozen=True, kw_only=True)
class ModelEnds:
    """The inputs and outputs of a model, in its order."""

    inputs: Sequence[End]
    outputs: Sequence[End]

    @property
    def source(self) -> TensorDetails:
        """What a session tells of its input: of several, one that has them as parts."""
        return TensorDetails.joined([end.details for end in self.inputs])


def check(path: Path, ends: ModelEnds) -> None:
    """Raise a ModelError where a model cannot be run one sample at a time.

    Raises:
      ModelError: no input or no output, a length other than the batch that is not fixed, or a batch other than 1 or an
        open one.
    """
    if not ends.inputs or not ends.outputs:
        raise ModelError(f"{path} has no {'output' if ends.inputs else 'input'}")
    for source in ends.inputs:
        _check_batch(path, source)
    batch_is_open = any(source.open_batch for source in ends.inputs)
    for sink in ends.outputs:
        if not (batch_is_open and sink.open_batch):
            _check_fixed(path, "output", sink)


def check_single(path: Path, ends: ModelEnds, *, runtime: str) -> None:
    """Raise a ModelError for a model with several inputs, where a runtime is given one alone."""
    if len(ends.inputs) > 1:
        names = ", ".join(f"'{end.details.name}'" for end in ends.inputs)
        raise ModelError(
            f"{path} has {len(ends.inputs)} inputs ({names}); edgefm gives {runtime} models of one input",
            hint="Models of several inputs run in litert, tflite-runtime, tflm, openvino and onnxruntime.",
        )


def _check_batch(path: Path, source: End) -> None:
    if not source.open_batch:
        _check_fixed(path, "input", source)
    batch = source.details.shape[0] if source.open_batch else (source.signature or (1,))[0]
    if batch != 1:
        left_open = " (it is left open, but the file's tensors are laid out for that many)" if source.open_batch else ""
        raise ModelError(
            f"the input '{source.details.name}' of {path} has a batch of {batch}: {source.details.shape}{left_open}",
            hint=_FIXED_BATCH,
        )


def with_batch_of_1(signature: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape with 1 for a batch that is left open.

    >>> with_batch_of_1((-1, 4)), with_batch_of_1((1, -1))
    ((1, 4), (1, -1))
    """
    return (1, *signature[1:]) if signature[:1] == (-1,) else signature


def batch_note(name: str, ends: ModelEnds) -> str | None:
    """Return the sentence that says that an open batch is taken for 1; None where the file fixes it."""
    if not any(end.open_batch for end in ends.inputs):
        return None
    return f"{name} leaves its batch open (-1): a batch of 1 is measured, one sample at a time"


def _check_fixed(path: Path, kind: str, end: End) -> None:
    if -1 in end.signature:
        raise ModelError(
            f"the {kind} '{end.details.name}' of {path} has the dynamic shape {end.signature}; only the batch, the "
            "first length, can be left open",
            hint="Convert the model again with fixed sizes, and a batch of 1.",
        )
