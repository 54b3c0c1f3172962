"""A .tflite file as tensors and operators with what the C kernels need to know: dtypes, shapes, scales, constants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import ModelError
from edgefm.tflite.inspection import Inspection, inspect

_HINT = "Convert the model again with a fixed batch of 1."
# Names of the schema's enumerations.
_ACTIVATIONS = {0: "NONE", 1: "RELU", 2: "RELU_N1_TO_1", 3: "RELU6"}


@dataclass(frozen=True, kw_only=True, eq=False)
class FirmwareTensor:
    """A tensor.

    Attributes:
      index: in the file.
      name: as the converter called it.
      dtype: numpy's name, or the file's where numpy has none ('int4').
      shape: fixed.
      scales: float32 [1] or [channels]; empty where it is not quantised.
      zero_points: of the same length.
      data: its values; None for one that is computed.
    """

    index: int
    name: str
    dtype: str
    shape: tuple[int, ...]
    scales: NDArray[np.float32]
    zero_points: NDArray[np.int64]
    data: NDArray[Any] | None

    @property
    def elements(self) -> int:
        """Number of values."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def size_bytes(self) -> int:
        """Bytes that its values take."""
        return self.elements * np.dtype(self.dtype).itemsize

    @property
    def scale(self) -> float:
        """The one scale of a tensor that is quantised as a whole, exactly as float32 holds it."""
        if len(self.scales) != 1:
            raise ModelError(f"'{self.name}' has {len(self.scales)} scales, where one is expected")
        return float(self.scales[0])

    @property
    def zero_point(self) -> int:
        """The zero point that goes with `scale`."""
        return int(self.zero_points[0])


@dataclass(frozen=True, kw_only=True, eq=False)
class FirmwareOperator:
    """An operator; an input that is left out is None.

    Attributes:
      index: in the order of execution.
      name: e.g. 'CONV_2D'.
      inputs: tensors.
      outputs: tensors.
      options: the schema's object of its options; None where it has none.
    """

    index: int
    name: str
    inputs: tuple[FirmwareTensor | None, ...]
    outputs: tuple[FirmwareTensor, ...]
    options: Any

    def input(self, place: int) -> FirmwareTensor:
        """Return an input that must be there."""
        tensor = self.inputs[place] if place < len(self.inputs) else None
        if tensor is None:
            raise ModelError(f"operator {self.index} ({self.name}) has no input {place}")
        return tensor

    def optional(self, place: int) -> FirmwareTensor | None:
        """Return an input that may be left out."""
        return self.inputs[place] if place < len(self.inputs) else None

    @property
    def activation(self) -> str:
        """Its fused activation, 'NONE' where it has none."""
        number = int(getattr(self.options, "fusedActivationFunction", 0))
        if number not in _ACTIVATIONS:
            raise ModelError(f"operator {self.index} ({self.name}) has the fused activation {number}")
        return _ACTIVATIONS[number]

    @property
    def same_padding(self) -> bool:
        """Whether its padding is SAME; else VALID."""
        return int(self.options.padding) == 0


@dataclass(frozen=True, kw_only=True, eq=False)
class FirmwareGraph:
    """The first subgraph of a model.

    Attributes:
      path: of the file.
      operators: in the order of execution.
      inputs: tensors.
      outputs: tensors.
    """

    path: Path
    operators: tuple[FirmwareOperator, ...]
    inputs: tuple[FirmwareTensor, ...]
    outputs: tuple[FirmwareTensor, ...]


def read(path: Path) -> FirmwareGraph:
    """Return the graph of a model with one input.

    Raises:
      ModelError: the file is damaged, has several inputs or dynamic shapes.
    """
    path = Path(path)
    seen = inspect(path)
    if len(seen.inputs) != 1:
        raise ModelError(f"{path} has {len(seen.inputs)} inputs; exactly one is expected")
    for index in (*seen.inputs, *seen.outputs):
        if not 0 <= index < len(seen.tensors):
            raise ModelError(f"{path} is damaged: it has no tensor {index}", hint="Copy or write the file again.")
        tensor = seen.tensors[index]
        if -1 in tensor.shape[1:] or (index in seen.inputs and tensor.shape[:1] not in ((1,), (-1,))):
            raise ModelError(f"'{tensor.name}' of {path} has the shape {tensor.shape}", hint=_HINT)
    if not seen.outputs:
        raise ModelError(f"{path} has no output")
    from edgefm.tflite import flatbuffer

    try:
        return _graph(path, seen, flatbuffer.read(path.read_bytes()))
    except (ValueError, TypeError, IndexError, KeyError, AttributeError) as error:
        raise ModelError(f"{path} is damaged: {error}", hint="Copy or write the file again.") from error


def _graph(path: Path, seen: Inspection, parsed: Any) -> FirmwareGraph:
    graph = parsed.subgraphs[0]
    tensors: dict[int, FirmwareTensor] = {}

    def tensor(index: int) -> FirmwareTensor:
        if index not in tensors:
            tensors[index] = _tensor(index, graph.tensors[index], seen, parsed.buffers)
        return tensors[index]

    operators = tuple(
        FirmwareOperator(
            index=place,
            name=seen.operators[place].name,
            inputs=tuple(None if index < 0 else tensor(int(index)) for index in _some(operator.inputs)),
            outputs=tuple(tensor(int(index)) for index in _some(operator.outputs)),
            options=operator.builtinOptions,
        )
        for place, operator in enumerate(_some(graph.operators))
    )
    return FirmwareGraph(
        path=path,
        operators=operators,
        inputs=tuple(tensor(index) for index in seen.inputs),
        outputs=tuple(tensor(index) for index in seen.outputs),
    )


def _tensor(index: int, packed: Any, seen: Inspection, buffers: Any) -> FirmwareTensor:
    info = seen.tensors[index]
    shape = tuple(int(length) for length in _some(packed.shape))
    quantization = packed.quantization
    scales = np.asarray([] if quantization is None else _some(quantization.scale), np.float32)
    zeros = np.asarray([] if quantization is None else _some(quantization.zeroPoint), np.int64)
    if len(zeros) != len(scales):
        zeros = np.zeros(len(scales), np.int64)
    data = None
    if info.constant and info.dtype not in _UNREAD:
        data = np.frombuffer(bytes(buffers[packed.buffer].data), np.dtype(info.dtype).newbyteorder("<")).reshape(shape)
    return FirmwareTensor(
        index=index, name=info.name, dtype=info.dtype, shape=shape, scales=scales, zero_points=zeros, data=data
    )


# Types that numpy has no name for: the kernels refuse them by name.
_UNREAD: Mapping[str, None] = dict.fromkeys(("int4", "int2", "bfloat16", "string", "resource", "variant"))


def _some(values: Any) -> Any:
    return () if values is None else values
