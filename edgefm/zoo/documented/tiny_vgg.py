"""S4's TinyVGG: two blocks of two convolutions of ten channels."""

from __future__ import annotations

from typing import Any

from edgefm.zoo.catalogue import Architecture, Claim
from edgefm.zoo.documented.system import CLASSES, SHAPE, DocumentedSystem, as_stated, sequential

_CHANNELS = 10

ARCHITECTURE = Architecture(
    name="tiny_vgg",
    title="TinyVGG",
    summary="[2 x Conv 10 3x3 same, Pool 2] twice, Dense 10",
    input_shape=SHAPE,
    classes=CLASSES,
    trainable=7_740,
    non_trainable=0,
    claim=Claim(train_accuracy=88.29, test_accuracy=87.92),
    options={"pooling": ("max", "average")},
)

SYSTEMS = (
    DocumentedSystem(
        id="tiny_vgg",
        document="S4",
        recipe=as_stated("tiny_vgg", optimizer="sgd", learning_rate=0.1, batch_size=32, epochs=3),
        assumed=("The split is not stated; S4 reads its figures of training while weights still change.",),
        reading=(
            "S4 ranks optimisers by one learning rate, 0.1, which suits SGD and not Adam (9.79 / 10.00 %): its table "
            "says nothing of Adam at a rate of its own. The experiment s4_optimizer has both. S4 repeats the same "
            "training in several tables with figures of 87.92 to 89.45 % of the test images."
        ),
    ),
)


def build(*, pooling: str = "max") -> Any:
    """Return the untrained keras.Model, 7,740 trainable parameters.

    Args:
      pooling: 'max' or 'average'.
    """
    from keras import layers

    pool = {"max": layers.MaxPooling2D, "average": layers.AveragePooling2D}[pooling]
    network: list[Any] = []
    for block in (1, 2):
        for place in (1, 2):
            name = f"conv{block}_{place}"
            network.append(layers.Conv2D(_CHANNELS, 3, padding="same", activation="relu", name=name))
        network.append(pool(2, name=f"pool{block}"))
    network.append(layers.Flatten(name="flatten"))
    network.append(layers.Dense(CLASSES, activation="softmax", name="probabilities"))
    return sequential("tiny_vgg", network)
