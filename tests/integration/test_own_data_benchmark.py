"""Benchmarks on users' data: quality measures, several outputs, floats, a single score, regression, pictures."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image

from edgefm import runtimes
from edgefm.benchmarking import feeding, harness, record
from edgefm.benchmarking.measured import ModelFile
from edgefm.benchmarking.scores import difference, score
from edgefm.benchmarking.step import benchmark_files, sample_shape
from edgefm.cli.main import cli
from edgefm.core.artefacts import sha256_file
from edgefm.data.dataset import Dataset, Split
from edgefm.data.quality import quality
from edgefm.runtimes import litert
from edgefm.tflite.contract import Contract
from tests.fixtures import tiny_models
from tests.fixtures.notes import Notes
from tests.fixtures.protocols import ONCE

RANDOM = np.random.default_rng(0)
WEIGHTS = RANDOM.normal(size=(7, 12)).astype(np.float32)


def model(folder: Path, name: str, content: bytes) -> ModelFile:
    path = folder / f"{name}.tflite"
    path.write_bytes(content)
    return ModelFile(name=name, path=path)


def dataset(x: NDArray[Any], y: NDArray[Any], task: str, labels: tuple[str, ...] = ()) -> Dataset:
    parts = [Split(name=name, images=x, labels=y) for name in ("train", "validation", "test")]
    return Dataset(
        name="mine", labels=labels, train=parts[0], validation=parts[1], test=parts[2], sha256="0" * 64, task=task
    )


def rows(found: harness.Measurement) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in found.record["models"]}


def test_measure_regression_on_floats_agrees_with_numpy(tmp_path: Path) -> None:
    x, levels = RANDOM.normal(size=(80, 12)).astype(np.float32), np.round(WEIGHTS * 30).astype(np.int8)
    y = (x @ WEIGHTS.T + RANDOM.normal(size=(80, 7)) * 0.1).astype(np.float32)
    models = [
        model(tmp_path, "float32", tiny_models.dense(WEIGHTS, picture=(12,))),
        model(
            tmp_path,
            "int8",
            tiny_models.quantized_dense(
                levels, picture=(12,), input_scale=1 / 30, input_zero_point=0, output_scale=1.0
            ),
        ),
    ]
    found = harness.measure(models, dataset=dataset(x, y, "regression"), protocol=ONCE, reference="float32")
    exact = x.astype(float) @ WEIGHTS.T.astype(float)
    inputs = np.clip(np.round(x * 30), -128, 127)
    rounded = np.clip(np.round(inputs / 30 @ levels.T.astype(float)), -128, 127)
    for name, answers in (("float32", exact), ("int8", rounded)):
        row = rows(found)[name]
        each = np.square(answers - y).mean(axis=1)
        assert row["quality"]["value"] == pytest.approx(each.mean(), rel=0.02 if name == "int8" else 1e-5)
        assert {key: row["quality"][key] for key in ("name", "unit", "higher_is_better", "n", "reason")} == {
            "name": "mse", "unit": "", "higher_is_better": False, "n": 80, "reason": None,
        }  # fmt: skip
        # The interval of a mean: 1.96 standard errors to each side, roughly.
        half = 1.96 * each.std() / np.sqrt(80)
        assert row["quality"]["high"] - row["quality"]["value"] == pytest.approx(half, rel=0.4)
        assert row["accuracy"] == {"value": None, "reason": "accuracy is not defined for the task regression"}
        assert row["confusion"] == [] and row["latency_ns"]["p50"]["value"] > 0
    against = rows(found)["int8"]["against_reference"]["quality_difference"]
    expected = rows(found)["int8"]["quality"]["value"] - rows(found)["float32"]["quality"]["value"]
    assert against["value"] == pytest.approx(expected) and against["low"] <= expected <= against["high"]
    assert found.predictions == {}
    assert found.record["dataset"]["task"] == "regression"
    path = record.write(tmp_path / "record.json", found.record)
    assert record.read(path) == found.record


def test_measure_other_measure_of_a_classifier_keeps_its_accuracy(tmp_path: Path) -> None:
    pixels = RANDOM.integers(0, 256, (90, 3, 4, 1), dtype=np.uint8)
    truth = np.arange(90) % 7
    data = dataset(pixels, truth, "classification", tuple("abcdefg"))
    file = model(tmp_path, "m", tiny_models.dense(WEIGHTS, picture=(3, 4, 1)))
    plain, ranked = (
        harness.measure([file], dataset=data, protocol=ONCE, quality=measure, mean=0, std=1)
        for measure in (None, quality("top5", task="classification"))
    )
    scores = pixels.reshape(90, 12).astype(float) @ WEIGHTS.T
    best = np.argsort(-scores, axis=1)
    assert rows(ranked)["m"]["quality"]["value"] == np.mean((best[:, :5] == truth[:, None]).any(axis=1))
    for found in (plain, ranked):
        row = rows(found)["m"]
        assert row["accuracy"]["value"] == np.mean(best[:, 0] == truth)
        np.testing.assert_array_equal(found.predictions["m/predicted"], best[:, 0])
        # A dense layer without activation gives logits: the confidence is the softmax of the highest.
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        np.testing.assert_allclose(found.predictions["m/confidence"], 1 / powers.sum(axis=1), rtol=1e-4)
    accuracy, shown = rows(plain)["m"]["accuracy"], rows(plain)["m"]["quality"]
    assert (shown["name"], shown["unit"]) == ("accuracy", "%")
    assert {name: shown[name] for name in ("value", "low", "high")} == accuracy


@pytest.mark.parametrize("name", ["accuracy", "auc"])
def test_measure_single_score_is_a_binary_classifier(tmp_path: Path, name: str) -> None:
    weights = np.array([[0.5, -0.3]], np.float32)
    x = RANDOM.random((60, 2)).astype(np.float32)
    scores = x @ weights[0]  # a logit: yes above 0
    truth = (scores + RANDOM.normal(size=60) * 0.1 > 0).astype(np.int64)
    file = model(tmp_path, "m", tiny_models.dense(weights, picture=(2,)))
    found = harness.measure(
        [file],
        dataset=dataset(x, truth, "classification", ("no", "yes")),
        protocol=ONCE,
        quality=quality(name, task="classification"),
    )
    row = rows(found)["m"]
    np.testing.assert_array_equal(found.predictions["m/predicted"], (scores > 0).astype(int))
    np.testing.assert_allclose(found.predictions["m/confidence"], 1 / (1 + np.exp(-np.abs(scores))), atol=1e-6)
    assert row["accuracy"]["value"] == np.mean((scores > 0) == truth)
    if name == "auc":
        wanted = np.mean([(a > b) + (a == b) / 2 for a in scores[truth == 1] for b in scores[truth == 0]])
        assert row["quality"]["value"] == pytest.approx(wanted)
        assert row["quality"]["low"] <= wanted <= row["quality"]["high"] <= 1


def test_measure_own_measure_sees_all_outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_two_heads.py").write_text(
        "import numpy as np\n"
        "def worst(outputs, targets):\n"
        "    assert len(outputs) == 2 and outputs[0].shape == outputs[1].shape == targets.shape\n"
        "    return np.abs(outputs[0] - outputs[1] - targets).max()\n"
        "worst.higher_is_better = False\n"
    )
    monkeypatch.chdir(tmp_path)
    x = RANDOM.normal(size=(40, 3, 2)).astype(np.float32)
    y = np.minimum(x, 0)  # relu(x) - |x| = min(x, 0)
    y[7, 1, 1] += 0.5
    file = model(tmp_path, "m", tiny_models.two_heads(shape=(1, 3, 2)))
    measure = quality("my_two_heads:worst", task="regression")
    found = harness.measure([file], dataset=dataset(x, y, "regression"), protocol=ONCE, quality=measure)
    row = rows(found)["m"]
    assert row["quality"]["value"] == pytest.approx(0.5, abs=1e-6) and not row["quality"]["higher_is_better"]
    assert [tensor["name"] for tensor in row["outputs"]] == ["relu", "absolute"]
    assert row["output"] == row["outputs"][0]


def test_measure_reconstruction_compares_with_the_real_inputs(tmp_path: Path) -> None:
    pixels = RANDOM.integers(0, 256, (30, 3, 4, 1), dtype=np.uint8)
    identity = np.eye(12, dtype=np.float32) * 0.5
    file = model(tmp_path, "m", tiny_models.dense(identity, picture=(3, 4, 1)))
    data = dataset(pixels, pixels, "reconstruction")
    found = harness.measure([file], dataset=data, protocol=ONCE, mean=0, std=255)
    assert rows(found)["m"]["quality"]["value"] == pytest.approx(np.mean((pixels / 255 * 0.5) ** 2), rel=1e-5)


def test_measure_that_does_not_fit_is_said_and_is_no_failure(tmp_path: Path) -> None:
    x = RANDOM.normal(size=(20, 12)).astype(np.float32)
    file = model(tmp_path, "m", tiny_models.dense(WEIGHTS, picture=(12,)))
    data = dataset(x, x[:, :3], "regression")
    row = rows(harness.measure([file], dataset=data, protocol=ONCE))["m"]
    assert row["status"] == "ok" and row["quality"]["value"] is None
    assert "has shape (7,) per sample, the targets (3,)" in row["quality"]["reason"]
    assert row["latency_ns"]["p50"]["value"] > 0


def test_measure_nan_in_a_second_look_fails_the_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(runtimes.RUNTIMES, "fake", "tests.fixtures.fake_runtime")
    x = RANDOM.random((20, 10, 10, 1)).astype(np.float32)
    file = model(tmp_path, "m", json.dumps({"nan": True}).encode())
    protocol = dataclasses.replace(ONCE, runtime="fake")
    row = rows(harness.measure([file], dataset=dataset(x, x[:, 0, :, 0], "regression"), protocol=protocol))["m"]
    assert row["status"] == "failed" and "NaN for 8 images, first image 0" in row["reason"]


# ---- records of version 1


def test_record_of_version_1_is_read_as_one_of_the_newest(tmp_path: Path) -> None:
    from tests.fixtures import sample_run

    old = sample_run.record(images=200, rounds=2)
    assert old["schema_version"] == 1
    record.validate(old)
    found = record.read(record.write(tmp_path / "record.json", old))
    record.validate(found)
    assert found["schema_version"] == record.SCHEMA_VERSION and found["dataset"]["task"] == "classification"
    for before, after in zip(old["models"], found["models"], strict=True):
        changed = ("against_reference", "rounds")
        assert {key: after[key] for key in before if key not in changed} == {
            key: before[key] for key in before if key not in changed
        }
        assert [turn["invoke_ns"] for turn in after["rounds"]] == [turn["invoke_ns"] for turn in before["rounds"]]
        assert after["outputs"] == [before["output"]]
        assert {key: after["quality"][key] for key in ("value", "low", "high")} == before["accuracy"]
    against = found["models"][1]["against_reference"]
    assert against["quality_difference"] == against["accuracy_difference"]


def test_failed_model_in_a_record_of_version_1_keeps_its_reason(tmp_path: Path) -> None:
    from tests.fixtures import sample_run

    old = sample_run.record(images=50, rounds=1)
    old["models"].append(sample_run.failed("x", "it crashed"))
    found = record.read(record.write(tmp_path / "record.json", old))
    assert found["models"][-1]["quality"]["reason"] == "it crashed" and found["models"][-1]["outputs"] == []


# ---- intervals


def test_interval_of_a_share_agrees_with_wilson() -> None:
    from edgefm.statistics.estimates import proportion

    scores = np.zeros((400, 2))
    scores[:, 1] = 1
    truth = (np.arange(400) % 10 > 0).astype(np.int64)
    found = score(quality("accuracy", task="classification"), (scores,), truth).estimate
    exact = proportion(360, 400)
    assert found is not None and found.value == exact.value
    np.testing.assert_allclose([found.low, found.high], [exact.low, exact.high], atol=0.006)


def test_difference_pairs_the_samples() -> None:
    """What two models share cancels: the interval of the difference is far narrower than those of the values."""
    y = RANDOM.normal(size=(300, 1)).astype(np.float32)
    noise = RANDOM.normal(size=(300, 1)).astype(np.float32)
    measure = quality("mse", task="regression")
    first, second = (score(measure, (y + noise * factor,), y) for factor in (1.0, 1.02))
    paired, alone = difference(second, first), first.estimate
    assert paired is not None and alone is not None
    assert paired.high - paired.low < 0.1 * (alone.high - alone.low)
    assert 0 < paired.low <= paired.value <= paired.high


# ---- the command


def benchmark(*arguments: str) -> Any:
    return CliRunner().invoke(cli, ["benchmark", "--rounds-at-most", "1", *arguments])


@pytest.fixture
def colours(tmp_path: Path) -> tuple[Path, Path]:
    """Pictures of two colours in class folders, and a classifier that sums red and blue."""
    for split, count in (("train", 6), ("test", 4)):
        for name, colour in (("blue", (10, 0, 250)), ("red", (250, 0, 10))):
            folder = tmp_path / "pictures" / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                Image.new("RGB", (9, 7), (colour[0], index, colour[2])).save(folder / f"{index}.png")
    weights = np.tile(np.array([[0, 0, 1], [1, 0, 0]], np.float32), (1, 4 * 4))
    path = tmp_path / "colours.tflite"
    path.write_bytes(tiny_models.dense(weights, picture=(4, 4, 3)))
    return path, tmp_path / "pictures"


def with_contract(folder: Path, content: bytes, labels: tuple[str, ...], *, task: str = "classification") -> ModelFile:
    """Write a model that is fed floats, and its contract with the classes in its own order."""
    folder.mkdir()
    path = folder / "model.tflite"
    path.write_bytes(content)
    with litert.load(path) as session:
        agreed = feeding.contract_for(
            path, source=session.input, sinks=session.outputs, labels=labels, task=task, pixels=False
        )
    assert isinstance(agreed, Contract)
    dataclasses.replace(agreed, sha256=sha256_file(path)).write(folder)
    return ModelFile(name=folder.name, path=path)


@pytest.mark.parametrize(
    ("names", "measure"),
    [
        pytest.param(tuple(map(str, range(12))), None, id="numbers, as words sort them"),
        pytest.param(tuple("abcdefg"), None, id="names"),
        pytest.param(tuple("abcdefg"), "top5", id="names, top5"),
        pytest.param(("no", "yes"), None, id="two classes"),
        pytest.param(("no", "yes"), "auc", id="two classes, auc"),
    ],
)
def test_each_file_is_measured_by_the_order_of_classes_in_its_own_contract(
    tmp_path: Path, names: tuple[str, ...], measure: str | None
) -> None:
    random = np.random.default_rng(6)
    weights = random.normal(size=(len(names), 5)).astype(np.float32)
    x = random.normal(size=(120, 5)).astype(np.float32)
    truth = ((x @ weights.T) + random.normal(size=(120, len(names))) * 0.5).argmax(axis=1)
    shuffled = tuple(sorted(names)) if names[0] == "0" else names[::-1]
    assert shuffled != names
    turned = weights[[names.index(name) for name in shuffled]]
    files = [
        with_contract(tmp_path / "plain", tiny_models.dense(weights, picture=(5,)), names),
        with_contract(tmp_path / "turned", tiny_models.dense(turned, picture=(5,)), shuffled),
    ]
    if len(names) == 2:  # one score, that of the second class of the file's own order
        difference_of_two = weights[1:] - weights[:1]
        content = tiny_models.dense(-difference_of_two, picture=(5,))
        files.append(with_contract(tmp_path / "single", content, shuffled))
    chosen = quality(measure, task="classification") if measure else None
    for order in (files, files[::-1])[: 1 if measure else 2]:
        notes = Notes()
        found = benchmark_files(
            order,
            protocol=ONCE,
            dataset=dataset(x, truth, "classification", names),
            quality=chosen,
            out=tmp_path / "out",
            progress=notes,
        )
        each = {row["name"]: row for row in found["models"]}
        right = np.mean((x @ weights.T).argmax(axis=1) == truth)
        for row in each.values():
            assert row["accuracy"]["value"] == pytest.approx(right)
            assert row["confusion"] == each["plain"]["confusion"]
            assert row["quality"]["value"] == pytest.approx(each["plain"]["quality"]["value"])
        with np.load(tmp_path / "out" / "predictions.npz") as kept:
            for file in files:
                np.testing.assert_array_equal(kept[f"{file.name}/predicted"], kept["plain/predicted"])
        said = "is measured by the order of the classes in its own contract"
        first = "plain" if order is files else order[0].name
        others = [file.name for file in order if (file.name == "plain") != (first == "plain")]
        assert [note for note in notes.notes if said in note] == [f"{name} {said}" for name in others]


def test_labels_of_a_sample_are_measured_by_the_order_in_each_contract(tmp_path: Path) -> None:
    random = np.random.default_rng(7)
    weights, x = random.normal(size=(3, 5)).astype(np.float32), random.normal(size=(90, 5)).astype(np.float32)
    truth = (x @ weights.T + random.normal(size=(90, 3)) * np.array([0.1, 1, 3]) > 0).astype(np.int64)
    files = [
        with_contract(tmp_path / "plain", tiny_models.dense(weights, picture=(5,)), tuple("abc"), task="multilabel"),
        with_contract(
            tmp_path / "turned", tiny_models.dense(weights[::-1], picture=(5,)), tuple("cba"), task="multilabel"
        ),
    ]
    found = benchmark_files(files, protocol=ONCE, dataset=dataset(x, truth, "multilabel", tuple("abc")))
    plain, turned = found["models"]
    assert turned["quality"]["value"] == pytest.approx(plain["quality"]["value"])
    assert [row["label"] for row in plain["classes"]] == list("abc") and turned["classes"] == plain["classes"]
    assert len({row["f1"] for row in plain["classes"]}) == 3


def test_command_measures_pictures_of_another_size(colours: tuple[Path, Path]) -> None:
    path, pictures = colours
    assert sample_shape([path]) == (4, 4, 3)
    done = benchmark(str(path), "--data", str(pictures), "--mean", "0", "--std", "255", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["dataset"]["labels"] == ["blue", "red"] and found["dataset"]["images"] == 8
    assert found["models"][0]["accuracy"]["value"] == 1.0


def test_command_shows_the_measure_that_was_asked_for(colours: tuple[Path, Path]) -> None:
    path, pictures = colours
    done = benchmark(str(path), "--data", str(pictures), "--quality", "auc", "--mean", "0", "--std", "255")
    assert done.exit_code == 0, done.output
    assert "auc %" in done.stdout and "100.00" in done.stdout


def test_command_takes_the_classes_in_the_order_of_the_contract(colours: tuple[Path, Path], tmp_path: Path) -> None:
    _, pictures = colours
    weights = np.tile(np.array([[1, 0, 0], [0, 0, 1]], np.float32), (1, 4 * 4))  # red comes first
    path = tmp_path / "other" / "model.tflite"
    path.parent.mkdir()
    path.write_bytes(tiny_models.dense(weights, picture=(4, 4, 3)))
    with litert.load(path) as session:
        agreed = feeding.contract_for(
            path, source=session.input, sinks=session.outputs, labels=("red", "blue"), mean=0, std=255
        )
    assert isinstance(agreed, Contract)
    dataclasses.replace(agreed, sha256=sha256_file(path)).write(path.parent)
    done = benchmark(str(path), "--data", str(pictures), "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["dataset"]["labels"] == ["red", "blue"]
    assert found["models"][0]["accuracy"]["value"] == 1.0


def test_command_shows_an_error_without_percent(tmp_path: Path) -> None:
    x = RANDOM.normal(size=(40, 12)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x, y=x @ WEIGHTS.T + 0.25)
    file = model(tmp_path, "m", tiny_models.dense(WEIGHTS, picture=(12,)))
    done = benchmark(str(file.path), "--data", str(tmp_path / "data.npz"))
    assert done.exit_code == 0, done.output
    assert " mse " in done.stdout and "0.0625 (0.0625-0.0625)" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--quality", "mse"], "'mse' does not fit the task 'classification'"),
        (["--data", "nowhere.npz"], "no data at"),
        (["--spec", "spec.json"], "goes with --data"),
        (["--labels", "labels.txt"], "goes with --data"),
        (["--latency-only", "--quality", "auc"], "--latency-only was given with --data or --quality"),
    ],
)
def test_command_says_what_is_wrong_with_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    from edgefm.core.errors import EdgefmError

    monkeypatch.chdir(tmp_path)
    file = model(tmp_path, "m", tiny_models.dense(WEIGHTS, picture=(12,)))
    done = benchmark(str(file.path), *arguments)
    said = done.output + (str(done.exception) if isinstance(done.exception, EdgefmError) else "")
    assert done.exit_code != 0 and words in said
