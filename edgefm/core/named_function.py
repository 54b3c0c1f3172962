"""A function that a user names as 'module:function'."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from edgefm.core import artefacts, manifest, trust
from edgefm.core.errors import DataError
from edgefm.core.text import command


def function_named(where: str, *, named_in: Path | None = None) -> tuple[Callable[..., Any], str]:
    """Return the function that 'module:function' names, and the folder that its module was looked for in first.

    Args:
      where: 'module:function'.
      named_in: file that names it; None where the user does, now. A function that a file names is imported only if
        this user trusted it, and from the folder that it was trusted in.
    Raises:
      DataError: the name is no 'module:function', it is named in a file and not trusted, the module cannot be imported,
        or has no such function.
    """
    module_name, _, attributes = where.partition(":")
    if not module_name or not attributes:
        raise DataError(f"'{where}' names no function", hint="Write it as module:function, e.g. my_data:load.")
    folder = _working_folder() if named_in is None else _trusted_folder(where, named_in)
    with imports_from(folder):
        try:
            value: Any = importlib.import_module(module_name)
        except Exception as error:  # whatever the user's module raises
            raise DataError(
                f"the module '{module_name}' of {where} cannot be imported: {type(error).__name__}: {error}",
                hint=f"It is looked for in {_called(folder)}, then on Python's path. Is there a {module_name}.py?",
            ) from error
    for attribute in attributes.split("."):
        if not hasattr(value, attribute):
            public = [name for name in vars(value) if callable(getattr(value, name)) and not name.startswith("_")]
            raise DataError(
                f"the module '{module_name}' has no '{attributes}'", hint=f"It has: {', '.join(public) or 'none'}."
            )
        value = getattr(value, attribute)
    if not callable(value):
        raise DataError(f"{where} is a {type(value).__name__}, not a function")
    function: Callable[..., Any] = value
    return function, folder


def trust_function(where: str) -> bool:
    """Put a function that the user names now on the list of what they trust, with the folder it is imported from.

    Return whether its module was found; nothing is listed where not.
    """
    folder = _working_folder()
    sha256 = _fingerprint(where, folder)
    if sha256 is None:
        return False
    trust.remember(sha256, _entry(where), folder=folder)
    return True


@contextlib.contextmanager
def imports_from(folder: str) -> Iterator[None]:
    """Let Python find modules in a folder first, as `python -m` does with the working folder."""
    present = folder in sys.path or ("" in sys.path and folder == _working_folder())
    if not present:
        sys.path.insert(0, folder)
    try:
        yield
    finally:
        if not present:
            with contextlib.suppress(ValueError):
                sys.path.remove(folder)


def _trusted_folder(where: str, named_in: Path) -> str:
    """Return the folder that a function was trusted in, if it is still what it was."""
    listed = [entry for entry in trust.entries() if entry.what == _entry(where)]
    for entry in reversed(listed):
        if _fingerprint(where, entry.folder) == entry.sha256:
            return entry.folder
    why = "has changed since you trusted it" if listed else "is not trusted by you"
    run = next((folder for folder in named_in.parents if (folder / manifest.FILE_NAME).is_file()), "RUN")
    raise DataError(
        f"{named_in} names the function {where}, which {why}: calling it runs code",
        hint=f"Read {where.partition(':')[0].replace('.', os.sep)}.py. If you trust it, go to the folder that it lies "
        f"in and run: {command('edgefm', 'trust', run)}",
    )


def _fingerprint(where: str, folder: str) -> str | None:
    """Return the sha256 of a function's name, its folder and the files of its module; None where there is no module.

    Nothing is imported: the packages above the module are looked for by hand.
    """
    places: list[str] | None = [folder, *sys.path]
    files = []
    parts = where.partition(":")[0].split(".")
    for place in range(len(parts)):
        name = ".".join(parts[: place + 1])
        if place == 0 and name in sys.builtin_module_names:
            return artefacts.sha256_json([where, "builtin"])
        spec: ModuleSpec | None = None if places is None else PathFinder.find_spec(name, places)
        if spec is None:
            return None
        if spec.has_location and spec.origin is not None:
            origin = Path(spec.origin).resolve()
            if not origin.is_file():  # in an archive
                return None
            files.append([str(origin), artefacts.sha256_file(origin)])
        found = spec.submodule_search_locations
        places = None if found is None else list(found)
    return artefacts.sha256_json([where, files])


def _entry(where: str) -> str:
    return f"function {where}"


def _working_folder() -> str:
    return os.getcwd()  # noqa: PTH109  # a string: what sys.path holds


def _called(folder: str) -> str:
    return "the working folder" if folder == _working_folder() else folder
