import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from edgefm.core.errors import RecipeError, RunError
from edgefm.core.runs import RunDirectory
from edgefm.data.dataset import Dataset
from edgefm.recipes import Training
from edgefm.report.drawing.curves import draw_curves
from edgefm.training.step import train_run
from edgefm.training.stopped import Stopped, stopped_training
from tests.fixtures.small_data import small_fashion_mnist

RECIPE = Training(epochs=3, batch_size=64, shift_pixels=1)
FIGURES = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")


@pytest.fixture(scope="module")
def data() -> Dataset:
    return small_fashion_mnist()


@pytest.fixture(scope="module")
def unbroken(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    run = RunDirectory.create_at(tmp_path_factory.mktemp("unbroken"))
    train_run(run, data, recipe=RECIPE, draw=draw_curves, backend="tensorflow")
    return run


def history(run: RunDirectory) -> dict:
    return json.loads((run.folder(run.require("train")) / "history.json").read_text())


def figures(run: RunDirectory) -> list[tuple]:
    return [tuple(epoch[name] for name in FIGURES) for epoch in history(run)["epochs"]]


def test_training_learns_and_leaves_model_history_and_curves(unbroken: RunDirectory, data: Dataset) -> None:
    import keras

    step = unbroken.require("train")
    folder = unbroken.folder(step)
    assert {path.name for path in folder.iterdir()} == {
        "model.keras",
        "history.json",
        "history.csv",
        "confusion.csv",
        "recipe.json",
        "curves.png",
        "splits.npz",
    }
    losses = [epoch["loss"] for epoch in history(unbroken)["epochs"]]
    assert losses[-1] < losses[0]
    assert step.summary["verdict"] == history(unbroken)["verdict"]["name"]

    model = keras.models.load_model(folder / "model.keras")
    assert all(type(layer).__module__.startswith("keras.") for layer in model.layers), "plain Keras layers only"
    probabilities = np.asarray(model.predict_on_batch(data.validation.images))
    accuracy = float((probabilities.argmax(axis=1) == data.validation.labels).mean())
    assert accuracy == pytest.approx(step.summary["validation_accuracy"], abs=1e-9)


def test_same_seed_gives_the_same_history(unbroken: RunDirectory, data: Dataset, tmp_path: Path) -> None:
    again = RunDirectory.create_at(tmp_path / "again")
    train_run(again, data, recipe=RECIPE, draw=draw_curves, backend="tensorflow")
    assert figures(again) == figures(unbroken)
    other = RunDirectory.create_at(tmp_path / "other")
    train_run(
        other,
        data,
        recipe=Training(epochs=3, batch_size=64, shift_pixels=1, seed=1),
        draw=draw_curves,
        backend="tensorflow",
    )
    assert figures(other) != figures(unbroken)


class _StopIn:
    """Raises KeyboardInterrupt in the middle of an epoch, as Ctrl-C does; in the first one it is told of if None."""

    def __init__(self, epoch: int | None) -> None:
        self.epoch = epoch
        self.notes: list[str] = []

    def step(self, label: str, done: int, total: int, figures: Mapping[str, str] | None = None) -> None:
        epoch = (figures or {}).get("epoch", "0/0").split("/")[0]
        if label == "train" and self.epoch in (None, int(epoch)):
            raise KeyboardInterrupt

    def note(self, message: str) -> None:
        self.notes.append(message)


def test_interrupted_training_resumes_to_the_history_of_an_unbroken_one(
    unbroken: RunDirectory, data: Dataset, tmp_path: Path
) -> None:
    run = RunDirectory.create_at(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        train_run(run, data, recipe=RECIPE, draw=draw_curves, backend="tensorflow", progress=_StopIn(3))
    assert run.steps() == ()
    inputs = {"dataset": data.sha256}
    assert stopped_training(run) == Stopped(recipe=RECIPE, backend="tensorflow", precision="float32", inputs=inputs)
    with pytest.raises(RunError, match="holds a stopped training"):
        train_run(run, data, recipe=RECIPE, draw=draw_curves, backend="tensorflow")
    train_run(run, data, recipe=RECIPE, draw=draw_curves, backend="tensorflow", resume=True)
    assert history(run)["resumed_from"] == 2
    assert figures(run) == figures(unbroken)


def test_finished_training_is_not_done_twice(unbroken: RunDirectory, data: Dataset) -> None:
    before = unbroken.require("train")
    notes = _StopIn(None)
    assert train_run(unbroken, data, recipe=RECIPE, draw=draw_curves, backend="tensorflow", progress=notes) == before
    assert "nothing to do" in notes.notes[-1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"recipe": Training(epochs=4)}, "the stopped training has epochs 3; 4 was given"),
        ({"backend": "jax"}, "the stopped training has backend tensorflow; jax was given"),
        ({"precision": "float32"}, "the stopped training has precision mixed_float16; float32 was given"),
    ],
    ids=["recipe", "backend", "precision"],
)
def test_options_that_differ_from_the_stopped_training_are_refused(given: dict, message: str) -> None:
    stopped = Stopped(recipe=Training(epochs=3), backend="tensorflow", precision="mixed_float16")
    stopped.check(recipe=Training(epochs=3), backend=None, precision=None)
    with pytest.raises(RecipeError, match=message):
        stopped.check(**{"recipe": None, "backend": None, "precision": None, **given})


