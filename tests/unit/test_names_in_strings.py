"""Modules that are named in strings, which import-linter does not see, keep to the floors as imports do.

And the contracts of import-linter: each fails when it is broken, on a small house of the same rooms.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"edgefm": ROOT / "edgefm", "edgefm_converters": ROOT / "converters" / "edgefm_converters"}
_NAME = re.compile(r"(edgefm(?:_converters)?(?:\.\w+)+)(?::(\w+))?")
_RUN = re.compile(r"-m (edgefm(?:_converters)?(?:\.\w+)+)")

# Strings of the same form that name no module.
NO_MODULES = {
    "edgefm.in": "a file that a firmware reads",
    "edgefm.out": "a file that a firmware writes",
    "edgefm.passes": "an entry point",
}
# (who names, what is named) up the floors: registries by design.
REGISTRIES = {
    ("edgefm", None): "the package's own names: whoever asks for one stands above all floors",
    (
        "edgefm.runtimes",
        "edgefm.targets.cortex_m.runtime",
    ): "a firmware is a runtime of one target and lies with it; only a worker of that target imports it",
}


class NamedModule(NamedTuple):
    """A module that a string names."""

    holder: str
    line: int
    module: str
    attribute: str | None

    def __str__(self) -> str:
        return f"{self.holder}:{self.line} -> {self.module}"


@cache
def _contracts() -> dict[str, Any]:
    settings: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    return settings


@cache
def _floors() -> dict[str, int]:
    """Return the height of each room; the lowest floor is 0."""
    (layers,) = (contract["layers"] for contract in _contracts()["contracts"] if contract["type"] == "layers")
    return {room.strip(): height for height, floor in enumerate(reversed(layers)) for room in floor.split("|")}


def _room(module: str) -> str | None:
    return next((room for room in _floors() if module == room or module.startswith(f"{room}.")), None)


def _path_of(module: str) -> Path | None:
    package, *rest = module.split(".")
    place = PACKAGES[package].joinpath(*rest)
    return next((path for path in (place / "__init__.py", place.with_suffix(".py")) if path.is_file()), None)


def _modules() -> Iterator[tuple[str, ast.Module]]:
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = [package, *path.relative_to(folder).with_suffix("").parts]
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            yield name, ast.parse(path.read_text(encoding="utf-8"))


@cache
def _named() -> tuple[NamedModule, ...]:
    """Return the modules that strings of both packages name: whole strings, and programs behind 'python -m'."""
    named = []
    for holder, tree in _modules():
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Constant) and isinstance(node.value, str)) or node.value in NO_MODULES:
                continue
            whole = _NAME.fullmatch(node.value)
            if whole:
                named.append(NamedModule(holder, node.lineno, whole[1], whole[2]))
            named += [NamedModule(holder, node.lineno, run[1], None) for run in _RUN.finditer(node.value)]
    return tuple(named)


@pytest.mark.parametrize(
    ("module", "table"),
    [
        ("edgefm", "_PUBLIC"),
        ("edgefm.cli.main", "COMMANDS"),
        ("edgefm.quantization.chain", "FUNCTIONS"),
        ("edgefm.runtimes", "RUNTIMES"),
        ("edgefm.targets", "TARGETS"),
        ("edgefm.zoo.catalogue", "_MODULES"),
    ],
)
def test_every_row_of_a_table_of_modules_is_looked_at(module: str, table: str) -> None:
    path = _path_of(module)
    assert path is not None
    assigned = (
        (node.target if isinstance(node, ast.AnnAssign) else node.targets[0], node.value)
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign | ast.AnnAssign)
    )
    rows = next(value for name, value in assigned if isinstance(name, ast.Name) and name.id == table)
    assert isinstance(rows, ast.Dict) and rows.values
    lines = {named.line for named in _named() if named.holder == module}
    assert all(lines & set(range(row.lineno, (row.end_lineno or row.lineno) + 1)) for row in rows.values)


@pytest.mark.parametrize("named", _named(), ids=str)
def test_named_module_is_there(named: NamedModule) -> None:
    path = _path_of(named.module)
    assert path is not None, f"{named} does not exist"
    if named.attribute:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert named.attribute in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


@pytest.mark.parametrize("named", _named(), ids=str)
def test_named_module_lies_on_no_higher_floor(named: NamedModule) -> None:
    if (named.holder, None) in REGISTRIES or (named.holder, named.module) in REGISTRIES:
        return
    here, there = _room(named.holder), _room(named.module)
    assert here is not None and there is not None, f"{named}: not among the floors of pyproject.toml"
    assert here == there or _floors()[here] > _floors()[there], f"{named} points up, or to a neighbour"


def test_registries_are_needed() -> None:
    for holder, module in REGISTRIES:
        assert any(named.holder == holder and module in (None, named.module) for named in _named())


def test_rooms_of_the_worker_that_is_shipped_are_there() -> None:
    from edgefm.targets import bundle

    assert all((ROOT / name).is_file() for name in bundle.MODULES)
    assert all((ROOT / name / "__init__.py").is_file() for name in bundle.PACKAGES)
    shipped = {".".join(name.split("/")) for name in bundle.PACKAGES}
    floors = _floors()
    assert max(shipped, key=floors.__getitem__) == "edgefm.worker", "what is shipped stands below the worker"


@pytest.mark.slow
def test_named_modules_can_be_imported() -> None:
    names = sorted({named.module for named in _named()})
    code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
    result = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def _house(folder: Path, imports: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Build a house of empty rooms with some imports in it, and ask import-linter about it.

    Args:
      folder: where.
      imports: module -> its source.
    """
    for room in ["edgefm", "edgefm_converters", *_floors()]:
        place = folder.joinpath(*room.split("."))
        place.mkdir(parents=True, exist_ok=True)
        (place / "__init__.py").touch()
    for module, source in imports.items():
        folder.joinpath(*module.split(".")).with_suffix(".py").write_text(source)
    text = (ROOT / "pyproject.toml").read_text()
    section = text[text.index("[tool.importlinter]") :]
    end = re.search(r"^\[tool\.(?!importlinter)", section, re.MULTILINE)
    (folder / "pyproject.toml").write_text(section[: end.start()] if end else section)
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
            "--no-cache",
        ],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )


DOWN = {"edgefm.cli.a": "import edgefm.core.b", "edgefm.core.b": ""}


def test_contracts_are_kept_by_a_house_with_one_way_down(tmp_path: Path) -> None:
    pytest.importorskip("importlinter")
    result = _house(tmp_path, DOWN)
    assert result.returncode == 0 and "0 broken" in result.stdout, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("imports", "broken"),
    [
        pytest.param({"edgefm.core.b": "import edgefm.cli.a", "edgefm.cli.a": ""}, "One way down", id="up"),
        pytest.param(
            {"edgefm.core.b": "def late():\n    from edgefm.cli import a\n    return a", "edgefm.cli.a": ""},
            "One way down",
            id="up, inside a function",
        ),
        pytest.param(
            {"edgefm.profiling.a": "import edgefm.comparison.b", "edgefm.comparison.b": ""},
            "One way down",
            id="to a neighbour",
        ),
        pytest.param(
            {"edgefm_converters.a": "import edgefm.jobs.b", "edgefm.jobs.b": ""},
            "One way down",
            id="up, from the other package",
        ),
        pytest.param(
            {"edgefm.data.a": "import edgefm.data.b", "edgefm.data.b": "import edgefm.data.a"},
            "No circles",
            id="circle of modules",
        ),
    ],
)
def test_contract_fails_when_it_is_broken(imports: dict[str, str], broken: str, tmp_path: Path) -> None:
    pytest.importorskip("importlinter")
    result = _house(tmp_path, imports)
    assert result.returncode == 1, result.stdout + result.stderr
    assert re.search(rf"{broken} .*BROKEN", result.stdout), result.stdout
