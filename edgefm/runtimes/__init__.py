"""Inference runtimes by name. Listing them imports none; other packages add theirs through entry points.

A runtime is a module with the functions of `edgefm.runtimes.base.Runtime`. Another package offers one in its
pyproject.toml::

    [project.entry-points."edgefm.runtimes"]
    my_runtime = "my_package.my_module"
"""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from typing import cast

from edgefm.errors import unknown_name
from edgefm.runtimes.base import Runtime

ENTRY_POINT_GROUP = "edgefm.runtimes"

# Name -> module. The ones that edgefm brings itself.
RUNTIMES: dict[str, str] = {"litert": "edgefm.runtimes.litert"}


def modules() -> dict[str, str]:
    """Return the module of each known runtime by name, edgefm's own first; none is imported.

    A name of edgefm's own cannot be taken over by another package.
    """
    others = {point.name: point.value for point in entry_points(group=ENTRY_POINT_GROUP)}
    return {**RUNTIMES, **{name: module for name, module in others.items() if name not in RUNTIMES}}


def module_of(name: str) -> str:
    """Return the module of a runtime, or raise a RecipeError that names the nearest known one."""
    known = modules()
    if name not in known:
        raise unknown_name("runtime", name, known)
    return known[name]


def runtime(name: str) -> Runtime:
    """Return a runtime by name, imported now.

    Raises:
      RecipeError: no runtime has this name.
    """
    return import_runtime(module_of(name))


def import_runtime(module: str) -> Runtime:
    """Return the runtime that a module is."""
    return cast(Runtime, importlib.import_module(module))
