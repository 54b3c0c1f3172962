"""Weights as they come back from an int8 or int4 file: symmetric, one scale an output channel. numpy only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgefm.keras_graph.affine import Linear


def rounded(kernel: NDArray[np.float64], *, channels: int, bits: int = 8) -> NDArray[np.float64]:
    """Return a kernel rounded to `bits` bits and back: scale * round(kernel / scale).

    Args:
      kernel: [..., channels] with the output channels on the last axis, or on the last two (depthwise).
      channels: number of output channels.
      bits: 8 or 4. q lies in [-127, 127] or [-8, 7], as litert-quantizer has it.
    Returns:
      float64 of the same shape; a channel of zeros stays zero.

    >>> rounded(np.array([[127.0, 0.5], [63.4, 0.25]]), channels=2).tolist()
    [[127.0, 0.5], [63.0, 0.25196850393700787]]

    Source: https://ai.google.dev/edge/litert/models/quantization_spec.
    """
    flat = kernel.reshape(-1, channels)
    top = 2 ** (bits - 1) - 1
    scale = np.abs(flat).max(axis=0) / top
    scale[scale == 0] = 1.0
    bottom = -top if bits >= 8 else -top - 1
    return np.asarray(np.clip(np.rint(flat / scale), bottom, top) * scale).reshape(kernel.shape)


def rounded_linear(linear: Linear, *, bits: int = 8) -> Linear:
    """Return a linear layer's weights with rounded kernels; the bias stays (it is int32 in a file)."""
    channels = [int(np.prod(kernel.shape[-2:])) for kernel in linear.kernels]
    if linear.kind != "depthwise":
        channels[-1] = linear.bias.size
    if linear.kind in ("conv", "dense"):
        channels = [linear.bias.size]
    kernels = tuple(
        rounded(kernel, channels=count, bits=bits) for kernel, count in zip(linear.kernels, channels, strict=True)
    )
    return replace(linear, kernels=kernels)
