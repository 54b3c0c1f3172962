"""The record of documented systems, which rows from several machines come together in."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.recorded import result
from benchmarks.zoo import _is_of, joined, outdated
from edgefm.core.errors import RunError
from edgefm.jobs.reproduce import folder, page, page_compressed
from edgefm.jobs.reproduce.plan import PlannedTraining, planned_system, planned_trials
from edgefm.jobs.reproduce.record import judged
from edgefm.zoo.documented import documented_systems

SAMPLES = {"train": 48_000, "validation": 12_000, "test": 10_000}


def _seed(number: int, validation: float = 88.0) -> dict[str, Any]:
    accuracies = {"train": {"accuracy": 96.0}, "validation": {"accuracy": validation}}
    return {"seed": number, **accuracies, "test": {"float32": 86.0 + number, "int8_w8a8": None}}


def _training(row: PlannedTraining, seeds: list[dict[str, Any]], *limits: str) -> dict[str, Any]:
    """Return what a record has of one training."""
    recipe = json.loads(json.dumps(row.recipe.to_json()))
    return {
        "key": row.key,
        "recipe": recipe,
        "seeds": seeds,
        "diverged": {},
        "files": {},
        "left_out": {},
        "verdict": {"limits": list(limits)},
    }


def _row(name: str, seeds: int, *limits: str) -> dict[str, Any]:
    return {"id": name, **_training(planned_system(name, None), [_seed(number) for number in range(seeds)], *limits)}


def _trials(name: str, **seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what a record has of an experiment: of each trial that is named, by a word of its label, these seeds."""
    trials = [
        {"label": row.label, **_training(row, found)}
        for word, found in seeds.items()
        for row in planned_trials(name, None)
        if word in row.label
    ]
    return {"id": name, "trials": trials}


def _record(day: int, cpu: str, systems: list[dict[str, Any]], **other: Any) -> dict[str, Any]:
    models = {f"{row['id']} int8_w8a8": {"p50_ns": day, "ratio": None} for row in systems}
    return {
        "created": f"2026-11-{day}T10:00:00+00:00",
        "environment": {"cpu": cpu},
        "settings": {"epochs": None, "precision": "float32"},
        "dataset": {"sha256": "1", **SAMPLES},
        "systems": systems,
        "experiments": [],
        "data": None,
        "latency": {
            "reference": "enhanced_cnn float32",
            "created": f"2026-11-{day}T11:00:00+00:00",
            "environment": {"cpu": cpu},
            "rounds": 10,
            "disturbed": [],
            "models": models,
        },
        **other,
    }


def test_rows_of_both_with_where_the_earlier_were_recorded() -> None:
    made = joined(_record(20, "A", [_row("ann", 3), _row("lenet5", 1)]), _record(21, "B", [_row("lenet5", 1)]))
    rows = {row["id"]: row for row in made["systems"]}
    assert rows["ann"]["recorded"] == {"created": "2026-11-20T10:00:00+00:00", "cpu": "A"}
    assert "recorded" not in rows["lenet5"] and made["environment"] == {"cpu": "B"}
    again = joined(made, _record(22, "C", [_row("tiny_vgg", 1)]))
    rows = {row["id"]: row for row in again["systems"]}
    assert [rows[name].get("recorded", {}).get("cpu") for name in ("ann", "lenet5", "tiny_vgg")] == ["A", "B", None]


def test_of_a_row_in_both_the_one_of_more_seeds_stays() -> None:
    made = joined(_record(20, "A", [_row("ann", 3)]), _record(21, "B", [_row("ann", 1)]))
    assert len(made["systems"]) == 1 and len(made["systems"][0]["seeds"]) == 3


def test_a_shortened_row_stands_until_a_whole_one_is_there() -> None:
    shortened = _row("ann", 3, "shortened: 2 of 10 epochs")
    settings = {"settings": {"epochs": 2, "precision": "float32"}}
    first = joined(_record(20, "A", [_row("lenet5", 1)]), _record(21, "B", [shortened], **settings))
    assert {row["id"]: len(row["seeds"]) for row in first["systems"]} == {"ann": 3, "lenet5": 1}
    whole = joined(first, _record(22, "C", [_row("ann", 1)]))
    assert {row["id"]: len(row["seeds"]) for row in whole["systems"]} == {"ann": 1, "lenet5": 1}
    again = joined(whole, _record(23, "D", [shortened], **settings))
    assert {row["id"]: len(row["seeds"]) for row in again["systems"]} == {"ann": 1, "lenet5": 1}
    assert again["settings"]["epochs"] is None


