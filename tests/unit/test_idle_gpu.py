"""Training on the CPU while another backend has a GPU is said, and costs nothing where there is no sign of one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import edgefm
from edgefm.core import subprocesses
from edgefm.core.subprocesses import CommandResult, NotStartedError, TimeLimitError
from edgefm.keras_graph import idle_gpu
from edgefm.keras_graph.backend import BackendDevice, device_of
from edgefm.keras_graph.idle_gpu import gpu_of, note_idle_gpu
from tests.fixtures.notes import Notes


def _device(backend: str = "tensorflow 2.21.0", kind: str = "cpu") -> BackendDevice:
    return BackendDevice(backend=backend, kind=kind, name="2 CPU cores", precision="float32", keras="3.15.1")


@pytest.fixture
def all_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle_gpu, "find_spec", lambda name: name)


@pytest.fixture
def forgotten() -> Iterator[None]:
    gpu_of.cache_clear()
    yield
    gpu_of.cache_clear()


@pytest.mark.usefixtures("all_installed")
def test_the_backend_that_has_the_gpu_is_named() -> None:
    gpus, notes = {"jax": None, "torch": "NVIDIA H200"}, Notes()
    note_idle_gpu(_device(), progress=notes, sign=lambda: True, ask=gpus.get)
    assert notes.notes == [
        "tensorflow trains on the CPU here, and torch has a GPU, NVIDIA H200: choose backend torch to use it"
    ]
    note_idle_gpu(_device("torch 2.13.0"), progress=notes, sign=lambda: True, ask={"tensorflow": "A100"}.get)
    assert notes.notes[1].startswith("torch trains on the CPU here, and tensorflow has a GPU, A100")


@pytest.mark.usefixtures("all_installed")
def test_no_other_backend_with_a_gpu_is_no_word() -> None:
    asked: list[str] = []
    notes = Notes()
    note_idle_gpu(_device("jax 0.10.2"), progress=notes, sign=lambda: True, ask=asked.append)
    assert asked == ["tensorflow", "torch"] and not notes.notes


def test_nothing_is_asked_without_a_sign_or_on_a_gpu_or_of_what_is_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def ask(backend: str) -> str:
        raise AssertionError(f"{backend} was asked")

    notes = Notes()
    note_idle_gpu(_device(), progress=notes, sign=lambda: False, ask=ask)
    note_idle_gpu(_device(kind="gpu"), progress=notes, sign=lambda: True, ask=ask)
    monkeypatch.setattr(idle_gpu, "find_spec", lambda name: None)
    note_idle_gpu(_device(), progress=notes, sign=lambda: True, ask=ask)
    assert not notes.notes


def test_signs_are_the_files_of_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle_gpu, "_SIGNS", (tmp_path / "no", tmp_path / "nvidia0"))
    assert not idle_gpu.has_sign_of_gpu()
    (tmp_path / "nvidia0").touch()
    assert idle_gpu.has_sign_of_gpu()


@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize(
    ("output", "gpu"),
    [
        ('a warning\n["gpu", "NVIDIA H200"]\n', "NVIDIA H200"),
        ('["cpu", "2 CPU cores"]\n', None),
        ("", None),
        ("Segmentation fault", None),
        (TimeLimitError("too long"), None),
        (NotStartedError("no python"), None),
    ],
)
def test_answer_of_the_other_process_decides(
    output: str | Exception, gpu: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(command: list[str], **_: object) -> CommandResult:
        assert command[-2:] == ["edgefm.keras_graph.idle_gpu", "jax"]
        if isinstance(output, Exception):
            raise output
        return CommandResult(code=0, raw=output.encode(), raw_errors=b"")

    monkeypatch.setattr(subprocesses, "run", run)
    assert gpu_of("jax") == gpu


@pytest.mark.usefixtures("forgotten")
@pytest.mark.jax
def test_a_real_backend_answers_as_it_does_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jax")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert gpu_of("jax") is None
    command = subprocesses.python_module("edgefm.keras_graph.idle_gpu", "jax")
    variables = {"PYTHONPATH": subprocesses.import_path(), "JAX_PLATFORMS": "cpu"}
    done = subprocesses.run(command, seconds=100, environment=variables)
    kind, name = json.loads(done.output.splitlines()[-1])
    assert kind == "cpu" and re.fullmatch(r"(1 CPU core|\d+ CPU cores)", name)


def test_cores_of_a_device_are_those_that_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    for count, name in ((1, "1 CPU core"), (3, "3 CPU cores")):
        monkeypatch.setattr("edgefm.core.environment.usable_cores", lambda count=count: count)
        assert device_of("tensorflow") == ("cpu", name)


class _AskedError(Exception):
    """Ends a training where another backend is asked for its GPU."""


@pytest.mark.parametrize("in_a_run", [False, True])
def test_a_training_asks_before_its_first_epoch(
    in_a_run: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgefm.keras_graph.backend import use_backend

    if use_backend(None).kind != "cpu":
        pytest.skip("this machine trains on a GPU")

    def ask(_: str) -> str:
        raise _AskedError

    defaults = note_idle_gpu.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "sign", lambda: True)
    monkeypatch.setitem(defaults, "ask", ask)
    monkeypatch.setattr(idle_gpu, "find_spec", lambda name: name)
    pictures = np.random.default_rng(0).integers(0, 255, (60, 28, 28, 1), np.uint8)
    data = edgefm.data.from_arrays(pictures, np.arange(60) % 3)
    recipe, notes = edgefm.Training(model="basic_cnn", epochs=1), Notes()
    with pytest.raises(_AskedError):
        if in_a_run:
            edgefm.Run(tmp_path / "run").train(recipe, data=data, progress=notes)
        else:
            edgefm.train(recipe=recipe, data=data, progress=notes)
    assert notes.notes[-1].startswith("training basic_cnn on ")
