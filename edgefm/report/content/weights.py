"""The weights of a run's files, read back from them: values of each kernel, and the bytes of each layer.

A layer here is an operator with a kernel: a convolution or a dense layer. Layers of different files are matched by
their order among operators of the same kind, because passes rename them; the float32 file gives the names.
"""

from __future__ import annotations

import difflib
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.tflite.inspection import Inspection, inspect

_KERNEL_INPUT = 1
_LEVEL = 6  # of zlib: higher ones take minutes on large models and gain little
_NUMBER = re.compile(r"_\d+$")
# Operator -> axis of its kernel that its outputs lie along.
_OUTPUT_AXIS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0, "TRANSPOSE_CONV": 0}
_DENSE = ("FULLY_CONNECTED", "BATCH_MATMUL")
_STORED = {"float32": "<f4", "float16": "<f2", "int8": "i1", "int4": "u1"}


@dataclass(frozen=True, kw_only=True)
class Inside:
    """What was counted in the kernels of a file.

    Attributes:
      zeros: share of the weights that are zero.
      levels: the most different values in one channel of a kernel.
      dense_macs: share of the multiply-accumulates that its dense layers do.
      dtype: of most weights, e.g. 'int8'.
    """

    zeros: float
    levels: int
    dense_macs: float
    dtype: str


