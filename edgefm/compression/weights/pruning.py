"""Magnitude pruning: the smallest weights of each kernel become zero while the model is trained on.

Masks are those of tensorflow-model-optimization, which sparsifies along a schedule during training (Zhu & Gupta
2017, arXiv:1710.01878). Its last mask may fall short by a weight, where several weights are equal or training is
too short for its schedule; what is missing is pruned at the end, so that each kernel has the sparsity asked for.

A 4 x 1 dense kernel at sparsity 0.5:

    before  [0.9, -0.1, 0.3, -0.8]      after  [0.9, 0.0, 0.0, -0.8]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from edgefm.compression.fine_tuning.loop import bridged, fine_tune
from edgefm.compression.fine_tuning.task import PassResult, Task
from edgefm.compression.weights import sparsity
from edgefm.compression.weights.layer_kernels import Excluded, LayerKernel, check_any, chosen_kernels, kernel_of
from edgefm.core.errors import ModelError
from edgefm.core.progress import SILENT, Progress
from edgefm.core.silence import silenced
from edgefm.recipes import Prune
from edgefm.training.distillation import Teacher

# The schedule grows over this share of the steps; the rest trains at the final sparsity.
_GROWTH_SHARE = 0.5
_MASK_UPDATES = 60
_CHANNELS_OF_2_4 = 4


def prune(
    model: Any,
    recipe: Prune,
    task: Task,
    *,
    seed: int,
    teacher: Teacher | None = None,
    progress: Progress = SILENT,
) -> PassResult:
    """Return a model whose kernels have the recipe's share of zeros, trained on by its fine-tuning.

    Kernels of convolutions and dense layers are pruned. Left alone, and listed with the reason: excluded layers,
    layers that are not trained, depthwise kernels; unless LAMP shares out the zeros, the smallest kernels (see
    `sparsity.not_worth_pruning`); and with '2:4' kernels whose input channels are no multiple of four.
    '2:4' and 'block_1x16' run along the input channels, the last axis of a kernel in a .tflite file. With
    'block_1x16' kernels that are not dense are pruned unstructured.

    Args:
      model: Keras 3 model, folded; it is not changed.
      recipe: sparsity, pattern, schedule, fine-tuning.
      task: data to train and to measure on.
      seed: of the fine-tuning.
      teacher: needed where the fine-tuning has a distillation.
      progress: told the training.
    Returns:
      the model; the history of the fine-tuning; facts, counted on the model: `sparsity` over all pruned kernels,
      `kernels` with layer, weights, zeros, sparsity and pattern_holds (None for unstructured ones), `excluded` with
      layer and reason, `bridge` with the parity of the tf_keras model that was trained.
    Raises:
      ModelError: nothing can be pruned, weights are not finite, or the model is pruned already.
      RecipeError: an exclude pattern without a layer.
      TrainingDivergedError: the loss is not finite.
    """
    from edgefm_converters.bridge.bridge import from_tf_keras

    kernels, excluded = _to_prune(model, recipe)
    _check_not_pruned(kernels, recipe)
    shares = _shares(kernels, recipe)
    tf_model, parity, reference = bridged(model, task)
    history: tuple[dict[str, Any], ...] = ()
    if recipe.fine_tuning.epochs:
        with silenced():
            import tensorflow_model_optimization as tfmot

            chosen = {kernel.name: kernel for kernel in kernels}
            wrapped = _wrapped(tf_model, chosen, shares, recipe, len(task.dataset.train))
        history = fine_tune(
            wrapped,
            recipe.fine_tuning,
            task,
            seed=seed,
            label="prune",
            teacher=teacher,
            reference=reference,
            callbacks=(tfmot.sparsity.keras.UpdatePruningStep(),),
            progress=progress,
        )
        with silenced():
            tf_model = tfmot.sparsity.keras.strip_pruning(wrapped)
    pruned = from_tf_keras(tf_model, model)
    for kernel in kernels:
        _make_exact(kernel_of(pruned, kernel.name), shares[kernel.name], recipe)
    pruned_kernels = [kernel_of(pruned, kernel.name) for kernel in kernels]
    facts = {**_facts(pruned_kernels, shares, recipe), "bridge": parity}
    return PassResult(model=pruned, history=history, facts=facts | {"excluded": [asdict(left) for left in excluded]})


def _to_prune(model: Any, recipe: Prune) -> tuple[list[LayerKernel], list[Excluded]]:
    kernels, left = chosen_kernels(model, recipe.exclude)
    chosen, excluded = [], list(left)
    sizes = [kernel.array.size for kernel in kernels]
    small = [False] * len(sizes) if recipe.shared_by_lamp else sparsity.not_worth_pruning(sizes)
    for kernel, is_small in zip(kernels, small, strict=True):
        reason = _cannot_take_2_of_4(kernel) if recipe.pattern == "2:4" else None
        if is_small:
            reason = f"its {kernel.array.size:,} weights are too few to be worth a loss of accuracy"
        if reason is None:
            chosen.append(kernel)
        else:
            excluded.append(Excluded(layer=kernel.name, reason=reason))
    check_any(chosen, excluded, model=model, what="prune")
    return chosen, excluded


def _cannot_take_2_of_4(kernel: LayerKernel) -> str | None:
    shape = kernel.array.shape
    if kernel.kind not in ("Conv2D", "Dense", "SeparableConv2D"):
        return f"2:4 is not defined for the kernel of a {kernel.kind}"
    if shape[-2] % _CHANNELS_OF_2_4:
        return f"its kernel has {shape[-2]} input channels; 2:4 needs a multiple of four"
    return None


def _check_not_pruned(kernels: list[LayerKernel], recipe: Prune) -> None:
    arrays = [kernel.array for kernel in kernels]
    share = sum(sparsity.zeros(array) for array in arrays) / sum(array.size for array in arrays)
    if share >= recipe.sparsity:
        raise ModelError(
            f"{100 * share:.1f} % of the weights are zero before pruning to {100 * recipe.sparsity:g} %: "
            "the model is pruned already",
            hint="Leave the pass 'prune' out, or set a higher sparsity.",
        )


def _shares(kernels: list[LayerKernel], recipe: Prune) -> dict[str, float]:
    """Return the share of each kernel's weights (or blocks) that become zero, by the layer's name."""
    if not recipe.shared_by_lamp:
        return {kernel.name: recipe.sparsity for kernel in kernels}
    zeros = sparsity.lamp_zeros([kernel.array for kernel in kernels], recipe.sparsity)
    return {kernel.name: count / kernel.array.size for kernel, count in zip(kernels, zeros, strict=True)}


def _wrapped(
    tf_model: Any, kernels: Mapping[str, LayerKernel], shares: Mapping[str, float], recipe: Prune, samples: int
) -> Any:
    """Return a tf_keras model that prunes the chosen layers while it is trained; weights are shared."""
    import tensorflow_model_optimization as tfmot
    import tf_keras

    tuning = recipe.fine_tuning
    steps = tuning.epochs * (samples // min(tuning.batch_size, samples))

    def wrap(layer: Any) -> Any:
        kernel = kernels.get(layer.name)
        if kernel is None or shares[layer.name] == 0:
            return layer
        schedule = _schedule(recipe, shares[layer.name], steps=steps)
        options: dict[str, Any] = {}
        if recipe.pattern == "2:4":
            options["sparsity_m_by_n"] = (2, 4)
        elif _in_blocks(kernel, recipe):
            # Height is c_in in Keras: 16 x 1 here is 1 x 16 in a .tflite file.
            options["block_size"] = (sparsity.BLOCK, 1)
        return tfmot.sparsity.keras.prune_low_magnitude(layer, pruning_schedule=schedule, **options)

    return tf_keras.models.clone_model(tf_model, clone_function=wrap)


def _schedule(recipe: Prune, share: float, *, steps: int) -> Any:
    """Return a schedule of tfmot whose last mask update falls exactly on the end of its growth."""
    import tensorflow_model_optimization as tfmot

    growth = max(1, int(_GROWTH_SHARE * steps) - 1)
    frequency = max(1, growth // _MASK_UPDATES)
    end = 1 + max(frequency, growth // frequency * frequency)  # the first step is number 1
    if recipe.schedule == "constant" or recipe.pattern == "2:4":
        return tfmot.sparsity.keras.ConstantSparsity(share, begin_step=1, end_step=end, frequency=frequency)
    start = min(recipe.initial_sparsity, share)
    return tfmot.sparsity.keras.PolynomialDecay(start, share, begin_step=1, end_step=end, frequency=frequency)


def _in_blocks(kernel: LayerKernel, recipe: Prune) -> bool:
    return recipe.pattern == "block_1x16" and kernel.kind == "Dense"


def _make_exact(kernel: LayerKernel, share: float, recipe: Prune) -> None:
    """Prune what a kernel lacks of its sparsity or pattern; a kernel that has it keeps every weight."""
    array = kernel.array
    if recipe.pattern == "2:4":
        if not sparsity.holds_2_of_4(array, layout="keras"):
            kernel.assign(sparsity.prune_2_of_4(array))
    elif _in_blocks(kernel, recipe):
        empty, blocks = sparsity.zero_blocks(array, layout="keras")
        wanted = sparsity.zeros_wanted(blocks, share)
        if empty < wanted:
            kernel.assign(sparsity.prune_blocks(array, wanted))
    else:
        wanted = sparsity.zeros_wanted(array.size, share)
        if sparsity.zeros(array) < wanted:
            kernel.assign(sparsity.prune_smallest(array, wanted))


def _facts(kernels: list[LayerKernel], shares: Mapping[str, float], recipe: Prune) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for kernel in kernels:
        array = kernel.array
        zero_count = sparsity.zeros(array)
        holds: bool | None = None
        if recipe.pattern == "2:4":
            holds = sparsity.holds_2_of_4(array, layout="keras")
        elif _in_blocks(kernel, recipe):
            empty, blocks = sparsity.zero_blocks(array, layout="keras")
            holds = empty >= sparsity.zeros_wanted(blocks, shares[kernel.name])
        rows.append(
            {
                "layer": kernel.name,
                "weights": array.size,
                "zeros": zero_count,
                "sparsity": zero_count / array.size,
                "pattern_holds": holds,
            }
        )
    weights, zeros = (sum(row[key] for row in rows) for key in ("weights", "zeros"))
    return {"sparsity": zeros / weights, "pattern": recipe.pattern, "kernels": rows}
