"""Inference runtimes by name. Listing them imports none; other packages add theirs through entry points.

A runtime is a module with the functions of `edgefm.runtimes.base.Runtime`. Another package offers one in its
pyproject.toml::

    [project.entry-points."edgefm.runtimes"]
    my_runtime = "my_package.my_module"
"""

from __future__ import annotations

import importlib
import os
import re
from pathlib import Path
from typing import cast

from edgefm.core import plugins
from edgefm.core.errors import RecipeError, unknown_name
from edgefm.runtimes.base import Runtime

ENTRY_POINT_GROUP = "edgefm.runtimes"

# Name -> module. The ones that edgefm brings itself.
RUNTIMES: dict[str, str] = {
    "litert": "edgefm.runtimes.litert",
    "tflite-runtime": "edgefm.runtimes.tflite_runtime",
    "tflm": "edgefm.runtimes.tflm",
    "openvino": "edgefm.runtimes.openvino",
    "onnxruntime": "edgefm.runtimes.onnxruntime",
    # Of the targets 'browser', 'adb' and 'cortex-m'; their own times and counts, not this machine's.
    "litertjs": "edgefm.runtimes.litertjs",
    "android-benchmark": "edgefm.runtimes.android_benchmark",
    "cortex-m-firmware": "edgefm.targets.cortex_m.runtime",
}

# Those that run on a target of their own alone, whatever is installed here.
OF_TARGETS = frozenset({"litertjs", "android-benchmark", "cortex-m-firmware"})


def modules() -> dict[str, str]:
    """Return the module of each known runtime by name, edgefm's own first; none is imported.

    A name of edgefm's own cannot be taken over by another package.
    """
    return plugins.modules(ENTRY_POINT_GROUP, RUNTIMES)


def module_of(name: str) -> str:
    """Return the module of a runtime, or raise a RecipeError that names the nearest known one.

    Args:
      name: with or without a kernel set, e.g. 'litert' or 'litert:reference'.
    """
    known = modules()
    bare, _ = split(name)
    if bare not in known:
        raise unknown_name("runtime", bare, known)
    return known[bare]


def split(name: str) -> tuple[str, str | None]:
    """Return the runtime and the kernel set of a name.

    >>> split("litert:reference"), split("tflm")
    (('litert', 'reference'), ('tflm', None))
    """
    bare, _, kernels = name.partition(":")
    return bare, kernels or None


def kernels_of(module: Runtime) -> tuple[str, ...]:
    """Return the names of a runtime's kernel sets, the default first; empty where it has but one."""
    return tuple(getattr(module, "KERNELS", ()))


def interpreter_of(name: str) -> Path | None:
    """Return the Python that workers with this runtime run under; None for the present one.

    EDGEFM_PYTHON_<RUNTIME> names it, e.g. EDGEFM_PYTHON_TFLITE_RUNTIME: a runtime that needs another numpy than
    the rest lives in an environment of its own.

    Raises:
      RecipeError: the variable names no program.
    """
    variable = "EDGEFM_PYTHON_" + re.sub(r"\W", "_", split(name)[0]).upper()
    named = os.environ.get(variable)
    if not named:
        return None
    path = Path(named).expanduser()
    if not path.is_file():
        raise RecipeError(
            f"{variable} is '{named}', which is not an executable", hint="Give the path of a Python interpreter."
        )
    return path.absolute()  # not resolved: a virtual environment's python is a link


def runtime(name: str) -> Runtime:
    """Return a runtime by name, imported now.

    Raises:
      RecipeError: no runtime has this name.
    """
    return import_runtime(module_of(name))


def import_runtime(module: str) -> Runtime:
    """Return the runtime that a module is."""
    return cast(Runtime, importlib.import_module(module))
