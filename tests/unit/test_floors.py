"""The contract of floors in pyproject.toml, which import-linter holds, names every room: it says nothing of others."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def _rooms_on_disk() -> set[str]:
    """Return the packages right below edgefm/, and those in converters/, which are one room each."""
    folders = {f"edgefm.{path.parent.name}" for path in (ROOT / "edgefm").glob("*/*.py")}
    return folders | {path.parent.name for path in (ROOT / "converters").glob("*/__init__.py")}


def test_contract_of_floors_names_every_room() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = [one for one in project["tool"]["importlinter"]["contracts"] if one["type"] == "layers"]
    rooms = [room for floor in contract["layers"] for room in re.split(r"\s*[|:]\s*", floor)]
    assert len(rooms) == len(set(rooms))
    assert set(rooms) == _rooms_on_disk(), "pyproject.toml: put the new room on a floor of tool.importlinter.contracts"
