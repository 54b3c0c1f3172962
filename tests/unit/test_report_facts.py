"""Numbers and sentences of a report, against independent oracles."""

from __future__ import annotations

import doctest
import importlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgefm.benchmarking import record_versions
from edgefm.comparison.shipping.of_record import verdict_of
from edgefm.core.runs import Step
from edgefm.data.source import DataSource
from edgefm.recipes import PRESETS, BenchmarkProtocol, PostTraining, Quantization, Variant
from edgefm.recipes.files import load
from edgefm.report.content import measure, pareto, weights, wording
from edgefm.report.content.facts import Facts, Model, confusions
from edgefm.report.content.record_facts import facts as facts_of
from edgefm.report.content.wording import Interval, number, percent, signed, time_unit, times
from edgefm.report.drawing.labels import Box, Mark, place
from edgefm.report.pages import tables
from edgefm.report.text import details, findings, reproduce
from tests.fixtures import sample_run


def facts(record: dict[str, Any]) -> Facts:
    return facts_of(record, verdict_of(record))


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    return record_versions.upgraded(sample_run.record(images=2000, rounds=4))


@pytest.fixture(scope="module")
def known(record: dict[str, Any]) -> Facts:
    return facts(record)


def _model(known: Facts, name: str) -> Model:
    model = known.model(name)
    assert model is not None
    return model


def _with_difference(model: Model, value: float, p: float) -> Model:
    assert model.comparison is not None
    lost, won = (9, 1) if value < 0 else (1, 9)
    difference = Interval(value=value, low=value - 0.001, high=value + 0.001)
    comparison = replace(model.comparison, difference=difference, p=p, only_reference_right=lost, only_this_right=won)
    return replace(model, comparison=comparison)


@pytest.mark.parametrize("seed", range(20))
def test_pareto_front_equals_brute_force(seed: int) -> None:
    # Small integers, so that equal coordinates and equal points occur.
    points = np.random.default_rng(seed).integers(0, 5, size=(30, 2 + seed % 2))
    expected = []
    for point in points:
        worse = (points <= point).all(axis=1) & (points < point).any(axis=1)
        expected.append(not worse.any())
    assert pareto.front(points.tolist()) == expected
    assert any(expected)


def test_front_of_a_record_holds_the_fastest_and_the_most_accurate(known: Facts) -> None:
    timed = [(m.p50.value, m) for m in known.models if m.p50]
    scored = [(m.accuracy.value, -m.p50.value, m) for m in known.models if m.accuracy and m.p50]
    assert min(timed, key=lambda pair: pair[0])[1].on_front
    assert max(scored, key=lambda triple: triple[:2])[2].on_front
    assert all(model.to_ship for model in known.models if model.on_front)


def test_samples_of_all_rounds_are_kept(record: dict[str, Any], known: Facts) -> None:
    for value, model in zip(record["models"], known.models, strict=True):
        samples = [ns for turn in value["rounds"] for ns in turn["invoke_ns"]]
        assert model.invoke_ns.tolist() == samples
        assert len(model.round_medians_ns) == len(value["rounds"]) == known.rounds


def test_most_frequent_confusions_are_counted(known: Facts) -> None:
    model = _model(known, "float32")
    found = confusions(model, known.labels, most=3)
    wrong = [
        (int(model.confusion[t, p]), known.labels[t], known.labels[p]) for t in range(10) for p in range(10) if t != p
    ]
    assert [count for _, _, count, _ in found] == sorted((count for count, *_ in wrong), reverse=True)[:3]
    for true, guess, count, total in found:
        assert (count, true, guess) in wrong
        assert total == model.confusion[known.labels.index(true)].sum()


def test_chosen_is_what_the_verdict_recommends(known: Facts) -> None:
    assert known.chosen is not None and known.chosen.name == known.verdict.file
    assert findings.headline(known) == known.verdict.headline
    assert [item.model for item in findings.advice(known)] == [
        choice.file or "none" for choice in known.verdict.choices
    ]


