"""The record and the page of the best small models, from entries made up here."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest

from benchmarks import best, best_page, best_record
from benchmarks.best_rows import Row, named, rows
from edgefm.core.environment import environment
from edgefm.core.errors import RecipeError, RunError
from edgefm.core.runs import RunDirectory
from edgefm.recipes import preset
from edgefm.training import checkpoint


def row(name: str) -> Row:
    (found,) = named(name)
    return found


def entry(name: str, seed: int, accuracy: float, *, epochs: int | None = None, **changes: Any) -> dict[str, Any]:
    recipe = row(name).training(seed=seed, epochs=epochs)
    figures: dict[str, Any] = {"validation_accuracy": accuracy}
    if row(name).final:
        figures = {"validation_accuracy": None, "test": {"accuracy": accuracy, "images": 10_000}}
    return {
        "seed": seed,
        "epochs": recipe.epochs,
        "shortened": recipe.epochs < row(name).recipe.epochs,
        "recipe": recipe.to_json(),
        "data": "fashion-mnist",
        "parameters": 9_000,
        "device": {"name": "a card", "backend": "jax 1", "precision": "mixed_bfloat16"},
        "sha256": f"{name}{seed}",
        "size_bytes": 60_000,
        "macs": 4_000_000,
        **figures,
        **changes,
    }


def record(**entries: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "best_version": 1,
        "rows": {name: {"entries": found} for name, found in entries.items()},
        "latency": None,
        "environment": environment(),
        "created": "2026-11-29T00:00:00+00:00",
    }


def line_of(page: str, title: str) -> str:
    (line,) = [line for line in page.splitlines() if line.startswith("|") and title in line and ">=" in line]
    return line


def test_rows_are_the_classes_that_have_targets() -> None:
    targets = {row.name: (row.target, row.moonshot) for row in rows()}
    assert targets == {
        "document": (93.3, None),
        "enhanced": (94.8, 95.3),
        "small": (94.0, 94.5),
        "tiny": (91.5, 92.2),
        "half_million": (95.6, 96.0),
        "fastest": (93.3, None),
        "teacher": (96.0, 96.5),
    }
    for one in rows():
        assert one.recipe == preset("paper" if one.name == "document" else "best", one.recipe.model)


def test_only_final_trainings_learn_the_validation_images() -> None:
    assert not row("document").training(seed=0, epochs=None).with_validation
    assert row("small").training(seed=0, epochs=None).with_validation


def test_mean_and_spread_over_seeds_are_those_of_the_entries() -> None:
    accuracies = [0.9411, 0.9382, 0.9440]
    page = best_page.page(record(small=[entry("small", seed, value) for seed, value in enumerate(accuracies)]))
    percent = [100 * value for value in accuracies]
    expected = f"{statistics.mean(percent):.2f} ± {statistics.stdev(percent):.2f} (n = 3)"
    assert expected in line_of(page, "small_residual") and line_of(page, "small_residual").rstrip(" |").endswith("met")


@pytest.mark.parametrize(
    ("name", "accuracy", "changes", "verdict"),
    [
        ("tiny", 0.9149, {}, "**missed** (accuracy by 0.01 points)"),
        ("tiny", 0.9150, {}, "met"),
        ("tiny", 0.9220, {}, "met, the moonshot too"),
        ("tiny", 0.93, {"parameters": 10_001}, "**missed** (1 parameters too many)"),
        ("small", 0.94, {"size_bytes": 64_001}, "**missed** (1 bytes too many)"),
        ("small", 0.94, {"macs": 4_400_001, "size_bytes": 64_000}, "**missed** (1 multiply-accumulates too many)"),
        ("document", 0.933, {}, "met"),
        ("teacher", 0.95, {"size_bytes": None, "macs": None}, "**missed** (accuracy by 1.00 points)"),
        ("fastest", 0.94, {}, "latency not measured"),
    ],
)
def test_verdict_is_read_from_the_target(name: str, accuracy: float, changes: dict[str, Any], verdict: str) -> None:
    page = best_page.page(record(**{name: [entry(name, seed, accuracy, **changes) for seed in range(3)]}))
    assert line_of(page, row(name).title).rstrip(" |").endswith(verdict)
    assert f"- {name}: {verdict}. To try: " in page


def test_one_seed_or_fewer_epochs_meet_a_target_by_a_trial() -> None:
    for entries in ([entry("tiny", 0, 0.92)], [entry("tiny", seed, 0.92, shortened=True) for seed in range(3)]):
        assert line_of(best_page.page(record(tiny=entries)), row("tiny").title).rstrip(" |").endswith("met, by a trial")


def test_row_that_is_not_recorded_says_its_command() -> None:
    page = best_page.page(record(small=[entry("small", 0, 0.94)]))
    assert '`make best BEST="--rows enhanced"`' in line_of(page, "best recipe")
    assert "not recorded yet" not in line_of(page, "small_residual")


def test_shortened_training_is_called_a_trial() -> None:
    page = best_page.page(record(tiny=[entry("tiny", 0, 0.9, epochs=3)]))
    assert "tiny (3 of 150 epochs)" in page and "a trial, not the result" in page
    assert "a trial, not the result" not in best_page.page(record(tiny=[entry("tiny", 0, 0.9)]))


def test_seeds_of_fewer_epochs_are_not_averaged_with_whole_ones() -> None:
    page = best_page.page(record(tiny=[entry("tiny", 0, 0.92), entry("tiny", 1, 0.5, epochs=1)]))
    assert "92.00 (n = 1)" in line_of(page, "separable_tiny")


def test_fastest_model_is_the_fastest_of_those_that_are_accurate_enough() -> None:
    value = record(
        small=[entry("small", 0, 0.94)],
        tiny=[entry("tiny", 0, 0.92)],
        fastest=[entry("fastest", 0, 0.931)],
    )
    ratios = {"small": 0.2, "tiny": 0.03, "fastest": 0.1}
    value["latency"] = {
        "models": {name: {"ratio": {"value": ratio}, "sha256": f"{name}0"} for name, ratio in ratios.items()}
    }
    page = best_page.page(value)
    assert (
        "The fastest model with 93.3 % or more is <= 64 KB" in page and "at 0.200 x; the row `fastest` is not" in page
    )
    assert "accuracy by 0.20 points" in line_of(page, "strided_cnn") and "0.100 x" in line_of(page, "strided_cnn")


def test_ratio_of_a_disturbed_machine_is_marked() -> None:
    value = record(fastest=[entry("fastest", 0, 0.94)])
    value["latency"] = {"models": {"fastest": {"ratio": {"value": 0.1}, "sha256": "fastest0", "disturbed": True}}}
    assert "| 0.100 x * " in line_of(best_page.page(value), "strided_cnn")


def test_latency_of_another_file_is_not_shown() -> None:
    value = record(fastest=[entry("fastest", 0, 0.94)])
    value["latency"] = {"models": {"fastest": {"ratio": {"value": 0.05}, "sha256": "of an older file"}}}
    assert "latency not measured" in line_of(best_page.page(value), "strided_cnn")


def _options(*words: str) -> best.Options:
    return best._options(words)


def test_first_seed_of_every_row_comes_before_the_second_of_any() -> None:
    planned = best.plan(_options("--seeds", "2", "--rows", "tiny,small"), {"rows": {}})
    assert [(row.name, recipe.seed) for row, recipe in planned] == [
        ("small", 0), ("tiny", 0), ("small", 1), ("tiny", 1),
    ]  # fmt: skip


def test_what_is_recorded_is_not_trained_again() -> None:
    done = record(tiny=[entry("tiny", 0, 0.92), entry("tiny", 1, 0.92, epochs=3)])
    planned = best.plan(_options("--seeds", "2", "--rows", "tiny"), done)
    assert [recipe.seed for _, recipe in planned] == [1], "the second was shortened"
    assert best.plan(_options("--seeds", "2", "--rows", "tiny", "--epochs", "2"), done) == [], "longer ones will do"
    done["rows"]["tiny"]["entries"][0]["recipe"]["params"]["learning_rate"] = 1.0
    assert len(best.plan(_options("--seeds", "1", "--rows", "tiny"), done)) == 1, "the recipe has changed"


def test_chosen_options_are_those_that_are_trained() -> None:
    value = record()
    value["rows"]["half_million"] = {"choice": {"chosen": {"order": "preactivation"}}}
    ((_, recipe),) = best.plan(_options("--seeds", "1", "--rows", "half_million"), value)
    assert recipe.model_options == {"order": "preactivation"}


def test_entry_of_the_same_seed_is_replaced() -> None:
    value = record(tiny=[entry("tiny", 1, 0.9), entry("tiny", 0, 0.8, epochs=1)])
    best_record.add(value, row("tiny"), entry("tiny", 0, 0.92))
    assert [(one["seed"], one["test"]["accuracy"]) for one in value["rows"]["tiny"]["entries"]] == [(0, 0.92), (1, 0.9)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"best_version": 2, "rows": {}}', "is a record of version 2; version 1 is read here"),
        ('{"rows": {}}', "of version None"),
        ("[]", "of version None"),
        ('{"best_version": 1, "rows": []}', "is a record of version 1"),
        ('{"best_version": 1', "is no JSON"),
    ],
)
def test_record_of_another_version_is_refused_and_left_alone(
    content: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "best.json"
    path.write_text(content)
    with pytest.raises(RunError, match=words):
        best_record.read(path)
    assert best.main(["--record", str(path), "--runs", str(tmp_path / "runs")]) == 2
    assert "Move it away" in capsys.readouterr().err and path.read_text() == content
    assert not (tmp_path / "runs").exists()


def test_unknown_row_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RecipeError, match="did you mean 'enhanced'"):
        named("enhancd")
    assert best.main(["--rows", "tiny,smal"]) == 2
    assert "did you mean 'small'" in capsys.readouterr().err


@pytest.mark.parametrize("words", [("--seeds", "0"), ("--epochs", "0"), ("--data", "few.npz")], ids=" ".join)
def test_options_that_cannot_be_are_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as caught:
        _options(*words)
    assert caught.value.code == 2


def test_training_that_was_stopped_on_other_data_is_not_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def stopped(command: list[str], *, where: str) -> None:
        commands.append(command)
        run = RunDirectory.create_at(Path(command[command.index("--run") + 1]))
        (run.begin("train", keep=True) / checkpoint.FILE_NAME).touch()

    monkeypatch.setattr(best, "output_of", stopped)
    where = ["--runs", str(tmp_path / "runs"), "--record", str(tmp_path / "best.json")]
    tiny = row("tiny")
    for data in ([], ["--data", "few.npz"], ["--data", "other/few.npz"], ["--data", "few.npz"], []):
        best._train(tiny, tiny.training(seed=0, epochs=2), _options(*where, *data))
    assert ["--resume" in command for command in commands] == [False, False, False, True, True]


def test_no_training_begins_after_the_last_minute(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record_file = tmp_path / "best.json"
    words = ["--minutes", "0", "--rows", "tiny,half_million", "--seeds", "2"]
    assert best.main([*words, "--record", str(record_file), "--runs", str(tmp_path / "runs")]) == 1
    said = capsys.readouterr().out
    assert [line.partition(": ")[2] for line in said.splitlines() if line.startswith("left out")] == [
        "half_million, which of its candidates, for want of time", "tiny, seed 0, for want of time",
        "tiny, seed 1, for want of time",
    ]  # fmt: skip
    assert "go on with the same command" in said
    assert not (tmp_path / "runs").exists() and not record_file.exists()


def test_record_is_written_with_its_machine_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "best.json"
    value = best_record.read(path)
    best_record.add(value, row("tiny"), entry("tiny", 0, 0.92))
    best_record.write(value, path)
    again = best_record.read(path)
    assert again["rows"] == json.loads(json.dumps(value["rows"])) and again["environment"]["cores"] >= 1


def test_row_without_a_record_names_the_best_recorded_model_that_keeps_its_limits() -> None:
    made = record(
        enhanced=[entry("enhanced", 0, 0.944, parameters=422_922)],
        fastest=[entry("fastest", 0, 0.95, parameters=600_000)],
        small=[entry("small", 0, 0.93)],
    )
    page = best_page.page(made)
    told = "half_million: not recorded yet; of the recorded models that keep its limits `enhanced_cnn`, best recipe is"
    assert f"{told} the best, with 94.40 %." in page and "tiny: not recorded yet; of the recorded" in page
    assert "teacher: not recorded yet. " in page  # it is measured in floating point, they are not


def test_latencies_of_files_that_rows_still_have_stay_if_the_processors_are_alike() -> None:
    def measured(name: str, ratio: float, created: str, cpu: str = "A") -> dict[str, Any]:
        one = {"ratio": {"value": ratio}, "sha256": f"{name}0", "disturbed": False}
        return {"created": created, "environment": {"cpu": cpu}, "models": {"document_float32": {}, name: one}}

    value = record(fastest=[entry("fastest", 0, 0.94)], small=[entry("small", 0, 0.93)])
    best_record.add_latency(value, measured("fastest", 0.2, "monday"))
    best_record.add_latency(value, measured("small", 0.3, "tuesday"))
    kept = value["latency"]["models"]
    assert kept["fastest"] == {"created": "monday", "ratio": {"value": 0.2}, "sha256": "fastest0", "disturbed": False}
    assert kept["small"]["ratio"] == {"value": 0.3} and value["latency"]["created"] == "tuesday"
    page = best_page.page(value)
    assert "0.200 x" in line_of(page, "strided_cnn") and "0.300 x" in line_of(page, "small_residual")

    value["rows"]["fastest"]["entries"] = [entry("fastest", 0, 0.95, sha256="of a later training")]
    best_record.add_latency(value, measured("small", 0.31, "wednesday"))
    assert "fastest" not in value["latency"]["models"]
    best_record.add_latency(value, measured("fastest", 0.4, "thursday", cpu="B"))
    assert set(value["latency"]["models"]) == {"document_float32", "fastest"}


def _of_other_recipe(seed: int, accuracy: float, **changes: Any) -> dict[str, Any]:
    one = entry("small", seed, accuracy, **changes)
    one["recipe"]["params"]["learning_rate"] = 0.5
    return one


def test_row_is_judged_by_its_recipe_and_not_by_a_longer_one_that_it_had_before() -> None:
    former = [_of_other_recipe(seed, 0.80, epochs=200) for seed in (1, 2)]
    assert "97.00 (n = 1)" in line_of(best_page.page(record(small=[entry("small", 0, 0.97), *former])), "small_resid")
    alone = line_of(best_page.page(record(small=former)), "small_residual")
    assert "80.00" in alone and "points), by an earlier recipe |" in alone


def test_whole_training_is_not_replaced_by_a_trial_of_another_recipe() -> None:
    value = record(small=[_of_other_recipe(0, 0.93)])
    best_record.add(value, row("small"), entry("small", 0, 0.5, epochs=12))
    assert [one["epochs"] for one in value["rows"]["small"]["entries"]] == [150, 12]
    best_record.add(value, row("small"), entry("small", 0, 0.94))
    assert [one["test"]["accuracy"] for one in value["rows"]["small"]["entries"]] == [0.94]


def test_all_devices_of_the_seeds_are_named() -> None:
    cores = {"name": "2 CPU cores", "backend": "tensorflow 2", "precision": "float32"}
    found = [entry("small", 0, 0.94, device=cores), entry("small", 1, 0.94), entry("small", 2, 0.94)]
    line = line_of(best_page.page(record(small=found)), "small_residual")
    assert "| 2 CPU cores, tensorflow 2, float32; a card, jax 1, mixed_bfloat16 |" in line


def test_target_that_the_mean_of_right_answers_meets_exactly_is_met() -> None:
    right = [9546, 9546, 9588]
    assert sum(right) * 1000 == 956 * 3 * 10_000  # 95.6 % of three times 10,000, in whole numbers
    found = [entry("half_million", seed, count / 10_000) for seed, count in enumerate(right)]
    assert "missed" not in line_of(best_page.page(record(half_million=found)), "resnet14")


@pytest.mark.parametrize(("ratio", "verdict"), [(0.08, "met, the moonshot too"), (0.09, "met")])
def test_moonshot_of_latency_is_credited(ratio: float, verdict: str) -> None:
    value = record(fastest=[entry("fastest", seed, 0.94) for seed in range(3)])
    value["latency"] = {"models": {"fastest": {"ratio": {"value": ratio}, "sha256": "fastest0"}}}
    assert line_of(best_page.page(value), "strided_cnn").rstrip(" |").endswith(f"| {verdict}")


def test_what_the_page_says_of_the_augmentation_is_that_of_the_recipes() -> None:
    recipes = {one.name: one.recipe for one in rows()}
    kinds = {name: (recipe.erasing, recipe.cutmix, recipe.shift_pixels) for name, recipe in recipes.items()}
    assert {name for name, kind in kinds.items() if kind == kinds["enhanced"]} == {
        "enhanced",
        "half_million",
        "teacher",
    }
    assert {name for name, recipe in recipes.items() if not recipe.cutmix} == {"document", "small", "tiny", "fastest"}
    page = best_page.page(record())
    assert "`half_million` and `teacher` have its augmentation" in page and "without cutmix" in page
    assert "but for the first and the last row" in page
