from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgefm.compression.weights import sparsity
from edgefm.compression.weights.pruning import prune
from edgefm.core.errors import ModelError, RecipeError
from edgefm.quantization.checks.gates import check_promises, kernels_of
from edgefm.recipes import FineTuning, Prune
from tests.fixtures.tiny_tasks import tiny_cnn, tiny_task

TUNING = FineTuning(epochs=2, batch_size=32, learning_rate=1e-3)
KERNELS = {"conv1", "conv2", "separable", "dense1", "probabilities"}


def kernels(model: Any) -> dict[str, np.ndarray]:
    found = {}
    for layer in model.layers:
        value = getattr(layer, "pointwise_kernel", getattr(layer, "kernel", None))
        if value is not None:
            found[layer.name] = np.asarray(value)
    return found


@pytest.mark.parametrize(("allocation", "schedule"), [("lamp", "polynomial"), ("uniform", "constant")])
def test_pruned_kernels_have_the_sparsity_asked_for(schedule: str, allocation: str) -> None:
    model = tiny_cnn()
    recipe = Prune(sparsity=0.8, schedule=schedule, allocation=allocation, fine_tuning=TUNING)
    result = prune(model, recipe, tiny_task(), seed=0)
    after, before = kernels(result.model), kernels(model)
    pruned = {row["layer"]: row for row in result.facts["kernels"]}
    zeros = {name: int((kernel == 0).sum()) for name, kernel in after.items()}
    weights = sum(after[name].size for name in pruned)
    assert set(pruned) == KERNELS
    if allocation == "uniform":
        assert all(zeros[name] == round(0.8 * after[name].size) for name in pruned)
    else:
        assert sum(zeros[name] for name in pruned) == pytest.approx(0.8 * weights, abs=len(pruned))
    assert result.facts["sparsity"] == pytest.approx(sum(zeros[name] for name in pruned) / weights)
    for name, row in pruned.items():
        assert (row["weights"], row["zeros"]) == (after[name].size, zeros[name])
        assert row["pattern_holds"] is None
    assert len(result.history) == 2
    assert zeros["depthwise"] == 0
    assert not any((kernel == 0).any() for kernel in before.values()), "the given model is unchanged"
    assert result.facts["bridge"]["max_abs_difference"] < 1e-4


def test_2_of_4_holds_where_it_fits_and_says_where_not() -> None:
    result = prune(tiny_cnn(), Prune(sparsity=0.5, pattern="2:4", fine_tuning=TUNING), tiny_task(), seed=0)
    after = kernels(result.model)
    for row in result.facts["kernels"]:
        kernel = after[row["layer"]]
        groups = np.moveaxis(kernel, -1, 0).reshape(-1, kernel.shape[-2]).reshape(-1, 4)
        assert (np.count_nonzero(groups, axis=1) == 2).all()
        assert row["pattern_holds"] is True
        assert row["sparsity"] == 0.5
    left = {entry["layer"]: entry["reason"] for entry in result.facts["excluded"]}
    assert set(left) == {"conv1", "depthwise"}
    assert "1 input channels; 2:4 needs a multiple of four" in left["conv1"]


def test_2_of_4_leaves_kernels_with_other_channel_counts_alone() -> None:
    from keras import Input, Model, layers

    image = Input((28, 28, 1))
    value = layers.Conv2D(6, 3, strides=2, name="one")(image)
    value = layers.Conv2D(8, 3, strides=2, name="six")(value)
    model = Model(image, layers.Dense(10, "softmax", name="last")(layers.Flatten(name="flat")(value)))
    result = prune(model, Prune(sparsity=0.5, pattern="2:4", fine_tuning=FineTuning(epochs=0)), tiny_task(), seed=0)
    left = {entry["layer"]: entry["reason"] for entry in result.facts["excluded"]}
    assert "1 input channel" in left["one"]
    assert "6 input channels; 2:4 needs a multiple of four" in left["six"]
    assert [row["layer"] for row in result.facts["kernels"]] == ["last"]


def test_dense_kernels_are_pruned_in_blocks_of_16_inputs() -> None:
    recipe = Prune(sparsity=0.75, pattern="block_1x16", fine_tuning=TUNING)
    result = prune(tiny_cnn(), recipe, tiny_task(), seed=0)
    after = kernels(result.model)
    by_name = {row["layer"]: row for row in result.facts["kernels"]}
    for name in ("dense1", "probabilities"):
        blocks = after[name].T.reshape(-1, 16)
        empty = (blocks == 0).all(axis=1)
        assert empty.sum() == round(0.75 * len(blocks))
        assert (blocks[~empty] != 0).all()
        assert by_name[name]["pattern_holds"] is True
    assert by_name["conv2"]["pattern_holds"] is None
    assert by_name["conv2"]["zeros"] == round(0.75 * 1152)


