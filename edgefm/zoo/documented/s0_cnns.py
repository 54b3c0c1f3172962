"""S0's own two networks: their architectures are `edgefm.zoo.enhanced_cnn` and `edgefm.zoo.basic_cnn`."""

from __future__ import annotations

from edgefm.zoo.documented.system import DocumentedSystem, as_stated

_ASSUMED = ("The optimiser is not stated: Adam at 1e-3 is assumed.", "No augmentation is stated for this figure.")

SYSTEMS = (
    DocumentedSystem(
        id="enhanced_cnn",
        document="S0",
        recipe=as_stated("enhanced_cnn", batch_size=512, epochs=100),
        assumed_training=("optimizer", "learning_rate"),
        assumed=(*_ASSUMED, "The place of the ReLU is not stated: Conv, ReLU, batch normalisation is built."),
        reading=(
            "S0 gives 422,474 parameters and 448 that are not trained. The 448 are the moving means and variances of "
            "the three batch normalisations, 2 x (32 + 64 + 128); the sum of the two numbers is 422,922."
        ),
    ),
    DocumentedSystem(
        id="basic_cnn",
        document="S0",
        recipe=as_stated("basic_cnn", batch_size=512, epochs=100),
        assumed_training=("optimizer", "learning_rate"),
        assumed=_ASSUMED,
        reading="S0 shows it as the example of overfitting: 100 % of the training images, 91.7 % of the others.",
    ),
)
