"""Recipes as files: the shipped ones by name, a user's own by path."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from edgefm.core.arguments import PathLike, as_path
from edgefm.core.documents import read_json
from edgefm.core.errors import RecipeError, unknown_name
from edgefm.recipes.presets import named_training, read_training, training_names
from edgefm.recipes.quantization import Quantization
from edgefm.recipes.training import Training

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
    if _is_name(path, name_or_path):
        known = shipped()
        if path.name not in known:
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


def load_training(name_or_path: PathLike) -> Training:
    """Return the training recipe in a file, or the one of that name that comes with edgefm: 'best_enhanced_cnn'.

    Raises:
      RecipeError: no such name or file, no JSON, a recipe of another kind, or a key or value that is not allowed; the
        file is named.
    """
    path = as_path(name_or_path, "name_or_path")
    if _is_name(path, name_or_path):
        known = named_training(path.name)
        if known is None:
            raise unknown_name("training recipe", path.name, training_names())
        path = known
    return read_training(path)


def load_any(name_or_path: PathLike) -> Quantization | Training:
    """Return a recipe of either kind, see `load` and `load_training`."""
    path = as_path(name_or_path, "name_or_path")
    if _is_name(path, name_or_path):
        if path.name in shipped():
            return load(name_or_path)
        if named_training(path.name) is not None:
            return load_training(name_or_path)
        raise unknown_name("recipe", path.name, (*shipped(), *training_names()))
    if path.exists():
        value = read_json(path, what="recipe file", error=RecipeError)
        if isinstance(value, dict) and value.get("kind") == Training.kind:
            return load_training(path)
    return load(path)


def _is_name(path: Path, given: PathLike) -> bool:
    """Return whether a recipe that comes with edgefm is meant, not a file of the user's."""
    return not path.exists() and path.suffix != _SUFFIX and path.name == str(given)


def names() -> tuple[str, ...]:
    """Return the names of the recipes that come with edgefm."""
    return tuple(shipped())
