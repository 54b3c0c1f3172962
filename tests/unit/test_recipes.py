from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from edgefm.cli.main import cli
from edgefm.cli.main import run as run_command
from edgefm.core.errors import RecipeError
from edgefm.recipes import (
    DEFAULT_VARIANTS,
    FINE_TUNED_VARIANTS,
    PRESETS,
    QUICK_VARIANTS,
    SCHEMES,
    BenchmarkProtocol,
    Budget,
    Cluster,
    Distillation,
    FineTuning,
    PostTraining,
    Prune,
    Qat,
    Quantization,
    Recipe,
    Slim,
    Training,
    Variant,
    preset,
    variant_named,
)
from edgefm.recipes.files import load, shipped


def call(*args: object) -> int:
    return run_command(lambda: cli.main([str(arg) for arg in args], standalone_mode=False))


@pytest.mark.parametrize(
    "recipe",
    [
        *PRESETS.values(),
        Training(distillation=Distillation(teachers=("runs/a", "b.keras"))),
        Quantization(variants=(variant_named("float32"),)),
        Quantization(variants=tuple(variant_named(name) for name in DEFAULT_VARIANTS), seed=3),
        BenchmarkProtocol(rounds=3),
        Prune(sparsity=0.5, pattern="2:4", exclude=("conv*",), fine_tuning=FineTuning(epochs=2)),
        Slim(keep=None, budget=Budget(macs=0.3, latency=0.5)),
        PostTraining(scheme="int16x8", keep_float=("dense", "conv*")),
    ],
    ids=lambda recipe: type(recipe).__name__,
)
def test_json_round_trip_gives_the_same_recipe(recipe: Recipe) -> None:
    assert type(recipe).from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


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
def test_training_refuses_values_out_of_range(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Training(**change)


def test_unknown_preset_and_variant_name_the_nearest() -> None:
    with pytest.raises(RecipeError, match="unknown preset 'quik'; did you mean 'quick'"):
        preset("quik")
    with pytest.raises(RecipeError, match="unknown variant 'int8_w8a'; did you mean 'int8_w8a8'"):
        variant_named("int8_w8a")


def test_paper_preset_is_the_document_own() -> None:
    paper = preset("paper")
    assert (paper.epochs, paper.batch_size, paper.flip, paper.shift_pixels) == (100, 512, False, 0)


def test_threads_zero_is_refused() -> None:
    with pytest.raises(RecipeError, match="threads 0 is not allowed"):
        BenchmarkProtocol(threads=0)


def test_name_of_a_variant_says_its_passes() -> None:
    variant = variant_named("slim25_pruned90_clustered32_qat_int8")
    slim, prune, cluster, qat = variant.passes
    assert isinstance(slim, Slim) and slim.keep == 0.25
    assert isinstance(prune, Prune) and prune.sparsity == 0.9
    assert isinstance(cluster, Cluster) and (cluster.clusters, cluster.preserve_sparsity) == (32, True)
    assert isinstance(qat, Qat) and (qat.preserve_sparsity, qat.preserve_clusters) == (True, True)
    assert variant.trained_int8 and variant.quantization is None
    plain = variant_named("pruned80_int8_w8a8")
    assert plain.quantization == PostTraining(scheme="int8_w8a8") and not plain.trained_int8
    assert [done.kind for done in plain.passes] == ["prune"]


def _variant(**params: Any) -> dict[str, Any]:
    return {"kind": "quantize", "params": {"variants": [{"name": "mine", **params}]}}


def _pass(kind: str, **params: Any) -> dict[str, Any]:
    return {"kind": kind, "params": params}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (_variant(passes=[_pass("prune", sparsity=1.0)], quantization="int8_w8a8"), "sparsity 1.0 is not allowed"),
        (_variant(passes=[_pass("prune", sparsity=0.0)], quantization="int8_w8a8"), "sparsity 0.0 is not allowed"),
        (_variant(passes=[_pass("cluster", clusters=1)], quantization="int8_w8a8"), "clusters 1 is not allowed"),
        (_variant(passes=[_pass("cluster", clusters=257)], quantization="int8_w8a8"), "clusters 257 is not allowed"),
        (_variant(passes=[_pass("prune", sparsty=0.5)], quantization="int8_w8a8"), "did you mean 'sparsity'"),
        (_variant(passes=[_pass("prune", sparsity="0.5")], quantization="int8_w8a8"), "'0.5'; float is expected"),
        (_variant(passes=[_pass("prune", sparsity=True)], quantization="int8_w8a8"), "a number is expected"),
        (_variant(passes=[_pass("prune", pattern="2:8")], quantization="int8_w8a8"), "did you mean '2:4'"),
        (_variant(passes=[_pass("prune", pattern="2:4")], quantization="int8_w8a8"), "sparsity 0.5 by nature"),
        (_variant(passes=[_pass("prun")], quantization="int8_w8a8"), "did you mean 'prune'"),
        (_variant(passes=["prune"], quantization="int8_w8a8"), "an object with a kind is expected"),
        (_variant(passes=[_pass("qat")], quantization="int8_w8a8"), "int8 by itself"),
        (_variant(passes=[_pass("prune")]), "has no quantization"),
        (_variant(passes=[_pass("cluster"), _pass("prune")], quantization="int8_w8a8"), "is the order"),
        (_variant(passes=[_pass("prune"), _pass("prune")], quantization="int8_w8a8"), "at most once"),
        (_variant(passes=[_pass("slim", keep=None)], quantization="int8_w8a8"), "either keep or budget"),
        (_variant(passes=[_pass("slim", keep=None, budget={})], quantization="int8_w8a8"), "budget of slim is empty"),
        (_variant(passes=[_pass("slim", keep=1.5)], quantization="int8_w8a8"), "keep 1.5 is not allowed"),
        (_variant(passes=[_pass("slim", importance="l2")], quantization="int8_w8a8"), "did you mean 'l1'"),
        (_variant(passes=[_pass("qat", fine_tuning={"epoch": 1})]), "did you mean 'epochs'"),
        (_variant(passes=[_pass("qat", fine_tuning={"distillation": {"teachers": []}})]), "names no teacher"),
        (_variant(quantization="int8"), "unknown quantisation scheme 'int8'"),
        (_variant(quantisation="int8_w8a8"), "did you mean 'quantization'"),
        (_variant(quantization="float32", accuracy_drop_at_most="1"), "a number of percentage points"),
        ({"kind": "quantize", "params": {"variants": "float32"}}, "a list of names or variants is expected"),
        ({"kind": "quantize", "params": {"variants": ["float32", "float32"]}}, "two variants are called 'float32'"),
        ({"kind": "quantize", "params": {"variants": [{"name": "../x", "quantization": "float32"}]}}, "cannot name"),
        ({"kind": "quantize", "params": {"variant": []}}, "did you mean 'variants'"),
        ({"kind": "quantize", "parms": {}}, "did you mean 'params'"),
        ({"kind": "quantize", "version": 9}, "newer than"),
        ({"kind": "quantise"}, "of kind 'quantise'"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_recipe_file_with_a_mistake_is_refused(
    value: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(value))
    assert call("recipes", "validate", path) == 2
    assert message in capsys.readouterr().err


def test_recipe_file_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.json").write_text("{")
    (tmp_path / "list.json").write_text("[]")
    for name, message in (
        ("text.json", "is no JSON"),
        ("list.json", "holds no recipe"),
        ("none.json", "no recipe file"),
    ):
        assert call("recipes", "validate", tmp_path / name) == 2
        assert message in capsys.readouterr().err
    assert call("recipes", "show", "balancd") == 2
    assert "did you mean 'balanced'" in capsys.readouterr().err


def test_shipped_recipes_hold_the_sets_they_are_named_for() -> None:
    assert set(shipped()) == {"balanced", "default", "fastest", "quick", "smallest"}
    assert load("default").names == DEFAULT_VARIANTS == (*QUICK_VARIANTS, *FINE_TUNED_VARIANTS)
    assert load("quick").names == QUICK_VARIANTS
    for name in shipped():
        recipe = load(name)
        assert recipe.description and recipe.names[0] == "float32"
        for variant in recipe.variants:
            # A shipped variant is what its name says, but for its limit.
            named = variant_named(variant.name)
            assert (variant.passes, variant.quantization) == (named.passes, named.quantization)


def test_recipe_shown_can_be_changed_and_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("recipes", "show", "default") == 0
    value = json.loads(capsys.readouterr().out)
    value["params"]["variants"] = value["params"]["variants"][:1]
    (tmp_path / "mine.json").write_text(json.dumps(value))
    assert load(str(tmp_path / "mine.json")).names == ("float32",)
    assert call("recipes", "list", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert {name for name, one in listed.items() if one["kind"] == "quantize"} == set(shipped())
    assert call("recipes", "validate", tmp_path / "mine.json", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"valid": True, "variants": ["float32"]}


def test_every_variant_describes_itself() -> None:
    for name in (*SCHEMES, *FINE_TUNED_VARIANTS):
        assert variant_named(name).description
    with pytest.raises(RecipeError, match="int8 by itself"):
        Variant(name="x", passes=(Qat(),), quantization=PostTraining())


def test_what_a_nested_recipe_leaves_out_is_as_the_pass_has_it() -> None:
    prune = Prune.from_json(_pass("prune", fine_tuning={"epochs": 8, "distillation": {"weight": 0.5}}))
    whole = Prune().fine_tuning
    assert prune.fine_tuning.epochs == 8 and prune.fine_tuning.learning_rate == whole.learning_rate
    assert prune.fine_tuning.distillation == Distillation(weight=0.5)
    slim = Slim.from_json(_pass("slim", fine_tuning={"distillation": {"weight": 0.5}}))
    assert slim.fine_tuning.distillation == Distillation(temperature=3.0, weight=0.5)
    alone = Prune.from_json(_pass("prune", fine_tuning={"distillation": None}))
    assert alone.fine_tuning.distillation is None and alone.fine_tuning.epochs == whole.epochs


def test_recipe_without_a_variant_is_refused() -> None:
    with pytest.raises(RecipeError, match="names no variant"):
        Quantization.from_json({"kind": "quantize", "params": {"variants": []}})


def test_recipe_in_the_documentation_is_one() -> None:
    page = (Path(__file__).parents[2] / "docs" / "compression.md").read_text(encoding="utf-8")
    blocks = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", page, re.DOTALL)]
    whole, variant = blocks
    assert Quantization.from_json(whole).names == ("float32", "half_the_macs")
    assert Quantization.from_json({"kind": "quantize", "params": {"variants": [variant]}}).names == ("int8_plus",)


@pytest.mark.parametrize(
    ("promises", "parity", "limit", "held"),
    [
        ([True], None, None, True),
        ([True, False], None, None, False),
        ([], False, None, False),
        ([], True, False, False),
        ([], True, True, True),
    ],
)
def test_broken_promise_parity_or_limit_makes_exit_code_1(
    promises: list[bool], parity: bool | None, limit: bool | None, held: bool
) -> None:
    from edgefm.jobs.quantize import TfliteFile

    facts = {} if parity is None else {"parity": {"held": parity}}
    variant = {
        "promises": [{"held": one} for one in promises],
        "passes": [{"facts": facts}],
        "validation": None if limit is None else {"held": limit},
    }
    assert TfliteFile(name="x", path=Path("model.tflite"), report=variant).held is held


@pytest.mark.parametrize(
    ("least", "most", "expected"),
    [
        pytest.param(None, None, (15, 45), id="defaults"),
        pytest.param(20, None, (20, 45), id="at-least"),
        pytest.param(60, None, (60, 60), id="at-least-more-than-the-default-at-most"),
        pytest.param(None, 30, (15, 30), id="at-most"),
        pytest.param(None, 2, (2, 2), id="at-most-less-than-the-default-at-least"),
        pytest.param(4, 4, (4, 4), id="exactly"),
    ],
)
def test_rounds_mean_the_same_in_functions_and_in_the_protocol(
    least: int | None, most: int | None, expected: tuple[int, int]
) -> None:
    from edgefm.jobs.benchmark import benchmark_protocol

    protocol = benchmark_protocol(rounds=least, rounds_at_most=most)
    assert (protocol.rounds, protocol.rounds_at_most) == expected
    if least is not None:
        assert protocol.rounds == least
    if most is not None:
        assert protocol.rounds_at_most == most


@pytest.mark.parametrize(
    ("least", "most", "words"),
    [
        (0, None, "rounds 0 is not allowed"),
        (None, 0, "rounds_at_most 0 is not allowed"),
        (5, 4, "rounds_at_most 4 is not allowed: it must be 5 or more"),
    ],
)
def test_rounds_that_cannot_be_are_refused(least: int | None, most: int | None, words: str) -> None:
    from edgefm.jobs.benchmark import benchmark_protocol

    with pytest.raises(RecipeError, match=words):
        benchmark_protocol(rounds=least, rounds_at_most=most)


def test_dense_layers_that_keep_int8_go_with_four_bits_alone() -> None:
    kept = PostTraining(scheme="int8_w8a8_fc4", keep_int8=("last",))
    variant = Variant(name="x", quantization=kept)
    assert Variant.from_json(json.loads(json.dumps(variant.to_json()))) == variant
    plain = Variant(name="x", quantization=PostTraining(scheme="int8_w8a8_fc4"))
    assert "keep_int8" not in json.dumps(plain.to_json())  # keys of files that were made before stay
    for wrong in ({"scheme": "int8_w8a8"}, {"scheme": "int8_w8a8_fc4", "correct_bias": True}):
        with pytest.raises(RecipeError, match="keep_int8 names last; it goes with the scheme int8_w8a8_fc4 alone"):
            PostTraining(keep_int8=("last",), **wrong)  # type: ignore[arg-type]
