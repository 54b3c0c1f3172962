"""Code that a run holds runs only where this user trusted it; what the run says of itself allows nothing."""

from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import edgefm
from edgefm.core import trust
from edgefm.core.errors import DataError, ModelError
from edgefm.core.named_function import function_named, trust_function
from edgefm.core.runs import RunDirectory
from edgefm.data.source import DataSource, data_source_of, dataset_of
from edgefm.quantization.bring import bring_model
from edgefm.quantization.source import open_source
from edgefm.recipes import Quantization

LOADER = """
import numpy as np
from pathlib import Path

Path({mark!r}).write_text("ran")


def load():
    rng = np.random.default_rng(0)
    return {{"x": rng.integers(0, 256, (120, 4, 4, 1), np.uint8), "y": np.arange(120) % 3}}


def measure(outputs, targets):
    return float((outputs[0].argmax(1) == targets).mean())
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the user a configuration folder of their own, and a working folder without modules."""
    monkeypatch.setattr(trust, "_now", [])
    return _become("owner", tmp_path, monkeypatch)


def _become(user: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / f"config-{user}"))
    monkeypatch.setattr(trust, "_now", [])
    place = tmp_path / f"home-{user}"
    place.mkdir(exist_ok=True)
    monkeypatch.chdir(place)
    return place


def _model(path: Path, *, code: bool = False) -> Path:
    inputs = keras.Input((4, 4, 1))
    x = layers.Flatten()(inputs)
    if code:
        x = layers.Lambda(lambda t: t * 1.0, output_shape=(16,))(x)
    keras.Model(inputs, layers.Dense(3, activation="softmax")(x)).save(path)
    return path


def _module(folder: Path, name: str, mark: Path) -> None:
    (folder / f"{name}.py").write_text(LOADER.format(mark=str(mark)))


def _open(run: RunDirectory) -> None:
    open_source(run, recipe=Quantization(), dataset=None)


