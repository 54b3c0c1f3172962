"""Options of `edgefm train` about the loop, from the command line to the files of a run."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import edgefm
from edgefm.cli.main import cli, run
from edgefm.cli.train import command
from edgefm.jobs.run import Run


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("data") / "data.npz"
    pixels = random.integers(0, 256, (140, 28, 28, 1), np.uint8)
    np.savez(path, x_train=pixels, y_train=np.arange(140) % 10, class_names=np.array(list("abcdefghij")))
    return path


OPTIONS = [
    "--optimizer",
    "sgd",
    "--momentum",
    "0.9",
    "--learning-rate",
    "0.02",
    "--weight-decay",
    "0.001",
    "--schedule",
    "constant",
    "--no-flip",
    "--shift-pixels",
    "2",
    "--rotation",
    "10",
    "--zoom",
    "0.1",
    "--erasing",
    "0.3",
    "--mixup",
    "0.2",
    "--cutmix",
    "0.3",
    "--loss",
    "multi_margin",
    "--label-smoothing",
    "0",
    "--class-weights",
    "balanced",
    "--patience",
    "1",
    "--epochs",
    "6",
    "--batch-size",
    "32",
]


def test_options_reach_the_recipe_and_the_files_of_the_run(data: Path, tmp_path: Path) -> None:
    folder, board = tmp_path / "run", tmp_path / "board"
    words = ["--model", "basic_cnn", "--data", data, "--run", folder, "--tensorboard", board, "--backend", "tensorflow"]
    done = CliRunner().invoke(command, [*map(str, words), *OPTIONS, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    recipe = json.loads(done.stdout)["recipe"]["params"]
    wanted: dict[str, Any] = {
        "optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.001, "flip": False, "shift_pixels": 2, "zoom": 0.1,
        "rotation_degrees": 10.0, "erasing": 0.3, "mixup": 0.2, "cutmix": 0.3, "loss": "multi_margin", "patience": 1,
        "class_weights": "balanced", "schedule": "constant", "label_smoothing": 0.0,
    }  # fmt: skip
    assert {name: recipe[name] for name in wanted} == wanted

    training = Run(folder).training
    losses = [epoch["val_loss"] for epoch in training.history]
    assert training.best_epoch == int(np.argmin(losses)) + 1
    assert training.validation_accuracy == training.history[training.best_epoch - 1]["val_accuracy"]
    assert training.peak_memory["process_bytes"] > 1e8
    step = folder / "00-train"
    assert {path.name for path in step.iterdir()} == {
        "model.keras", "history.json", "history.csv", "confusion.csv", "recipe.json", "curves.png",
        "splits.npz",
    }  # fmt: skip
    rows = list(csv.DictReader((step / "history.csv").read_text().splitlines()))
    assert [int(row["epoch"]) for row in rows] == list(range(1, len(losses) + 1))
    table = list(csv.reader((step / "confusion.csv").read_text().splitlines()))
    names = list(edgefm.data.load(data, progress=False).labels)
    assert table[0] == ["true class", *names] and [row[0] for row in table[1:]] == names
    counts = np.array([row[1:] for row in table[1:]], int)
    assert np.trace(counts) / counts.sum() == pytest.approx(training.validation_accuracy)
    assert list(board.glob("train/events.*")) and list(board.glob("validation/events.*"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--optimizer adagrad", "optimizer"),
        ("--mixup 2", "mixup 2.0"),
        ("--rotation 200", "rotation_degrees 200.0"),
        ("--zoom 1", "zoom 1.0"),
        ("--momentum 1", "momentum 1.0"),
        ("--label-smoothing 1", "label_smoothing 1.0"),
        ("--label-smoothing=-0.1", "label_smoothing -0.1"),
        ("--weight-decay=-1", "weight_decay -1.0"),
        ("--weight-decay nan", "weight_decay nan"),
        ("--class-weights balancd", "balancd"),
        ("--loss hinge", "hinge"),
        ("--patience 0", "patience 0"),
        ("--shift-pixels 28", "moves pictures of 28 x 28 pixels out of sight"),
    ],
    ids=lambda words: words if words.startswith("--") else "",
)
def test_values_that_are_not_allowed_are_named_before_a_run_is_made(
    words: str, message: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["train", "--data", str(data), "--run", str(tmp_path / "run"), *words.split()]
    assert run(lambda: cli.main(given, standalone_mode=False)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