def test_chosen_leaves_out_a_model_that_is_worse(record: dict[str, Any]) -> None:
    models = [dict(model) for model in record["models"]]
    models[-1]["against_reference"] = {
        **models[-1]["against_reference"], "only_reference_right": 90, "only_this_right": 10,
    }  # fmt: skip
    found = facts({**record, "models": models})
    assert found.chosen is not None
    assert found.chosen.name != models[-1]["name"]
    assert all(one.model != models[-1]["name"] for one in findings.advice(found))
    assert models[-1]["name"] in dict(findings.unfit(found))


def test_comparison_states_size_speed_and_accuracy_with_intervals(known: Facts) -> None:
    model = _with_difference(_model(known, "int8_w8a8"), -0.0005, 0.6)
    assert model.comparison is not None
    comparison = replace(model.comparison, ratio=Interval(value=0.25, low=0.2, high=0.4))
    text = findings.comparison(replace(known, chosen=replace(model, comparison=comparison, size_bytes=423_628)))
    minus = wording.MINUS
    assert text == (
        "int8_w8a8 is 4.0× smaller and 4.0× faster (95 % interval 2.50 to 5.00) than float32 on this machine; its "
        f"accuracy is 0.05 points lower (95 % interval {minus}0.15 to +0.05; McNemar p = 0.60: no difference shown)."
    )


@pytest.mark.parametrize(
    ("value", "p", "says"),
    [
        pytest.param(-0.02, 0.001, "2.00 points lower", id="loss"),
        pytest.param(0.02, 0.001, "2.00 points higher", id="gain"),
        pytest.param(0.0, 1.0, "the same", id="equal"),
    ],
)
def test_comparison_words_follow_the_difference(known: Facts, value: float, p: float, says: str) -> None:
    model = _with_difference(_model(known, "int8_w8a8"), value, p)
    text = findings.comparison(replace(known, chosen=model))
    assert says in text
    shown = "no difference shown" if p >= 0.05 else "a loss is shown" if value < 0 else "a gain is shown"
    assert shown in text


@pytest.mark.parametrize(
    ("ratio", "says"),
    [
        pytest.param((1.5, 1.4, 1.6), "1.5× slower (95 % interval 1.40 to 1.60) than", id="slower"),
        pytest.param((0.98, 0.95, 1.03), "no difference shown) than", id="alike"),
        pytest.param((1.005, 1.002, 1.008), "as fast (within 1 %) as float32", id="equal-in-practice"),
        pytest.param(None, "of unknown speed", id="unknown"),
    ],
)
def test_comparison_words_follow_the_ratio(known: Facts, ratio: tuple[float, ...] | None, says: str) -> None:
    model = _model(known, "int8_w8a8")
    assert model.comparison is not None
    interval = Interval(value=ratio[0], low=ratio[1], high=ratio[2]) if ratio else None
    text = findings.comparison(
        replace(known, chosen=replace(model, comparison=replace(model.comparison, ratio=interval)))
    )
    assert says in text


def test_comparison_without_a_reference_speaks_of_one_model(record: dict[str, Any]) -> None:
    alone = {**record["models"][3], "against_reference": None}
    found = facts({**record, "models": [alone]})
    assert found.reference is None
    assert findings.comparison(found).startswith("int8_w8a8 takes 441 KB, runs in ")
    assert "a single model was measured" in findings.headline(found)


def test_headline_when_every_model_failed(record: dict[str, Any]) -> None:
    found = facts({**record, "models": [sample_run.failed("one", "it hung")]})
    assert findings.headline(found) == "No file is recommended: the file could not be measured."
    assert found.failures[0].reason == "it hung"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param({"mode": "simulated"}, "simulated, not measured", id="simulated"),
        pytest.param({"dataset": None}, "no labelled data", id="no-data"),
    ],
)
def test_warnings_name_what_weakens_the_figures(record: dict[str, Any], change: dict[str, Any], says: str) -> None:
    assert not findings.warnings(facts(record))
    assert any(says in warning for warning in findings.warnings(facts({**record, **change})))


