"""S1's augmentation, which its text claims and its table of layers does not show."""

from __future__ import annotations

from dataclasses import replace

from edgefm.zoo.catalogue import Claim
from edgefm.zoo.documented import documented_system
from edgefm.zoo.experiments.trials import Experiment, Trial

_SYSTEM = documented_system("augmented_cnn")

EXPERIMENTS = (
    Experiment(
        id="s1_augmentation",
        document="S1",
        title="with and without the augmentation that the text claims",
        reading=(
            "S1 states no strengths: 10 degrees, 2 pixels and a tenth are assumed. Its 92.74 % are held against both; "
            "its baseline of 88.5 % is of a network that it does not describe."
        ),
        trials=(
            Trial(label="none", recipe=_SYSTEM.recipe, claim=_SYSTEM.claim),
            Trial(
                label="rotation, shift, zoom, flip",
                recipe=replace(_SYSTEM.recipe, rotation_degrees=10.0, shift_pixels=2, zoom=0.1, flip=True),
                claim=Claim(test_accuracy=_SYSTEM.claim.test_accuracy),
            ),
        ),
    ),
)
