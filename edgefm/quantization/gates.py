"""Reads back from a .tflite file what compression passes promised: sparsity, patterns, clusters, dtypes.

Nothing is run and no TensorFlow is needed: weights are taken from the FlatBuffer and counted in numpy.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.compression.weights import sparsity
from edgefm.core.errors import ModelError
from edgefm.recipes import Cluster, Pass, Prune, QuantizeAware
from edgefm.tflite import tflite_file

# Operators whose second input is a kernel, with the axis of its output channels in a .tflite file.
_KERNEL_INPUT = 1
_CHANNEL_AXIS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0, "TRANSPOSE_CONV": 0, "CONV_3D": 4}
_INPUT = {"TRANSPOSE_CONV": 2}
_DTYPES = {"float32": np.float32, "float16": np.float16, "int8": np.int8, "uint8": np.uint8, "int16": np.int16}
_INTEGER = ("int8", "uint8")


def measured_on_file(path: Path) -> dict[str, Any]:
    """Return what the weights in a .tflite file are: one entry a kernel, and the zeros of all together.

    Returns:
      `kernels`, each with name (of its tensor), operator, dtype, activation_dtypes (of the operator's input and
      output), scales (0: not quantised, 1: of the tensor, more: of its channels), shape (as in the file), weights,
      zeros, sparsity, levels (different values), levels_in_a_channel (the most in one output channel), holds_2_of_4,
      and for FULLY_CONNECTED zero_blocks and blocks of 1x16. Then `weights`, `zeros` and `sparsity` of all kernels.
    Raises:
      ModelError: no whole TFLite file, or weights of a dtype that is not known here.
    """
    from edgefm.tflite import flatbuffer

    tflite_file.check(path)
    model = flatbuffer.editable(path.read_bytes())
    kernels = []
    seen: set[int] = set()
    for graph in model.subgraphs:
        made_by = {index: operator for operator in graph.operators for index in operator.outputs}
        for operator in graph.operators:
            kind = flatbuffer.operator_name(model, operator)
            if kind not in _CHANNEL_AXIS:
                continue
            index = int(operator.inputs[_KERNEL_INPUT])
            if index in made_by and flatbuffer.operator_name(model, made_by[index]) == "DEQUANTIZE":
                index = int(made_by[index].inputs[0])  # float16 weights
            tensor = graph.tensors[index]
            content = model.buffers[tensor.buffer].data
            if content is None or tensor.buffer in seen:
                continue
            seen.add(tensor.buffer)
            ends = (graph.tensors[int(operator.inputs[_INPUT.get(kind, 0)])], graph.tensors[int(operator.outputs[0])])
            row = _measured(tensor, content, kind, dtype=flatbuffer.dtype(tensor))
            kernels.append({**row, "activation_dtypes": [flatbuffer.dtype(end) for end in ends]})
    weights, zeros = (sum(kernel[key] for kernel in kernels) for key in ("weights", "zeros"))
    return {
        "kernels": kernels,
        "weights": weights,
        "zeros": zeros,
        "sparsity": zeros / weights if weights else 0.0,
    }


def check_promises(
    path: Path, passes: Sequence[Pass], *, left_alone: Collection[str] | None = None
) -> list[dict[str, Any]]:
    """Return what each pass promised and whether the file it led to holds it.

    Args:
      path: .tflite file.
      passes: recipes of the passes, in their order.
      left_alone: names of the layers that pruning and clustering did not touch, from the passes' facts; by default
        those that their rules leave alone: excluded layers, depthwise kernels, and for pruning the smallest kernels.
    Returns:
      entries with promise, wanted, found, held and where (the kernel furthest from it; '' without any).
    """
    kernels = measured_on_file(path)["kernels"]
    promises: list[dict[str, Any]] = []
    for recipe in passes:
        if isinstance(recipe, Prune):
            promises += _sparsity_promises(_touched(kernels, recipe, left_alone), recipe)
        elif isinstance(recipe, Cluster):
            promises.append(_cluster_promise(_touched(kernels, recipe, left_alone), recipe))
        elif isinstance(recipe, QuantizeAware):
            promises += _dtype_promises(_not_excluded(kernels, recipe))
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


def _measured(tensor: Any, content: Any, kind: str, *, dtype: str) -> dict[str, Any]:
    kernel = _weights(content, dtype).reshape([int(length) for length in tensor.shape])
    quantization = tensor.quantization
    points = quantization.zeroPoint if quantization is not None else None
    scales = quantization.scale if quantization is not None else None
    zero_point = int(points[0]) if points is not None and len(points) else 0
    zeros = sparsity.zeros(kernel, zero_point=zero_point)
    row = {
        "name": tensor.name.decode(errors="replace"),
        "operator": kind,
        "dtype": dtype,
        "scales": 0 if scales is None else len(scales),
        "shape": list(kernel.shape),
        "weights": kernel.size,
        "zeros": zeros,
        "sparsity": zeros / kernel.size,
        "levels": sparsity.levels(kernel),
        "levels_in_a_channel": sparsity.levels_in_a_channel(kernel, axis=_CHANNEL_AXIS[kind]),
        "holds_2_of_4": sparsity.holds_2_of_4(kernel, layout="tflite", zero_point=zero_point),
    }
    if kind == "FULLY_CONNECTED":
        row["zero_blocks"], row["blocks"] = sparsity.zero_blocks(kernel, layout="tflite", zero_point=zero_point)
    return row


def _weights(content: Any, dtype: str) -> NDArray[Any]:
    raw = np.frombuffer(np.asarray(content, np.uint8).tobytes(), np.uint8)
    if dtype == "int4":  # two a byte, the first one in the low half
        halves = np.stack([raw << 4, raw & 0xF0], axis=-1).reshape(-1)
        return halves.view(np.int8) >> 4
    if dtype not in _DTYPES:
        raise ModelError(f"weights of dtype {dtype} cannot be counted", hint=f"Known: {', '.join(_DTYPES)}, int4.")
    return raw.view(_DTYPES[dtype])


def _not_excluded(kernels: Sequence[dict[str, Any]], recipe: Pass) -> list[dict[str, Any]]:
    return [kernel for kernel in kernels if not _named(kernel, recipe.exclude)]


def _named(kernel: dict[str, Any], patterns: Collection[str]) -> bool:
    names = layer_names(kernel["name"])
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)


def _touched(
    kernels: Sequence[dict[str, Any]], recipe: Prune | Cluster, left_alone: Collection[str] | None
) -> list[dict[str, Any]]:
    """Return the kernels that a pass changed."""
    # Depthwise kernels are never touched; that of a separable convolution bears its layer's name.
    kernels = [kernel for kernel in kernels if kernel["operator"] != "DEPTHWISE_CONV_2D"]
    if left_alone is not None:
        return [kernel for kernel in kernels if not _named(kernel, left_alone)]
    chosen = _not_excluded(kernels, recipe)
    if isinstance(recipe, Cluster):
        return chosen
    if recipe.shared_by_lamp:
        return chosen
    small = sparsity.not_worth_pruning([kernel["weights"] for kernel in chosen])
    chosen = [kernel for kernel, is_small in zip(chosen, small, strict=True) if not is_small]
    if recipe.pattern != "2:4":
        return chosen
    return [kernel for kernel in chosen if kernel["operator"] != "TRANSPOSE_CONV" and kernel["shape"][-1] % 4 == 0]


def _sparsity_promises(kernels: Sequence[dict[str, Any]], recipe: Prune) -> list[dict[str, Any]]:
    if recipe.shared_by_lamp:
        return [_whole_promise(kernels, recipe)]
    in_blocks = [kernel for kernel in kernels if _in_blocks(kernel, recipe)]
    lacking = [kernel for kernel in kernels if _lacks_zeros(kernel, recipe)]
    worst = min(lacking or kernels, key=lambda kernel: float(kernel["sparsity"]), default=None)
    found = worst["sparsity"] if worst else 0.0
    promises = [_promise("sparsity", recipe.sparsity, found, bool(kernels) and not lacking, worst)]
    if recipe.pattern == "2:4":
        promises.append(_pattern("2:4 pattern", kernels, [kernel for kernel in kernels if not kernel["holds_2_of_4"]]))
    elif recipe.pattern == "block_1x16":
        promises.append(_pattern("1x16 blocks", in_blocks, [kernel for kernel in in_blocks if kernel in lacking]))
    return promises


def _whole_promise(kernels: Sequence[dict[str, Any]], recipe: Prune) -> dict[str, Any]:
    """Return the promise of a sparsity of all kernels together; each may lack one zero by rounding."""
    zeros, weights = (sum(kernel[key] for kernel in kernels) for key in ("zeros", "weights"))
    densest = min(kernels, key=lambda kernel: float(kernel["sparsity"]), default=None)
    held = bool(kernels) and zeros >= recipe.sparsity * weights - len(kernels)
    return _promise("sparsity", recipe.sparsity, zeros / weights if weights else 0.0, held, densest)


def _lacks_zeros(kernel: dict[str, Any], recipe: Prune) -> bool:
    """Return whether a kernel has fewer zeros than asked for; of a kernel in blocks only whole blocks count."""
    zeros, size = ("zero_blocks", "blocks") if _in_blocks(kernel, recipe) else ("zeros", "weights")
    return bool(kernel[zeros] < sparsity.zeros_wanted(kernel[size], recipe.sparsity))


def _in_blocks(kernel: dict[str, Any], recipe: Prune) -> bool:
    return recipe.pattern == "block_1x16" and "blocks" in kernel


def _pattern(name: str, kernels: Sequence[Any], broken: Sequence[Any]) -> dict[str, Any]:
    found = f"in {len(kernels) - len(broken)} of {len(kernels)} kernels"
    return _promise(name, "in every kernel", found, bool(kernels) and not broken, broken[0] if broken else None)


def _cluster_promise(kernels: Sequence[dict[str, Any]], recipe: Cluster) -> dict[str, Any]:
    def count(kernel: dict[str, Any]) -> int:
        # Where each channel has a scale of its own, one centroid is another level in each.
        return int(kernel["levels" if kernel["scales"] <= 1 else "levels_in_a_channel"])

    worst = max(kernels, key=count, default=None)
    found = count(worst) if worst else 0
    return _promise("clusters", recipe.clusters, found, worst is not None and found <= recipe.clusters, worst)


def _dtype_promises(kernels: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    float_weights = [kernel for kernel in kernels if kernel["dtype"] != "int8"]
    float_values = [kernel for kernel in kernels if not set(kernel["activation_dtypes"]) <= set(_INTEGER)]
    weights = sorted({kernel["dtype"] for kernel in kernels})
    values = sorted({dtype for kernel in kernels for dtype in kernel["activation_dtypes"]})
    return [
        _promise(
            "dtype of weights", "int8", ", ".join(weights), bool(kernels) and not float_weights, *float_weights[:1]
        ),
        _promise(
            "dtype of activations", "int8", ", ".join(values), bool(kernels) and not float_values, *float_values[:1]
        ),
    ]


def _promise(promise: str, wanted: Any, found: Any, held: bool, kernel: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "promise": promise,
        "wanted": wanted,
        "found": found,
        "held": held,
        "where": kernel["name"] if kernel else "",
    }