def test_ratios_of_latency_to_the_same_reference_stay_with_their_session() -> None:
    made = joined(_record(20, "A", [_row("ann", 1)]), _record(21, "B", [_row("lenet5", 1)]))
    assert {name: figures["p50_ns"] for name, figures in made["latency"]["models"].items()} == {
        "lenet5 int8_w8a8": 21,
        "ann int8_w8a8": 20,
    }
    line = page._latency_line(made["latency"])
    assert "rounds on B." in line and "on A, 2026-11-20." in line
    other = _record(20, "A", [_row("ann", 1)])
    other["latency"]["reference"] = "ann float32"
    assert set(joined(other, _record(21, "B", [_row("lenet5", 1)]))["latency"]["models"]) == {"lenet5 int8_w8a8"}


def test_ratios_on_a_processor_of_another_kind_are_not_mixed() -> None:
    first, second = _record(20, "A", [_row("ann", 1)]), _record(21, "A", [_row("lenet5", 1)])
    first["latency"]["environment"] = {"cpu": "A", "cpu_features": ["avx2"]}
    second["latency"]["environment"] = {"cpu": "A", "cpu_features": ["avx2", "avx512_vnni"]}
    first["latency"]["models"]["ann int8_w8a8"]["ratio"] = {"value": 0.5, "low": 0.4, "high": 0.6}
    first["latency"]["disturbed"] = ["ann int8_w8a8"]
    latency = joined(first, second)["latency"]
    assert set(latency["models"]) == {"lenet5 int8_w8a8"} and set(latency["apart"]["models"]) == {"ann int8_w8a8"}
    assert page.ratio(latency, "ann int8_w8a8") == "0.50 (0.40 to 0.60) †"
    assert "†: over the same reference on another processor (A, 2026-11-20), which has no instr" in (
        line := page._latency_line(latency)
    )
    assert "**Disturbed there: ann int8_w8a8.**" in line
    assert "no instruction for products of bytes" in page._latency_line(first["latency"])
    assert "no instruction for products of bytes" not in page._latency_line(second["latency"])
    third = _record(22, "B", [_row("ann", 2), _row("tiny_vgg", 1)])
    third["latency"]["environment"] = second["latency"]["environment"]
    again = joined({**second, "latency": latency}, third)["latency"]
    assert set(again["models"]) == {"lenet5 int8_w8a8", "ann int8_w8a8", "tiny_vgg int8_w8a8"} and "apart" not in again


def test_trial_that_is_trained_as_a_system_takes_the_seeds_of_that_and_is_judged_by_its_own_claim() -> None:
    few, many = _row("pca_dnn_deep", 0), _row("pca_dnn_deep", 0)
    few["seeds"], many["seeds"] = [_seed(0, 87.65)], [_seed(0, 87.65), _seed(1, 88.1), _seed(2, 88.0)]
    trial = {**few, "label": "Adam, batch 32", "verdict": {"name": "not reproduced", "limits": []}}
    grid = {"id": "s2_grid", "trials": [trial]}
    made = joined(_record(20, "A", [few], experiments=[grid]), _record(21, "B", [many]))
    [row] = made["experiments"][0]["trials"]
    assert row["label"] == "Adam, batch 32" and [seed["seed"] for seed in row["seeds"]] == [0, 1, 2]
    assert row["measured"]["validation"]["mean"] == pytest.approx((87.65 + 88.1 + 88.0) / 3)
    assert row["measured"]["test"]["seeds"] == 3 and row["measured"]["int8"] is None
    # The document claims 88.01 to 89.58 of four such trainings; 0.3 points are the standard error of 12,000 images.
    assert row["verdict"]["name"] == "reproduced" and "3 seeds) against 88.01 to 89.58" in row["verdict"]["reason"]
    assert made["systems"][0]["seeds"] == many["seeds"] and "recorded" not in made["systems"][0]


@pytest.mark.parametrize("other", [{"settings": {"precision": "bfloat16"}}, {"dataset": {"sha256": "2"}}])
def test_records_that_cannot_be_compared_are_refused(other: dict[str, Any]) -> None:
    with pytest.raises(RunError, match=f"the earlier record has other {next(iter(other))}"):
        joined(_record(20, "A", [_row("ann", 1)]), _record(21, "B", [_row("ann", 1)], **other))


