"""What a forecast makes of the facts that were measured on untrained files; nothing is converted."""

from __future__ import annotations

import copy
import importlib.metadata
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from edgefm.core.environment import environment
from edgefm.jobs.forecast import make
from edgefm.jobs.forecast.reasons import notes
from edgefm.jobs.forecast.result import ForecastResult, Interval, VariantForecast, cells, remarks
from edgefm.recipes import FineTuning, FromScratch, PostTraining, Variant, variant_named
from tests.fixtures.forecasts import FORECAST, small_cost_model

VALIDATION: dict[str, Any] = {"quality": "accuracy", "unit": "%", "samples": 1000, "given": 0.9, "loss": 0.4}
ENTRY: dict[str, Any] = {"gzip_bytes": 2000, "same_top1": 1.0, "same_labels": None, "validation": VALIDATION}


def _loss(variant: str, entry: dict[str, Any], *, useless: bool = False) -> tuple[Any, str | None]:
    untrained = make._untrained(entry, compared=200, training_samples=5000)
    return make._loss(variant_named(variant), untrained, entry["validation"], useless=useless)


def test_answers_that_did_not_change_on_few_samples_may_change_on_others() -> None:
    told, _ = _loss("int8_w8a8", {**ENTRY, "validation": {**VALIDATION, "loss": 0.0}})
    # None of 200 changed: no more is known than that one in 200 does.
    assert told.high == pytest.approx(164.5 * (1 / 200 / 1000) ** 0.5) and told.low == -told.high


def test_few_samples_count_by_what_the_model_answers_wrongly() -> None:
    """Also where nothing tells whether answers are the same; a tenth of the answers is wrong."""
    validation = {**VALIDATION, "samples": 50, "loss": 0.0}
    unnamed = {**ENTRY, "same_top1": None, "validation": validation}
    told, _ = _loss("qat_int8", unnamed)
    many, _ = _loss("qat_int8", {**unnamed, "validation": {**validation, "samples": 4000}})
    assert told.high - many.high == pytest.approx(164.5 * (0.1 * (1 / 50 - 1 / 4000)) ** 0.5)


@pytest.mark.parametrize("quality", ["auc", "top5", "map", "miou", "mine:cross_entropy"])
def test_measures_that_are_no_share_of_right_answers_have_no_interval(quality: str) -> None:
    entry = {**ENTRY, "validation": {**VALIDATION, "quality": quality}}
    told, _ = _loss("int8_w8a8", entry)
    assert (told.low, told.value, told.high) == (0.4, 0.4, 0.4)
    assert _loss("qat_int8", entry) == (None, f"recorded runs tell of accuracy, not of {quality}")


def test_loss_of_a_model_at_chance_is_known_only_where_nothing_is_trained() -> None:
    assert _loss("int8_w8a8", ENTRY, useless=True)[0] is not None
    told, reason = _loss("qat_int8", ENTRY, useless=True)
    assert told is None and "not better than chance" in str(reason)
    assert _loss("qat_int8", ENTRY)[0] is not None


class _Weight:
    def __init__(self, path: str, values: list[float]) -> None:
        self.path, self.values = path, np.array(values, np.float32)

    def __array__(self, *_: Any, **__: Any) -> Any:
        return self.values


@pytest.mark.parametrize(
    ("weights", "named"),
    [
        ({"conv/kernel": [0.0], "conv/bias": [0.0, 0.0]}, "conv"),
        ({"conv/bias": [0.0, 0.1]}, ""),
        ({"bn/gamma": [1.0], "bn/beta": [0.0], "bn/moving_mean": [0.0], "bn/moving_variance": [1.0]}, "bn"),
        ({"bn/beta": [0.0], "bn/moving_mean": [0.2]}, ""),
        ({"bn/moving_mean": [0.0]}, "bn"),
        ({"block/norm/gamma": [1.0], "block/norm/beta": [0.0]}, "norm"),
        ({"attention/query/kernel": [0.0]}, ""),
    ],
)
def test_biases_that_no_training_has_moved_yet_are_named(weights: dict[str, list[float]], named: str) -> None:
    class Model:
        weights: Any = ()

    Model.weights = [_Weight(path, values) for path, values in weights.items()]
    found = make._zero_biases(Model)
    assert [f"the biases of {named} are all zero" in note for note in found] == ([True] if named else [])


def test_times_of_another_version_of_the_runtime_are_said_to_be_so() -> None:
    installed = importlib.metadata.version("ai-edge-litert")
    assert make._notes(small_cost_model(version=installed)) == []
    (note,) = make._notes(small_cost_model(version="1.0.1"))
    assert note == f"times are those of litert 1.0.1; {installed} is installed here: build it again"


def test_fewer_usable_cores_are_no_other_machine() -> None:
    here = environment()
    assert make._notes(small_cost_model(environment={**here, "cores": here["cores"] + 2})) == []
    (note,) = make._notes(small_cost_model(environment={**here, "cpu_features": ["sve"]}))
    assert "not of this one" in note