def test_checkpoint_of_mixed_float16_can_be_restored(tmp_path: Path) -> None:
    import keras

    from edgefm import zoo
    from edgefm.keras_graph.backend import use_backend
    from edgefm.training import checkpoint
    from edgefm.training.device.session import compile_for

    try:
        use_backend("tensorflow", "mixed_float16")
        models = [zoo.build("enhanced_cnn") for _ in range(2)]
    finally:
        keras.config.set_dtype_policy("float32")
    for model in models:
        compile_for(model, RECIPE, steps=10)
    checkpoint.save(tmp_path / "checkpoint.npz", models[0], [{"epoch": 1}])
    assert checkpoint.restore(tmp_path / "checkpoint.npz", models[1]) == [{"epoch": 1}]
    for saved, restored in zip(models[0].get_weights(), models[1].get_weights(), strict=True):
        np.testing.assert_array_equal(saved, restored)


@pytest.mark.slow
def test_kill_9_loses_at_most_one_epoch(tmp_path: Path) -> None:
    arguments = ["edgefm", "train", "--preset", "quick", "--epochs", "30", "--run", "run"]
    script = (
        "import sys; from tests.fixtures.small_data import small_fashion_mnist as small\n"
        "import edgefm.data.reference.fashion_mnist as source\n"
        "data = small(); source.load_fashion_mnist = lambda *a, **k: data\n"
        f"sys.argv = {arguments!r}\n"
        "from edgefm.cli.start import main; main()"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "KERAS_BACKEND": "tensorflow"}
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        seen: list[str] = []
        for line in process.stderr:
            seen.append(line)
            if "epoch  3/30" in line:
                break
        time.sleep(0.3)
        process.send_signal(signal.SIGKILL)
    assert "".join(seen).count("epoch ") >= 3, seen
    run = RunDirectory.open(tmp_path / "run")
    assert run.steps() == ()
    with np.load(run.partial("train") / "checkpoint.npz") as saved:
        epochs = json.loads(saved["history"].tobytes())
    assert len(epochs) >= 3
    resumed = _StopIn(None)
    with pytest.raises(KeyboardInterrupt):
        train_run(
            run,
            small_fashion_mnist(),
            recipe=stopped_training(run).recipe,
            draw=draw_curves,
            resume=True,
            progress=resumed,
        )
    assert f"resuming after epoch {len(epochs)} of 30" in resumed.notes


@pytest.mark.jax
def test_jax_backend_trains_the_same_history_twice_without_tensorflow(tmp_path: Path) -> None:
    _train_twice("jax", tmp_path)


@pytest.mark.torch
def test_torch_backend_trains_the_same_history_twice_without_tensorflow(tmp_path: Path) -> None:
    _train_twice("torch", tmp_path)


_TRAIN_TWICE = """
import json, sys
from pathlib import Path
from edgefm.recipes import Training
from edgefm.core.runs import RunDirectory
from edgefm.report.drawing.curves import draw_curves
from edgefm.training.step import train_run
from tests.fixtures.small_data import small_fashion_mnist
data = small_fashion_mnist(train=256, validation=100)
histories = []
for name in ("a", "b"):
    run = RunDirectory.create_at(Path(name))
    step = train_run(run, data, recipe=Training(epochs=2, batch_size=64), draw=draw_curves, backend=sys.argv[1])
    history = json.loads((run.folder(step) / "history.json").read_text())
    histories.append([(e["loss"], e["val_loss"], e["val_accuracy"]) for e in history["epochs"]])
    assert (run.folder(step) / "model.keras").exists()
assert "tensorflow" not in sys.modules, "TensorFlow was imported"
assert history["device"]["backend"].startswith(sys.argv[1]), history["device"]
print(json.dumps(histories))
"""


def _train_twice(backend: str, folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "KERAS_BACKEND": backend}
    result = subprocess.run(
        [sys.executable, "-c", _TRAIN_TWICE, backend],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    first, second = json.loads(result.stdout.splitlines()[-1])
    assert first == second
