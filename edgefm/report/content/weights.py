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
from edgefm.tflite.weights import stored_kernels

_LEVEL = 6  # of zlib: higher ones take minutes on large models and gain little
_NUMBER = re.compile(r"_\d+$")
_DENSE = ("FULLY_CONNECTED", "BATCH_MATMUL")
_SHOWN = ("float32", "float16", "int8", "int4")


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
class LayerWeights:
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

    layers: tuple[LayerWeights, ...]
    size_bytes: int
    rest_bytes: int

    def layer(self, name: str) -> LayerWeights | None:
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
    layers = tuple(_layers(inspection, path.read_bytes()))
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
    return {
        name: replace(weights, layers=tuple(_renamed(weights.layers, operators, names)))
        for name, weights in files.items()
    }


def _renamed(layers: Sequence[LayerWeights], operators: Sequence[str], names: Sequence[str]) -> list[LayerWeights]:
    own = [layer.operator for layer in layers]
    blocks = difflib.SequenceMatcher(a=operators, b=own, autojunk=False).get_matching_blocks()
    partner = {block.b + i: names[block.a + i] for block in blocks for i in range(block.size)}
    renamed = []
    for place, layer in enumerate(layers):
        alone = f"{layer.name} (only here)" if layer.name in names else layer.name
        renamed.append(replace(layer, name=partner.get(place, alone)))
    return renamed


def _layers(inspection: Inspection, content: bytes) -> list[LayerWeights]:
    from edgefm.tflite import flatbuffer

    model = flatbuffer.read(content)
    tensors = model.subgraphs[0].tensors
    seen: dict[str, int] = {}
    layers = []
    for kernel in stored_kernels(content):
        if kernel.graph != 0 or kernel.dtype not in _SHOWN:
            continue
        operator = inspection.operators[kernel.operator_index]
        own = [i for i in operator.inputs if inspection.tensors[i].constant]
        constants = dict.fromkeys([*own, kernel.tensor_index])
        packed = zlib.compress(b"".join(_bytes(model, tensors[i]) for i in constants), _LEVEL)
        name = layer_of(kernel.tensor) or f"{operator.name} {operator.index}"
        seen[name] = seen.get(name, 0) + 1
        layers.append(
            LayerWeights(
                name=name if seen[name] == 1 else f"{name} ({seen[name]})",
                operator=operator.name,
                dtype=kernel.dtype,
                values=kernel.real.reshape(-1),
                zeros=kernel.zeros,
                levels=kernel.levels_in_a_channel,
                size_bytes=operator.weight_bytes,
                packed_bytes=len(packed),
                macs=operator.macs,
            )
        )
    return layers


def _bytes(model: Any, tensor: Any) -> bytes:
    data = model.buffers[tensor.buffer].data
    return b"" if data is None else np.asarray(data, np.uint8).tobytes()


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
