"""S2's dense network on principal components: one hidden layer."""

from __future__ import annotations

from typing import Any

from edgefm.zoo.catalogue import Architecture, Claim
from edgefm.zoo.documented import pca
from edgefm.zoo.documented.system import CLASSES, SHAPE, DocumentedSystem, as_stated

ARCHITECTURE = Architecture(
    name="pca_dnn",
    title="Dense network on principal components",
    summary="PCA 784 -> 187 (fixed), Dense 64, Dense 10",
    input_shape=SHAPE,
    classes=CLASSES,
    trainable=12_682,
    non_trainable=pca.FIXED,
    claim=Claim(validation_accuracy=89.74, test_accuracy=89.0),
)

SYSTEMS = (
    DocumentedSystem(
        id="pca_dnn",
        document="S2",
        recipe=as_stated("pca_dnn", batch_size=32, epochs=30),
        assumed=pca.ASSUMED,
        reading=(
            "S2 counts 12,682 parameters behind the analysis; the fixed 784 x 187 matrix and its bias are 146,795 "
            "more, which a device has to hold too. S2's discussion of strong and weak classes reverses its own F1 "
            "scores (Shirt .70, T-shirt .83; Sandal .96, Sneaker .95)."
        ),
    ),
)


def build() -> Any:
    """Return the untrained keras.Model, 12,682 trainable and 146,795 fixed parameters."""
    return pca.dense_network("pca_dnn", (64,))


learn_from = pca.learn_components
