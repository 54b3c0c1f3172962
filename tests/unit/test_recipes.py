import pytest

from edgefm.errors import RecipeError
from edgefm.recipes import PRESETS, BenchmarkProtocol, Quantization, Recipe, Training, preset


@pytest.mark.parametrize(
    "recipe", [*PRESETS.values(), Quantization(variants=("float32",)), BenchmarkProtocol(rounds=3)], ids=repr
)
def test_json_round_trip_gives_the_same_recipe(recipe: Recipe) -> None:
    assert type(recipe).from_json(recipe.to_json()) == recipe


def test_from_json_names_the_nearest_parameter() -> None:
    value = Training().to_json()
    value["params"]["epoch"] = 3
    with pytest.raises(RecipeError, match="did you mean 'epochs'"):
        Training.from_json(value)


def test_from_json_refuses_another_kind_and_a_newer_version() -> None:
    with pytest.raises(RecipeError, match="of kind 'train', not 'quantize'"):
        Quantization.from_json(Training().to_json())
    with pytest.raises(RecipeError, match="newer"):
        Training.from_json({**Training().to_json(), "version": 99})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": -1}, "epochs -1 is not allowed: it must be 1 or more"),
        ({"epochs": 0}, "epochs 0"),
        ({"batch_size": 0}, "batch size 0"),
        ({"seed": -1}, "seed -1"),
        ({"learning_rate": 0.0}, "must be above 0"),
        ({"optimizer": "adamv"}, "did you mean 'adam"),
        ({"schedule": "onecycle"}, "did you mean 'one_cycle'"),
    ],
)
def test_training_refuses_values_out_of_range(change: dict, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Training(**change)


def test_unknown_preset_and_variant_name_the_nearest() -> None:
    with pytest.raises(RecipeError, match="unknown preset 'quik'; did you mean 'quick'"):
        preset("quik")
    with pytest.raises(RecipeError, match="unknown variant 'int8'; did you mean 'int8_w8a8'"):
        Quantization(variants=("int8",))


def test_paper_preset_is_the_document_own() -> None:
    paper = preset("paper")
    assert (paper.epochs, paper.batch_size, paper.flip, paper.shift_pixels) == (100, 512, False, 0)


def test_threads_zero_is_refused() -> None:
    with pytest.raises(RecipeError, match="threads 0 is not allowed"):
        BenchmarkProtocol(threads=0)
