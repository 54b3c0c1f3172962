"""Class weights by class: against keras.Model.fit(class_weight=...), in files, on the command line, and wrong ones."""

from __future__ import annotations

import doctest
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import edgefm
from edgefm.cli.train import command
from edgefm.core.errors import RecipeError, RunError
from edgefm.core.progress import SILENT
from edgefm.core.runs import Step
from edgefm.data.dataset import Dataset
from edgefm.jobs.to_learn.data import with_class_names
from edgefm.recipes import Distillation, Training, class_weights, load_training
from edgefm.report.text import reproduce
from edgefm.training.augmentation import epoch_order
from edgefm.training.device import objective
from tests.fixtures.notes import Notes

NAMES = ("cat", "dog", "a,b=1")


@pytest.fixture(scope="module")
def data() -> Dataset:
    random = np.random.default_rng(3)
    labels = np.arange(60) % 6 // 2 * (np.arange(60) % 3 > 0)  # classes of different size
    pixels = (random.integers(0, 120, (60, 4, 4, 1)) + 60 * labels[:, None, None, None]).astype(np.uint8)
    return edgefm.data.from_arrays(pixels, labels, class_names=NAMES, progress=False)


def network() -> Any:
    import keras

    model = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(3, "softmax"),
        ]
    )
    random = np.random.default_rng(5)
    model.set_weights([random.normal(size=weights.shape) for weights in model.get_weights()])
    return model


