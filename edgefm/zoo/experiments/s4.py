"""S4's six tables: TinyVGG with another optimiser, batch, number of epochs, rate, pooling or loss."""

from __future__ import annotations

from dataclasses import replace

from edgefm.zoo.catalogue import Accuracy, Claim
from edgefm.zoo.documented import documented_system
from edgefm.zoo.experiments.trials import Experiment, Trial

_BASE = documented_system("tiny_vgg").recipe
_READING = "Everything else is as for tiny_vgg: SGD at 0.1, batch 32, three epochs."


def _claim(train: Accuracy | None, test: Accuracy) -> Claim:
    return Claim(train_accuracy=train, test_accuracy=test)


EXPERIMENTS = (
    Experiment(
        id="s4_optimizer",
        document="S4",
        title="optimiser",
        reading=(
            f"{_READING} S4 compares Adam at a rate of 0.1, a hundred times its default, and ranks it last: Adam at "
            "1e-3 is trained beside it."
        ),
        trials=(
            Trial(label="SGD, rate 0.1", recipe=_BASE, claim=_claim(88.29, 87.92)),
            Trial(label="Adam, rate 0.1", recipe=replace(_BASE, optimizer="adam"), claim=_claim(9.79, 10.0)),
            Trial(label="Adam, rate 0.001", recipe=replace(_BASE, optimizer="adam", learning_rate=1e-3)),
        ),
    ),
    Experiment(
        id="s4_batch",
        document="S4",
        title="batch size",
        reading=_READING,
        trials=tuple(
            Trial(label=f"batch {size}", recipe=replace(_BASE, batch_size=size), claim=_claim(train, test))
            for size, train, test in ((8, 86.81, 86.77), (32, 88.23, 88.47), (128, 85.80, 86.82))
        ),
    ),
    Experiment(
        id="s4_epochs",
        document="S4",
        title="number of epochs",
        reading=f"{_READING} After one epoch S4's figure for the training images is the mean over that epoch.",
        trials=tuple(
            Trial(label=f"epochs {count}", recipe=replace(_BASE, epochs=count), claim=_claim(train, test))
            for count, train, test in ((1, 78.43, 86.37), (3, 88.59, 88.82), (21, 91.80, 89.91))
        ),
    ),
    Experiment(
        id="s4_learning_rate",
        document="S4",
        title="learning rate",
        reading=_READING,
        trials=tuple(
            Trial(label=f"rate {rate:g}", recipe=replace(_BASE, learning_rate=rate), claim=_claim(train, test))
            for rate, train, test in ((0.001, 78.10, 76.78), (0.01, 87.80, 87.41), (0.1, 90.29, 89.45))
        ),
    ),
    Experiment(
        id="s4_pooling",
        document="S4",
        title="pooling",
        reading=_READING,
        trials=tuple(
            Trial(label=pooling, recipe=replace(_BASE, model_options=options), claim=_claim(train, test))
            for pooling, options, train, test in (
                ("max", {}, 88.21, 88.42),  # as tiny_vgg is
                ("average", {"pooling": "average"}, 87.95, 87.78),
            )
        ),
    ),
    Experiment(
        id="s4_loss",
        document="S4",
        title="loss",
        reading=(
            f"{_READING} S4 gives one figure a loss and does not say of which images: it is held against the test "
            "images. The negative log-likelihood of a softmax is the cross-entropy, so that both are the same training "
            "with other figures. The multi-margin loss is taken of the logits."
        ),
        trials=(
            Trial(label="cross-entropy", recipe=_BASE, claim=_claim(None, 88.64)),
            Trial(
                label="multi-margin",
                recipe=replace(_BASE, loss="multi_margin"),
                claim=_claim(None, 99.67),
                doubt="no clean published mark of any network on these test images is above 96.4 %",
            ),
            Trial(label="negative log-likelihood", recipe=_BASE, claim=_claim(None, 90.58)),
        ),
    ),
)