def _labels(record: dict[str, Any], name: str) -> dict[str, int]:
    (entry,) = [entry for entry in record["experiments"] if entry["id"] == name]
    return {trial["label"]: len(trial["seeds"]) for trial in entry["trials"]}


def test_trials_of_an_experiment_are_joined_one_by_one() -> None:
    first = _record(20, "A", [], experiments=[_trials("s4_loss", cross=[_seed(0), _seed(1)], negative=[_seed(0)])])
    latest = _record(21, "B", [], experiments=[_trials("s4_loss", margin=[_seed(0)])])
    made = joined(first, latest)
    assert _labels(made, "s4_loss") == {"cross-entropy": 2, "multi-margin": 1, "negative log-likelihood": 2}
    (entry,) = made["experiments"]
    assert [trial.get("recorded", {}).get("cpu") for trial in entry["trials"]] == ["A", None, "A"]


def test_rows_of_one_training_have_the_same_figures_also_where_as_many_seeds_are_recorded() -> None:
    former = _trials("s4_optimizer", SGD=[_seed(0, 80.0)])
    former["recorded"] = {"created": "2026-11-10T10:00:00+00:00", "cpu": "Z"}
    made = joined(_record(20, "A", [], experiments=[former]), _record(21, "B", [_row("tiny_vgg", 1)]))
    (trial,) = made["experiments"][0]["trials"]
    assert trial["measured"] == made["systems"][0]["measured"] and "recorded" not in trial
    alone = joined(_record(20, "A", [], experiments=[former]), _record(21, "B", []))
    assert alone["experiments"][0]["trials"][0]["recorded"]["cpu"] == "Z"  # the experiment's, not the record's
    said = page.page({**result("zoo"), **{name: alone[name] for name in ("systems", "experiments")}})
    assert "- recorded on Z, 2026-11-10: all trials" in said


def _compressed(row: dict[str, Any], int8: float, test: float) -> dict[str, Any]:
    made = {"variant": "pruned80_int8_w8a8", "seed": 0, "left_out": None, "test": test, "int8_test": int8}
    sizes = {"size_bytes": 1, "gzip_bytes": 1, "macs": None}
    row["seeds"][0]["test"]["int8_w8a8"] = int8
    return {**row, "compressed": [{**made, **sizes}]}


def test_compressed_variants_stay_and_are_held_against_their_own_training() -> None:
    first, latest = _compressed(_row("tiny_vgg", 1), 87.45, 87.5), _row("tiny_vgg", 3)
    latest["seeds"][0]["test"]["int8_w8a8"] = 87.86
    made = joined(_record(20, "A", [first]), _record(21, "B", [latest]))
    assert len(made["systems"][0]["seeds"]) == 3
    (variant,) = made["systems"][0]["compressed"]
    assert variant["recorded"]["cpu"] == "A"
    made["latency"] = None
    assert page_compressed.rows(made)[0][2:4] == ["87.50", "+0.05"]  # 87.50 - 87.45
    assert "- `tiny_vgg`, `pruned80_int8_w8a8`: recorded on A, 2026-11-20" in page_compressed.section(made)
    made["systems"][0]["recorded"] = variant["recorded"]  # of the same record as its row: said there
    assert "recorded on" not in "".join(page_compressed.section(made))


def test_variants_of_shortened_trainings_give_way_with_them() -> None:
    first = _compressed(_row("tiny_vgg", 1, "shortened: 1 of 3 epochs"), 80.0, 79.0)
    assert joined(_record(20, "A", [first]), _record(21, "B", [_row("tiny_vgg", 1)]))["systems"][0]["compressed"] == []


def test_variants_of_a_training_by_another_recipe_go_with_it() -> None:
    first = _compressed(_row("tiny_vgg", 3), 80.0, 79.0)
    first["recipe"]["params"]["learning_rate"] = 0.3
    assert joined(_record(20, "A", [first]), _record(21, "B", [_row("tiny_vgg", 1)]))["systems"][0]["compressed"] == []


def test_what_is_left_out_of_a_joined_record_is_named() -> None:
    search, system = _trials("s0_random_search", rmsprop=[_seed(0)], adamw=[_seed(0)]), _row("ann", 1)
    record = _record(20, "A", [system, _row("lenet5", 1)], experiments=[search])
    assert outdated(record) == []
    search["trials"][-1]["recipe"]["params"]["weight_decay"] = 0.0
    system["recipe"]["params"]["batch_size"] = 1
    search["trials"][0]["label"] = "9: sgd"
    assert outdated(record) == ["ann", "s0_random_search, 9: sgd", f"s0_random_search, {search['trials'][-1]['label']}"]