def test_a_function_that_the_owner_named_is_found_again_by_the_owner_from_any_folder(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _module(home, "loader_of_owner", tmp_path / "mark")
    run = bring_model(
        tmp_path / "run",
        _model(tmp_path / "m.keras"),
        data=DataSource(where="loader_of_owner:load", quality="loader_of_owner:measure"),
    )
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    dataset = dataset_of(run)
    source = data_source_of(run)
    assert len(dataset.train) + len(dataset.validation) + len(dataset.test) == 120
    assert source is not None and source.measure(dataset).name == "loader_of_owner:measure"


@pytest.mark.parametrize("quality", [False, True], ids=["data", "quality"])
def test_the_receiver_of_a_run_runs_no_function_that_it_names(
    quality: bool, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "mark"
    _module(home, "loader_given_on", mark)
    np.savez(tmp_path / "d.npz", x=np.zeros((60, 4, 4, 1), np.uint8), y=np.arange(60) % 3)
    source = (
        DataSource(where=str(tmp_path / "d.npz"), quality="loader_given_on:measure")
        if quality
        else DataSource(where="loader_given_on:load")
    )
    run = bring_model(tmp_path / "run", _model(tmp_path / "m.keras"), data=source)
    mark.unlink(missing_ok=True)
    there = _become("receiver", tmp_path, monkeypatch)
    _module(there, "loader_given_on", mark)  # the owner may have sent it along
    monkeypatch.delitem(__import__("sys").modules, "loader_given_on", raising=False)
    with pytest.raises(DataError, match="is not trusted by you: calling it runs code") as refused:
        stored = data_source_of(run)
        assert stored is not None
        stored.measure(dataset_of(run))
    assert "edgefm trust" in str(refused.value.hint)
    assert not mark.exists()

    assert edgefm.Run(run.path).trust() == (source.quality if quality else source.where,)
    assert not mark.exists(), "trusting runs nothing"
    stored = data_source_of(run)
    assert stored is not None
    stored.measure(dataset_of(run))
    assert mark.exists()


def test_a_trusted_module_that_has_changed_is_asked_for_again(home: Path, tmp_path: Path) -> None:
    _module(home, "loader_changed", tmp_path / "mark")
    run = bring_model(tmp_path / "run", _model(tmp_path / "m.keras"), data=DataSource(where="loader_changed:load"))
    with (home / "loader_changed.py").open("a") as file:
        file.write("\n# another\n")
    with pytest.raises(DataError, match="has changed since you trusted it"):
        dataset_of(run)


@pytest.mark.parametrize(
    "where", ["os:abort", "sys:exit", "builtins:exec", "package_of_them.inner:load", "json.tool:main"]
)
def test_no_module_is_imported_for_a_function_that_a_file_names(where: str, home: Path, tmp_path: Path) -> None:
    (home / "package_of_them").mkdir()
    (home / "package_of_them" / "__init__.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'w')")
    (home / "package_of_them" / "inner.py").write_text("def load(): pass")
    with pytest.raises(DataError, match="is not trusted by you"):
        function_named(where, named_in=tmp_path / "source.json")
    assert trust_function(where)
    assert not (tmp_path / "mark").exists(), "looking for a module must import no package above it"


def test_a_model_with_code_is_the_owners_decision_not_the_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = bring_model(tmp_path / "run", _model(tmp_path / "coded.keras", code=True), trust=True)
    _open(run)  # the owner's own later commands
    _become("receiver", tmp_path, monkeypatch)
    assert json.loads((run.folder(run.require("import")) / "source.json").read_text())["trust"] is True
    with pytest.raises(ModelError, match=r"Lambda layer.*you have not trusted this run") as refused:
        _open(run)
    assert f"edgefm trust {run.path}" in str(refused.value.hint)
    trusted = edgefm.Run(run.path).trust()
    assert len(trusted) == 1 and "Lambda layer" in trusted[0]
    _open(run)


def test_a_model_that_was_exchanged_after_it_was_trusted_is_refused(tmp_path: Path) -> None:
    run = bring_model(tmp_path / "run", _model(tmp_path / "first.keras", code=True), trust=True)
    other = _model(tmp_path / "other.keras", code=True)
    shutil.copyfile(other, run.folder(run.require("import")) / "first.keras")
    with pytest.raises(ModelError, match="you have not trusted this run"):
        _open(run)


def test_pickled_data_that_a_run_names_are_unpickled_for_who_trusted_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "pickled.npz"
    np.savez(data, x=np.zeros((60, 4, 4, 1), np.uint8), y=np.arange(60) % 3, note=np.array([{"a": 1}], object))
    run = bring_model(tmp_path / "run", _model(tmp_path / "m.keras"), data=DataSource(where=str(data), trust=True))
    dataset_of(run)
    _become("receiver", tmp_path, monkeypatch)
    with pytest.raises(DataError, match="holds Python objects"):
        dataset_of(run)
    assert edgefm.Run(run.path).trust() == (str(data),)
    dataset_of(run)


def test_a_run_without_code_needs_no_trust(tmp_path: Path) -> None:
    run = bring_model(tmp_path / "run", _model(tmp_path / "m.keras"))
    assert edgefm.Run(run.path).trust() == ()
    assert trust.entries() == []


def test_the_list_is_the_users_own_and_outlives_lines_of_others(tmp_path: Path) -> None:
    trust.remember("1" * 64, "model a.keras")
    path = trust.list_path()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with path.open("a") as file:
        file.write("not json\n[1]\n" + "[" * 100_000 + "\n" + '{"sha256": "2"}\n{"sha256": "2", "what": 1}\n')
    trust._now.clear()
    assert trust.is_trusted("1" * 64)
    assert not trust.is_trusted("2" * 64)
    trust.remember("1" * 64, "model a.keras")
    assert path.read_text().count("1" * 64) == 1
    assert [entry.what for entry in trust.entries()] == ["model a.keras"]


def test_a_list_that_is_no_file_is_not_waited_for() -> None:
    path = trust.list_path()
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    assert trust.entries() == []


def test_where_the_list_cannot_be_written_trust_lasts_for_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", os.devnull)
    trust.remember("3" * 64, "model b.keras")
    assert trust.is_trusted("3" * 64)
