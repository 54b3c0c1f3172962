from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgefm.compression.weights.clustering import cluster, levels_of
from edgefm.compression.weights.pruning import prune
from edgefm.core.errors import ModelError
from edgefm.quantization.checks.gates import check_promises
from edgefm.recipes import Cluster, FineTuning, Prune
from tests.fixtures.tiny_tasks import tiny_cnn, tiny_task

TUNING = FineTuning(epochs=1, batch_size=32, learning_rate=1e-3)
NONE = FineTuning(epochs=0)
CLUSTERED = {"conv1", "conv2", "separable", "dense1", "probabilities"}


def kernels(model: Any) -> dict[str, np.ndarray]:
    found = {}
    for layer in model.layers:
        value = getattr(layer, "pointwise_kernel", getattr(layer, "kernel", None))
        if value is not None:
            found[layer.name] = np.asarray(value)
    return found


def test_clustered_kernels_hold_no_more_values_than_asked_for() -> None:
    model, count = tiny_cnn(), 8
    result = cluster(model, Cluster(clusters=count, fine_tuning=TUNING), tiny_task(), seed=0)
    after = kernels(result.model)
    assert {row["layer"] for row in result.facts["kernels"]} == CLUSTERED
    for row in result.facts["kernels"]:
        assert row["clusters"] == len(set(after[row["layer"]].reshape(-1).tolist())) <= count
    assert result.facts["clusters"] <= count
    assert len(np.unique(after["depthwise"])) == 144
    assert [entry["layer"] for entry in result.facts["excluded"]] == ["depthwise"]
    assert len(result.history) == 1
    assert not np.array_equal(after["dense1"], kernels(model)["dense1"])


def test_layer_that_is_not_trained_is_left_alone() -> None:
    model = tiny_cnn()
    model.get_layer("dense1").trainable = False
    result = cluster(model, Cluster(clusters=8, fine_tuning=TUNING), tiny_task(), seed=0)
    assert {row["layer"] for row in result.facts["kernels"]} == CLUSTERED - {"dense1"}
    np.testing.assert_array_equal(kernels(result.model)["dense1"], kernels(model)["dense1"])
    assert {"layer": "dense1", "reason": "its weights are not trained"} in result.facts["excluded"]


def test_zeros_of_a_pruned_model_stay_zero() -> None:
    task = tiny_task()
    pruned = prune(tiny_cnn(), Prune(sparsity=0.8, fine_tuning=NONE), task, seed=0).model
    result = cluster(pruned, Cluster(clusters=8, preserve_sparsity=True, fine_tuning=TUNING), task, seed=0)
    before, after = kernels(pruned), kernels(result.model)
    for row in result.facts["kernels"]:
        name = row["layer"]
        assert (after[name][before[name] == 0] == 0).all()
        assert len(np.unique(after[name])) <= 8
        assert row["sparsity"] >= row["sparsity_before"] == pytest.approx((before[name] == 0).mean())


def test_training_with_the_fast_look_up_is_that_of_tfmot(monkeypatch: pytest.MonkeyPatch) -> None:
    from tensorflow_model_optimization.python.core.clustering.keras import clustering_algorithm

    task, recipe = tiny_task(), Cluster(clusters=8, fine_tuning=TUNING)
    mine = cluster(tiny_cnn(), recipe, task, seed=0)
    monkeypatch.setattr(
        "edgefm.compression.weights.clustering._bisecting_algorithm", lambda: clustering_algorithm.ClusteringAlgorithm
    )
    theirs = cluster(tiny_cnn(), recipe, task, seed=0)
    assert mine.history[0]["loss"] == pytest.approx(theirs.history[0]["loss"], rel=1e-4)
    for name in CLUSTERED:
        own, expected = kernels(mine.model)[name], kernels(theirs.model)[name]
        assert (np.abs(own - expected) < 1e-3).mean() > 0.99, name  # a weight half-way may go either way


def test_centroids_lower_the_error_as_far_as_lloyd_can() -> None:
    weights = np.random.default_rng(0).normal(size=500).astype(np.float32)
    found, _ = levels_of(weights, 8, keep_zero=False, entropy_weight=0.0)
    nearest = np.abs(weights[:, None] - found).argmin(axis=1)
    means = np.array([weights[nearest == index].mean() for index in range(8)])
    np.testing.assert_allclose(found, means, atol=2e-3)
    even = np.linspace(weights.min(), weights.max(), 8)
    error = (np.abs(weights[:, None] - found).min(axis=1) ** 2).mean()
    assert error < 0.7 * (np.abs(weights[:, None] - even).min(axis=1) ** 2).mean()


def test_one_centroid_is_zero_where_zeros_stay() -> None:
    weights = np.array([0, 0, 0, 0.5, 0.52, -0.3, 0.9], np.float32)
    found, snapped = levels_of(weights, 4, keep_zero=True, entropy_weight=0.0)
    np.testing.assert_allclose(found, [-0.3, 0, 0.51, 0.9], atol=1e-6)
    np.testing.assert_allclose(snapped, [0, 0, 0, 0.51, 0.51, -0.3, 0.9], atol=1e-6)
    assert set(levels_of(weights, 16, keep_zero=True, entropy_weight=0.0)[0]) == set(weights)


def test_counting_bits_makes_common_levels_commoner() -> None:
    def entropy(values: NDArray[np.float32]) -> float:
        shares = np.unique(values, return_counts=True)[1] / values.size
        return float(-(shares * np.log2(shares)).sum())

    weights = np.random.default_rng(0).laplace(size=4000).astype(np.float32)
    plain, short = (levels_of(weights, 16, keep_zero=False, entropy_weight=weight)[1] for weight in (0.0, 0.05))
    assert entropy(short) < 0.9 * entropy(plain)
    errors = [float(((found - weights) ** 2).mean()) for found in (plain, short)]
    costs = [
        error + 0.05 * float(weights.var()) * entropy(found)
        for error, found in zip(errors, (plain, short), strict=True)
    ]
    assert errors[0] < errors[1] and costs[1] < costs[0]


def test_clusters_are_read_back_from_the_files_they_lead_to(tmp_path: Path) -> None:
    from edgefm_converters.tflite.keras_to_tflite import float32_tflite
    from edgefm_converters.tflite.quantizing import quantize_tflite

    recipe = Cluster(clusters=16, fine_tuning=NONE)
    result = cluster(tiny_cnn(), recipe, tiny_task(), seed=0)
    float32 = float32_tflite(result.model)
    for scheme in ("float32", "float16", "drq_w8"):
        path = tmp_path / f"{scheme}.tflite"
        path.write_bytes(quantize_tflite(float32, scheme))
        (promise,) = check_promises(path, [recipe])
        assert promise["held"], promise
        assert promise["found"] <= 16
    path.write_bytes(quantize_tflite(float32_tflite(tiny_cnn()), "float32"))
    (promise,) = check_promises(path, [recipe])
    assert not promise["held"]
    assert promise["found"] > 16


def test_a_model_with_few_values_has_nothing_to_cluster() -> None:
    once = cluster(tiny_cnn(), Cluster(clusters=8, fine_tuning=NONE), tiny_task(), seed=0).model
    with pytest.raises(ModelError, match=r"nothing to cluster .*only 8 different values"):
        cluster(once, Cluster(clusters=8, fine_tuning=NONE), tiny_task(), seed=0)