@dataclass(frozen=True, kw_only=True)
class Layer:
    """An operator with a kernel.

    Attributes:
      name: of the layer in the model, as far as the file tells.
      operator: e.g. 'CONV_2D'.
      dtype: of the kernel as stored.
      values: float32 [weights], the real weights: dequantised where they are stored as whole numbers.
      zeros: number of weights that are zero.
      levels: the most different stored numbers in one output channel.
      size_bytes: of the kernel and the other constants of the operator, as stored.
      packed_bytes: the same after zlib, each layer alone: what a compressor makes of it.
      macs: multiply-accumulates of one inference.
    """

    name: str
    operator: str
    dtype: str
    values: NDArray[np.float32]
    zeros: int
    levels: int
    size_bytes: int
    packed_bytes: int
    macs: int


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The layers of a file, in the order of execution.

    Attributes:
      size_bytes: of the file.
      rest_bytes: of all that is no layer: other constants, graph, metadata.
    """

    layers: tuple[Layer, ...]
    size_bytes: int
    rest_bytes: int

    def layer(self, name: str) -> Layer | None:
        """Return a layer by its name, or None."""
        return next((layer for layer in self.layers if layer.name == name), None)

    def inside(self) -> Inside | None:
        """Return what was counted over all layers; None where there is no layer."""
        weights = sum(layer.values.size for layer in self.layers)
        if not weights:
            return None
        macs = sum(layer.macs for layer in self.layers)
        most = max(self.layers, key=lambda layer: layer.values.size)
        return Inside(
            zeros=sum(layer.zeros for layer in self.layers) / weights,
            levels=max(layer.levels for layer in self.layers),
            dense_macs=sum(layer.macs for layer in self.layers if layer.operator in _DENSE) / max(1, macs),
            dtype=most.dtype,
        )


def read(path: Path) -> Weights:
    """Return the weights of a .tflite file.

    Raises:
      ModelError: the file is missing or damaged.
    """
    inspection = inspect(path)
    from ai_edge_litert.schema_py_generated import ModelT

    model = ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    layers = tuple(_layers(inspection, model))
    return Weights(
        layers=layers,
        size_bytes=inspection.size_bytes,
        rest_bytes=inspection.size_bytes - sum(layer.size_bytes for layer in layers),
    )


def named_alike(files: Mapping[str, Weights], reference: str) -> dict[str, Weights]:
    """Return the files with their layers named as those of the reference, where they match.

    A layer without a counterpart keeps its own name.
    """
    if reference not in files:
        return dict(files)
    names = [layer.name for layer in files[reference].layers]
    operators = [layer.operator for layer in files[reference].layers]
    return {name: replace(one, layers=tuple(_renamed(one.layers, operators, names))) for name, one in files.items()}


def _renamed(layers: Sequence[Layer], operators: Sequence[str], names: Sequence[str]) -> list[Layer]:
    own = [layer.operator for layer in layers]
    blocks = difflib.SequenceMatcher(a=operators, b=own, autojunk=False).get_matching_blocks()
    partner = {block.b + i: names[block.a + i] for block in blocks for i in range(block.size)}
    renamed = []
    for place, layer in enumerate(layers):
        alone = f"{layer.name} (only here)" if layer.name in names else layer.name
        renamed.append(replace(layer, name=partner.get(place, alone)))
    return renamed


def _layers(inspection: Inspection, model: Any) -> list[Layer]:
    graph = model.subgraphs[0]
    made_by = {index: operator for operator in inspection.operators for index in operator.outputs}
    known: dict[str, int] = {}
    found = []
    for operator in inspection.operators:
        if operator.name not in _OUTPUT_AXIS or len(operator.inputs) <= _KERNEL_INPUT:
            continue
        index = operator.inputs[_KERNEL_INPUT]
        # A kernel of half the width comes through DEQUANTIZE.
        while not inspection.tensors[index].constant and index in made_by and made_by[index].inputs:
            index = made_by[index].inputs[0]
        tensor = inspection.tensors[index]
        if not tensor.constant or tensor.dtype not in _STORED:
            continue
        stored = _stored(model, graph.tensors[index], tensor.dtype)
        if stored is None:
            continue
        constants = [i for i in operator.inputs if inspection.tensors[i].constant] or [index]
        if index not in constants:
            constants.append(index)
        axis = _OUTPUT_AXIS[operator.name]
        channels = np.moveaxis(stored, axis, 0).reshape(stored.shape[axis], -1)
        name = layer_of(inspection.tensors[index].name) or f"{operator.name} {operator.index}"
        known[name] = known.get(name, 0) + 1
        packed = zlib.compress(b"".join(_bytes(model, graph.tensors[i]) for i in constants), _LEVEL)
        found.append(
            Layer(
                name=name if known[name] == 1 else f"{name} ({known[name]})",
                operator=operator.name,
                dtype=tensor.dtype,
                values=_real(stored, graph.tensors[index].quantization).reshape(-1),
                zeros=int((stored == 0).sum()),
                levels=_most_levels(channels),
                size_bytes=operator.weight_bytes,
                packed_bytes=len(packed),
                macs=operator.macs,
            )
        )
    return found


def _bytes(model: Any, tensor: Any) -> bytes:
    data = model.buffers[tensor.buffer].data
    return b"" if data is None else np.asarray(data, np.uint8).tobytes()


def _stored(model: Any, tensor: Any, dtype: str) -> NDArray[Any] | None:
    """Return a kernel as it is stored, in its shape; None where its bytes lie behind the FlatBuffer."""
    content: NDArray[Any] = np.frombuffer(_bytes(model, tensor), np.dtype(_STORED[dtype]))
    if dtype == "int4":  # two a byte, the lower half first
        nibbles = np.stack([content & 0x0F, content >> 4], axis=-1).reshape(-1).astype(np.int8)
        content = np.where(nibbles > 7, nibbles - 16, nibbles).astype(np.int8)
    shape = [int(length) for length in tensor.shape]
    count = int(np.prod(shape))
    return content[:count].reshape(shape) if 0 < count <= content.size else None


def _real(stored: NDArray[Any], parameters: Any) -> NDArray[np.float32]:
    real = stored.astype(np.float32)
    if stored.dtype.kind == "f" or parameters is None or parameters.scale is None or len(parameters.scale) == 0:
        return real
    scales = np.asarray(parameters.scale, np.float32)
    shape = [1] * stored.ndim
    if len(scales) > 1:
        shape[int(parameters.quantizedDimension)] = len(scales)
    return np.asarray(real * scales.reshape(shape), np.float32)


def _most_levels(channels: NDArray[Any]) -> int:
    ordered = np.sort(channels, axis=1)
    return int(1 + (np.diff(ordered, axis=1) != 0).sum(axis=1).max()) if ordered.size else 0


def layer_of(tensor: str) -> str:
    """Return the layer that the name of a tensor speaks of, or the name itself.

    Keras enters each scope twice when it exports, and TensorFlow makes the second one unique with a number, on the
    model's own name too.

    >>> layer_of("net_1/conv1_1/Relu;net_1/conv1_1/convolution"), layer_of("net/quant_dense_1/MatMul")
    ('conv1', 'dense_1')
    """
    for part in tensor.split(";"):
        scopes = part.split("/")
        if len(scopes) < len(("model", "layer", "operation")):
            continue
        layer = _NUMBER.sub("", scopes[1]) if _NUMBER.search(scopes[0]) else scopes[1]
        return layer.removeprefix("quant_")
    return tensor.split(";")[0]
