"""A function that a user names as 'module:function'."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

from edgefm.core.errors import DataError


def function_named(where: str) -> Callable[..., Any]:
    """Return the function that 'module:function' names; the module is imported, from the working folder too.

    Raises:
      DataError: the name is no 'module:function', the module cannot be imported, or has no such function.
    """
    module_name, _, attributes = where.partition(":")
    if not module_name or not attributes:
        raise DataError(f"'{where}' names no function", hint="Write it as module:function, e.g. my_data:load.")
    with imports_from_here():
        try:
            value: Any = importlib.import_module(module_name)
        except Exception as error:  # whatever the user's module raises
            raise DataError(
                f"the module '{module_name}' of {where} cannot be imported: {type(error).__name__}: {error}",
                hint=f"It is looked for in the working folder, then on Python's path. Is there a {module_name}.py?",
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
    return function


@contextlib.contextmanager
def imports_from_here() -> Iterator[None]:
    """Let Python find modules in the working folder, as `python -m` does."""
    here = os.getcwd()  # noqa: PTH109  # a string: what sys.path holds
    present = here in sys.path or "" in sys.path
    if not present:
        sys.path.insert(0, here)
    try:
        yield
    finally:
        if not present:
            with contextlib.suppress(ValueError):
                sys.path.remove(here)
