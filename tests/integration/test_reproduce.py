"""`edgefm zoo reproduce`: trained as documented, judged, recorded; stopped and gone on with; wrong input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

import edgefm
from edgefm.cli.main import cli, run
from edgefm.core.errors import ArgumentError, DataError, RecipeError, RunError
from edgefm.data.dataset import Dataset
from edgefm.jobs.reproduce import one_training
from edgefm.jobs.reproduce.latency import REFERENCE
from edgefm.jobs.reproduce.plan import planned
from edgefm.jobs.reproduce.record import chosen_trial
from edgefm.zoo.documented import documented_system
from edgefm.zoo.experiments import s0
from edgefm.zoo.experiments.trials import Experiment, Trial
from tests.fixtures.small_data import small_fashion_mnist

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def small() -> Dataset:
    return small_fashion_mnist(train=640, validation=200, test=200)


@pytest.fixture(scope="module")
def done(small: Dataset, tmp_path_factory: pytest.TempPathFactory) -> edgefm.Reproduction:
    out = tmp_path_factory.mktemp("zoo") / "out"
    edgefm.reproduce("ann", seeds=2, epochs=2, data=small, out=out, rounds=1, progress=False)
    return edgefm.reproduce("pca_dnn", seeds=1, epochs=2, data=small, out=out, rounds=1, progress=False)


def _trained(folder: Path) -> list[tuple[str, str]]:
    """Return when each training of a folder was finished."""
    found = []
    for path in sorted(folder.rglob("manifest.json")):
        found += [(str(path.parent.relative_to(folder)), step["created"]) for step in _steps(path) if _is_train(step)]
    return found


def _steps(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))["steps"]


def _is_train(step: dict) -> bool:
    return step["kind"] == "train"


def test_record_holds_what_keras_says_of_the_trained_model(done: edgefm.Reproduction, small: Dataset) -> None:
    """The oracle is the trained Keras model's own answers to the test images."""
    row = next(row for row in done.record["systems"] if row["id"] == "ann")
    assert [seed["seed"] for seed in row["seeds"]] == [0, 1]
    for seed in row["seeds"]:
        model = edgefm.Run(done.folder / "ann" / f"seed-{seed['seed']}").training.model
        answers = np.asarray(model.predict(small.test.images, verbose=0)).argmax(axis=1)
        accuracy = 100 * (answers == small.test.labels).mean()
        assert seed["test"]["float32"] == pytest.approx(accuracy, abs=0.51)  # one of 200 images may tip
        assert abs(seed["test"]["int8_w8a8"] - accuracy) < 5
        assert seed["epochs"] == 2 and seed["seconds"] > 0
    assert row["claim"]["test_accuracy"] == 85.0 and row["parameters"]["trainable"] == 235_146
    assert row["files"]["float32"]["macs"] == 784 * 256 + 256 * 128 + 128 * 10
    assert row["files"]["int8_w8a8"]["size_bytes"] < row["files"]["float32"]["size_bytes"] / 3