def test_warning_on_a_busy_machine(record: dict[str, Any]) -> None:
    busy = {**record["environment"], "load_average": [7.5, 3.0, 1.0]}
    notes = {**record["session"], "disturbed": ["int8: 9 of 15 rounds stayed disturbed"]}
    assert "9 of 15 rounds" in " ".join(findings.warnings(facts({**record, "session": notes})))
    assert "load average 7.5" in " ".join(findings.warnings(facts({**record, "environment": busy})))


def test_table_has_a_cell_for_every_heading_and_marks_the_best(known: Facts) -> None:
    width = len(tables.headers(known))
    rows = [tables.row(known, model) for model in known.models]
    assert {len(row) for row in rows} == {width}
    sizes = [cell.value for row in rows for head, cell in zip(tables.headers(known), row, strict=True)
             if head.value == "Size" and cell.best]  # fmt: skip
    assert sizes == [number(min(model.size_bytes for model in known.models) / 1000, 1)]


def test_numbers_are_written_alike() -> None:
    assert (number(-0.001, 2), signed(0.5, 1), percent(0.92154)) == ("0.00", "+0.5", "92.15")
    assert (times(3.44), times(12.6)) == ("3.4×", "13×")
    assert time_unit([5e6]).text(5e6) == "5,000.0"
    assert time_unit([2300, 1272]).text(1272) == "1.27"
    assert time_unit([5e6, 2e7]).text(1.5e7) == "15.00"


def test_inverse_interval_swaps_its_ends() -> None:
    assert Interval(value=0.5, low=0.4, high=0.8).inverse() == Interval(value=2.0, low=1.25, high=2.5)


@pytest.mark.parametrize("seed", range(10))
def test_labels_do_not_cover_one_another_or_a_mark(seed: int) -> None:
    generator = np.random.default_rng(seed)
    # Two tight groups, as float32 beside float16 and the int8 files beside one another.
    centres = [(120, 200), (420, 210)]
    marks = [
        Mark(x + float(dx), y + float(dy), float(generator.uniform(4, 16)), 90.0, 28.0)
        for x, y in centres
        for dx, dy in generator.uniform(-12, 12, size=(3, 2))
    ]
    bounds = Box(0, 0, 560, 400)
    boxes = place(marks, bounds=bounds)
    assert all(box.outside(bounds) == 0 for box in boxes)
    assert all(a.overlap(b) == 0 for i, a in enumerate(boxes) for b in boxes[i + 1 :])
    assert all(box.overlap(mark.box) == 0 for box in boxes for mark in marks)


def test_details_name_every_leaf_and_cut_long_lists() -> None:
    rows = details.rows({"a": {"b": [1, 2]}, "c": [{"name": "x", "d": None}], "e": {"value": None, "reason": "why"}})
    assert rows == [("a / b", "1, 2"), ("c / x / name", "x"), ("c / x / d", "none"), ("e", "not known: why")]
    rest, found = details.grids({"a": {"x": 1, "list": [{"layer": "bn1", "sha256": "f" * 64}]}, "plain": [1]})
    assert rest == {"a": {"x": 1}, "plain": [1]}
    assert (found[0].title, found[0].columns) == ("a / list", ("layer", "sha256"))
    assert found[0].rows == (("bn1", "f" * 12 + "…"),)
    many = details.rows({str(place): place for place in range(200)})
    assert len(many) == 81
    assert many[-1] == ("…", "120 more in the step's JSON file")


def test_commands_name_only_what_differs_from_the_defaults() -> None:
    recipes = (
        replace(PRESETS["quick"], seed=4),
        Quantization(variants=("float32", "int8_w8a8")),
        BenchmarkProtocol(threads=2),
    )
    steps = [
        Step(name=f"{at:02d}-{one.kind}", kind=one.kind, key="", created="", seconds=1, recipe=one.to_json(), inputs={})
        for at, one in enumerate(recipes)
    ]
    assert reproduce.commands(steps) == [
        "edgefm train --preset quick --seed 4 --run runs/again",
        "edgefm quantize runs/again --variant float32 --variant int8_w8a8",
        "edgefm benchmark runs/again --threads 2",
    ]