def by_both(data: Dataset, folder: Path, *, backend: str, smoothing: float) -> tuple[Any, ...]:
    """Return losses and weights of two epochs by edgefm and by keras.Model.fit(class_weight=...), the same order."""
    from edgefm.keras_graph.backend import use_backend

    device = use_backend(backend, "float32")
    import keras

    from edgefm.training.fit import fit

    recipe = Training(
        epochs=2, batch_size=8, flip=False, optimizer="sgd", learning_rate=0.1, schedule="constant", weight_decay=0.0,
        label_smoothing=smoothing, class_weights={"cat": 0.25, 2: 3.5},
    )  # fmt: skip
    result = fit(data, recipe, device=device, folder=folder, model=network())
    model = network()
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=smoothing)
    model.compile(keras.optimizers.SGD(0.1), loss, metrics=["accuracy"])
    losses, accuracies = [], []
    for epoch in range(2):
        order, _ = epoch_order(len(data.train), seed=recipe.seed, epoch=epoch)
        used = order[: len(order) // 8 * 8]
        told = model.fit(
            data.train.images[used], np.eye(3)[data.train.labels[used]], batch_size=8, shuffle=False, verbose=0,
            class_weight={0: 0.25, 2: 3.5},
        )  # fmt: skip
        losses += told.history["loss"]
        accuracies += told.history["accuracy"]
    mine = [[epoch[name] for epoch in result.epochs] for name in ("loss", "accuracy")]
    return mine, [losses, accuracies], result.model.get_weights(), model.get_weights()


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_steps_are_those_of_fit_with_class_weight(smoothing: float, data: Dataset, tmp_path: Path) -> None:
    mine, theirs, weights, expected = by_both(data, tmp_path, backend="tensorflow", smoothing=smoothing)
    np.testing.assert_allclose(mine, theirs, rtol=1e-5)
    for found, wanted in zip(weights, expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5)


_ON_BACKEND = """
import sys
from pathlib import Path
import numpy as np
from tests.unit import test_class_weights as here
mine, theirs, weights, expected = here.by_both(here.data.__wrapped__(), Path("."), backend=sys.argv[1], smoothing=0.1)
np.testing.assert_allclose(mine, theirs, rtol=1e-5)
for found, wanted in zip(weights, expected, strict=True):
    np.testing.assert_allclose(found, wanted, atol=1e-5)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "backend", [pytest.param("jax", marks=pytest.mark.jax), pytest.param("torch", marks=pytest.mark.torch)]
)
def test_steps_are_those_of_fit_on_other_backends(backend: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "KERAS_BACKEND": backend}
    program = [sys.executable, "-c", _ON_BACKEND, backend]
    done = subprocess.run(program, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def test_balanced_weights_said_by_class_train_as_balanced_does(data: Dataset, tmp_path: Path) -> None:
    """With labels mixed and smoothed, and a teacher, whatever 'balanced' does is done with weights by class."""
    from edgefm.keras_graph.backend import use_backend

    device = use_backend("tensorflow", "float32")
    from edgefm.training.fit import fit

    recipe = Training(
        epochs=2, batch_size=8, mixup=0.4, cutmix=0.5, label_smoothing=0.1, class_weights="balanced",
        distillation=Distillation(teachers=("one",), weight=0.4),
    )  # fmt: skip
    counts = np.bincount(data.train.labels)
    weights = dict(zip(NAMES, len(data.train) / (3 * counts), strict=True))

    def teacher(images: Any) -> Any:
        return np.tile(np.float32([0.5, 0.3, 0.2]), (len(images), 1))

    found = []
    for number, chosen in enumerate(("balanced", weights, {**weights, "dog": 9.0})):
        folder = tmp_path / str(number)
        folder.mkdir()
        wanted = replace(recipe, class_weights=chosen)
        result = fit(data, wanted, device=device, folder=folder, model=network(), teacher=teacher)
        found.append([epoch["loss"] for epoch in result.epochs])
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_recipe_keeps_plain_numbers_of_its_own_and_compares_by_them() -> None:
    given = dict(zip(np.unique([0, 1, 1]), np.float32([0.5, 2.0]), strict=True))  # as scikit-learn's weights are zipped
    recipe = Training(class_weights=given)
    given[np.int64(0)] = np.float32(7)
    assert recipe.class_weights == {0: 0.5, 1: 2.0}
    assert [type(part) for pair in recipe.class_weights.items() for part in pair] == [int, float] * 2
    assert recipe == Training(class_weights={1: 2, 0: 0.5}) != Training(class_weights={0: 0.5})
    assert Training(class_weights={}) == Training(class_weights="none")
    assert recipe.given == {"class_weights"}
    assert json.loads(json.dumps(recipe.to_json()))["params"]["class_weights"] == {"0": 0.5, "1": 2.0}
    named = Training(class_weights={"cat": 2, "dog": 0})
    assert Training.from_json(json.loads(json.dumps(named.to_json()))) == named
    assert replace(named, epochs=1).class_weights == {"cat": 2.0, "dog": 0.0}
    mixed = Training(class_weights={"cat": 2, 1: 3})
    assert mixed.to_json()["params"]["class_weights"] == {"cat": 2.0, "1": 3.0}  # JSON sorts no texts beside numbers


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cat": -0.5}, r"class_weights of 'cat' is -0\.5; a number of at least 0 and at most 1,000,000,000"),
        ({"cat": float("nan")}, "class_weights of 'cat' is nan"),
        ({"cat": float("inf")}, "class_weights of 'cat' is inf"),
        ({"cat": 10**400}, "class_weights of 'cat' is 1000"),
        ({"cat": True}, "class_weights of 'cat' is True; a number is expected"),
        ({"cat": "2"}, "class_weights of 'cat' is '2'; a number is expected"),
        ({"cat": None}, "class_weights of 'cat' is None; a number is expected"),
        ({"cat": [1.0]}, "a number is expected"),
        ([1.0, 2.0], r"class_weights is \[1\.0, 2\.0\]; 'none', 'balanced' or a weight for each class is expected"),
        (2, "class_weights is 2;"),
        (None, "class_weights is None;"),
        ("balancd", r"unknown class_weights 'balancd'; did you mean 'balanced'\?"),
    ],
    ids=str,
)
def test_weights_that_are_none_are_refused(given: Any, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Training(class_weights=given)
    with pytest.raises(RecipeError, match=message):
        Training.from_json({"kind": "train", "params": {"class_weights": given}})


@pytest.mark.parametrize("key", [True, 1.0, None, ("cat",)], ids=str)
def test_classes_that_are_no_names_and_no_numbers_are_refused(key: Any) -> None:
    with pytest.raises(RecipeError, match="a name or a whole number is expected"):
        Training(class_weights={key: 2.0})


def test_a_text_is_a_name_before_it_is_a_number() -> None:
    digits = ("1", "2", "01")
    assert class_weights.by_name({"1": 2.0}, digits) == {"1": 2.0}
    assert class_weights.by_name({1: 2.0}, digits) == {"2": 2.0}
    assert class_weights.by_name({"0": 2.0}, digits) == {"1": 2.0}
    assert class_weights.by_name({"01": 2.0, "2": 3.0}, digits) == {"2": 3.0, "01": 2.0}
    assert class_weights.by_name({"1": 1.0, 2: 1.0}, digits) == "none"
    assert class_weights.by_name("balanced", digits) == "balanced"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dgo": 2.0}, r"unknown class in class_weights 'dgo'; did you mean 'dog'\?\n  Known: cat, dog, a,b=1\."),
        ({3: 2.0}, r"class_weights has the class number 3; there are 3 classes, 0 to 2\n  Known: cat, dog, a,b=1\."),
        ({"3": 2.0}, "class_weights has the class number 3"),
        ({-1: 2.0}, "class_weights has the class number -1"),
        ({"-1": 2.0}, "unknown class in class_weights '-1'"),
        ({"٣": 2.0}, "unknown class in class_weights '٣'"),
        ({"dog": 2.0, 1: 2.0}, "class_weights has class 1, 'dog', twice: as 'dog' and as 1"),
        ({"1": 2.0, 1: 2.0}, "class_weights has class 1, 'dog', twice: as '1' and as 1"),
        ({"cat": 0, "dog": 0, 2: 0}, "class_weights is 0 for all 3 classes: nothing would be learnt"),
    ],
    ids=str,
)
def test_classes_that_the_data_do_not_have_are_named_before_a_run_is_made(
    given: Any, message: str, data: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=message):
        with_class_names(Training(class_weights=given), data, progress=SILENT)
    run = edgefm.Run(tmp_path / "run")
    with pytest.raises(RecipeError, match=message):
        run.train(model="basic_cnn", data=data, changes={"class_weights": given, "epochs": 1}, progress=False)
    assert not run.path.exists()


def test_weights_are_said_by_name(data: Dataset) -> None:
    notes = Notes()
    recipe = with_class_names(Training(class_weights={2: 3.5, 0: 0.25, 1: 1}), data, progress=notes)
    assert list(recipe.class_weights.items()) == [("cat", 0.25), ("a,b=1", 3.5)]  # type: ignore[union-attr]
    assert notes.notes == ["class weights: cat 0.25, a,b=1 3.5 (the others: 1)"]
    assert with_class_names(Training(class_weights={0: 1.0}), data, progress=notes).class_weights == "none"


def test_a_class_without_validation_samples_can_have_a_weight(tmp_path: Path, data: Dataset) -> None:
    validation = replace(data.validation, labels=np.zeros_like(data.validation.labels))
    result = edgefm.train(
        "basic_cnn",
        data=replace(data, validation=validation),
        image_size=28,
        recipe=Training(class_weights={"dog": 2.0}, epochs=1, batch_size=16),
        progress=False,
    )
    assert result.recipe.class_weights == {"dog": 2.0} and len(result.history) == 1


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("none", "none"),
        ("balanced", "balanced"),
        ("cat=2,dog=0.5", {"cat": 2.0, "dog": 0.5}),
        ("0=1,1=3.5", {"0": 1.0, "1": 3.5}),
        ("a,b=1=2,cat=0", {"a,b=1": 2.0, "cat": 0.0}),  # the last sign of an item counts
        ("New York, NY=2", {"New York, NY": 2.0}),
        ('{"x=1,y": 2}', {"x=1,y": 2.0}),
        ("{}", "none"),
        ("none=2", {"none": 2.0}),
    ],
)
def test_text_of_a_command_line_is_read_and_written(text: str, wanted: Any) -> None:
    found = class_weights.checked(class_weights.parsed(text))
    assert found == wanted
    assert class_weights.checked(class_weights.parsed(class_weights.written(found))) == wanted


@pytest.mark.parametrize("name", ["a,b", "x=1,y", "=", "", "}", "{x}", "a\nb", " a", "é", "none", ",", "1", "a=2,"])
def test_any_name_of_a_class_can_be_written(name: str) -> None:
    weights = {name: 1 / 3, "other": 123456789.5}
    assert class_weights.parsed(class_weights.written(weights)) == weights


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat=x", "class_weights of 'cat' is 'x'; a number is expected"),
        ("cat=", "class_weights of 'cat' is ''; a number is expected"),
        ("cat=1,dog", "class_weights 'dog' is no class with its weight"),
        ("cat=1,", "class_weights ',' is no class with its weight"),
        ("=2", "class_weights '=2' is no class with its weight"),
        ("cat=1,cat=2", "class_weights has the class 'cat' twice"),
        ('{"cat": 1, "cat": 2}', "class_weights has the class 'cat' twice"),
        ("{cat}", r"class_weights \{cat\} cannot be read"),
        ("cat=nan", "class_weights of 'cat' is nan"),
        ("cat=-1", "class_weights of 'cat' is -1"),
        ('{"cat": true}', "class_weights of 'cat' is True"),
        ("cats", "unknown class_weights 'cats'"),
    ],
)
def test_text_that_is_none_is_refused(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        class_weights.checked(class_weights.parsed(text))


def test_recipe_file_holds_weights_by_class(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text('{"kind": "train", "params": {"class_weights": {"cat": 2, "1": 0.5}}}')
    recipe = load_training(path)
    assert recipe.class_weights == {"cat": 2.0, "1": 0.5}
    path.write_text('{"kind": "train", "params": {"class_weights": {"cat": "2"}}}')
    with pytest.raises(RecipeError, match=r"mine\.json: class_weights of 'cat' is '2'"):
        load_training(path)
    path.write_text('{"kind": "train", "params": {"class_weights": [2, 1]}}')
    with pytest.raises(RecipeError, match=r"mine\.json: class_weights is \[2, 1\]"):
        load_training(path)


class _StopIn:
    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def step(self, label: str, done: int, total: int, figures: Any = None) -> None:
        if figures and figures.get("epoch", "").startswith(f"{self.epoch}/"):
            raise KeyboardInterrupt

    def note(self, message: str) -> None:
        pass


def test_run_remembers_weights_by_name_and_goes_on_with_them(data: Dataset, tmp_path: Path) -> None:
    run = edgefm.Run(tmp_path / "run")
    given: dict[str, Any] = {"epochs": 2, "batch_size": 16, "class_weights": {0: 0.5, 2: 4}}
    options: dict[str, Any] = {"model": "basic_cnn", "image_size": 28}
    with pytest.raises(KeyboardInterrupt):
        run.train(data=data, changes=given, progress=_StopIn(2), **options)
    with pytest.raises(RecipeError, match=r"the stopped training has class_weights \{'cat': 0\.5, 'a,b=1': 4\.0\}"):
        run.train(resume=True, changes={"class_weights": {"cat": 0.5, "dog": 4}}, progress=False)
    with pytest.raises(RecipeError, match=r"the stopped training has class_weights .* balanced was given"):
        run.train(resume=True, changes={"class_weights": "balanced"}, progress=False)
    with pytest.raises(RecipeError, match="unknown class in class_weights 'cow'"):
        run.train(resume=True, changes={"class_weights": {"cow": 4}}, progress=False)
    # The same weights, said otherwise.
    changes = {"class_weights": {"cat": 0.5, "dog": 1, "2": 4.0}}
    run.train(resume=True, changes=changes, progress=False)
    assert run.training.recipe.class_weights == {"cat": 0.5, "a,b=1": 4.0}
    # The same training, named otherwise, is not done twice.
    again = {**given, "class_weights": {"a,b=1": 4, "cat": 0.5, "dog": 1.0}}
    notes = Notes()
    run.train(data=data, changes=again, progress=notes, **options)
    assert any("nothing to do" in note for note in notes.notes)
    with pytest.raises(RunError):
        run.train(resume=True, progress=False)
    (line,) = reproduce.commands(run.steps)
    assert "--class-weights cat=0.5,a,b=1=4" in line and "no option" not in line


def test_command_of_a_run_gives_the_weights_back() -> None:
    for weights in ({"cat": 2.0, "it's a dog": 0.1}, {"x=1,y": 3.0}, "balanced"):
        recipe = Training(class_weights=weights)
        step = Step(name="00-train", kind="train", key="", created="", seconds=1, recipe=recipe.to_json(), inputs={})
        (line,) = reproduce.commands([step])
        found = subprocess.run(
            ["/bin/sh", "-c", f'edgefm() {{ printf "%s\\n" "$@"; }}; {line}'],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split("\n")
        assert class_weights.parsed(found[found.index("--class-weights") + 1]) == weights


def test_option_reaches_the_recipe(data: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    arrays = {
        f"{letter}_{split.name}": values
        for split in data.splits
        for letter, values in (("x", split.images), ("y", split.labels))
    }
    np.savez(path, **arrays, class_names=np.array(NAMES))
    words = [
        "--model",
        "basic_cnn",
        "--image-size",
        "28",
        "--data",
        str(path),
        "--run",
        str(tmp_path / "run"),
        "--json",
    ]
    weights = "2=3.5,cat=0.25"
    done = CliRunner().invoke(command, [*words, "--epochs", "1", "--class-weights", weights], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["recipe"]["params"]["class_weights"] == {"cat": 0.25, "a,b=1": 3.5}


def test_examples_in_docstrings_hold() -> None:
    for module in (class_weights, objective):
        outcome = doctest.testmod(module)
        assert outcome.attempted and not outcome.failed