def test_slimming_that_removes_hardly_anything_is_said() -> None:
    facts = {"size_bytes": 900, "p50_ns": 990.0, "float32": {"size_bytes": 1000, "p50_ns": 1000.0}}
    slim = replace(variant_named("slim50_int8_w8a8"), name="slim")
    told = notes(slim, macs=995, given_macs=1000, environment={}, **facts)  # type: ignore[arg-type]  # mixed values
    assert any("removing channels saves hardly any multiply-accumulates" in note for note in told)
    fewer = notes(slim, macs=500, given_macs=1000, environment={}, **facts)  # type: ignore[arg-type]  # mixed values
    assert not any("removing" in note for note in fewer)


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (Interval(value=-0.00076, low=-0.00076, high=-0.00076, why=""), "-0.00076"),
        (Interval(value=0.3, low=0.3, high=0.3, why="", bounded=False), "+0.30 (interval not known)"),
        (Interval(value=0.4, low=0.04, high=0.76, why=""), "+0.40 (+0.04 to +0.76)"),
        (None, "not known"),
    ],
)
def test_small_losses_of_an_error_are_not_rounded_away(loss: Interval | None, words: str) -> None:
    row = {**FORECAST["variants"][0], "loss": None if loss is None else asdict(loss)}
    assert cells(VariantForecast.from_json(row))[6] == words


def _told(created: str, *names: str, **changes: Any) -> ForecastResult:
    rows = [{**FORECAST["variants"][0], "variant": name, "created": created} for name in names]
    return ForecastResult.from_json({**copy.deepcopy(FORECAST), "created": created, "variants": rows, **changes})


def test_forecast_of_one_variant_keeps_what_was_told_of_the_others() -> None:
    first = _told("2026-11-30T10:00:00+00:00", "float16", "int8_w8a8", "qat_int8", skipped=[])
    again = _told("2026-11-30T11:00:00+00:00", "int8_w8a8", "int16x8")
    slower = replace(again["int8_w8a8"], of_float32=0.9)
    lost = {"qat_int8": "it trains, and no data were given"}
    both = replace(again, variants=(slower, again["int16x8"]), skipped=lost).with_earlier(first)
    assert both.variants == (first["float16"], slower, again["int16x8"]) and both.skipped == lost
    # What is told again as it was had been told before.
    assert again.with_earlier(first)["int8_w8a8"].created == first.created


@pytest.mark.parametrize(
    "changes",
    [
        {"model": {**FORECAST["model"], "sha256": "1" * 64}},
        {"quality": {**FORECAST["quality"], "samples": 50}},
        {"cost_model": {**FORECAST["cost_model"], "version": "2.4.0"}},
        {"cost_model": {**FORECAST["cost_model"], "cpu_features": ["avx2"]}},
    ],
)
def test_forecast_of_another_model_data_or_machine_replaces_the_earlier_one(changes: dict[str, Any]) -> None:
    other = _told("2026-11-30T11:00:00+00:00", "float16", **changes)
    assert other.with_earlier(_told("2026-11-30T10:00:00+00:00", "int8_w8a8")) == other


def test_forecast_of_an_older_edgefm_is_read() -> None:
    older = copy.deepcopy(FORECAST)
    del older["variants"][0]["created"]
    assert ForecastResult.from_json(older)["int8_w8a8"].created == FORECAST["created"]


def test_why_a_loss_is_so_uncertain_stands_below_the_table() -> None:
    told = _told("2026-11-30T10:00:00+00:00", "int8_w8a8", "float16")
    few = "300 training samples are few: they may bring nothing back"
    rows = tuple(replace(row, loss=Interval(value=1, low=0, high=9, why=few)) for row in told.variants)
    result = replace(told, variants=rows, notes=("the data are few",))
    assert remarks(result) == [
        "int8_w8a8, float16: int8 is not faster",
        f"int8_w8a8, float16: loss: {few}",
        "int8_w8a8, float16: no arena: tflite-micro is not installed",
        "left out: qat_int8: it trains, and no data were given",
        "note: the data are few",
    ]
    assert all(f"<p>{remark}</p>" in result._repr_html_() for remark in remarks(result))


@pytest.mark.parametrize(("epochs", "larger"), [(1, True), (0, False)])
def test_network_from_scratch_has_biases_of_zero_until_it_is_trained(epochs: int, larger: bool) -> None:
    """Of the zoo's strided_cnn in int8 the file has 76,114 bytes before a training, 77,026 after it."""
    passes = (FromScratch(model="strided_cnn", fine_tuning=FineTuning(epochs=epochs)),)
    variant = Variant(name="other", passes=passes, quantization=PostTraining(scheme="int8_w8a8"))
    facts = {"size_bytes": 900, "p50_ns": 900.0, "float32": {"size_bytes": 1000, "p50_ns": 1000.0}}
    told = notes(variant, macs=900, given_macs=1000, environment={}, **facts)  # type: ignore[arg-type]  # mixed values
    assert any("biases" in note and "larger" in note for note in told) is larger