def _step(kind: str, recipe: dict[str, Any]) -> Step:
    return Step(name=f"00-{kind}", kind=kind, key="", created="", seconds=1, recipe=recipe, inputs={})


@pytest.mark.parametrize(
    ("recipe", "options"),
    [
        pytest.param(load("default"), "", id="default"),
        pytest.param(load("quick"), " --quick", id="quick"),
        pytest.param(replace(load("quick"), description="mine", seed=3), " --quick --seed 3", id="quick-with-a-seed"),
        pytest.param(load("smallest"), " --recipe smallest", id="shipped"),
        pytest.param(Quantization(variants=("qat_int8",), fold_batch_norm=False), " --variant qat_int8 --no-fold",
                     id="names"),
        pytest.param(
            Quantization(variants=(Variant(name="mine", quantization=PostTraining(equalize=True)),), seed=4),
            " --recipe recipe.json", id="file",
        ),
    ],
)  # fmt: skip
def test_quantize_command_makes_the_same_recipe(recipe: Quantization, options: str, tmp_path: Path) -> None:
    step = _step("quantize", recipe.to_json())
    assert reproduce.commands([step]) == [f"edgefm quantize runs/again{options}"]
    written = reproduce.recipe_file([step])
    assert (written is not None) == ("recipe.json" in options)
    if written is not None:
        path = tmp_path / "recipe.json"
        path.write_text(json.dumps(written))
        assert load(str(path)) == recipe


def test_command_of_a_brought_model_brings_it_again_and_names_no_folder() -> None:
    data = DataSource(where="/home/me/cats.npz", task="classification", quality="top5", labels=("a", "b")).to_json()
    about = {
        "model": "mine.keras", "sha256": "0", "data": data, "labels": None, "value_range": [0, 1],
        "calibration_data": None, "trust": True,
    }  # fmt: skip
    steps = [_step("import", {"kind": "import", "params": about}), _step("quantize", load("quick").to_json())]
    assert reproduce.commands(steps) == [
        "edgefm quantize mine.keras --data cats.npz --task classification --quality top5 --labels labels.txt "
        "--value-range 0,1 --trust --quick --run runs/again  # labels.txt holds the 2 class names, one a line"
    ]
    bare = {**about, "data": None, "value_range": None, "trust": False, "calibration_data": "1" * 64}
    (command,) = reproduce.commands([_step("import", {"kind": "import", "params": bare})])
    assert command.startswith("edgefm quantize mine.keras --calibration-data calibration.npz --run runs/again")


@pytest.mark.parametrize("module", [wording, pareto, details, measure, weights], ids=lambda module: module.__name__)
def test_examples_in_docstrings_hold(module: Any) -> None:
    outcome = doctest.testmod(importlib.import_module(module.__name__))
    assert outcome.attempted > 0
    assert outcome.failed == 0


def test_every_option_of_a_training_is_in_its_command() -> None:
    from click.testing import CliRunner

    from edgefm.cli.train import command as train
    from edgefm.recipes import Distillation, Training

    recipe = Training(
        optimizer="sgd", momentum=0.9, schedule="constant", shift_pixels=2, rotation_degrees=5.0, zoom=0.1, erasing=0.2,
        mixup=0.1, cutmix=0.5, loss="multi_margin", label_smoothing=0.05, class_weights="balanced", patience=4,
        flip=False, weight_decay=0.001, distillation=Distillation(teachers=("/some/folder/teacher",), weight=0.5),
    )  # fmt: skip
    (line,) = reproduce.commands([_step("train", recipe.to_json())])
    assert "no option" not in line and "--no-flip" in line and "--teacher teacher" in line
    known = {name for option in train.params for name in (*option.opts, *option.secondary_opts)}
    said = [part for part in line.split() if part.startswith("--")]
    assert set(said) <= known and len(said) > 18
    assert CliRunner().invoke(train, [*line.split()[2:], "--help"]).exit_code == 0