def test_components_are_in_the_trained_model_and_in_its_files(done: edgefm.Reproduction, small: Dataset) -> None:
    """The oracle is numpy's SVD of the training images."""
    run_ = edgefm.Run(done.folder / "pca_dnn" / "seed-0")
    kernel = np.asarray(run_.training.model.get_layer("pca").kernel)
    pixels = small.train.images.reshape(640, -1) / 255.0
    _, _, rows = np.linalg.svd(pixels - pixels.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(np.abs((kernel * rows[:187].T).sum(axis=0))[:20], 1, atol=1e-4)
    row = next(row for row in done.record["systems"] if row["id"] == "pca_dnn")
    assert row["files"]["float32"]["macs"] == 784 * 187 + 187 * 64 + 64 * 10
    assert row["files"]["int8_w8a8"]["size_bytes"] > 784 * 187


def test_verdict_says_that_it_was_shortened_and_on_other_data(done: edgefm.Reproduction) -> None:
    assert set(done.verdicts) == {"ann", "pca_dnn"}
    for verdict in done.verdicts.values():
        assert "shortened" in verdict and "other data" in verdict
    row = next(row for row in done.record["systems"] if row["id"] == "ann")
    assert row["verdict"]["by"] == "test" and "shortened: 2 of 10 epochs" in row["verdict"]["limits"]


def test_page_shows_every_system_and_says_what_is_not_recorded(done: edgefm.Reproduction) -> None:
    page = done.page.read_text(encoding="utf-8")
    assert "not yet recorded: `edgefm zoo reproduce lenet5`" in page and "640 training" in page
    assert "\n- not yet recorded: `edgefm zoo reproduce ann`" not in page
    assert "\n- whole: not yet recorded: `edgefm zoo reproduce ann`" in page
    assert json.loads((done.folder / "zoo.json").read_text(encoding="utf-8"))["systems"]
    assert "ann" in done._repr_html_() and done.to_json()["kind"] == "zoo-reproduction"


def test_all_files_are_timed_in_one_benchmark(done: edgefm.Reproduction) -> None:
    latency = done.record["latency"]
    names = {f"{system} {variant}" for system in ("ann", "pca_dnn") for variant in ("float32", "int8_w8a8")}
    # Where the reference was not trained an untrained file of the same network is measured in its place.
    assert set(latency["models"]) == {*names, REFERENCE} and latency["reference"] == REFERENCE
    assert all(latency["models"][name]["ratio"]["value"] > 0 for name in names)


def test_second_call_trains_nothing_and_adds_what_is_new(done: edgefm.Reproduction, small: Dataset) -> None:
    before, steps = _trained(done.folder), sorted(done.folder.rglob("*-benchmark"))
    again = edgefm.reproduce("ann", seeds=2, epochs=2, data=small, out=done.folder, rounds=1, progress=False)
    assert _trained(done.folder) == before and sorted(done.folder.rglob("*-benchmark")) == steps
    assert set(again.verdicts) == {"ann", "pca_dnn"}  # of all that the folder holds
    assert again.record["latency"]["created"] == done.record["latency"]["created"]


def test_search_tries_the_chosen_trial_alone_on_the_test_images(
    small: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(documented_system("ann").recipe, epochs=1)
    given = ((1e-6, "adam"), (1e-3, "adam"), (1e30, "sgd"))  # the last one diverges
    trials = tuple(
        Trial(label=f"rate {rate:g}", recipe=replace(recipe, learning_rate=rate, optimizer=optimizer))
        for rate, optimizer in given
    )
    search = Experiment(id="s0_grid_search", document="S0", title="search", reading="-", search=True, trials=trials)
    monkeypatch.setattr(s0, "EXPERIMENTS", (search,))
    monkeypatch.setattr("edgefm.zoo.experiments._MODULES", {"s0_grid_search": "edgefm.zoo.experiments.s0"})
    found = edgefm.reproduce("s0_grid_search", seeds=1, data=small, out=tmp_path / "out", rounds=1, progress=False)
    (entry,) = found.record["experiments"]
    measured = [trial for trial in entry["trials"] if trial["label"] != "rate 1e+30"]
    accuracies = {trial["label"]: trial["measured"]["validation"]["mean"] for trial in measured}
    assert len(measured) == 2 and entry["trials"][2]["diverged"]
    assert entry["chosen"] == max(accuracies, key=lambda label: accuracies[label])
    tried = {trial["label"] for trial in entry["trials"] if trial["measured"]["test"]}
    assert tried == {entry["chosen"]}
    # With further seeds the other trial may be better: the one that was tried on the test images stays the choice.
    rows = planned(("s0_grid_search",), epochs=None)
    monkeypatch.setattr(one_training, "figures_of", lambda *_: {"validation": {"accuracy": 0.0}})
    chosen = chosen_trial(tmp_path / "out", rows, {"s0_grid_search/rate-1e-30": {0: "diverged"}})
    assert chosen is not None and chosen.label == entry["chosen"]


# Each epoch of it takes half a second more, so that it is stopped within one.
_PROGRAM = """
import sys, time
sys.path.insert(0, {root!r})
import edgefm
from edgefm.training import checkpoint
from tests.fixtures.small_data import small_fashion_mnist
save = checkpoint.save
def slowly(*given, **named):
    save(*given, **named)
    time.sleep(0.5)
checkpoint.save = slowly
data = small_fashion_mnist(train=640, validation=200, test=200)
edgefm.reproduce("ann", seeds=2, epochs=8, data=data, out={out!r}, rounds=1, progress=False)
"""


def test_killed_reproduction_goes_on_where_it_was(small: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    program = _PROGRAM.format(root=str(ROOT), out=str(out))
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL, env=os.environ)
    second = out / "ann" / "seed-1"
    deadline = time.monotonic() + 240
    while not list(second.glob("*train.partial/checkpoint.npz")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    first = _trained(out)
    assert [name for name, _ in first] == ["ann/seed-0"]
    found = edgefm.reproduce("ann", seeds=2, epochs=8, data=small, out=out, rounds=1, progress=False)
    after = _trained(out)
    assert after[0] == first[0] and [name for name, _ in after] == ["ann/seed-0", "ann/seed-1"]
    assert [seed["epochs"] for seed in found.record["systems"][0]["seeds"]] == [8, 8]
    # A resumed training has the history of one that was never stopped.
    recipe = replace(documented_system("ann").recipe, epochs=8, seed=1)
    whole = edgefm.train(recipe=recipe, data=small, progress=False).history[-1]
    resumed = found.record["systems"][0]["seeds"][1]
    assert resumed["validation"]["accuracy"] == pytest.approx(100 * whole["val_accuracy"])
    assert resumed["train"]["loss"] == pytest.approx(whole["loss"], rel=1e-6)


def test_two_at_once_are_refused(small: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with FileLock(out / ".lock"), pytest.raises(RunError, match="in use by another reproduction"):
        edgefm.reproduce("ann", seeds=1, data=small, out=out, progress=False)


def test_folder_of_another_reproduction_is_refused(done: edgefm.Reproduction, small: Dataset) -> None:
    with pytest.raises(RunError, match="another reproduction: epochs is 2 there, 3 here"):
        edgefm.reproduce("ann", epochs=3, data=small, out=done.folder, progress=False)
    with pytest.raises(RunError, match="another reproduction: precision"):
        edgefm.reproduce("ann", epochs=2, data=small, out=done.folder, precision="mixed_bfloat16", progress=False)


def test_folder_of_something_else_is_refused(small: Dataset, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(RunError, match="holds no reproduction"):
        edgefm.reproduce("ann", data=small, out=tmp_path, progress=False)
    with pytest.raises(RunError, match="is a file"):
        edgefm.reproduce("ann", data=small, out=tmp_path / "notes.txt", progress=False)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "reproduce.json").write_text("[]", encoding="utf-8")
    with pytest.raises(RunError, match="is damaged"):
        edgefm.reproduce("ann", data=small, out=tmp_path / "other", progress=False)


@pytest.mark.parametrize("name", ["seeds", "epochs", "rounds"])
@pytest.mark.parametrize("value", [0, -1])
def test_numbers_below_one_are_refused(small: Dataset, tmp_path: Path, name: str, value: int) -> None:
    with pytest.raises(RecipeError, match=f"{name} {value} is not allowed: 1 or more"):
        edgefm.reproduce("ann", data=small, out=tmp_path, **{name: value})


def test_unknown_and_missing_systems_are_refused(small: Dataset, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="did you mean 'leaky_cnn'"):
        edgefm.reproduce("leaky", data=small, out=tmp_path)
    with pytest.raises(RecipeError, match="did you mean 's4_pooling'"):
        edgefm.reproduce(["ann", "s4_poolings"], data=small, out=tmp_path)
    with pytest.raises(RecipeError, match="no system was named"):
        edgefm.reproduce([], data=small, out=tmp_path)
    with pytest.raises(ArgumentError, match="systems"):
        edgefm.reproduce([3], data=small, out=tmp_path)  # type: ignore[list-item]
    with pytest.raises(ArgumentError, match="seeds"):
        edgefm.reproduce("ann", seeds=1.5, data=small, out=tmp_path)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_model_name_stands_for_its_system() -> None:
    from edgefm.jobs.reproduce.plan import checked_ids

    assert checked_ids(["mobilenet_v2_small28", "mobilenet_v2"]) == ("mobilenet_v2",)


def test_data_of_another_form_are_refused(small: Dataset, tmp_path: Path) -> None:
    arrays = {f"x_{split.name}": split.images.repeat(2, axis=1) for split in small.splits}
    np.savez(tmp_path / "tall.npz", **arrays, **{f"y_{split.name}": split.labels for split in small.splits})
    few = {f"x_{split.name}": split.images[split.labels < 3] for split in small.splits}
    labels = {f"y_{split.name}": split.labels[split.labels < 3] for split in small.splits}
    np.savez(tmp_path / "few.npz", **few, **labels)
    for name in ("tall", "few"):
        with pytest.raises(DataError):
            edgefm.reproduce("ann", data=tmp_path / f"{name}.npz", out=tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def _call(*words: str) -> int:
    return run(lambda: cli.main(list(words), standalone_mode=False))


def test_zoo_lists_with_and_without_its_subcommand(capsys: pytest.CaptureFixture[str]) -> None:
    texts = []
    for words in (("zoo",), ("zoo", "list"), ("zoo", "--json"), ("zoo", "list", "--json")):
        assert _call(*words) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] and texts[2] == texts[3]
    assert "kadam_arch3" in texts[0] and "88.01 to 89.58" in texts[0]
    entries = {entry["name"]: entry for entry in json.loads(texts[2])}
    assert entries["tiny_vgg"]["trainable"] == 7_740 and entries["tiny_vgg"]["claim"]["test_accuracy"] == 87.92


def test_zoo_shows_a_system_and_an_experiment(capsys: pytest.CaptureFixture[str]) -> None:
    assert _call("zoo", "show", "lenet5") == 0
    assert "not credible" in capsys.readouterr().out
    assert _call("zoo", "show", "s4_optimizer", "--json") == 0
    value = json.loads(capsys.readouterr().out)
    assert [row["params"]["optimizer"] for row in value["trainings"]] == ["sgd", "adam", "adam"]
    assert _call("zoo", "show", "s4_optimiser") == 2
    assert "did you mean 's4_optimizer'" in capsys.readouterr().err


def test_zoo_shows_an_architecture_of_no_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert _call("zoo", "show", "ds_cnn") == 0
    shown = capsys.readouterr().out
    assert "from 10 x 10 pixels" in shown and "23,756 parameters" in shown and "edgefm train --model ds_cnn" in shown
    assert _call("zoo", "show", "resnet14") == 0
    assert "--model-option order=postactivation|preactivation" in capsys.readouterr().out
    assert _call("zoo", "show", "enhanced_cnn") == 0
    assert "--model-option batch_norm=after_relu|before_relu" in capsys.readouterr().out
    assert _call("zoo", "show", "mobilenet_v2_small28") == 0  # by its architecture
    assert "edgefm zoo reproduce mobilenet_v2" in capsys.readouterr().out
    assert _call("zoo", "show", "ds_cnn", "--json") == 0
    assert json.loads(capsys.readouterr().out)["smallest"] == 10
    assert _call("zoo", "show", "ds_cn") == 2
    assert "did you mean 'ds_cnn'" in capsys.readouterr().err


def test_command_reproduces_and_prints_the_record(
    small: Dataset, done: edgefm.Reproduction, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays = {f"x_{split.name}": split.images for split in small.splits}
    np.savez(tmp_path / "data.npz", **arrays, **{f"y_{split.name}": split.labels for split in small.splits})
    words = ("--data", str(tmp_path / "data.npz"), "--out", str(tmp_path / "out"), "--rounds", "1", "--seeds", "1")
    assert _call("zoo", "reproduce", "ann", "--epochs", "1", *words, "--json") == 0
    value = json.loads(capsys.readouterr().out)
    assert value["systems"][0]["id"] == "ann"
    assert _call("zoo", "reproduce", "ann", "--epochs", "1", *words, "--variant", "float16") == 0
    shown = capsys.readouterr().out
    assert "shortened" in shown and ["ann", "float16"] in [line.split()[:2] for line in shown.splitlines()]
    assert "\\n" not in shown
    assert _call("zoo", "reproduce", "ann", *words) == 2
    assert "another reproduction" in capsys.readouterr().err
