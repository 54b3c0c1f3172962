"""The documents' experiments: which trainings they are, and what is claimed of each."""

from dataclasses import fields

import pytest

from edgefm import zoo
from edgefm.core.errors import RecipeError
from edgefm.jobs.reproduce.plan import planned_trials
from edgefm.recipes import Training
from edgefm.zoo.experiments import experiment, experiment_ids, experiments

# Table of S4 -> what each row says: (train %, test %).
S4 = {
    "s4_optimizer": [(88.29, 87.92), (9.79, 10.0), (None, None)],
    "s4_batch": [(86.81, 86.77), (88.23, 88.47), (85.80, 86.82)],
    "s4_epochs": [(78.43, 86.37), (88.59, 88.82), (91.80, 89.91)],
    "s4_learning_rate": [(78.10, 76.78), (87.80, 87.41), (90.29, 89.45)],
    "s4_pooling": [(88.21, 88.42), (87.95, 87.78)],
    "s4_loss": [(None, 88.64), (None, 99.67), (None, 90.58)],
}
# Experiment -> fields of the recipe that its trials differ in, and no others.
VARIED = {
    "s4_optimizer": {"optimizer", "learning_rate"},
    "s4_batch": {"batch_size"},
    "s4_epochs": {"epochs"},
    "s4_learning_rate": {"learning_rate"},
    "s4_pooling": {"model_options"},
    "s4_loss": {"loss"},
    "s2_grid": {"optimizer", "batch_size"},
    "s1_augmentation": {"rotation_degrees", "shift_pixels", "zoom", "flip"},
    "s0_augmentation": {"rotation_degrees", "shift_pixels", "zoom", "flip", "erasing", "mixup"},
    "s0_regularisation": {"model", "model_options", "optimizer", "weight_decay"},
    "s0_k_fold": set(),
    "s0_grid_search": {"learning_rate", "batch_size"},
    "s0_random_search": {"learning_rate", "batch_size", "optimizer", "model_options", "weight_decay"},
}


def test_every_experiment_is_looked_at() -> None:
    assert set(experiment_ids()) == set(VARIED)


@pytest.mark.parametrize("name", S4)
def test_claims_are_those_of_the_table(name: str) -> None:
    claims = [(trial.claim.train_accuracy, trial.claim.test_accuracy) for trial in experiment(name).trials]
    assert claims == S4[name]


@pytest.mark.parametrize("name", VARIED)
def test_trials_differ_in_what_is_compared_alone(name: str) -> None:
    recipes = [trial.recipe for trial in experiment(name).trials]
    differing = {
        entry.name
        for entry in fields(Training)
        if any(getattr(recipe, entry.name) != getattr(recipes[0], entry.name) for recipe in recipes)
    }
    assert differing == VARIED[name]


def test_random_search_draws_the_dropout_and_no_other_option() -> None:
    options = [trial.recipe.model_options for trial in experiment("s0_random_search").trials]
    assert all(set(each) == {"dropout"} for each in options) and len({each["dropout"] for each in options}) > 1


@pytest.mark.parametrize("entry", experiments(), ids=lambda entry: entry.id)
def test_every_trial_can_be_built_and_has_a_folder_of_its_own(entry) -> None:
    for trial in entry.trials:
        zoo.check_options(trial.recipe.model, trial.recipe.model_options)
    keys = {row.key: row.recipe for row in planned_trials(entry.id, None)}
    assert all(keys[row.key] == row.recipe for row in planned_trials(entry.id, None))  # one folder, one training


def test_trial_that_is_a_systems_training_is_not_trained_twice() -> None:
    keys = {row.label: row.key for row in planned_trials("s4_batch", None)}
    assert keys == {"batch 8": "s4_batch/batch-8", "batch 32": "tiny_vgg", "batch 128": "s4_batch/batch-128"}
    assert [row.key for row in planned_trials("s4_loss", None)] == ["tiny_vgg", "s4_loss/multi-margin", "tiny_vgg"]
    assert not {row.key for row in planned_trials("s0_grid_search", None)} & {"enhanced_cnn"}


def test_pooling_that_tiny_vgg_has_anyway_is_its_training() -> None:
    assert [row.key for row in planned_trials("s4_pooling", None)] == ["tiny_vgg", "s4_pooling/average"]


def test_adamw_decays_and_others_do_not() -> None:
    recipes = [trial.recipe for entry in experiments() for trial in entry.trials]
    assert any(recipe.optimizer == "adamw" for recipe in recipes)
    assert all((recipe.weight_decay > 0) == (recipe.optimizer == "adamw") for recipe in recipes)
    assert "decays by 0.05" in experiment("s0_random_search").reading


def test_reading_says_what_is_trained_for_cutout() -> None:
    (cutout,) = [trial for trial in experiment("s0_augmentation").trials if trial.label == "cutout"]
    assert cutout.recipe.erasing == 0.5  # each second image
    assert "Instead of cutout" in (reading := experiment("s0_augmentation").reading) and "each second image" in reading


def test_impossible_claim_is_doubted() -> None:
    doubts = {trial.label: trial.doubt for trial in experiment("s4_loss").trials}
    assert doubts["multi-margin"] and not doubts["cross-entropy"]


def test_random_search_is_the_same_at_every_import() -> None:
    import importlib

    from edgefm.zoo.experiments import s0

    before = [trial.label for trial in experiment("s0_random_search").trials]
    importlib.reload(s0)
    assert [trial.label for trial in experiment("s0_random_search").trials] == before
    assert len(set(before)) == 8


@pytest.mark.parametrize(
    ("name", "options"), [("plain_cnn", {}), ("plain_cnn", {"dropout": "hidden"}), ("plain_cnn_bn", {})]
)
def test_networks_without_regularisation_build_to_their_parameters(name: str, options: dict) -> None:
    model = zoo.build(name, options)  # which counts them
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds.count("Dropout") == (2 if options else 0)
    assert kinds.count("BatchNormalization") == (3 if name == "plain_cnn_bn" else 0)


def test_unknown_experiment_names_the_nearest() -> None:
    with pytest.raises(RecipeError, match="did you mean 's2_grid'"):
        experiment("s2_gird")