def test_excluded_layers_are_left_dense() -> None:
    model = tiny_cnn()
    recipe = Prune(sparsity=0.8, exclude=("conv*", "probabilities"), fine_tuning=FineTuning(epochs=0))
    result = prune(model, recipe, tiny_task(), seed=0)
    after, before = kernels(result.model), kernels(model)
    for name in ("conv1", "conv2", "probabilities", "depthwise"):
        np.testing.assert_array_equal(after[name], before[name])
    left = {entry["layer"]: entry["reason"] for entry in result.facts["excluded"]}
    assert left["conv2"] == "excluded by 'conv*'"
    assert {row["layer"] for row in result.facts["kernels"]} == {"separable", "dense1"}


def test_no_epochs_prune_the_smallest_weights_at_once() -> None:
    model = tiny_cnn()
    recipe = Prune(sparsity=0.6, allocation="uniform", fine_tuning=FineTuning(epochs=0))
    result = prune(model, recipe, tiny_task(), seed=0)
    after, before = kernels(result.model)["dense1"], kernels(model)["dense1"]
    expected = np.where(np.abs(before) <= np.sort(np.abs(before), axis=None)[round(0.6 * before.size) - 1], 0, before)
    np.testing.assert_array_equal(after, expected)
    assert result.history == ()


def test_same_seed_prunes_to_the_same_weights() -> None:
    recipe = Prune(sparsity=0.8, fine_tuning=dataclasses.replace(TUNING, epochs=1))
    first, second = (prune(tiny_cnn(), recipe, tiny_task(), seed=3).model for _ in range(2))
    for one, other in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_sparsity_is_read_back_from_the_files_it_leads_to(tmp_path: Path) -> None:
    from edgefm_converters.tflite.keras_to_tflite import float32_tflite
    from edgefm_converters.tflite.quantizing import calibrate, quantize_tflite

    task = tiny_task()
    recipe = Prune(sparsity=0.8, fine_tuning=FineTuning(epochs=0))
    result = prune(tiny_cnn(), recipe, task, seed=0)
    float32 = float32_tflite(result.model)
    ranges = calibrate(float32, task.inputs(task.dataset.train.images[:16]), value_range=(0, 1))
    zeros = sum(int((kernel == 0).sum()) for kernel in kernels(result.model).values())
    for scheme in ("float32", "float16", "drq_w8", "int8_w8a8", "int8_w8a8_fc4"):
        path = tmp_path / f"{scheme}.tflite"
        path.write_bytes(quantize_tflite(float32, scheme, calibration=ranges))
        stored = kernels_of(path)
        assert len(stored) == 7  # the separable convolution is two
        counted = sum(kernel.zeros for kernel in stored)
        if scheme in ("float32", "float16"):
            assert counted == zeros
        else:
            assert counted >= zeros, "rounding adds zeros and takes none"
        (promise,) = check_promises(path, [recipe])
        assert promise["held"], (scheme, promise)
    dense = float32_tflite(tiny_cnn())
    path = tmp_path / "dense.tflite"
    path.write_bytes(quantize_tflite(dense, "drq_w8"))
    (promise,) = check_promises(path, [recipe])
    assert not promise["held"]
    assert promise["found"] < 0.1
    dtypes = {kernel.dtype for kernel in kernels_of(tmp_path / "int8_w8a8_fc4.tflite")}
    assert dtypes == {"int8", "int4"}


@pytest.mark.parametrize("allocation", ["uniform", "lamp"])
def test_a_model_that_is_pruned_already_is_refused(allocation: str) -> None:
    recipe = Prune(sparsity=0.5, allocation=allocation, fine_tuning=FineTuning(epochs=0))
    once = prune(tiny_cnn(), recipe, tiny_task(), seed=0).model
    with pytest.raises(ModelError, match="is pruned already"):
        prune(once, recipe, tiny_task(), seed=0)


def test_bad_models_and_patterns_are_refused() -> None:
    task, none = tiny_task(), FineTuning(epochs=0)
    with pytest.raises(RecipeError, match="exclude 'dense9' matches no layer") as caught:
        prune(tiny_cnn(), Prune(exclude=("dense9",), fine_tuning=none), task, seed=0)
    assert "dense1" in str(caught.value)
    with pytest.raises(ModelError, match="nothing to prune"):
        prune(tiny_cnn(), Prune(exclude=("*",), fine_tuning=none), task, seed=0)
    broken = tiny_cnn()
    weights = broken.get_layer("dense1").get_weights()
    weights[0][0, 0] = np.nan
    broken.get_layer("dense1").set_weights(weights)
    with pytest.raises(ModelError, match="'dense1' holds NaN"):
        prune(broken, Prune(fine_tuning=none), task, seed=0)


def test_pruned_model_with_two_outputs_keeps_the_second() -> None:
    task, model = tiny_task(), tiny_cnn(outputs=2)
    recipe = Prune(sparsity=0.5, fine_tuning=dataclasses.replace(TUNING, epochs=1))
    result = prune(model, recipe, task, seed=0)
    assert [tuple(output.shape) for output in result.model.outputs] == [(None, 10), (None, 3)]
    assert sparsity.zeros(kernels(result.model)["extra"]) > 0
