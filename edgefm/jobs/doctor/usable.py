"""Runtimes, targets and plug-ins: which can be used here, which not and why; each is tried where it would run."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from edgefm.core.errors import EdgefmError, RecipeError
from edgefm.core.text import quoted
from edgefm.jobs.doctor.findings import Finding, RuntimeFinding
from edgefm.runtimes.probe import probe
from edgefm.targets.probing import probed_by


def runtimes() -> Iterator[RuntimeFinding]:
    """Yield the known runtimes; each is loaded, where its workers would run, to see whether it works."""
    from edgefm import runtimes as known

    for name, module in known.modules().items():
        try:
            python = known.interpreter_of(name)
        except RecipeError as error:
            yield RuntimeFinding(name=name, found=None, reason=error.message, remedy=error.hint)
            continue
        if name in known.OF_TARGETS:
            yield _of_target(name)
            continue
        told = probe(module) if python is None else probed_by(module, python)
        yield RuntimeFinding(
            name=name,
            found=told.version,
            reason=told.reason,
            remedy=None if told.version else _remedy(told.install, python),
            kernels=told.kernels,
            python=None if python is None else str(python),
        )


def _of_target(name: str) -> RuntimeFinding:
    """Return whether a runtime that belongs to a target can be used there."""
    from edgefm import targets as known
    from edgefm.runtimes.base import Unavailable

    for kind in known.TARGETS:
        try:
            place = known.target(kind)
            if name not in place.runtimes:
                continue
            usable = place.availability()
        except EdgefmError:  # ssh is known only by its address
            continue
        if isinstance(usable, Unavailable):
            return RuntimeFinding(name=name, found=None, reason=usable.reason, remedy=usable.remedy)
        return RuntimeFinding(name=name, found=f"on the target {kind}")
    raise AssertionError(f"no target has the runtime {name}")


def plugin_findings() -> Iterator[Finding]:
    """Yield the plug-ins of other packages: runtimes, targets and passes; why one is left out."""
    from edgefm import runtimes, targets
    from edgefm.core import plugins
    from edgefm.recipes import plugins as passes
    from edgefm.recipes.passes import PASSES

    kinds: list[tuple[str, str, Iterable[str], tuple[str, ...]]] = [
        ("runtime", runtimes.ENTRY_POINT_GROUP, runtimes.RUNTIMES, ("version", "availability", "load")),
        ("target", targets.ENTRY_POINT_GROUP, targets.TARGETS, ("target",)),
        ("pass", passes.ENTRY_POINT_GROUP, PASSES, ("RECIPE", "run")),
    ]
    for kind, group, own, needed in kinds:
        left_out = {unusable.plugin: unusable.reason for unusable in plugins.of_taken_names(group, own)}
        if kind == "pass":
            left_out |= {unusable.plugin: unusable.reason for unusable in passes.unusable_passes()}
        for plugin in dict.fromkeys([*plugins.plugins(group, own), *left_out]):
            reason = left_out.get(plugin) or _broken(plugin.module, needed)
            of_package = " ".join(part for part in (plugin.package, plugin.version) if part) or plugin.module
            yield Finding(
                name=f"{kind} {plugin.name}",
                found=None if reason else of_package,
                reason=f"{of_package}: {reason}" if reason else None,
            )


def _broken(module: str, needed: Iterable[str]) -> str | None:
    """Return why a plug-in's module cannot be used, or None."""
    try:
        imported = importlib.import_module(module)
    except Exception as error:  # another package's code: whatever is wrong with it is the reason
        return f"{module} fails: {type(error).__name__}: {error}"
    lacks = [name for name in needed if not hasattr(imported, name)]
    return f"{module} has no {', '.join(lacks)}" if lacks else None


def targets() -> Iterator[Finding]:
    """Yield the known kinds of targets: whether they can be used from here, and what their figures are worth."""
    from edgefm import targets as known
    from edgefm.runtimes.base import Unavailable

    for kind in known.modules():
        try:
            found = known.target(kind)
            usable = found.availability()
        except RecipeError as error:  # a place of its own: what can be said is how to name it
            yield Finding(name=kind, found=f"named by its address. {error.hint or ''}")
            continue
        except EdgefmError as error:
            yield Finding(name=kind, found=None, reason=error.message, remedy=error.hint)
            continue
        except Exception as error:  # another package's module: whatever is wrong with it is the reason
            yield Finding(name=kind, found=None, reason=f"it fails: {type(error).__name__}: {error}")
            continue
        if isinstance(usable, Unavailable):
            yield Finding(name=kind, found=None, reason=usable.reason, remedy=usable.remedy)
            continue
        runs = ", ".join(found.runtimes) if kind != "host" and found.runtimes else "nothing is run"
        yield Finding(name=kind, found=f"{found.mode}" if kind == "host" else f"{found.mode}; {runs}")


def _remedy(install: str | None, python: Path | None) -> str | None:
    """Return the command that installs a runtime, for the Python that lacks it."""
    here = install is None or python is None or not install.startswith("pip ")
    return install if here else f"{quoted(python)} -m {install}"
