from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgefm.compression.weights import sparsity
from edgefm.core.errors import ModelError
from edgefm.quantization.checks.gates import check_promises, kernels_of, layer_names
from edgefm.recipes import Cluster, Prune, Qat
from tests.fixtures import tiny_models

RANDOM = np.random.default_rng(2)


def dense_file(folder: Path, weights: np.ndarray) -> Path:
    """A float32 classifier with weights [classes, pixels], pictures of 8 x 8."""
    path = folder / "dense.tflite"
    path.write_bytes(tiny_models.dense(weights, picture=(8, 8, 1)))
    return path


def int8_file(folder: Path, weights: np.ndarray) -> Path:
    path = folder / "int8.tflite"
    path.write_bytes(tiny_models.quantized_dense(weights, picture=(8, 8, 1), output_scale=1.0))
    return path


def random_kernel(classes: int = 10) -> np.ndarray:
    return RANDOM.normal(size=(classes, 64)).astype(np.float32)


def test_kernel_is_read_and_counted_weight_by_weight(tmp_path: Path) -> None:
    weights = random_kernel()
    weights[np.abs(weights) < 0.8] = 0
    (kernel,) = kernels_of(dense_file(tmp_path, weights))
    np.testing.assert_array_equal(kernel.stored, weights)
    assert (kernel.operator, kernel.dtype, kernel.tensor) == ("FULLY_CONNECTED", "float32", "weights")
    assert (kernel.shape, kernel.weights) == ((10, 64), 640)
    assert kernel.zeros == int((weights == 0).sum())
    assert kernel.sparsity == pytest.approx((weights == 0).mean())
    assert kernel.levels == len(set(weights.reshape(-1).tolist()))
    assert kernel.levels_in_a_channel == max(len(set(row.tolist())) for row in weights)
    assert kernel.activation_dtypes == ("float32", "float32")


def test_whole_network_is_read_kernel_by_kernel(tmp_path: Path) -> None:
    path = tmp_path / "enhanced.tflite"
    path.write_bytes(tiny_models.enhanced_cnn())
    kernels = kernels_of(path)
    shapes = [kernel.shape for kernel in kernels]
    assert shapes == [(32, 3, 3, 1), (64, 3, 3, 32), (128, 3, 3, 64), (256, 1152), (128, 256), (10, 128)]
    assert sum(kernel.weights for kernel in kernels) == 421_408
    assert sum(kernel.zeros for kernel in kernels) == 0


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_sparsity_is_held_where_it_was_pruned(tmp_path: Path, share: float) -> None:
    weights = random_kernel()
    path = dense_file(tmp_path, sparsity.prune_smallest(weights, sparsity.zeros_wanted(weights.size, share)))
    for allocation in ("uniform", "lamp"):
        (promise,) = check_promises(path, [Prune(sparsity=share, allocation=allocation)])
        assert promise["held"], promise
        assert promise["found"] == pytest.approx(share, abs=2 / weights.size)


@pytest.mark.parametrize("allocation", ["uniform", "lamp"])
def test_sparsity_that_is_not_there_is_reported_as_broken(tmp_path: Path, allocation: str) -> None:
    weights = sparsity.prune_smallest(random_kernel(), 320)
    (promise,) = check_promises(dense_file(tmp_path, weights), [Prune(sparsity=0.8, allocation=allocation)])
    assert promise == {"promise": "sparsity", "wanted": 0.8, "found": 0.5, "held": False, "where": "weights"}


def test_2_of_4_pattern_is_checked_on_the_file(tmp_path: Path) -> None:
    weights = random_kernel()
    held = sparsity.prune_2_of_4(weights.T).T.copy()
    promises = check_promises(dense_file(tmp_path, held), [Prune(sparsity=0.5, pattern="2:4")])
    assert [promise["promise"] for promise in promises] == ["sparsity", "2:4 pattern"]
    assert all(promise["held"] for promise in promises)
    broken = sparsity.prune_smallest(weights, weights.size // 2)  # as many zeros, wherever they fall
    promises = check_promises(dense_file(tmp_path, broken), [Prune(sparsity=0.5, pattern="2:4")])
    assert [promise["held"] for promise in promises] == [True, False]
    assert promises[1]["found"] == "in 0 of 1 kernels"


def test_blocks_are_checked_on_the_file(tmp_path: Path) -> None:
    weights = random_kernel()
    recipe = Prune(sparsity=0.5, pattern="block_1x16")
    in_blocks = sparsity.prune_blocks(weights.T.copy(), 20).T.copy()
    assert all(promise["held"] for promise in check_promises(dense_file(tmp_path, in_blocks), [recipe]))
    scattered = sparsity.prune_smallest(weights, weights.size // 2)
    assert not any(promise["held"] for promise in check_promises(dense_file(tmp_path, scattered), [recipe]))


@pytest.mark.parametrize(("levels", "held"), [(16, True), (17, False)])
def test_clusters_are_counted_on_the_file(tmp_path: Path, levels: int, held: bool) -> None:
    weights = RANDOM.permutation(np.arange(640) % levels).reshape(10, 64).astype(np.int8)
    (promise,) = check_promises(int8_file(tmp_path, weights), [Cluster(clusters=16)])
    assert promise == {"promise": "clusters", "wanted": 16, "found": levels, "held": held, "where": "weights"}


def test_dtypes_of_quantisation_aware_training_are_checked_on_the_file(tmp_path: Path) -> None:
    int8 = check_promises(int8_file(tmp_path, np.ones((10, 64), np.int8)), [Qat()])
    assert [promise["held"] for promise in int8] == [True, True]
    float32 = check_promises(dense_file(tmp_path, random_kernel()), [Qat()])
    assert [(promise["held"], promise["found"]) for promise in float32] == [(False, "float32"), (False, "float32")]


def test_excluded_layers_promise_nothing(tmp_path: Path) -> None:
    path = tmp_path / "enhanced.tflite"
    path.write_bytes(tiny_models.enhanced_cnn())
    recipe = Prune(sparsity=0.8, allocation="uniform", exclude=("kernel",))
    (promise,) = check_promises(path, [recipe])
    assert (promise["held"], promise["where"]) == (False, "dense")
    (nothing,) = check_promises(path, [recipe], left_alone=["kernel", "dense"])
    assert (nothing["held"], nothing["where"]) == (False, ""), "a pass that touched no kernel holds nothing"


def test_names_of_layers_are_found_in_those_of_tensors() -> None:
    assert {"conv1", "enhanced_cnn"} <= layer_names("enhanced_cnn_1/conv1_1/Relu;enhanced_cnn_1/conv1_1/convolution")
    assert "dense1" in layer_names("model/quant_dense1/MatMul;model/quant_dense1/LastValueQuant/FakeQuant")


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"not a model at all")
    with pytest.raises(ModelError, match="not a TFLite file"):
        kernels_of(path)


def test_gates_need_no_tensorflow() -> None:
    module = "edgefm.quantization.checks.gates"
    script = f"import sys, {module}; print([n for n in ('tensorflow', 'keras') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
