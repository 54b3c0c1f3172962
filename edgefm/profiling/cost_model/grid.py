"""The operators that a cost model measures: those of small image classifiers, drawn over their usual lengths."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from edgefm.profiling.cost_model.shapes import OperatorShape

_SIDES = (4, 7, 8, 14, 16, 28, 32)
_CHANNELS = (4, 6, 8, 10, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 256)
# More would take milliseconds, which classifiers of this size never do in one operator.
_MOST_MACS, _MOST_VALUES, _MOST_WEIGHTS = 12_000_000, 60_000, 2_000_000
# Layers of the Enhanced CNN: side, channels before and after. Fewer of these are what removing channels leaves.
_ENHANCED = ((28, 1, 32), (14, 32, 64), (7, 64, 128))
_KEPT = (0.125, 0.1875, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
_DTYPES = ("float32", "int8")
_HYBRID = "float32*int8"


def shapes(*, seed: int = 0, share: float = 1.0) -> list[OperatorShape]:
    """Return the operators to measure, each once, in an order that mixes them.

    Args:
      seed: of the draws and the order.
      share: of the draws of each kind; 1 takes all.
    """
    random = np.random.default_rng(seed)
    drawn = dict.fromkeys(_all(random, share))
    order = random.permutation(len(drawn))
    listed = list(drawn)
    return [listed[place] for place in order]


def _all(random: np.random.Generator, share: float) -> Iterator[OperatorShape]:
    def times(count: int) -> range:
        return range(max(2, round(count * share)))

    for dtype in (*_DTYPES, _HYBRID):
        yield from _enhanced(dtype, share)
        for _ in times(240):
            yield _convolution(random, dtype)
        for _ in times(80):
            yield _dense(random, dtype)
        for _ in times(60):
            yield _dense_of_rows(random, dtype)
        for _ in times(80 if dtype in _DTYPES else 40):
            yield _depthwise(random, dtype)
    for dtype in _DTYPES:
        for kind, _ in itertools.product(("MAX_POOL_2D", "AVERAGE_POOL_2D"), times(36)):
            yield _pool(random, kind, dtype)
        for kind, count in (("ADD", 36), ("MUL", 20), ("RELU", 20), ("HARD_SWISH", 16), ("LOGISTIC", 16)):
            for _ in times(count):
                picture = _picture(random)
                yield OperatorShape(kind, dtype, picture, picture)
        for _ in times(24):
            picture = _picture(random)
            yield OperatorShape("MEAN", dtype, picture, (1, 1, picture[2]))
            height, width, channels = _picture(random)
            yield OperatorShape("RESHAPE", dtype, (height, width, channels), (1, 1, height * width * channels))
            height, width, channels = _picture(random)
            yield OperatorShape("CONCATENATION", dtype, (height, width, channels), (height, width, 2 * channels))
            height, width, channels = _picture(random)
            more = int(random.choice((1, 2)))
            yield OperatorShape("PAD", dtype, (height, width, channels), (height + more, width + more, channels))
        for classes in (2, 5, 10, 12, 20, 64, 100, 1000):
            yield OperatorShape("SOFTMAX", dtype, (1, 1, classes), (1, 1, classes))
            yield OperatorShape("LOGISTIC", dtype, (1, 1, classes), (1, 1, classes))
    for kind, dtypes in (
        ("QUANTIZE", "float32>int8"),
        ("QUANTIZE", "uint8>int8"),
        ("QUANTIZE", "int8>uint8"),
        ("DEQUANTIZE", "int8>float32"),
    ):
        for picture in ((28, 28, 1), (28, 28, 3), (32, 32, 1), (32, 32, 3), (1, 1, 10), (1, 1, 100)):
            yield OperatorShape(kind, dtypes, picture, picture)
        for _ in times(10):
            picture = _picture(random)
            yield OperatorShape(kind, dtypes, picture, picture)


def _enhanced(dtype: str, share: float) -> Iterator[OperatorShape]:
    kept = _KEPT if share == 1 else (0.5, 1.0)
    for side, before, after in _ENHANCED:
        for first, second in itertools.product(kept if before > 1 else (1.0,), kept):
            c_in, c_out = max(1, round(before * first)), round(after * second)
            yield OperatorShape("CONV_2D", dtype, (side, side, c_in), (side, side, c_out), (3, 3))
    for channels, units in itertools.product(kept, kept):
        values = 9 * round(128 * channels)
        yield OperatorShape("FULLY_CONNECTED", dtype, (1, 1, values), (1, 1, round(256 * units)))


def _convolution(random: np.random.Generator, dtype: str) -> OperatorShape:
    while True:
        side, window = int(random.choice(_SIDES)), int(random.choice((1, 1, 3, 3, 3, 5)))
        stride = 2 if random.random() < 0.25 else 1
        if random.random() < 0.2:  # a first layer
            side, c_in = int(random.choice((28, 32, 48))), int(random.choice((1, 3)))
        else:
            c_in = _channels(random)
        shape = OperatorShape(
            "CONV_2D",
            dtype,
            (side, side, c_in),
            (_after(side, stride), _after(side, stride), _channels(random)),
            (window, window),
            (stride, stride),
        )
        if window < side and random.random() < 0.15:  # without padding
            inner = (side - window) // stride + 1
            shape = replace(shape, sink=(inner, inner, shape.sink[2]))
        if _fits(shape):
            return shape


def _depthwise(random: np.random.Generator, dtype: str) -> OperatorShape:
    while True:
        side, window, channels = int(random.choice(_SIDES)), int(random.choice((3, 3, 5))), _channels(random)
        stride = 2 if random.random() < 0.3 else 1
        after = _after(side, stride)
        shape = OperatorShape(
            "DEPTHWISE_CONV_2D",
            dtype,
            (side, side, channels),
            (after, after, channels),
            (window, window),
            (stride, stride),
        )
        if _fits(shape):
            return shape


def _dense(random: np.random.Generator, dtype: str) -> OperatorShape:
    values = round(2 ** random.uniform(3, 13.5))
    units = (
        int(random.choice((2, 5, 10, 10, 10, 12, 100))) if random.random() < 0.4 else round(2 ** random.uniform(3, 9))
    )
    units = min(units, _MOST_WEIGHTS // values)
    return OperatorShape("FULLY_CONNECTED", dtype, (1, 1, values), (1, 1, units))


def _dense_of_rows(random: np.random.Generator, dtype: str) -> OperatorShape:
    """Return a layer of each token or time step: a product of matrices, with kernels of its own."""
    while True:
        rows = int(random.choice((4, 16, 49, 64, 100, 196)))
        values, units = (round(2 ** random.uniform(4, 10)) for _ in range(2))
        shape = OperatorShape("FULLY_CONNECTED", dtype, (rows, 1, values), (rows, 1, units))
        if _fits(shape):
            return shape


def _pool(random: np.random.Generator, kind: str, dtype: str) -> OperatorShape:
    height, width, channels = _picture(random)
    window, stride = ((2, 2), (2, 2), (3, 2), (3, 1))[int(random.integers(4))]
    if kind == "AVERAGE_POOL_2D" and random.random() < 0.4:  # over the whole picture
        return OperatorShape(kind, dtype, (height, width, channels), (1, 1, channels), (height, width), (height, width))
    sink = (
        (height // 2, width // 2, channels)
        if window == 2
        else (_after(height, stride), _after(width, stride), channels)
    )
    return OperatorShape(kind, dtype, (height, width, channels), sink, (window, window), (stride, stride))


def _picture(random: np.random.Generator) -> tuple[int, int, int]:
    while True:
        side, channels = int(random.choice(_SIDES)), _channels(random)
        if side * side * channels <= _MOST_VALUES:
            return side, side, channels


def _channels(random: np.random.Generator) -> int:
    """Return a usual number of channels, or in two of five draws any from 2 to 256."""
    if random.random() < 0.4:
        return round(2 ** random.uniform(1, 8))
    return int(random.choice(_CHANNELS))


def _after(side: int, stride: int) -> int:
    return -(-side // stride)


def _fits(shape: OperatorShape) -> bool:
    values = max(shape.source[0] * shape.source[1] * shape.source[2], shape.sink[0] * shape.sink[1] * shape.sink[2])
    return shape.macs <= _MOST_MACS and values <= _MOST_VALUES
