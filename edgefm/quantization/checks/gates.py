"""Reads back from a .tflite file what compression passes promised: sparsity, patterns, clusters, dtypes."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from edgefm.compression.weights import sparsity
from edgefm.recipes import Cluster, Pass, Prune, Qat
from edgefm.tflite import tflite_file
from edgefm.tflite.weights import StoredKernel, stored_kernels

_INTEGER = ("int8", "uint8")


def kernels_of(path: Path) -> list[StoredKernel]:
    """Return the kernels of a .tflite file; one that several operators share is counted once.

    Raises:
      ModelError: no whole TFLite file.
    """
    tflite_file.check(path)
    kernels: dict[int, StoredKernel] = {}
    for kernel in stored_kernels(path.read_bytes()):
        kernels.setdefault(kernel.buffer, kernel)
    return list(kernels.values())


def check_promises(
    path: Path, passes: Sequence[Pass], *, left_alone: Collection[str] | None = None
) -> list[dict[str, Any]]:
    """Return what each pass promised and whether the file it led to holds it.

    Args:
      path: .tflite file.
      passes: recipes of the passes, in their order.
      left_alone: names of the layers that a pass did not touch, from its facts: what pruning and clustering left out,
        what quantisation-aware training kept in float32; by default those that their rules leave alone: excluded
        layers, depthwise kernels, and for pruning the smallest kernels.
    Returns:
      entries with promise, wanted, found, held and where (the kernel furthest from it; '' without any).
    """
    kernels = kernels_of(path)
    promises: list[dict[str, Any]] = []
    for recipe in passes:
        if isinstance(recipe, Prune):
            promises += _sparsity_promises(_touched(kernels, recipe, left_alone), recipe)
        elif isinstance(recipe, Cluster):
            promises.append(_cluster_promise(_touched(kernels, recipe, left_alone), recipe))
        elif isinstance(recipe, Qat):
            chosen = _not_excluded(kernels, recipe)
            promises += _dtype_promises([kernel for kernel in chosen if not _named(kernel, left_alone or ())])
    return promises


def layer_names(tensor_name: str) -> set[str]:
    """Return the names of layers that may have given a tensor of a .tflite file its name.

    >>> sorted(layer_names("enhanced_cnn_1/conv1_1/Relu;enhanced_cnn_1/conv1_1/convolution"))
    ['Relu', 'conv1', 'conv1_1', 'convolution', 'enhanced_cnn', 'enhanced_cnn_1']
    >>> "dense2" in layer_names("enhanced_cnn/quant_dense2/MatMul")
    True
    """
    names = set(re.split("[;/]", tensor_name))
    names |= {re.sub("^(quant|cluster|prune_low_magnitude)_", "", name) for name in names}
    return names | {re.sub(r"_\d+$", "", name) for name in names}


def _not_excluded(kernels: Sequence[StoredKernel], recipe: Pass) -> list[StoredKernel]:
    return [kernel for kernel in kernels if not _named(kernel, recipe.exclude)]


def _named(kernel: StoredKernel, patterns: Collection[str]) -> bool:
    names = layer_names(kernel.tensor)
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)


def _touched(
    kernels: Sequence[StoredKernel], recipe: Prune | Cluster, left_alone: Collection[str] | None
) -> list[StoredKernel]:
    """Return the kernels that a pass changed."""
    # Depthwise kernels are never touched; that of a separable convolution bears its layer's name.
    kernels = [kernel for kernel in kernels if kernel.operator != "DEPTHWISE_CONV_2D"]
    if left_alone is not None:
        return [kernel for kernel in kernels if not _named(kernel, left_alone)]
    chosen = _not_excluded(kernels, recipe)
    if isinstance(recipe, Cluster):
        return chosen
    if recipe.shared_by_lamp:
        return chosen
    small = sparsity.not_worth_pruning([kernel.weights for kernel in chosen])
    chosen = [kernel for kernel, is_small in zip(chosen, small, strict=True) if not is_small]
    if recipe.pattern != "2:4":
        return chosen
    return [kernel for kernel in chosen if kernel.operator != "TRANSPOSE_CONV" and kernel.shape[-1] % 4 == 0]


def _sparsity_promises(kernels: Sequence[StoredKernel], recipe: Prune) -> list[dict[str, Any]]:
    if recipe.shared_by_lamp:
        return [_whole_promise(kernels, recipe)]
    in_blocks = [kernel for kernel in kernels if _in_blocks(kernel, recipe)]
    lacking = [kernel for kernel in kernels if _lacks_zeros(kernel, recipe)]
    worst = min(lacking or kernels, key=lambda kernel: kernel.sparsity, default=None)
    sparsest = worst.sparsity if worst else 0.0
    promises = [_promise("sparsity", recipe.sparsity, sparsest, bool(kernels) and not lacking, worst)]
    if recipe.pattern == "2:4":
        promises.append(_pattern("2:4 pattern", kernels, [kernel for kernel in kernels if not _holds_2_of_4(kernel)]))
    elif recipe.pattern == "block_1x16":
        promises.append(_pattern("1x16 blocks", in_blocks, [kernel for kernel in in_blocks if kernel in lacking]))
    return promises


def _whole_promise(kernels: Sequence[StoredKernel], recipe: Prune) -> dict[str, Any]:
    """Return the promise of a sparsity of all kernels together; each may lack one zero by rounding."""
    zeros, weights = sum(kernel.zeros for kernel in kernels), sum(kernel.weights for kernel in kernels)
    densest = min(kernels, key=lambda kernel: kernel.sparsity, default=None)
    enough = bool(kernels) and zeros >= recipe.sparsity * weights - len(kernels)
    return _promise("sparsity", recipe.sparsity, zeros / weights if weights else 0.0, enough, densest)


def _lacks_zeros(kernel: StoredKernel, recipe: Prune) -> bool:
    """Return whether a kernel has fewer zeros than asked for; of a kernel in blocks only whole blocks count."""
    zeros, size = kernel.zeros, kernel.weights
    if _in_blocks(kernel, recipe):
        zeros, size = sparsity.zero_blocks(kernel.stored, layout="tflite", zero_point=kernel.zero_point)
    return zeros < sparsity.zeros_wanted(size, recipe.sparsity)


def _in_blocks(kernel: StoredKernel, recipe: Prune) -> bool:
    return recipe.pattern == "block_1x16" and kernel.operator == "FULLY_CONNECTED"


def _holds_2_of_4(kernel: StoredKernel) -> bool:
    return sparsity.holds_2_of_4(kernel.stored, layout="tflite", zero_point=kernel.zero_point)


def _pattern(name: str, kernels: Sequence[Any], broken: Sequence[Any]) -> dict[str, Any]:
    where_held = f"in {len(kernels) - len(broken)} of {len(kernels)} kernels"
    return _promise(name, "in every kernel", where_held, bool(kernels) and not broken, broken[0] if broken else None)


def _cluster_promise(kernels: Sequence[StoredKernel], recipe: Cluster) -> dict[str, Any]:
    def count(kernel: StoredKernel) -> int:
        # Where each channel has a scale of its own, one centroid is another level in each.
        return kernel.levels if len(kernel.scales) <= 1 else kernel.levels_in_a_channel

    worst = max(kernels, key=count, default=None)
    most = count(worst) if worst else 0
    return _promise("clusters", recipe.clusters, most, worst is not None and most <= recipe.clusters, worst)


def _dtype_promises(kernels: Sequence[StoredKernel]) -> list[dict[str, Any]]:
    float_weights = [kernel for kernel in kernels if kernel.dtype != "int8"]
    float_values = [kernel for kernel in kernels if not set(kernel.activation_dtypes) <= set(_INTEGER)]
    weights = sorted({kernel.dtype for kernel in kernels})
    values = sorted({dtype for kernel in kernels for dtype in kernel.activation_dtypes})
    return [
        _promise(
            "dtype of weights", "int8", ", ".join(weights), bool(kernels) and not float_weights, *float_weights[:1]
        ),
        _promise(
            "dtype of activations", "int8", ", ".join(values), bool(kernels) and not float_values, *float_values[:1]
        ),
    ]


def _promise(
    promise: str, wanted: Any, measured: Any, held: bool, kernel: StoredKernel | None = None
) -> dict[str, Any]:
    return {
        "promise": promise,
        "wanted": wanted,
        "found": measured,
        "held": held,
        "where": kernel.tensor if kernel else "",
    }
