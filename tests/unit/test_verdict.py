import pytest

from edgefm.training.verdict import judge


def epochs(losses: list[float], accuracy: float = 0.9) -> list[dict]:
    return [{"val_loss": loss, "val_accuracy": accuracy} for loss in losses]


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
    verdict = judge(epochs(losses), train_accuracy=train_accuracy)
    assert verdict.name == name
    assert f"{100 * train_accuracy:.1f} %" in verdict.reason


def test_judge_calls_the_source_documents_basic_cnn_overfitted() -> None:
    # The source states 100 % / 91.7 %, loss .6145, for a network whose validation loss had been near .25.
    assert judge(epochs([0.35, 0.25, 0.6145], 0.917), train_accuracy=1.0).name == "overfitted"


@pytest.mark.parametrize(
    "losses",
    [[0.4, 0.001, 0.13, 0.15], [0.08, 0.06, 0.04, 0.03], [0.02]],
    ids=["rises by label smoothing", "falls on", "one epoch"],
)
def test_a_model_that_knows_its_training_images_and_the_others_is_not_underfitted(losses: list[float]) -> None:
    verdict = judge(epochs(losses, 1.0), train_accuracy=1.0)
    assert verdict.name == "good fit"
    assert "would help" not in verdict.reason and "by heart" not in verdict.reason
