"""Recipes as files: the shipped ones by name, a user's own by path."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from edgefm.core.arguments import PathLike, as_path
from edgefm.core.documents import read_json
from edgefm.core.errors import RecipeError, unknown_name
from edgefm.recipes.quantization import Quantization

_SUFFIX = ".json"


def shipped() -> dict[str, Path]:
    """Return the files of the recipes that come with edgefm, by name."""
    folder = Path(str(resources.files("edgefm.recipes") / "shipped"))
    return {path.stem: path for path in sorted(folder.glob(f"*{_SUFFIX}"))}


def load(name_or_path: PathLike) -> Quantization:
    """Return the recipe in a file, or the shipped one of that name.

    Raises:
      RecipeError: no such name or file, no JSON, or a key or value that is not allowed; the file is named.
    """
    path = as_path(name_or_path, "name_or_path")
    if not path.exists() and path.suffix != _SUFFIX and path.name == str(name_or_path):
        known = shipped()
        if name_or_path not in known:
            raise unknown_name("recipe", path.name, known)
        path = known[path.name]
    if not path.exists():
        raise RecipeError(f"no recipe file at {path}", hint="List the shipped ones with: edgefm recipes list")
    value = read_json(path, what="recipe file", error=RecipeError)
    if not isinstance(value, dict):
        raise RecipeError(f'{path} holds no recipe: an object {{"kind": "quantize", "params": ...}} is expected')
    try:
        return Quantization.from_json(value)
    except RecipeError as error:
        raise RecipeError(f"{path}: {error.message}", hint=error.hint) from error


def names() -> tuple[str, ...]:
    """Return the names of the recipes that come with edgefm."""
    return tuple(shipped())
