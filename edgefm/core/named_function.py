"""A function that a user names as 'module:function'."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from edgefm.core import artefacts, guarded_imports, manifest, trust
from edgefm.core.errors import DataError, EdgefmError
from edgefm.core.text import command


def function_named(where: str, *, named_in: Path | None = None) -> tuple[Callable[..., Any], str]:
    """Return the function that 'module:function' names, and the folder that its module was looked for in first.

    Args:
      where: 'module:function'.
      named_in: file that names it; None where the user does, now. A function that a file names is imported only if
        this user trusted it, and from the folder that it was trusted in; what it imports from there in turn, now or
        when it is called, must be what was there then.
    Raises:
      DataError: the name is no 'module:function', it is named in a file and not trusted, nor what it imports, the
        module cannot be imported, or has no such function.
    """
    module_name, _, attributes = where.partition(":")
    if not module_name or not attributes:
        raise DataError(f"'{where}' names no function", hint="Write it as module:function, e.g. my_data:load.")
    if named_in is None:
        folder = _working_folder()
        guarded_imports.lift(folder)
    else:
        folder = _trusted_folder(where, named_in)
        guarded_imports.guard(folder, partial(_refusal, where, named_in, folder))
    with imports_from(folder):
        try:
            value: Any = importlib.import_module(module_name)
        except EdgefmError:
            raise
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

    Where its module lies in that folder, so are all modules of the folder: it may import them. Return whether the
    module was found; nothing is listed where not.
    """
    folder = _working_folder()
    files = _files(where, folder)
    if files is None:
        return False
    if PathFinder.find_spec(where.partition(":")[0].partition(".")[0], [folder]) is not None:
        guarded_imports.remember(folder, also=files)
    trust.remember(_fingerprint(where, files), _entry(where), folder=folder)
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
        files = _files(where, entry.folder)
        if files is not None and _fingerprint(where, files) == entry.sha256:
            return entry.folder
    why = "has changed since you trusted it" if listed else "is not trusted by you"
    raise DataError(
        f"{named_in} names the function {where}, which {why}: calling it runs code",
        hint=f"Read {where.partition(':')[0].replace('.', os.sep)}.py. If you trust it, go to the folder that it lies "
        f"in and run: {_trust_command(named_in)}",
    )


def _refusal(where: str, named_in: Path, folder: str, module: str, why: str) -> DataError:
    """Return the error for a module of the folder that a trusted function would import."""
    why = f"which {why}" if why.startswith("you") else f"and that {why}"
    return DataError(
        f"{named_in} names the function {where}, which imports {module}, {why}: importing it runs code",
        hint=f"Read {module}. If you trust it, go to {folder} and run: {_trust_command(named_in)}",
    )


def _trust_command(named_in: Path) -> str:
    """Return the command that trusts the run a file lies in; it is given from another folder than this one."""
    run = next((folder.resolve() for folder in named_in.parents if (folder / manifest.FILE_NAME).is_file()), "RUN")
    return command("edgefm", "trust", run)


def _fingerprint(where: str, files: Sequence[str]) -> str:
    """Return the sha256 of a function's name and of the files of its module, with their paths."""
    paths = [Path(file).resolve() for file in files]
    return artefacts.sha256_json([where, [[str(path), artefacts.sha256_file(path)] for path in paths]])


def _files(where: str, folder: str) -> list[str] | None:
    """Return the files of a function's module and of the packages above it; None where there is no module.

    Nothing is imported: the packages are looked for by hand.
    """
    places: list[str] | None = [folder, *sys.path]
    files: list[str] = []
    parts = where.partition(":")[0].split(".")
    for place in range(len(parts)):
        name = ".".join(parts[: place + 1])
        if place == 0 and name in sys.builtin_module_names:
            return files
        spec: ModuleSpec | None = None if places is None else PathFinder.find_spec(name, places)
        if spec is None:
            return None
        if spec.has_location and spec.origin is not None:
            if not Path(spec.origin).is_file():  # in an archive
                return None
            files.append(spec.origin)
        found = spec.submodule_search_locations
        places = None if found is None else list(found)
    return files


def _entry(where: str) -> str:
    return f"function {where}"


def _working_folder() -> str:
    return os.getcwd()  # noqa: PTH109  # a string: what sys.path holds


def _called(folder: str) -> str:
    return "the working folder" if folder == _working_folder() else folder
