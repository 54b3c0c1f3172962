"""A training on a user's own data: the run remembers them, a resume and the report name them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgefm.core.errors import DataError, RecipeError
from edgefm.core.runs import RunDirectory, Step
from edgefm.data.source import DataSource, data_source_of, dataset_of
from edgefm.jobs.run import Run
from edgefm.recipes import Training
from edgefm.report.text import reproduce
from edgefm.training.step import Stopped


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


def test_training_without_data_of_its_own_is_on_fashion_mnist(tmp_path: Path) -> None:
    run = RunDirectory.create_at(tmp_path / "run")
    _trained(run, {"validation_accuracy": 0.9})
    assert data_source_of(run) == DataSource()


def test_data_that_do_not_fit_the_architecture_are_refused_before_a_run_is_made(tmp_path: Path) -> None:
    data = _npz(tmp_path / "data.npz", size=20)
    with pytest.raises(DataError, match="20"):
        Run(tmp_path / "run").train("quick", data=data, progress=False)
    assert not (tmp_path / "run").exists()


def test_resume_with_other_data_is_refused() -> None:
    stopped = Stopped(recipe=Training(), backend="tensorflow", precision="float32", source=DataSource(where="a.npz"))
    stopped.check(recipe=None, backend=None, precision=None, source=DataSource(where="a.npz"))
    with pytest.raises(RecipeError, match=r"a\.npz"):
        stopped.check(recipe=None, backend=None, precision=None, source=DataSource(where="b.npz"))


def test_report_names_the_data_of_the_training(tmp_path: Path) -> None:
    run = RunDirectory.create_at(tmp_path / "run")
    step = _trained(run, {"data": DataSource(where="/somewhere/data.npz").to_json()})
    step = replace(step, recipe=Training().to_json())
    (command,) = reproduce.commands([step])
    assert "--data data.npz" in command
