"""The kernels of a Keras 3 model that pruning and clustering work on, and which layers they leave alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import ModelError, RecipeError
from edgefm.keras_graph.graph import Graph

# Attribute that holds the kernel, by the layer's class; both passes of tensorflow-model-optimization use the same.
_KERNELS = {
    "Conv1D": "kernel",
    "Conv2D": "kernel",
    "Conv3D": "kernel",
    "Conv2DTranspose": "kernel",
    "Conv3DTranspose": "kernel",
    "Dense": "kernel",
    "SeparableConv1D": "pointwise_kernel",
    "SeparableConv2D": "pointwise_kernel",
}
NOT_TRAINED = "its weights are not trained"
_LEFT_ALONE = {
    "DepthwiseConv1D": "a depthwise kernel is few weights, and each channel depends on all of its own",
    "DepthwiseConv2D": "a depthwise kernel is few weights, and each channel depends on all of its own",
    "Conv1DTranspose": "tensorflow-model-optimization cannot prune a Conv1DTranspose",
}


@dataclass(frozen=True, kw_only=True)
class LayerKernel:
    """A layer with a kernel.

    Attributes:
      layer: Keras 3 layer.
      attribute: of the layer, that holds the kernel.
    """

    layer: Any
    attribute: str

    @property
    def name(self) -> str:
        """Name of the layer."""
        return str(self.layer.name)

    @property
    def kind(self) -> str:
        """Class of the layer."""
        return type(self.layer).__name__

    @property
    def array(self) -> NDArray[np.float32]:
        """The kernel's weights, a copy."""
        return np.array(getattr(self.layer, self.attribute), np.float32)

    def assign(self, array: NDArray[np.float32]) -> None:
        """Set the kernel's weights."""
        getattr(self.layer, self.attribute).assign(array)


@dataclass(frozen=True, kw_only=True)
class Excluded:
    """A layer with a kernel that a pass leaves alone, and why."""

    layer: str
    reason: str


def chosen_kernels(model: Any, exclude: Sequence[str]) -> tuple[tuple[LayerKernel, ...], tuple[Excluded, ...]]:
    """Return the kernels that a pass may change, in the order of the graph, and the layers left alone.

    Convolutions and dense layers are chosen, of separable convolutions the pointwise kernel. Depthwise kernels are
    left alone, as tensorflow-model-optimization does, and layers that are not trained: nothing could make up for what
    they would lose.

    Args:
      model: Keras 3 Functional or Sequential model.
      exclude: patterns of layer names, `*` and `?` as in file names.
    Raises:
      RecipeError: a pattern that no layer's name matches.
      ModelError: weights that are not finite.
    """
    layers = list({id(call.layer): call.layer for call in Graph(model).calls}.values())
    for pattern in exclude:
        if not any(fnmatchcase(layer.name, pattern) for layer in layers):
            names = ", ".join(layer.name for layer in layers if type(layer).__name__ in {*_KERNELS, *_LEFT_ALONE})
            raise RecipeError(f"exclude '{pattern}' matches no layer", hint=f"Layers with kernels: {names}.")
    chosen: list[LayerKernel] = []
    excluded: list[Excluded] = []
    for layer in layers:
        kind = type(layer).__name__
        if kind in _LEFT_ALONE:
            excluded.append(Excluded(layer=layer.name, reason=_LEFT_ALONE[kind]))
        if kind not in _KERNELS:
            continue
        named_by = [pattern for pattern in exclude if fnmatchcase(layer.name, pattern)]
        if named_by:
            excluded.append(Excluded(layer=layer.name, reason=f"excluded by '{named_by[0]}'"))
            continue
        if not layer.trainable:
            excluded.append(Excluded(layer=layer.name, reason=NOT_TRAINED))
            continue
        kernel = LayerKernel(layer=layer, attribute=_KERNELS[kind])
        if not np.isfinite(kernel.array).all():
            raise ModelError(f"the kernel of layer '{layer.name}' holds NaN or infinite weights")
        chosen.append(kernel)
    return tuple(chosen), tuple(excluded)


def check_any(chosen: Sequence[LayerKernel], excluded: Sequence[Excluded], *, model: Any, what: str) -> None:
    """Raise a ModelError, with the reason of each layer, where a pass has no kernel to work on."""
    if not chosen:
        reasons = "; ".join(f"{left.layer}: {left.reason}" for left in excluded) or "it has no kernels"
        fixed = any(left.reason == NOT_TRAINED for left in excluded)
        raise ModelError(
            f"'{model.name}' has nothing to {what} ({reasons})",
            hint="Set layer.trainable to True where a layer may be changed." if fixed else None,
        )


def kernel_of(model: Any, name: str) -> LayerKernel:
    """Return the kernel of the layer of that name."""
    layer = next(call.layer for call in Graph(model).calls if call.name == name)
    return LayerKernel(layer=layer, attribute=_KERNELS[type(layer).__name__])
