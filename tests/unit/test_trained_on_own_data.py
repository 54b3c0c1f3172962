"""A training on a user's own data: the run remembers them, a resume and the report name them."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from PIL import Image

import edgefm
from edgefm.core.artefacts import write_json
from edgefm.core.errors import ArgumentError, DataError, RecipeError
from edgefm.core.progress import Progress
from edgefm.core.runs import RunDirectory, Step
from edgefm.data.dataset import Dataset
from edgefm.data.source import DataSource, data_source_of, dataset_of
from edgefm.jobs import run_training
from edgefm.jobs.run import Run
from edgefm.recipes import BenchmarkProtocol, Distillation, Training
from edgefm.report.text import reproduce
from edgefm.training.stopped import Stopped


def _npz(path: Path, *, size: int = 28) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (100, size, size, 1), np.uint8)
    np.savez(path, x_train=pixels, y_train=np.arange(100) % 10)
    return path


def _trained(run: RunDirectory, summary: dict) -> Step:
    return run.finish(run.begin("train"), key="k", seconds=1.0, recipe={}, inputs={}, summary=summary)


def test_run_finds_the_data_of_its_training(tmp_path: Path) -> None:
    source = DataSource(where=str(_npz(tmp_path / "data.npz")))
    run = RunDirectory.create_at(tmp_path / "run")
    _trained(run, {"data": source.to_json(), "input_shape": [28, 28, 1]})
    assert data_source_of(run) == source
    assert dataset_of(run).train.images.shape[1:] == (28, 28, 1)


def _pictures(folder: Path, count: int) -> Path:
    """Write class folders of `count` pictures for each of two classes, those that are not there yet."""
    for label, name in enumerate(("dark", "bright")):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for place in range(count):
            pixels = np.random.default_rng((label, place)).integers(0, 128, (28, 28), np.uint8) + 127 * label
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{place:03}.png")
    return folder


def test_data_that_changed_since_the_training_are_refused_until_they_are_back(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.train(RECIPE, data=_pictures(tmp_path / "pictures", 40), backend="tensorflow", progress=False)
    shutil.copytree(tmp_path / "pictures", tmp_path / "before")
    _pictures(tmp_path / "pictures", 60)
    words = r"pictures has changed since .*: it had 64 train, 8 validation, 8 test samples; now it has 96 train"
    for later in (run.quantize, run.explain):
        with pytest.raises(DataError, match=words):
            later(progress=False)
    shutil.rmtree(tmp_path / "pictures")
    (tmp_path / "before").rename(tmp_path / "pictures")
    assert run.quantize("float32", progress=False)["float32"].size_bytes > 0


def test_as_many_samples_with_other_labels_are_others_than_the_training_had(tmp_path: Path) -> None:
    source, run = DataSource(where=str(_npz(tmp_path / "data.npz"))), RunDirectory.create_at(tmp_path / "run")
    learnt = source.load((28, 28, 1))
    counts = {split.name: len(split) for split in learnt.splits}
    summary = {"data": source.to_json(), "dataset": {"name": learnt.name, "classes": 10, **counts}}
    inputs = {"dataset": learnt.sha256}
    run.finish(run.begin("train"), key="k", seconds=1.0, recipe={}, inputs=inputs, summary=summary)
    assert dataset_of(run).sha256 == learnt.sha256
    with np.load(tmp_path / "data.npz") as arrays:
        np.savez(tmp_path / "data.npz", x_train=arrays["x_train"], y_train=np.arange(100)[::-1] % 10)
    with pytest.raises(DataError, match=r"the pixels, labels or order of its samples \(80 train, 10 valid"):
        dataset_of(run)


def test_files_of_a_brought_model_are_not_judged_by_data_that_changed_since(tmp_path: Path) -> None:
    import keras
    from keras import layers

    data = tmp_path / "data.npz"
    pixels, labels = np.random.default_rng(0).integers(0, 256, (100, 8, 8, 1), np.uint8), np.arange(100) % 4
    np.savez(data, images=pixels, labels=labels)
    keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(4, activation="softmax")]).save(
        tmp_path / "own.keras"
    )
    run = Run.bring(tmp_path / "own.keras", tmp_path / "run", data=data, progress=False)
    run.quantize("int8_w8a8", progress=False)
    once = BenchmarkProtocol(rounds=1, rounds_at_most=1, repeats_at_most=0, round_seconds=0.01)
    run.benchmark(protocol=once, progress=False)
    np.savez(data, images=np.roll(pixels, 1, axis=0), labels=np.roll(labels, 1))  # a sample moves to another split
    for judge in (lambda: run.benchmark(protocol=once, progress=False), lambda: run.explain(progress=False)):
        with pytest.raises(DataError, match=r"has changed since the files of run .* were made with it") as refused:
            judge()
        assert f"edgefm quantize {run.path}" in str(refused.value.hint)
    run.quantize("int8_w8a8", progress=False)  # made anew
    run.benchmark(protocol=once, progress=False)
    kinds = [step.kind for step in RunDirectory.open(run.path).steps()]
    assert kinds == ["import", "quantize", "benchmark", "quantize", "benchmark"]


def test_training_without_data_of_its_own_is_on_fashion_mnist(tmp_path: Path) -> None:
    run = RunDirectory.create_at(tmp_path / "run")
    _trained(run, {"validation_accuracy": 0.9})
    assert data_source_of(run) == DataSource()


def test_data_that_do_not_fit_the_architecture_are_refused_before_a_run_is_made(tmp_path: Path) -> None:
    data = _npz(tmp_path / "data.npz", size=6)
    with pytest.raises(RecipeError, match="at least 8 x 8 pixels; 6 x 6 was given"):
        Run(tmp_path / "run").train("quick", data=data, progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("labels", "task"), [(np.linspace(0, 1, 60), "regression"), (np.arange(600).reshape(60, 10) % 2, "multilabel")]
)
def test_labels_that_are_no_classes_are_refused_before_training(tmp_path: Path, labels: np.ndarray, task: str) -> None:
    data = edgefm.data.from_arrays(np.zeros((60, 28, 28, 1), np.uint8), labels, task=task, progress=False)
    words = f"the task of arrays is {task}; the models of the zoo learn one class"
    with pytest.raises(DataError, match=words):
        edgefm.train("basic_cnn", data=data, progress=False)
    with pytest.raises(DataError, match=words):
        Run(tmp_path / "run").train("quick", data=data, progress=False)
    assert not (tmp_path / "run").exists()


def test_resume_with_other_data_is_refused() -> None:
    stopped = Stopped(recipe=Training(), backend="tensorflow", precision="float32", source=DataSource(where="a.npz"))
    stopped.check(recipe=None, backend=None, precision=None, source=DataSource(where="a.npz"))
    with pytest.raises(RecipeError, match=r"a\.npz"):
        stopped.check(recipe=None, backend=None, precision=None, source=DataSource(where="b.npz"))


RECIPE = Training(model="basic_cnn", epochs=1, batch_size=64)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    pixels = np.random.default_rng(0).integers(0, 256, (100, 28, 28, 1), np.uint8)
    return edgefm.data.from_arrays(pixels, np.arange(100) % 10, class_names=tuple("abcdefghij"), progress=False)


def test_data_set_in_memory_is_learnt_and_kept_for_later_steps(dataset: Dataset, tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    first = run.train(RECIPE, data=dataset, backend="tensorflow", progress=False)
    assert len(first.history) == 1 and first.recipe == RECIPE
    (kept,) = (tmp_path / "run").glob("data-*.npz")
    source = data_source_of(RunDirectory.open(run.path))
    assert source == DataSource(where=str(kept), task="classification", labels=tuple("abcdefghij"))
    found = dataset_of(RunDirectory.open(run.path))
    for given, split in zip(dataset.splits, found.splits, strict=True):
        assert sorted(map(bytes, given.images)) == sorted(map(bytes, split.images)), "the same samples"
    assert found.labels == dataset.labels
    # The same training is found again, and a later step finds the samples.
    assert run.train(RECIPE, data=dataset, backend="tensorflow", progress=False).file == first.file
    assert len(run.steps) == 1
    files = run.quantize("float32", progress=False)
    validation = files["float32"].report["validation"]
    assert validation["quality"] == "accuracy" and validation["samples"] == len(dataset.validation)


def test_data_set_in_memory_that_does_not_fit_is_refused_before_a_run_is_made(tmp_path: Path) -> None:
    small = edgefm.data.from_arrays(np.zeros((100, 6, 6, 1), np.uint8), np.arange(100) % 10, progress=False)
    with pytest.raises(RecipeError, match="at least 8 x 8 pixels; 6 x 6 was given"):
        Run(tmp_path / "run").train("quick", data=small, progress=False)
    assert not (tmp_path / "run").exists()


def test_resume_with_another_data_set_in_memory_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    run = RunDirectory.create_at(tmp_path / "run")
    kept = run_training._keep(dataset, run.path)
    recipe = {"recipe": RECIPE.to_json(), "backend": "tensorflow", "precision": "float32", "data": kept.to_json()}
    write_json(run.begin("train") / "recipe.json", recipe)
    other = edgefm.data.from_arrays(dataset.train.images[:60], np.arange(60) % 10, progress=False)
    with pytest.raises(RecipeError, match=r"the stopped training has data .*data-\w{12}\.npz"):
        Run(run.path).train(data=other, resume=True, progress=False)
    resumed = Run(run.path).train(data=dataset, resume=True, progress=False)
    assert resumed.recipe == RECIPE


class _StopInSecondEpoch:
    def step(self, label: str, done: int, total: int, figures: Mapping[str, str] | None = None) -> None:
        if (figures or {}).get("epoch", "").startswith("2/"):
            raise KeyboardInterrupt

    def note(self, message: str) -> None:
        pass


def _stopped(path: Path, data: Path) -> Run:
    run = Run(path)
    with pytest.raises(KeyboardInterrupt):
        run.train(
            replace(RECIPE, epochs=2), data=data, backend="tensorflow", progress=cast("Progress", _StopInSecondEpoch())
        )
    return run


def test_stopped_training_is_not_gone_on_with_on_data_that_have_changed(tmp_path: Path) -> None:
    pictures = _pictures(tmp_path / "pictures", 40)
    run = _stopped(tmp_path / "run", pictures)
    (added,) = _pictures(tmp_path / "more", 41).glob("dark/040.png")
    added.rename(pictures / "dark" / "040.png")
    with pytest.raises(RecipeError, match=r"pictures changed since the training was begun that was stopped; samples"):
        run.train(resume=True, progress=False)
    (pictures / "dark" / "040.png").unlink()
    directory = RunDirectory.open(run.path)
    directory.finish(directory.begin("quantize"), key="q", seconds=1.0, recipe={}, inputs={}, summary={})
    resumed = run.train(resume=True, progress=False).file.parent
    assert resumed.name == "01-train" and json.loads((resumed / "history.json").read_text())["resumed_from"] == 1


def test_training_that_was_stopped_before_its_inputs_were_written_down_is_gone_on_with(tmp_path: Path) -> None:
    run = _stopped(tmp_path / "run", _npz(tmp_path / "data.npz"))
    (path,) = run.path.glob("*/recipe.json")
    former = json.loads(path.read_text())
    assert former.pop("inputs")["dataset"] == DataSource(where=str(tmp_path / "data.npz")).load((28, 28, 1)).sha256
    write_json(path, former)
    assert len(run.train(resume=True, progress=False).history) == 2


def test_stopped_training_is_not_gone_on_with_by_another_teacher_or_other_pretrained_weights() -> None:
    recipe = Training(distillation=Distillation(teachers=("a.keras", "b.keras")), pretrained="w.h5")
    inputs = {"dataset": "1", "teacher 0": "2", "teacher 1": "3", "pretrained": "4"}
    stopped = Stopped(recipe=recipe, backend="tensorflow", precision="float32", inputs=inputs)
    stopped.check_inputs(inputs)
    with pytest.raises(RecipeError, match=r"the teacher b\.keras changed since"):
        stopped.check_inputs({**inputs, "teacher 1": "0"})
    with pytest.raises(RecipeError, match=r"the file w\.h5 changed since"):
        stopped.check_inputs({**inputs, "pretrained": "0"})


def test_fashion_mnist_in_memory_needs_no_copy() -> None:
    whole = edgefm.data.fashion_mnist(progress=False)
    assert run_training._is_fashion_mnist(whole, None)
    assert not run_training._is_fashion_mnist(replace(whole, sha256="0"), None)
    assert not run_training._is_fashion_mnist(replace(whole, name="mine"), None)


def test_other_data_than_those_allowed_are_named_with_what_to_do(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"data is 3, an int; a path .*, 'module:function', .* or a Dataset is exp"):
        Run(tmp_path / "run").train(data=3)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"a Dataset; a path .* is expected\n.*numpy\.savez"):
        Run.bring("m.keras", tmp_path / "run", data=dataset)  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()


def test_report_names_the_data_of_the_training(tmp_path: Path) -> None:
    run = RunDirectory.create_at(tmp_path / "run")
    step = _trained(run, {"data": DataSource(where="/somewhere/data.npz").to_json()})
    step = replace(step, recipe=Training().to_json())
    (command,) = reproduce.commands([step])
    assert "--data data.npz" in command


def test_resume_keeps_the_batch_and_the_rate_that_a_device_gave_a_preset(dataset: Dataset, tmp_path: Path) -> None:
    run = RunDirectory.create_at(tmp_path / "run")
    kept = run_training._keep(dataset, run.path)
    scaled = Training(model="basic_cnn", epochs=1, batch_size=40, learning_rate=0.00424)
    recipe = {"recipe": scaled.to_json(), "backend": "tensorflow", "precision": "float32", "data": kept.to_json()}
    write_json(run.begin("train") / "recipe.json", recipe)
    changes = {"model": "basic_cnn", "epochs": 1}
    with pytest.raises(RecipeError, match=r"the stopped training has learning_rate 0\.00424; 0\.0015 was given"):
        Run(run.path).train("standard", changes={**changes, "learning_rate": 0.0015}, resume=True, progress=False)
    assert Run(run.path).train("standard", changes=changes, resume=True, progress=False).recipe == scaled
