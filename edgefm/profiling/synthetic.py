"""Models made on the spot to find out what a runtime can reach on this machine at most.

Of multiply-accumulates: large convolutions and dense layers whose sizes are multiples of what kernels work in. Of
bytes: a RELU over arrays of several sizes. Of calls: chains of the least operator there is.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgefm.profiling.graph_writer import GraphWriter

_FLOAT32, _INT8, _INT32 = schema.TensorType.FLOAT32, schema.TensorType.INT8, schema.TensorType.INT32


@dataclass(frozen=True, kw_only=True)
class SyntheticLayer:
    """A layer that does many multiply-accumulates.

    Attributes:
      name: for people.
      shape: of its input, its batch of 1 first.
      kernel: [c_out, k_h, k_w, c_in] of a convolution (stride 1, same padding), [c_out, c_in] of a dense layer that
        treats each row of its input.
    """

    name: str
    shape: tuple[int, ...]
    kernel: tuple[int, ...]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference."""
        return math.prod(self.shape[:-1]) * math.prod(self.kernel)


# 26 to 58 million multiply-accumulates, and a working set that stays in a second-level cache in int8. Which sizes come
# nearest to a processor's peak depends on its kernels' tiles: these were the best of 17 on an AMD Zen 4 (LiteRT 2.3.0,
# one thread): int8 215, 215 and 225 GMAC/s, float32 58, 58 and 47. The small one is for runtimes whose plain loops run
# best there.
LAYERS = (
    SyntheticLayer(name="dense 1152 -> 256", shape=(1, 1152), kernel=(256, 1152)),
    SyntheticLayer(name="dense 224 x 512 -> 256", shape=(1, 224, 512), kernel=(256, 512)),
    SyntheticLayer(name="convolution 1x1, 14 x 14 x 512 -> 256", shape=(1, 14, 14, 512), kernel=(256, 1, 1, 512)),
    SyntheticLayer(name="convolution 3x3, 14 x 14 x 256 -> 128", shape=(1, 14, 14, 256), kernel=(128, 3, 3, 256)),
)


def layer(what: SyntheticLayer, *, dtype: str) -> bytes:
    """Return the model of a layer with random weights.

    Args:
      what: the layer.
      dtype: 'float32', or 'int8' (int8 activations, int8 weights with a scale a channel, int32 bias).
    """
    outputs = what.kernel[0]
    random = np.random.default_rng(0)
    model = GraphWriter()
    if dtype == "int8":
        weights = random.integers(-127, 127, what.kernel, endpoint=True).astype(np.int8)
        scales = np.full(outputs, 0.01, np.float32)
        source = model.tensor("x", what.shape, _INT8, scales=[0.05])
        kernel = model.tensor("kernel", what.kernel, _INT8, data=weights, scales=scales)
        # A bias has the product of the scales of input and weights.
        bias = model.tensor(
            "bias", (outputs,), _INT32, data=np.zeros(outputs, np.int32), scales=scales * np.float32(0.05)
        )
        sink = model.tensor("y", (*what.shape[:-1], outputs), _INT8, scales=[1.0])
    else:
        weights = (random.standard_normal(what.kernel) / math.sqrt(math.prod(what.kernel[1:]))).astype(np.float32)
        source = model.tensor("x", what.shape, _FLOAT32)
        kernel = model.tensor("kernel", what.kernel, _FLOAT32, data=weights)
        bias = model.tensor("bias", (outputs,), _FLOAT32, data=np.zeros(outputs, np.float32))
        sink = model.tensor("y", (*what.shape[:-1], outputs), _FLOAT32)
    if len(what.kernel) == 2:
        model.operator(
            schema.BuiltinOperator.FULLY_CONNECTED,
            [source, kernel, bias],
            sink,
            options=schema.FullyConnectedOptionsT(keepNumDims=True),
            options_type=schema.BuiltinOptions.FullyConnectedOptions,
            version=4 if dtype == "int8" else 2,
        )
    else:
        model.operator(
            schema.BuiltinOperator.CONV_2D,
            [source, kernel, bias],
            sink,
            options=schema.Conv2DOptionsT(strideH=1, strideW=1, padding=schema.Padding.SAME),
            options_type=schema.BuiltinOptions.Conv2DOptions,
            version=3 if dtype == "int8" else 1,
        )
    return model.write(source, sink)


def stream(size_bytes: int, *, length: int = 1) -> bytes:
    """Return `length` float32 operators one after the other, the input and the result of each `size_bytes` together.

    RELU and NEG in turn: XNNPACK joins a RELU with the RELU before it, so that 33 of them took as long as one, and 33
    of RELU and NEG in turn 14 times as long (256 KiB, lower decile of 300 invokes, LiteRT 2.3.0, one thread, AMD
    EPYC). OpenVINO 2026.4.1 joins both. A runtime may run them in place.
    """
    relu = (schema.BuiltinOperator.RELU, None, 0)
    neg = (schema.BuiltinOperator.NEG, schema.NegOptionsT(), schema.BuiltinOptions.NegOptions)
    return _sequence((1, max(1, size_bytes // 8)), [(relu, neg)[place % 2] for place in range(length)])


def chain(length: int) -> bytes:
    """Return a model of `length` operators one after the other, each a SOFTMAX over four numbers: next to no work."""
    options = (schema.SoftmaxOptionsT(beta=1.0), schema.BuiltinOptions.SoftmaxOptions)
    return _sequence((1, 4), [(schema.BuiltinOperator.SOFTMAX, *options)] * length)


def _sequence(shape: tuple[int, ...], operators: Sequence[tuple[int, Any, int]]) -> bytes:
    """Return float32 operators one after the other; of each its code, its options and the type of these."""
    model = GraphWriter()
    places = [model.tensor(f"x{index}", shape, _FLOAT32) for index in range(len(operators) + 1)]
    for (source, sink), (code, options, kind) in zip(itertools.pairwise(places), operators, strict=True):
        model.operator(code, [source], sink, options=options, options_type=kind)
    return model.write(places[0], places[-1])