def test_trial_of_another_recipe_is_left_out_and_the_choice_is_of_the_others() -> None:
    search = _trials("s0_random_search", adam=[_seed(0)])
    for number, trial in enumerate(search["trials"]):
        trial["seeds"] = [_seed(0, 80.0 + number)]
        trial["seeds"][0]["test"]["float32"] = None
    stale = search["trials"][-1]  # 8: adamw
    stale["recipe"]["params"]["weight_decay"] = 0.0
    stale["seeds"][0]["test"]["float32"] = 90.0
    made = joined(_record(20, "A", [], experiments=[search]), _record(21, "B", []))
    (entry,) = made["experiments"]
    assert stale["label"] not in _labels(made, "s0_random_search")
    assert entry["chosen"] == search["trials"][-2]["label"]
    said = page.page({**result("zoo"), "systems": [], "experiments": [entry]})
    assert f"Chosen by the validation images, of the trials that are recorded: {entry['chosen']}." in said


def test_every_recorded_row_is_of_the_recipe_that_it_has_today() -> None:
    record = result("zoo")
    for entry in record["experiments"]:
        planned = {row.label: row for row in planned_trials(entry["id"], None)}
        for trial in entry["trials"]:
            row = planned[trial["label"]]
            assert trial["key"] == row.key and _is_of(trial["recipe"], row), f"{entry['id']}, {row.label}"
    figures: dict[str, Any] = {}
    trials = [trial for entry in record["experiments"] for trial in entry["trials"]]
    for row in [*record["systems"], *trials]:
        assert figures.setdefault(row["key"], row["measured"]) == row["measured"], row["key"]


def test_claim_that_nobody_believes_is_not_credible_where_all_seeds_diverge() -> None:
    (row,) = [row for row in planned_trials("s4_loss", None) if row.label == "multi-margin"]
    verdict = judged(row, [], ["the loss became infinite"], samples=SAMPLES, limits=[])["verdict"]
    assert verdict["name"] == "not credible" and verdict["reason"].endswith("is above 96.4 %")
    plain = judged(dataclasses.replace(row, doubt=""), [], ["the loss became infinite"], samples=SAMPLES, limits=[])
    assert plain["verdict"]["name"] == "not reproduced"


def test_page_marks_what_a_document_does_not_state_of_a_training() -> None:
    said = page.page(None)
    assert (
        "- trained: Adam (assumed) at 0.001 (assumed), batch 128 (assumed), 20 epochs (assumed); model `lenet5`" in said
    )
    assert "- trained: Adam at 0.001 (assumed), batch 128, 50 epochs; model `kadam_arch3`" in said
    assert "- trained: Adam at 0.005, batch 512, 20 epochs; model `vijayaraj_cnn`" in said
    # Wherever a field is marked, and nowhere else, a sentence names the optimiser, the rate or the training.
    for system in documented_systems():
        sentences = " ".join(system.assumed).lower()
        named = any(word in sentences for word in ("optimiser", "rate is not", "training", "ray tune"))
        split = system.id in (
            "pca_dnn",
            "pca_dnn_deep",
            "tiny_vgg",
        )  # these say something of the split, not of the rate
        assert bool(system.assumed_training) == (named and not split), system.id


def test_training_that_diverged_by_another_recipe_is_tried_again(tmp_path: Path) -> None:
    row, other = planned_trials("s4_learning_rate", None)[:2]
    folder.write_diverged(tmp_path, {row.key: {1: "infinite"}, other.key: {0: "NaN"}}, [row, other])
    assert folder.diverged(tmp_path, [row, other]) == {row.key: {1: "infinite"}, other.key: {0: "NaN"}}
    corrected = dataclasses.replace(row, recipe=dataclasses.replace(row.recipe, learning_rate=0.002))
    assert folder.diverged(tmp_path, [corrected, other]) == {other.key: {0: "NaN"}}
    (tmp_path / "diverged.json").write_text('{"ann": {"0": "of before recipes were in it"}}')
    assert folder.diverged(tmp_path, [planned_system("ann", None)]) == {}
    (tmp_path / "diverged.json").write_text('["ann"]')
    with pytest.raises(RunError, match="is damaged"):
        folder.diverged(tmp_path, [row])


def test_page_says_that_one_seed_is_no_finding_within_a_point() -> None:
    assert "by about a point or less is no finding" in page.page(result("zoo"))
