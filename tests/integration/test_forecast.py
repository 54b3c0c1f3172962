"""Forecasts against what came of them: exact sizes, rows with reasons, bad input, the command and its file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgefm
from edgefm.cli.main import cli
from edgefm.cli.main import run as run_cli
from edgefm.core.errors import DataError, RecipeError
from edgefm.jobs.forecast import expected
from edgefm.jobs.forecast.expected import Untrained
from edgefm.jobs.forecast.reasons import notes
from edgefm.jobs.forecast.recorded import Outcome
from edgefm.profiling.cost_model import kept
from edgefm.profiling.cost_model.model import CostModelError
from edgefm.recipes import PostTraining, Slim, Variant, variant_named
from tests.fixtures.forecasts import small_cost_model
from tests.fixtures.small_data import small_fashion_mnist

BOARD = "ssh://pi@board"
ONE_EPOCH = edgefm.FineTuning(epochs=1)
SLIM = Variant(
    name="slim50_int8_w8a8",
    passes=(Slim(keep=0.5, round_to=4, fine_tuning=ONE_EPOCH),),
    quantization=PostTraining(scheme="int8_w8a8"),
)
QAT = replace(variant_named("qat_int8"), passes=(edgefm.Qat(fine_tuning=ONE_EPOCH),))


def _network() -> Any:
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    image = keras.Input((28, 28, 1), name="image")
    value = layers.Conv2D(8, 3, strides=4, activation="relu", name="conv")(image)
    value = layers.Conv2D(16, 3, strides=2, activation="relu", name="conv2")(value)
    answer = layers.Dense(10, activation="softmax", name="answer")(layers.Flatten()(value))
    model = keras.Model(image, answer, name="tiny")
    for layer in model.layers:
        if layer.weights:  # as a training leaves them: biases of zero are left out of a file
            layer.bias.assign(np.linspace(-0.1, 0.1, layer.bias.shape[0]))
    return model


@pytest.fixture(scope="module")
def both() -> tuple[edgefm.ForecastResult, edgefm.QuantizationResult]:
    given = {"data": small_fashion_mnist(train=256, validation=128, test=10), "value_range": (0, 1)}
    variants: list[str | Variant] = ["int8_w8a8", SLIM, QAT]
    model = _network()
    before = edgefm.forecast(model, variants, cost_model=small_cost_model(), progress=False, **given)  # type: ignore[arg-type]  # mixed values
    return before, edgefm.quantize(model, variants, progress=False, **given)  # type: ignore[arg-type]  # mixed values


def test_sizes_and_macs_are_those_of_the_trained_files(
    both: tuple[edgefm.ForecastResult, edgefm.QuantizationResult],
) -> None:
    before, after = both
    assert {row.variant: row.size_bytes for row in before.variants} == {
        file.name: file.size_bytes for file in after.files
    }
    assert {row.variant: row.macs for row in before.variants} == {
        file.name: file.report["macs"] for file in after.files
    }


def test_size_that_training_may_change_since_branches_share_a_scale_is_no_longer_called_exact() -> None:
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    image = keras.Input((28, 28, 1), name="image")
    left = layers.Conv2D(8, 3, strides=4, activation="relu", name="left")(image)
    right = layers.Conv2D(8, 3, strides=4, activation="relu", name="right")(image)
    value = layers.Conv2D(16, 3, strides=2, activation="relu")(layers.Concatenate(name="joined")([left, right]))
    model = keras.Model(image, layers.Dense(10, activation="softmax")(layers.Flatten()(value)), name="branches")
    for layer in model.layers:
        if layer.weights:
            layer.bias.assign(np.linspace(-0.1, 0.1, layer.bias.shape[0]) / (100 if layer.name == "right" else 1))
    small = model.get_layer("right")
    small.kernel.assign(small.kernel / 100)  # in the range of the other branch two or three levels of int8
    learn = edgefm.FineTuning(epochs=4, learning_rate=0.02)
    tuned = replace(SLIM, name="tuned_int8_w8a8", passes=(edgefm.Prune(sparsity=0.1, fine_tuning=learn),))
    given: dict[str, Any] = {"data": small_fashion_mnist(train=256, validation=128, test=10), "value_range": (0, 1)}
    before = edgefm.forecast(model, [tuned, "int8_w8a8"], cost_model=small_cost_model(), progress=False, **given)
    after = edgefm.quantize(model, [tuned, "int8_w8a8"], progress=False, **given)
    assert before["int8_w8a8"].size_bytes == after["int8_w8a8"].size_bytes
    assert before[tuned.name].size_bytes > after[tuned.name].size_bytes  # the branch has grown by its training
    words = "branches share one scale (CONCATENATION)"
    assert [any(words in note for note in before[name].notes) for name in (tuned.name, "int8_w8a8")] == [True, False]


def test_what_trains_nothing_is_forecast_exactly(
    both: tuple[edgefm.ForecastResult, edgefm.QuantizationResult],
) -> None:
    before, after = both
    told, file = before["int8_w8a8"], after["int8_w8a8"]
    assert told.download_bytes.exact and told.download_bytes.value == file.report["gzip_bytes"]
    assert told.loss is not None and told.loss.value == pytest.approx(file.report["validation"]["loss"])
    assert told.loss.low < told.loss.value < told.loss.high


def test_what_trains_has_intervals_and_is_read_back(
    both: tuple[edgefm.ForecastResult, edgefm.QuantizationResult],
) -> None:
    before, _ = both
    slim = before[SLIM.name]
    assert not slim.download_bytes.exact and "it may be more accurate" in " ".join(before["qat_int8"].notes)
    assert slim.latency.p50_ns < before["int8_w8a8"].latency.p50_ns and slim.macs < before["int8_w8a8"].macs
    assert edgefm.ForecastResult.from_json(json.loads(json.dumps(before.to_json()))) == before


def test_without_data_no_loss_is_known_and_what_needs_data_is_left_out() -> None:
    model = _network()
    model.get_layer("conv2").bias.assign(np.zeros(16))
    told = edgefm.forecast(model, ["float16", "qat_int8"], cost_model=small_cost_model(), progress=False)
    assert any(note.startswith("the biases of conv2 are all zero") for note in told.notes)
    (row,) = told.variants
    assert row.variant == "float16" and row.loss is None and "no data were given" in str(row.loss_reason)
    assert row.size_bytes < 2 * row.download_bytes.value
    assert any("it computes in float32 here" in note for note in row.notes)
    assert "no data were given" in told.skipped["qat_int8"]


def test_what_cannot_be_made_alone_is_an_error_before_anything_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[str] = []
    monkeypatch.setattr(kept, "of_this_machine", lambda runtime, progress: measured.append(runtime))
    with pytest.raises(DataError, match="'qat_int8' trains, and no data were given"):
        edgefm.forecast(_network(), "qat_int8", progress=False)
    assert not measured


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"target": "mars"}, RecipeError, "mars"),
        (
            {"target": "qemu-aarch64"},
            RecipeError,
            "cannot be timed on the target 'qemu-aarch64': it does not measure",
        ),
        ({"target": BOARD}, RecipeError, f"'{BOARD}' are not known here: its operators were not measured"),
        (
            {"target": BOARD, "cost_model": small_cost_model()},
            CostModelError,
            f"target 'host'; '{BOARD}' was asked",
        ),
        ({"cost_model": small_cost_model(target=BOARD)}, CostModelError, f"of the target '{BOARD}'; 'host' was asked"),
        ({"runtime": "litrt"}, RecipeError, "unknown runtime"),
        ({"runtime": "litert:builtin", "cost_model": small_cost_model()}, CostModelError, "of the runtime 'litert'"),
        ({"cost_model": "none.json"}, CostModelError, "no cost model at none.json"),
        ({"variants": ["int9"]}, RecipeError, "unknown variant"),
    ],
)
def test_what_cannot_be_forecast_is_said_before_the_model_is_loaded(
    arguments: Mapping[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        edgefm.forecast("no-model.keras", progress=False, **arguments)


def test_command_writes_the_forecast_into_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = small_fashion_mnist(train=64, validation=32, test=10)
    np.savez(tmp_path / "data.npz", x_train=data.train.images, y_train=data.train.labels)
    _network().save(tmp_path / "mine.keras")
    elsewhere = small_cost_model(environment={"cpu": "another processor"})
    path = elsewhere.save(tmp_path / "there.json")
    words = ["forecast", str(tmp_path / "mine.keras"), "--run", str(tmp_path / "run"), "--cost-model", str(path)]
    words += ["--data", str(tmp_path / "data.npz"), "--value-range", "0,1", "--variant", "int8_w8a8"]
    assert run_cli(lambda: cli.main(words, standalone_mode=False)) == 0
    said = capsys.readouterr().out
    assert "int8_w8a8" in said and "written:" in said
    assert "times are those of the machine that the cost model was built on (another processor), not of this" in said
    told = edgefm.ForecastResult.from_json(json.loads((tmp_path / "run" / "forecast.json").read_text()))
    assert [row.variant for row in told.variants] == ["int8_w8a8"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pruned80_int8_w8a8", "unstructured zeros change the download, not the file's size and not the time"),
        ("clustered16_int8_w8a8", "clustering changes the download, not the file's size and not the time"),
        ("slim50_int8_w8a8", "removing channels saves no multiply-accumulates"),
        ("int8_w8a8", "int8 is not faster than float32 on this processor: it has no instruction"),
        ("float16", "it computes in float32 here"),
        ("int16x8", "no runtime has fast kernels for int16 activations"),
    ],
)
def test_what_a_variant_does_not_buy_is_said(name: str, words: str) -> None:
    told = notes(
        variant_named(name),
        size_bytes=250,
        p50_ns=1100.0,
        macs=5000,
        float32={"size_bytes": 1000, "p50_ns": 1000.0},
        given_macs=5000,
        environment={"cpu_features": ["avx2"]},
    )
    assert any(words in note for note in told)


def test_tiny_file_is_said_to_be_no_smaller_and_nothing_else_of_its_size() -> None:
    for name in ("float16", "int16x8"):
        sizes = {"size_bytes": 1100, "float32": {"size_bytes": 1000, "p50_ns": 1000.0}}
        told = notes(variant_named(name), p50_ns=1000.0, macs=10, given_macs=10, environment={}, **sizes)  # type: ignore[arg-type]  # mixed values
        assert [note for note in told if "size" in note or "small" in note] == [
            "the file is not smaller than the float32 one"
        ]


def test_expected_loss_follows_a_line_through_recorded_runs() -> None:
    before, after = np.array([0.2, 3.0, 40.0, 0.1, 8.0, 60.0]), np.array([0.1, 0.4, 4.0, 0.0, 1.5, 9.0])
    passes = ["qat_int8", "pruned80_qat_int8", "slim25_qat_int8"]
    outcomes = tuple(
        Outcome(model, name, lost, left, 1000, 900)
        for model, name, lost, left in zip("aabbcc", [*passes, *passes], before, after, strict=True)
    )
    untrained = Untrained(loss=20.0, gzip_bytes=2000, samples=4000, right=0.9, training_samples=12_000, changed=0.1)
    told = expected.loss(variant_named("pruned90_qat_int8"), untrained, outcomes=outcomes)
    x, y, models = np.arcsinh(2 * before), np.arcsinh(2 * after), np.array(list("aabbcc"))
    off = []
    for model in "abc":
        line = np.polyfit(x[models != model], y[models != model], 1)
        off += list(y[models == model] - np.polyval(line, x[models == model]))
    middle = np.polyval(np.polyfit(x, y, 1), np.arcsinh(2 * untrained.loss))
    half = 2.92 * np.sqrt(np.mean(np.square(off)))  # Student's t of two degrees of freedom: three models
    assert told is not None and told.value == pytest.approx(np.sinh(middle) / 2)
    assert told.low == pytest.approx(np.sinh(middle - half) / 2)
    assert told.high == pytest.approx(min(np.sinh(middle + half) / 2, 20.3))
    # No more is lost after the training than before it.
    capped = expected.loss(QAT, replace(untrained, loss=-0.25), outcomes=outcomes)
    assert capped is not None and capped.value <= 0 and capped.high == pytest.approx(0.3)
    # Clusters are in none of them, and two models are too few.
    assert expected.loss(variant_named("clustered16_qat_int8"), untrained, outcomes=outcomes) is None
    assert expected.loss(QAT, untrained, outcomes=outcomes[:4]) is None


def test_expected_download_is_that_of_recorded_runs_of_the_same_passes() -> None:
    outcomes = (Outcome("a", "qat_int8", 0.1, 0.2, 1000, 900), Outcome("b", "qat_int8", 0.1, 0.4, 1000, 900))
    untrained = Untrained(loss=9.0, gzip_bytes=2000, samples=1000, right=0.9, training_samples=12_000, changed=0.1)
    size = expected.download(QAT, untrained, outcomes=outcomes)
    assert (size.value, size.low, size.high) == (pytest.approx(1800), pytest.approx(1800), pytest.approx(1800))


def test_loss_of_what_is_no_class_has_no_interval() -> None:
    # A mean squared error that rose by 0.003: 100 * 1.645 * sqrt(1 / n / n) points would be no interval of it.
    untrained = Untrained(loss=0.003, gzip_bytes=2000, samples=100, right=0.0, training_samples=12_000, changed=None)
    told = expected.loss(variant_named("int8_w8a8"), untrained)
    assert told is not None and (told.low, told.value, told.high) == (0.003, 0.003, 0.003)
    assert not told.exact


def test_loss_of_what_trains_nothing_is_as_certain_as_its_samples() -> None:
    untrained = Untrained(loss=0.5, gzip_bytes=2000, samples=10_000, right=0.9, training_samples=12_000, changed=0.02)
    told = expected.loss(variant_named("int8_w8a8"), untrained)
    # 2 % of the answers changed: the difference of two shares has at most their variance.
    assert told is not None and told.high - told.value == pytest.approx(100 * 1.645 * (0.02 / 10_000) ** 0.5)


def test_answers_that_were_lost_have_changed() -> None:
    """Of 50 samples for calibration none changed, and 3 points are lost: 300 of 10,000 answers at least are others."""
    untrained = Untrained(loss=3.0, gzip_bytes=2000, samples=10_000, right=0.9, training_samples=12_000, changed=1 / 50)
    told = expected.loss(variant_named("int8_w8a8"), untrained)
    assert told is not None and told.high - told.value == pytest.approx(100 * 1.645 * (0.03 / 10_000) ** 0.5)


def test_few_samples_widen_the_loss_that_is_expected_of_training() -> None:
    many = Untrained(loss=10.0, gzip_bytes=2000, samples=4000, right=0.8, training_samples=12_000, changed=0.2)
    told, few = (expected.loss(QAT, one) for one in (many, replace(many, samples=50)))
    assert told is not None and few is not None and few.value == told.value
    # A fifth of the answers, and those that are lost, may change from right to wrong or back.
    wider = 164.5 * np.sqrt((0.2 + told.value / 100) * (1 / 50 - 1 / 4000))
    assert wider > 10
    assert (told.low - few.low, few.high - told.high) == (pytest.approx(wider), pytest.approx(wider))
    assert "50 validation samples are few" in few.why


def test_few_training_samples_may_bring_nothing_back() -> None:
    many = Untrained(loss=60.0, gzip_bytes=2000, samples=4000, right=0.9, training_samples=2000, changed=0.6)
    told, few = (expected.loss(QAT, one) for one in (many, replace(many, training_samples=300)))
    assert told is not None and few is not None and (few.value, few.low) == (told.value, told.low)
    assert told.high < 50 and few.high == pytest.approx(60.3) and "300 training samples are few" in few.why
