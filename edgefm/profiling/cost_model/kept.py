"""The cost model of this machine, built when it is first asked for and kept in edgefm's cache."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from edgefm import runtimes
from edgefm.core import artefacts
from edgefm.core.cache import cache_folder
from edgefm.core.environment import environment, version
from edgefm.core.errors import EdgefmError
from edgefm.core.progress import SILENT, Progress
from edgefm.profiling.cost_model.build import build
from edgefm.profiling.cost_model.model import KIND, VERSION, CostModel, CostModelError
from edgefm.targets.probing import probed_by


def of_this_machine(*, runtime: str = "litert", progress: Progress = SILENT) -> CostModel:
    """Return the cost model of a runtime here: the one in the cache, or a new one, which is kept there.

    Another processor, another version of the runtime or another edgefm has one of its own.

    Args:
      runtime: of this machine, with its kernel set where one is wanted.
      progress: receives a step a turn where it is built, which takes two minutes.
    Raises:
      RecipeError: an unknown runtime, or one of another target.
      RuntimeUnavailableError: the runtime cannot be used here.
      ModelError: nothing could be timed.
    """
    path = kept_at(runtime)
    if known := _read(path, progress):
        return known
    with _alone(path, progress):
        if known := _read(path, SILENT):  # another process has just built it
            return known
        progress.note("building the cost model of this machine: two minutes, once; the machine should be quiet")
        model = build(runtime=runtime, progress=progress)
        for reason in model.disturbed:
            progress.note(f"the cost model was disturbed: {reason}")
        keep(model, progress)
    return model


def keep(model: CostModel, progress: Progress = SILENT) -> None:
    """Keep a cost model of this machine for later forecasts, in place of the one that is kept.

    Where it cannot be written, that is said, and no error.
    """
    path = kept_at(model.runtime)
    try:
        model.save(path)
    except EdgefmError as error:
        progress.note(f"the cost model is not kept: {error.message}; EDGEFM_CACHE_DIR can name another folder")
    else:
        progress.note(f"kept as {path}")


def _read(path: Path, progress: Progress) -> CostModel | None:
    """Return the cost model in a file, None where there is none or a damaged one, which is said."""
    if not path.is_file():
        return None
    try:
        return CostModel.load(path)
    except CostModelError as error:
        progress.note(f"{error.message}: it is built anew")
        return None


@contextmanager
def _alone(path: Path, progress: Progress) -> Iterator[None]:
    """Let one process at a time build what is kept at a path; where no lock can be had, each does."""
    lock = FileLock(f"{path}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            progress.note("another process builds the cost model of this machine: waiting for it")
            lock.acquire()
    except (OSError, NotImplementedError):
        yield
        return
    try:
        yield
    finally:
        lock.release()


def kept_at(runtime: str = "litert") -> Path:
    """Return where the cost model of a runtime on this machine lies, or will lie."""
    what = {
        "kind": KIND,
        "version": VERSION,
        "runtime": runtime,
        "python": str(runtimes.interpreter_of(runtime) or ""),
        "machine": machine(environment()),
        "versions": [version("edgefm"), version_here(runtime)],
    }
    return cache_folder() / "cost-models" / f"{artefacts.sha256_json(what)[:16]}.json"


def version_here(runtime: str) -> str | None:
    """Return the version of a runtime in the Python that its workers run under; None where it does not tell.

    Raises:
      RecipeError: an unknown runtime, or a variable that names no Python.
    """
    module, python = runtimes.module_of(runtime), runtimes.interpreter_of(runtime)
    if python is not None:
        return probed_by(module, python).version
    try:
        return runtimes.import_runtime(module).version()
    except Exception:  # it is not installed; or another package's code, which may fail with anything
        return None


def machine(described: Mapping[str, Any]) -> list[Any]:
    """Return what a recorded environment says of the processor, by which machines are told apart.

    Not how many cores a process may use: times are those of one thread.
    """
    return [described.get("cpu"), sorted(described.get("cpu_features") or ())]
