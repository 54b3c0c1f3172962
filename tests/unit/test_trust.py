"""Code that a run holds runs only where this user trusted it; what the run says of itself allows nothing."""

from __future__ import annotations

import importlib
import json
import os
import py_compile
import shutil
import stat
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import edgefm
from edgefm.core import guarded_imports, trust
from edgefm.core.errors import DataError, ModelError
from edgefm.core.named_function import function_named, imports_from, trust_function
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
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
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
    run = RunDirectory(Path(os.path.relpath(run.path)))
    with pytest.raises(DataError, match="is not trusted by you: calling it runs code") as refused:
        stored = data_source_of(run)
        assert stored is not None
        stored.measure(dataset_of(run))
    assert f"edgefm trust {run.path.resolve()}" in str(refused.value.hint)
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


# The files of a folder whose `loads:load` is trusted; each appends its name to the file `ran`.
SET = {
    "loads.py": "import helper\nfrom parts.inner import deep\n\n"
    "def load():\n    import later\n    from space import within\n",
    "helper.py": "",
    "later.py": "",
    "unused.py": "",
    "parts/__init__.py": "from . import first\n",
    "parts/first.py": "",
    "parts/inner/__init__.py": "",
    "parts/inner/deep.py": "",
    "space/within.py": "",
}
IMPORTED = sorted(set(SET) - {"unused.py"})


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAN", str(tmp_path / "ran"))
    return tmp_path / "ran"


def _code(name: str) -> str:
    return f"import os\nwith open(os.environ['RAN'], 'a') as file:\n    file.write({name + chr(10)!r})\n"


def _set(folder: Path) -> Path:
    for name, text in SET.items():
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_text(_code(name) + text)
    return folder


def _later(tmp_path: Path) -> list[str]:
    """Call the function as a later command would, which a run names, and return which files ran."""
    for name in list(sys.modules):
        if name.partition(".")[0] in ("loads", "helper", "later", "unused", "parts", "space"):
            del sys.modules[name]
    importlib.invalidate_caches()
    (tmp_path / "ran").unlink(missing_ok=True)
    function, folder = function_named("loads:load", named_in=tmp_path / "run" / "source.json")
    with imports_from(folder):
        function()
    return sorted((tmp_path / "ran").read_text().split())


def test_what_a_trusted_module_imports_in_turn_runs_as_it_was_trusted(home: Path, tmp_path: Path, ran: Path) -> None:
    assert trust_function_in(_set(home))
    assert not ran.exists(), "trusting runs nothing"
    assert _later(tmp_path) == IMPORTED
    (home / "unused.py").write_text("an error")
    assert _later(tmp_path) == IMPORTED, "what is not imported needs no trust"


def trust_function_in(folder: Path) -> bool:
    os.chdir(folder)
    return trust_function("loads:load")


@pytest.mark.parametrize("name", IMPORTED)
def test_a_changed_file_that_would_be_imported_is_asked_for_again(
    name: str, home: Path, tmp_path: Path, ran: Path
) -> None:
    trust_function_in(_set(home))
    with (home / name).open("a") as file:
        file.write(_code("changed"))
    with pytest.raises(DataError, match=r"has changed since you trusted it.*runs code") as refused:
        _later(tmp_path)
    assert name == "loads.py" or name in str(refused.value)
    assert "edgefm trust RUN" in str(refused.value.hint)
    assert not ran.exists() or "changed" not in ran.read_text()
    trust_function_in(home)
    assert "changed" in _later(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "helper/__init__.py",
        "parts/inner/deep/__init__.py",
        "space/__init__.py",
        "later/__init__.py",
        f"helper{EXTENSION_SUFFIXES[0]}",
        "site_hook.py",
        "parts/tail.py",
    ],
)
def test_a_new_file_that_would_be_imported_is_asked_for(name: str, home: Path, tmp_path: Path, ran: Path) -> None:
    _set(home)
    for optional, below in (("loads.py", "site_hook"), ("parts/first.py", "parts.tail")):
        with (home / optional).open("a") as file:
            file.write(f"\ntry:\n    import {below}\nexcept ImportError:\n    pass\n")
    trust_function_in(home)
    assert _later(tmp_path) == IMPORTED
    (home / name).parent.mkdir(exist_ok=True)
    (home / name).write_text(_code("planted"))
    with pytest.raises(DataError, match="which you have not trusted: importing it runs code") as refused:
        _later(tmp_path)
    assert name in str(refused.value)
    assert not ran.exists() or "planted" not in ran.read_text()


