"""Small classifiers drawn at random: what tells how operators add up in a network, and how far the sum is off."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from edgefm.profiling.cost_model.shapes import OperatorShape

_Picture = tuple[int, int, int]
_INPUTS = ((28, 28, 1), (28, 28, 1), (32, 32, 3), (28, 28, 3))
_MOST_MACS = 12_000_000


def draw(random: np.random.Generator, *, dtype: str) -> list[OperatorShape]:
    """Return the operators of a network: a first layer, blocks of one kind, a head.

    Args:
      random: draws it; equal generators give the same network in each dtype.
      dtype: 'float32', 'int8' (with a QUANTIZE at both ends, as edgefm writes it), or 'float32*int8' for float32
        activations and int8 weights.
    """
    while True:
        network = _Network(random)
        operators = network.draw()
        if sum(shape.macs for shape in operators) <= _MOST_MACS:
            return _in(dtype, operators)


def _in(dtype: str, operators: list[OperatorShape]) -> list[OperatorShape]:
    weighted = {"CONV_2D", "FULLY_CONNECTED"}
    plain = dtype.split("*")[0]
    there = [
        OperatorShape(
            one.kind,
            dtype if one.kind in weighted else plain,
            one.source,
            one.sink,
            one.window,
            one.strides,
        )
        for one in operators
    ]
    if plain != "int8":
        return there
    first, last = operators[0].source, operators[-1].sink
    return [
        OperatorShape("QUANTIZE", "uint8>int8", first, first),
        *there,
        OperatorShape("QUANTIZE", "int8>uint8", last, last),
    ]


class _Network:
    """A network in the making: its operators and the picture behind the last one."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random
        self._at: _Picture = _INPUTS[int(random.integers(len(_INPUTS)))]
        self._operators: list[OperatorShape] = []

    def draw(self) -> list[OperatorShape]:
        random = self._random
        blocks: tuple[Callable[[int, int], None], ...] = (
            self._plain,
            self._plain,
            self._separable,
            self._residual,
            self._inverted,
        )
        block = blocks[int(random.integers(len(blocks)))]
        width = int(random.choice((6, 8, 12, 16, 20, 24, 32)))
        self._convolve(width, window=int(random.choice((3, 3, 5))), stride=int(random.choice((1, 1, 2))))
        for _ in range(int(random.integers(2, 4))):
            width = round(width * random.choice((1.0, 1.5, 2.0)))
            for _ in range(int(random.integers(1, 3))):
                block(width, 1)
            if min(self._at[:2]) > 4:
                self._shrink(block, width)
        self._head()
        return self._operators

    def _add(
        self, kind: str, sink: _Picture, window: tuple[int, int] = (1, 1), strides: tuple[int, int] = (1, 1)
    ) -> None:
        self._operators.append(OperatorShape(kind, "", self._at, sink, window, strides))
        self._at = sink

    def _strided(self, channels: int, stride: int) -> _Picture:
        return -(-self._at[0] // stride), -(-self._at[1] // stride), channels

    def _convolve(self, channels: int, *, window: int = 3, stride: int = 1) -> None:
        self._add("CONV_2D", self._strided(channels, stride), (window, window), (stride, stride))

    def _depthwise(self, stride: int) -> None:
        self._add("DEPTHWISE_CONV_2D", self._strided(self._at[2], stride), (3, 3), (stride, stride))

    def _plain(self, width: int, stride: int) -> None:
        self._convolve(width, stride=stride)

    def _separable(self, width: int, stride: int) -> None:
        self._depthwise(stride)
        self._convolve(width, window=1)

    def _residual(self, width: int, stride: int) -> None:
        if self._at[2] != width or stride != 1:
            self._convolve(width, window=1, stride=stride)
        self._convolve(width)
        self._convolve(width)
        self._add("ADD", self._at)

    def _inverted(self, width: int, stride: int) -> None:
        same = self._at[2] == width and stride == 1
        self._convolve(3 * self._at[2], window=1)
        self._depthwise(stride)
        self._convolve(width, window=1)
        if same:
            self._add("ADD", self._at)

    def _shrink(self, block: Callable[[int, int], None], width: int) -> None:
        if self._random.random() < 0.5:
            return block(width, 2)
        kind = "MAX_POOL_2D" if self._random.random() < 0.75 else "AVERAGE_POOL_2D"
        return self._add(kind, (self._at[0] // 2, self._at[1] // 2, self._at[2]), (2, 2), (2, 2))

    def _head(self) -> None:
        random = self._random
        if random.random() < 0.5:
            self._add("MEAN", (1, 1, self._at[2]))
        else:
            self._add("RESHAPE", (1, 1, math.prod(self._at)))
        for _ in range(int(random.integers(0, 3))):
            self._add("FULLY_CONNECTED", (1, 1, int(random.choice((32, 48, 64, 100, 128, 200)))))
        self._add("FULLY_CONNECTED", (1, 1, 10))
        self._add("SOFTMAX", self._at)
