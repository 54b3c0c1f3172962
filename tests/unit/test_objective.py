from __future__ import annotations

import numpy as np
import pytest

from edgefm.compression.fine_tuning.objective import Objective, objective_of
from edgefm.core.errors import ModelError
from edgefm.recipes import Distillation, FineTuning

RANDOM = np.random.default_rng(1)


def softmax(logits: np.ndarray) -> np.ndarray:
    exact = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exact / exact.sum(axis=-1, keepdims=True)


def softened(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    powers = probabilities ** (1 / temperature)
    return powers / powers.sum(axis=-1, keepdims=True)


def distilled(labels: np.ndarray, student: np.ndarray, teacher: np.ndarray, weight: float, t: float) -> float:
    """(1 - w) CE(labels, student) + w T^2 KL(teacher_T || student_T), as the recipe states it."""
    hard = -(labels * np.log(student)).sum(axis=-1)
    p, q = softened(teacher, t), softened(student, t)
    soft = (p * (np.log(p) - np.log(q))).sum(axis=-1)
    return float(((1 - weight) * hard + weight * t**2 * soft).mean())


@pytest.mark.parametrize("head", ["softmax", "logits"])
@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
def test_distillation_loss_is_that_of_the_recipe(head: str, temperature: float) -> None:
    logits, teacher = RANDOM.normal(size=(2, 6, 5)) * 2
    labels = np.array([0, 1, 2, 3, 4, 0])
    objective = Objective(
        head=head, units=5, label_smoothing=0.1, distillation=Distillation(weight=0.7, temperature=temperature)
    )
    targets = objective.targets(labels, (5,))
    np.testing.assert_allclose(targets, np.eye(5)[labels] * 0.9 + 0.02, rtol=1e-6)
    given = logits if head == "logits" else softmax(logits)
    found = objective.loss(np.float32(given), targets, np.float32(softmax(teacher)))
    expected = distilled(np.eye(5)[labels] * 0.9 + 0.02, softmax(logits), softmax(teacher), 0.7, temperature)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_loss_without_teacher_is_cross_entropy() -> None:
    student = softmax(RANDOM.normal(size=(4, 3)))
    objective = Objective(head="softmax", units=3)
    labels = np.array([2, 0, 1, 1])
    found = objective.loss(np.float32(student), objective.targets(labels, (3,)))
    assert float(found) == pytest.approx(-np.log(student[np.arange(4), labels]).mean(), rel=1e-5)


@pytest.mark.parametrize("head", ["sigmoid", "logits"])
def test_one_unit_learns_yes_and_no(head: str) -> None:
    logits = RANDOM.normal(size=(8, 1))
    share = 1 / (1 + np.exp(-logits))
    labels = np.array([0, 1, 1, 0, 1, 0, 0, 1])
    objective = Objective(head=head, units=1)
    found = objective.loss(np.float32(share if head == "sigmoid" else logits), objective.targets(labels, (1,)))
    right = np.where(labels[:, None] == 1, share, 1 - share)
    assert float(found) == pytest.approx(-np.log(right).mean(), rel=1e-4)


def test_a_sigmoid_student_equal_to_its_teacher_has_no_teacher_loss() -> None:
    share = np.float32(RANDOM.uniform(0.1, 0.9, size=(8, 1)))
    objective = Objective(head="sigmoid", units=1, distillation=Distillation(weight=1.0, temperature=3.0))
    assert float(objective.loss(share, np.zeros((8, 1), np.float32), share)) == pytest.approx(0.0, abs=1e-6)


def test_numbers_are_compared_by_their_squares() -> None:
    objective = Objective(head="values", units=2, distillation=Distillation(weight=0.25))
    output, target, teacher = np.float32(RANDOM.normal(size=(3, 4, 2)))
    expected = 0.75 * ((output - target) ** 2).mean() + 0.25 * ((output - teacher) ** 2).mean()
    assert float(objective.loss(output, target, teacher)) == pytest.approx(expected, rel=1e-5)


def test_targets_refuse_labels_that_the_model_cannot_answer() -> None:
    with pytest.raises(ModelError, match="the labels are up to 3; the model has 3 classes, 0 to 2"):
        Objective(head="softmax", units=3).targets(np.array([0, 3]), (3,))
    with pytest.raises(ModelError, match=r"targets have shape \[3\] per sample, the model's output \[2\]"):
        Objective(head="values", units=2).targets(np.zeros((5, 3), np.float32), (2,))


@pytest.mark.parametrize("head", ["softmax", "sigmoid", "logits"])
@pytest.mark.parametrize("apart", [True, False], ids=["own layer", "activation"])
def test_head_is_read_from_the_output_layer(head: str, apart: bool) -> None:
    import keras  # noqa: F401  # first: tf_keras shares its registry of names
    import tf_keras

    activation = None if head == "logits" else head
    layers = [tf_keras.Input((4,)), tf_keras.layers.Dense(3, activation=None if apart else activation)]
    if apart:
        layers += [tf_keras.layers.Activation(activation), tf_keras.layers.Flatten()]
    model = tf_keras.Sequential(layers)
    recipe = FineTuning(distillation=Distillation(weight=0.4, temperature=3.0), label_smoothing=0.2)
    found = objective_of(model, recipe, task="classification", taught=True)
    assert found == Objective(head=head, units=3, label_smoothing=0.2, distillation=recipe.distillation)
    assert objective_of(model, recipe, task="regression", taught=False).head == "values"


def test_head_is_found_through_the_wrapper_of_a_pruned_layer() -> None:
    import keras  # noqa: F401
    import tf_keras
    from tensorflow_model_optimization.sparsity.keras import prune_low_magnitude

    model = tf_keras.Sequential([tf_keras.Input((4,)), prune_low_magnitude(tf_keras.layers.Dense(3, "softmax"))])
    assert objective_of(model, FineTuning(), task="classification", taught=False).head == "softmax"


def test_softmax_over_one_unit_is_refused() -> None:
    import keras  # noqa: F401
    import tf_keras

    model = tf_keras.Sequential([tf_keras.Input((4,)), tf_keras.layers.Dense(1, "softmax")])
    with pytest.raises(ModelError, match="softmax over one unit"):
        objective_of(model, FineTuning(), task="classification", taught=False)
