"""What S0 proposes for its Enhanced CNN: augmentation, regularisation, k-fold, searches of rate, batch, dropout."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgefm.zoo.documented import documented_system
from edgefm.zoo.experiments.trials import Experiment, Trial

_EPOCHS = 20
_BASE = replace(documented_system("enhanced_cnn").recipe, epochs=_EPOCHS)
_FOLDS = 5
_DRAWS = 8
_DECAY = 0.05  # of AdamW; without one it is Adam
_SEED = 0


def _random_trials() -> tuple[Trial, ...]:
    """Return trials whose rate, batch size, optimiser and dropout are drawn; the same ones at every call.

    Source: Bergstra & Bengio 2012, JMLR 13:281-305.
    """
    generator = np.random.default_rng(_SEED)
    trials = []
    for number in range(1, _DRAWS + 1):
        rate = float(f"{10 ** generator.uniform(-4, -2):.2g}")
        size = int(generator.choice([64, 128, 256, 512]))
        optimizer = str(generator.choice(["adam", "adamw", "rmsprop"]))
        dropout = str(generator.choice(["0.5", "0.4", "0.2"]))
        recipe = replace(
            _BASE,
            learning_rate=rate,
            batch_size=size,
            optimizer=optimizer,
            weight_decay=_DECAY if optimizer == "adamw" else 0.0,
            model_options={"dropout": dropout},
        )
        label = f"{number}: {optimizer}, rate {rate:g}, batch {size}, dropout {dropout}"
        trials.append(Trial(label=label, recipe=recipe))
    return tuple(trials)


EXPERIMENTS = (
    Experiment(
        id="s0_augmentation",
        document="S0",
        title="augmentation",
        reading=(
            "S0 names the kinds and states neither strengths nor figures: 10 degrees, 2 pixels, a tenth and a fifth of "
            f"a second picture are assumed, and {_EPOCHS} instead of 100 epochs of enhanced_cnn. Instead of cutout, "
            "which blanks a square of one size in every image, random erasing is trained: in each second image a box "
            "of 2 to 40 % of its area. Compare with 'none'."
        ),
        trials=(
            Trial(label="none", recipe=_BASE),
            Trial(label="rotation", recipe=replace(_BASE, rotation_degrees=10.0)),
            Trial(label="shift", recipe=replace(_BASE, shift_pixels=2)),
            Trial(label="zoom", recipe=replace(_BASE, zoom=0.1)),
            Trial(label="flip", recipe=replace(_BASE, flip=True)),
            Trial(label="cutout", recipe=replace(_BASE, erasing=0.5)),
            Trial(label="mixup", recipe=replace(_BASE, mixup=0.2)),
            Trial(
                label="all",
                recipe=replace(
                    _BASE, rotation_degrees=10.0, shift_pixels=2, zoom=0.1, flip=True, erasing=0.5, mixup=0.2
                ),
            ),
        ),
    ),
    Experiment(
        id="s0_regularisation",
        document="S0",
        title="L2 against dropout against batch normalisation",
        reading=(
            "S0 proposes the comparison and states no figures: the Enhanced CNN's convolutions and dense layers with "
            f"none, each and both of what it adds, {_EPOCHS} epochs. L2 is read as the decoupled decay of AdamW, which "
            f"S0 names, at {_DECAY:g}. Compare with 'none'."
        ),
        trials=(
            Trial(label="none", recipe=replace(_BASE, model="plain_cnn")),
            Trial(label="L2", recipe=replace(_BASE, model="plain_cnn", optimizer="adamw", weight_decay=_DECAY)),
            Trial(label="dropout", recipe=replace(_BASE, model="plain_cnn", model_options={"dropout": "hidden"})),
            Trial(label="batch normalisation", recipe=replace(_BASE, model="plain_cnn_bn")),
            Trial(label="dropout and batch normalisation", recipe=_BASE),
        ),
    ),
    Experiment(
        id="s0_k_fold",
        document="S0",
        title="k-fold cross-validation",
        reading=(
            f"S0 asks for it and states no figures: {_FOLDS} stratified folds of the training and validation images "
            f"together, {_EPOCHS} instead of 100 epochs of enhanced_cnn for each. Each fold is answered by the network "
            "that did not see it; a seed is that of the folds and of the trainings. The test images are not touched."
        ),
        trials=(Trial(label=f"{_FOLDS} folds of enhanced_cnn", recipe=_BASE, folds=_FOLDS),),
    ),
    Experiment(
        id="s0_grid_search",
        document="S0",
        title="grid search of rate and batch size",
        reading=(
            f"S0 states no grid: three rates and two batch sizes of enhanced_cnn, {_EPOCHS} epochs each. The one "
            "with the best validation accuracy is chosen, and it alone is tried on the test images."
        ),
        search=True,
        trials=tuple(
            Trial(label=f"rate {rate:g}, batch {size}", recipe=replace(_BASE, learning_rate=rate, batch_size=size))
            for rate in (1e-4, 1e-3, 1e-2)
            for size in (64, 512)
        ),
    ),
    Experiment(
        id="s0_random_search",
        document="S0",
        title="random search of rate, batch size, optimiser and dropout",
        reading=(
            f"{_DRAWS} draws with a fixed seed: the rate from 1e-4 to 1e-2, even in its logarithm; {_EPOCHS} epochs of "
            f"enhanced_cnn each. AdamW decays by {_DECAY:g}, without which it is Adam. The one with the best "
            "validation accuracy is chosen, and it alone is tried on the test images."
        ),
        search=True,
        trials=_random_trials(),
    ),
)
