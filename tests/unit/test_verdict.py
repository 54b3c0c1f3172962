import numpy as np
import pytest
from numpy.typing import NDArray

from edgefm.training.verdict import judge

MANY = 10_000


def epochs(losses: list[float], accuracy: float = 0.9) -> list[dict]:
    return [{"val_loss": loss, "val_accuracy": accuracy} for loss in losses]


def answers(accuracy: float, count: int = MANY) -> NDArray[np.int64]:
    """Return the confusion of two equally frequent classes, of which equally many are right."""
    half = count // 2
    right = round(accuracy * half)
    return np.array([[right, half - right], [half - right, right]], np.int64)


@pytest.mark.parametrize(
    ("losses", "train_accuracy", "name"),
    [
        ([0.9, 0.7, 0.5, 0.4], 0.91, "underfitted"),
        ([0.5], 0.91, "underfitted"),
        ([0.5, 0.30, 0.25, 0.249, 0.248, 0.247], 0.95, "good fit"),
        ([0.5, 0.25, 0.30, 0.40], 0.95, "overfitted"),
        ([0.5, 0.30, 0.25, 0.25, 0.25], 0.99, "overfitted"),
        ([2.3, 2.4, 2.7, 3.1], 0.90, "underfitted"),
        ([0.5, 0.25, 0.30, 0.40], 0.905, "underfitted"),
        ([0.4, 0.001, 0.13, 0.15], 0.995, "overfitted"),
        ([0.1, -0.0, 0.0, 0.0, 0.0], 0.91, "good fit"),
        ([0.0, 0.0, 0.0, 1e-5], 0.91, "good fit"),
    ],
    ids=[
        "falling",
        "one epoch",
        "flat",
        "rising",
        "wide gap",
        "no learning",
        "astray",
        "astray, and by heart",
        "learnt all",
        "next to nothing",
    ],
)
def test_judge_reads_the_history(losses: list[float], train_accuracy: float, name: str) -> None:
    verdict = judge(epochs(losses), training=answers(train_accuracy), validation=MANY)
    assert verdict.name == name
    assert f"{100 * train_accuracy:.1f} %" in verdict.reason


def test_judge_calls_the_source_documents_basic_cnn_overfitted() -> None:
    # The source states 100 % / 91.7 %, loss .6145, for a network whose validation loss had been near .25.
    assert judge(epochs([0.35, 0.25, 0.6145], 0.917), training=answers(1.0), validation=MANY).name == "overfitted"


@pytest.mark.parametrize(
    "losses",
    [[0.4, 0.001, 0.13, 0.15], [0.08, 0.06, 0.04, 0.03], [0.02]],
    ids=["rises by label smoothing", "falls on", "one epoch"],
)
def test_a_model_that_knows_its_training_images_and_the_others_is_not_underfitted(losses: list[float]) -> None:
    verdict = judge(epochs(losses, 1.0), training=answers(1.0), validation=MANY)
    assert verdict.name == "good fit"
    assert "would help" not in verdict.reason and "by heart" not in verdict.reason


def test_a_model_of_an_earlier_epoch_does_not_ask_for_epochs_that_were_trained() -> None:
    history = epochs([1.2, 0.9, 0.7, 0.55, 0.60, 0.70, 0.85], 0.80)
    verdict = judge(history, training=answers(0.86), validation=MANY, best_epoch=4)
    assert verdict.name == "good fit"
    assert "more epochs" not in verdict.reason
    assert "the weights of epoch 4, after which 3 epochs were trained" in verdict.reason
    # The same four epochs, with none behind them, do ask for more.
    assert "more epochs would help" in judge(history[:4], training=answers(0.86), validation=MANY).reason


def test_a_model_that_answers_one_class_always_has_learnt_nothing() -> None:
    # Three classes of 20 images, all taken for the second: 20 of 60 are right, and the loss is ln 3.
    always = np.zeros((3, 3), np.int64)
    always[:, 1] = 20
    verdict = judge(epochs([float(np.log(3))] * 20, 1 / 3), training=always, validation=12)
    assert verdict.name == "underfitted" and "nothing was learnt" in verdict.reason and "20 of 60" in verdict.reason
    # 95 and 5 images, all taken for the frequent class: 95 % are right, and nothing was learnt.
    rare = np.array([[95, 0], [5, 0]], np.int64)
    assert "nothing was learnt" in judge(epochs([0.2] * 9, 0.95), training=rare, validation=MANY).reason
    # As many are right, but most of the rare class are found: class weights do that.
    found = np.array([[90, 5], [0, 5]], np.int64)
    assert "nothing was learnt" not in judge(epochs([0.2] * 9, 0.95), training=found, validation=MANY).reason


@pytest.mark.parametrize(
    ("count", "right", "name"),
    # Newcombe's interval of 36/36 - 11/12 is -3.4 to 35.4 points by hand; of 360/360 - 1100/1200 it is 6.5 to 10.0.
    [(12, 11, "not decided"), (1200, 1100, "overfitted")],
)
def test_a_gap_that_one_image_makes_is_not_decided(count: int, right: int, name: str) -> None:
    training = answers(1.0, 3 * count if count == 12 else 360)
    verdict = judge(epochs([0.3] * 5, right / count), training=training, validation=count)
    assert verdict.name == name
    assert ("12 validation images are too few" in verdict.reason) == (name == "not decided")
