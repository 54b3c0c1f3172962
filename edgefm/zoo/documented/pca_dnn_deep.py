"""S2's dense network on principal components: two hidden layers."""

from __future__ import annotations

from typing import Any

from edgefm.zoo.catalogue import Architecture, Claim
from edgefm.zoo.documented import pca
from edgefm.zoo.documented.system import CLASSES, SHAPE, DocumentedSystem, as_stated

ARCHITECTURE = Architecture(
    name="pca_dnn_deep",
    title="Deeper dense network on principal components",
    summary="PCA 784 -> 187 (fixed), Dense 64, Dense 32, Dense 10",
    input_shape=SHAPE,
    classes=CLASSES,
    trainable=14_442,
    non_trainable=pca.FIXED,
    claim=Claim(validation_accuracy=(88.01, 89.58)),
)

SYSTEMS = (
    DocumentedSystem(
        id="pca_dnn_deep",
        document="S2",
        recipe=as_stated("pca_dnn_deep", batch_size=32, epochs=30),
        assumed=pca.ASSUMED,
        reading="The range is that of S2's grid of optimiser and batch size: the experiment s2_grid has all four.",
    ),
)


def build() -> Any:
    """Return the untrained keras.Model, 14,442 trainable and 146,795 fixed parameters."""
    return pca.dense_network("pca_dnn_deep", (64, 32))


learn_from = pca.learn_components
