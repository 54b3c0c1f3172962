"""Weight clustering: each kernel keeps a few different values, which compress well.

Training is that of tensorflow-model-optimization: a weight takes the value of the nearest centroid, and centroids and
weights learn (Han et al. 2016, arXiv:1510.00149). Two things are done here: centroids start where a k-means puts them
that counts the bits of a weight's code, too (Chou, Lookabaugh & Gray 1989, doi:10.1109/29.17498), and the nearest
centroid is looked up by bisection, which takes log2(k) steps a weight, not k.

A kernel at 3 clusters, sparsity preserved:

    before  [0.9, 0.0, -0.5, 0.7, -0.7, 0.0]      after  [0.8, 0.0, -0.6, 0.8, -0.6, 0.0]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.compression.fine_tuning.loop import bridged, fine_tune
from edgefm.compression.fine_tuning.task import PassResult, Task
from edgefm.compression.weights import sparsity
from edgefm.compression.weights.layer_kernels import Excluded, LayerKernel, check_any, chosen_kernels, kernel_of
from edgefm.core.progress import SILENT, Progress
from edgefm.core.silence import silenced
from edgefm.recipes import Cluster
from edgefm.training.distillation import Teacher

_ITERATIONS = 50


def cluster(
    model: Any,
    recipe: Cluster,
    task: Task,
    *,
    seed: int,
    teacher: Teacher | None = None,
    progress: Progress = SILENT,
) -> PassResult:
    """Return a model whose kernels hold at most `recipe.clusters` different values, trained on by its fine-tuning.

    Kernels of convolutions and dense layers are clustered, each by itself. With `preserve_sparsity` weights that are
    zero stay zero, in every kernel that holds any. Left alone, and listed with the reason: excluded layers, layers that
    are not trained, depthwise kernels, and kernels with no more values than clusters.

    Args:
      model: Keras 3 model, folded; it is not changed.
      recipe: clusters, whether zeros stay, fine-tuning.
      task: data to train and to measure on.
      seed: of the fine-tuning.
      teacher: needed where the fine-tuning has a distillation.
      progress: told the training.
    Returns:
      the model; the history of the fine-tuning; facts, counted on the model: `clusters` (the most of any clustered
      kernel), `kernels` with layer, weights, clusters, zeros, sparsity and sparsity_before, `excluded` with layer and
      reason, `bridge` with the parity of the tf_keras model that was trained.
    Raises:
      ModelError: nothing can be clustered, or weights are not finite.
      RecipeError: an exclude pattern without a layer.
      TrainingDivergedError: the loss is not finite.
    """
    from edgefm_converters.bridge.bridge import from_tf_keras

    kernels, excluded = _to_cluster(model, recipe)
    before = {kernel.name: sparsity.zeros(kernel.array) for kernel in kernels}
    tf_model, parity, reference = bridged(model, task)
    with silenced():
        import tensorflow_model_optimization as tfmot

        starts = {kernel.name: _start(kernel, recipe) for kernel in kernels}
        for kernel in kernels:
            getattr(tf_model.get_layer(kernel.name), kernel.attribute).assign(starts[kernel.name][1])
        wrapped = _wrapped(tf_model, {kernel.name: kernel for kernel in kernels}, starts, recipe)
    history = fine_tune(
        wrapped,
        recipe.fine_tuning,
        task,
        seed=seed,
        label="cluster",
        teacher=teacher,
        reference=reference,
        progress=progress,
    )
    with silenced():
        stripped = tfmot.clustering.keras.strip_clustering(wrapped)
    clustered = from_tf_keras(stripped, model)
    rows = [_facts(kernel_of(clustered, kernel.name), before[kernel.name]) for kernel in kernels]
    facts = {
        "clusters": max(row["clusters"] for row in rows),
        "kernels": rows,
        "excluded": [asdict(left) for left in excluded],
        "bridge": parity,
    }
    return PassResult(model=clustered, history=history, facts=facts)


def levels_of(
    kernel: NDArray[np.float32], clusters: int, *, keep_zero: bool, entropy_weight: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the levels that a kernel's weights take, and the kernel with each weight at its level.

    k-means that minimises (w - level)^2 + entropy_weight * variance * bits, bits = -log2 of the level's share of the
    weights, from quantiles of the different values. With `keep_zero` one level is exactly 0 and the others are those
    of the weights that are not zero.

    >>> kernel = np.array([0.875, 0.0, -0.5, 0.625, -0.75, 0.0], np.float32)
    >>> levels, snapped = levels_of(kernel, 3, keep_zero=True, entropy_weight=0.0)
    >>> levels.tolist(), snapped.tolist()
    ([-0.625, 0.0, 0.75], [0.75, 0.0, -0.625, 0.75, -0.625, 0.0])

    Returns:
      float32, rising, at most `clusters`; float32 of the kernel's shape.
    """
    snapped = kernel.astype(np.float64)
    chosen = kernel != 0 if keep_zero else np.ones(kernel.shape, np.bool_)
    weights = snapped[chosen]
    wanted = clusters - 1 if keep_zero else clusters
    different = np.unique(weights)
    if len(different) > wanted:
        centroids: NDArray[Any] = np.quantile(different, (np.arange(wanted) + 0.5) / wanted)
        bits: NDArray[Any] = np.full(wanted, np.log2(wanted))
        price = entropy_weight * weights.var()
        for _ in range(_ITERATIONS):
            own = ((weights[:, None] - centroids) ** 2 + price * bits).argmin(axis=1)
            counts = np.bincount(own, minlength=len(centroids))
            means = np.bincount(own, weights=weights, minlength=len(centroids))[counts > 0] / counts[counts > 0]
            still = len(means) == len(centroids) and np.allclose(means, centroids, rtol=1e-5, atol=0)
            centroids, bits = means, -np.log2(counts[counts > 0] / len(weights))
            if still:
                break
        order = np.argsort(centroids)
        centroids, bits = centroids[order], bits[order]
        snapped[chosen] = centroids[((weights[:, None] - centroids) ** 2 + price * bits).argmin(axis=1)]
    else:
        centroids = different
    levels = np.sort(np.append(centroids, 0.0) if keep_zero else centroids)
    return levels.astype(np.float32), snapped.astype(np.float32)