def test_a_link_to_a_file_elsewhere_is_held_against_the_list(home: Path, tmp_path: Path, ran: Path) -> None:
    elsewhere = tmp_path / "elsewhere.py"
    elsewhere.write_text(_code("helper.py"))
    _set(home)
    (home / "helper.py").unlink()
    (home / "helper.py").symlink_to(elsewhere)
    trust_function_in(home)
    assert _later(tmp_path) == IMPORTED
    elsewhere.write_text(_code("planted"))
    with pytest.raises(DataError, match=r"imports helper\.py, and that has changed"):
        _later(tmp_path)


def test_compiled_code_beside_a_trusted_module_does_not_run(home: Path, tmp_path: Path, ran: Path) -> None:
    trust_function_in(_set(home))
    trusted = (home / "helper.py").read_text()
    planted = _code("planted").ljust(len(trusted))
    (home / "helper.py").write_text(planted)
    compiled = py_compile.compile(str(home / "helper.py"))
    changed = (home / "helper.py").stat()
    (home / "helper.py").write_text(trusted.ljust(len(planted)))
    trust_function_in(home)
    os.utime(home / "helper.py", ns=(changed.st_atime_ns, changed.st_mtime_ns))
    assert compiled is not None and (home / "helper.py").stat().st_size == changed.st_size
    assert _later(tmp_path) == IMPORTED


def test_installed_packages_of_an_environment_inside_the_folder_need_no_trust(
    home: Path, tmp_path: Path, ran: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust_function_in(_set(home))
    installed = home / "env" / "lib"
    installed.mkdir(parents=True)
    (home / "later.py").rename(installed / "later.py")
    with pytest.raises(ImportError, match="later"):
        _later(tmp_path)
    monkeypatch.syspath_prepend(installed)
    assert _later(tmp_path) == IMPORTED


def test_a_function_that_the_user_names_now_imports_what_it_likes(home: Path, tmp_path: Path, ran: Path) -> None:
    trust_function_in(_set(home))
    assert _later(tmp_path) == IMPORTED
    for name in ("loads", "helper"):
        sys.modules.pop(name)
    (home / "helper.py").write_text(_code("changed"))
    function_named("loads:load")
    assert "changed" in ran.read_text()


def test_of_a_large_folder_the_nearest_modules_are_listed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _set(home)
    (home / "environment").mkdir()
    (home / "environment" / "pyvenv.cfg").touch()
    for name in ("environment/module.py", "parts/__pycache__/module.py", ".hidden/module.py", "not-imported/module.py"):
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).touch()
    assert sorted(guarded_imports.modules_in(str(home))) == sorted(SET)
    monkeypatch.setattr(guarded_imports, "_MOST_MODULES", 5)
    assert sorted(guarded_imports.modules_in(str(home))) == [
        "helper.py",
        "later.py",
        "loads.py",
        "parts/__init__.py",
        "unused.py",
    ]
    monkeypatch.setattr(guarded_imports, "_MOST_ENTRIES", 3)
    assert len(guarded_imports.modules_in(str(home))) <= 3


@pytest.mark.parametrize("quality", [False, True], ids=["data", "quality"])
def test_a_module_imported_when_the_function_is_called_is_named_in_the_error(
    quality: bool, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"imports_late_{quality}"
    load = LOADER.format(mark=str(tmp_path / "mark")).replace("    rng =", "    import imported_late\n    rng =")
    load = load.replace("    return float(", "    import imported_late\n    return float(")
    (home / f"{name}.py").write_text(load)
    (home / "imported_late.py").touch()
    np.savez(tmp_path / "d.npz", x=np.zeros((60, 4, 4, 1), np.uint8), y=np.arange(60) % 3)
    where = str(tmp_path / "d.npz") if quality else f"{name}:load"
    measure = f"{name}:measure" if quality else None
    run = bring_model(tmp_path / "run", _model(tmp_path / "m.keras"), data=DataSource(where=where, quality=measure))
    monkeypatch.syspath_prepend(home)  # a measure is called when its folder is on the path no more
    for module in (name, "imported_late"):
        sys.modules.pop(module, None)
    (home / "imported_late.py").write_text(_code("changed"))
    source = data_source_of(run)
    assert source is not None
    with pytest.raises(DataError, match=rf"{name}:\w+, which imports imported_late\.py, and that has changed"):
        source.measure(dataset_of(run)).function((np.zeros((3, 3)),), np.zeros(3, int))


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