def _to_cluster(model: Any, recipe: Cluster) -> tuple[list[LayerKernel], list[Excluded]]:
    kernels, left = chosen_kernels(model, recipe.exclude)
    chosen, excluded = [], list(left)
    for kernel in kernels:
        values = sparsity.levels(kernel.array)
        if values > recipe.clusters:
            chosen.append(kernel)
        else:
            excluded.append(Excluded(layer=kernel.name, reason=f"its kernel holds only {values} different values"))
    check_any(chosen, excluded, model=model, what="cluster")
    return chosen, excluded


Start = tuple[NDArray[np.float32], NDArray[np.float32]]


def _wrapped(tf_model: Any, kernels: Mapping[str, LayerKernel], starts: Mapping[str, Start], recipe: Cluster) -> Any:
    """Return a tf_keras model that clusters the chosen layers while it is trained."""
    import tensorflow as tf
    import tensorflow_model_optimization as tfmot
    import tf_keras
    from tensorflow_model_optimization.python.core.clustering.keras.experimental import cluster as experimental

    bisecting = _bisecting_algorithm()

    def wrap(layer: Any) -> Any:
        kernel = kernels.get(layer.name)
        if kernel is None:
            return layer
        levels, _ = starts[layer.name]
        return experimental.cluster_weights(layer, len(levels), tfmot.clustering.keras.CentroidInitialization.LINEAR)

    wrapped = tf_keras.models.clone_model(tf_model, clone_function=wrap)
    for wrapper in wrapped.layers:
        kernel = kernels.get(getattr(getattr(wrapper, "layer", None), "name", ""))
        if kernel is None:
            continue
        name = kernel.attribute
        variable = wrapper.cluster_centroids[name]
        variable.assign(starts[kernel.name][0])
        wrapper.clustering_algorithms[name] = bisecting(variable)
        wrapper.preserve_sparsity = _keeps_zeros(kernel, recipe)
        if wrapper.preserve_sparsity:
            wrapper.sparsity_masks[name] = tf.constant(kernel.array != 0, tf.float32)
            wrapper.zero_idx[name] = tf.argmin(tf.abs(variable), axis=-1)
    return wrapped


def _bisecting_algorithm() -> Any:
    """Return tfmot's clustering algorithm with a faster look-up and a faster gradient, the same in their results."""
    import tensorflow as tf
    from tensorflow_model_optimization.python.core.clustering.keras import clustering_algorithm

    class Bisecting(clustering_algorithm.ClusteringAlgorithm):
        """Finds the nearest centroid by bisection; centroids may be in any order."""

        def get_pulling_indices(self, weight: Any, centroids: Any = None) -> Any:
            """Return int64 indices of the nearest centroids, the shape of `weight`."""
            values = self.cluster_centroids if centroids is None else centroids
            order = tf.argsort(values)
            ordered = tf.gather(values, order)
            places = tf.searchsorted((ordered[1:] + ordered[:-1]) / 2, tf.reshape(weight, [-1]))
            return tf.cast(tf.reshape(tf.gather(order, places), tf.shape(weight)), tf.int64)

        def get_clustered_weight(self, pulling_indices: Any, original_weight: Any) -> Any:
            """Return the centroids that indices name; weights get the gradient as it is, centroids its sum."""
            count = self.cluster_centroids.shape[0]

            @tf.custom_gradient  # type: ignore[untyped-decorator]
            def pulled(values: Any, original: Any) -> Any:
                def gradient(upstream: Any) -> Any:
                    places, shares = (tf.reshape(part, [-1]) for part in (pulling_indices, upstream))
                    places = tf.cast(places, tf.int32)
                    return tf.math.bincount(places, weights=shares, minlength=count, maxlength=count), upstream

                return tf.gather(values, pulling_indices), gradient

            return pulled(tf.convert_to_tensor(self.cluster_centroids), tf.convert_to_tensor(original_weight))

    return Bisecting


def _start(kernel: LayerKernel, recipe: Cluster) -> Start:
    keep_zero = _keeps_zeros(kernel, recipe)
    return levels_of(kernel.array, recipe.clusters, keep_zero=keep_zero, entropy_weight=recipe.entropy_weight)


def _keeps_zeros(kernel: LayerKernel, recipe: Cluster) -> bool:
    return recipe.preserve_sparsity and sparsity.zeros(kernel.array) > 0


def _facts(kernel: LayerKernel, zeros_before: int) -> dict[str, Any]:
    array = kernel.array
    zeros = sparsity.zeros(array)
    return {
        "layer": kernel.name,
        "weights": array.size,
        "clusters": sparsity.levels(array),
        "zeros": zeros,
        "sparsity": zeros / array.size,
        "sparsity_before": zeros_before / array.size,
    }
