"""What is installed: edgefm's extras, Keras backends, NVIDIA's driver, Fashion-MNIST; nothing heavy is imported."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from edgefm.core import subprocesses
from edgefm.core.environment import version
from edgefm.core.errors import DataError, RecipeError
from edgefm.core.subprocesses import CommandError, TimeLimitError
from edgefm.jobs.doctor.findings import Finding
from edgefm.runtimes.probe import probe
from edgefm.targets.probing import probed_by

# Keras backend -> extra that installs it.
BACKENDS = {"tensorflow": "train", "jax": "train-jax", "torch": "train-torch"}
# Extras for work on edgefm itself: shown where its source is.
_FOR_DEVELOPERS = frozenset({"dev", "docs"})
_SOURCE = Path(__file__).parents[3] / "pyproject.toml"
# Extras that cannot be installed beside the others (they need another numpy).
_APART = frozenset({"tflite-runtime"})
_NVIDIA_SMI_SECONDS = 5.0


def extras() -> Iterator[Finding]:
    """Yield edgefm itself and each of its extras, with the packages that are missing or do not fit."""
    metadata = importlib.metadata.metadata("edgefm")
    for extra in ("", *(metadata.get_all("Provides-Extra") or ())):
        if extra in _FOR_DEVELOPERS and not _SOURCE.is_file():
            continue
        name = f"edgefm[{extra}]" if extra else "edgefm"
        if extra in _APART:
            yield _apart(extra)
            continue
        lacks, curable = _lacks(extra)
        if not lacks:
            yield Finding(name=name, found="complete")
            continue
        yield Finding(
            name=name,
            found=None,
            reason="; ".join(lacks),
            remedy=f"pip install '{name}'" if curable else None,
        )


def _apart(extra: str) -> Finding:
    """Return whether an extra that needs an environment of its own is there; it is the runtime of the same name."""
    from edgefm import runtimes as known

    name = f"edgefm[{extra}]"
    try:
        python = known.interpreter_of(extra)
    except RecipeError as error:
        return Finding(name=name, found=None, reason=error.message, remedy=error.hint)
    module = known.RUNTIMES[extra]
    probed = probe(module) if python is None else probed_by(module, python)
    if probed.version:
        return Finding(name=name, found="complete" if python is None else f"complete, in {python}")
    return Finding(name=name, found=None, reason="it needs an environment of its own: see the runtime of the same name")


def _lacks(extra: str) -> tuple[list[str], bool]:
    """Return what an extra ('' for edgefm itself) lacks, and whether installing it can help."""
    if version("packaging") is None:  # all extras have it
        return (["not all of its packages are installed"] if extra else []), True
    from packaging.requirements import Requirement

    lacks: list[str] = []
    curable = True
    for text in importlib.metadata.requires("edgefm") or []:
        requirement = Requirement(text)
        of_extra = re.search(r"""extra == ['"]([^'"]+)['"]""", text)
        if (of_extra.group(1) if of_extra else "") != extra:
            continue
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            if extra:  # without one it is needed elsewhere alone
                condition = _condition(str(requirement.marker))
                lacks.append(f"{requirement.name} is not for this Python or system: {condition}")
                curable = False
        elif requirement.name == "edgefm":
            for inner in sorted(requirement.extras):
                more, inner_curable = _lacks(inner)
                lacks += [reason for reason in more if reason not in lacks]
                curable = curable and inner_curable
        else:
            reason = _unfit(requirement.name, str(requirement.specifier))
            lacks += [reason] if reason and reason not in lacks else []
    return lacks, curable


def _unfit(package: str, wanted: str) -> str | None:
    from packaging.specifiers import SpecifierSet

    installed = version(package)
    if installed is None:
        return f"{package} is not installed"
    if not SpecifierSet(wanted).contains(installed, prereleases=True):
        return f"{package} {installed} is installed, {package}{wanted} is needed"
    return None


def _condition(marker: str) -> str:
    """Return a marker without the part that names the extra."""
    return re.sub(r"""\s*(and\s+)?extra == ['"][^'"]+['"](\s+and)?\s*""", "", marker)


def backends() -> Iterator[Finding]:
    """Yield the Keras backends: whether each is installed; none is imported."""
    for name, extra in BACKENDS.items():
        yield _backend(name, extra)


def _backend(name: str, extra: str) -> Finding:
    remedy = f"pip install 'edgefm[{extra}]'"
    for package in ("keras", name):
        # Looked for, not imported: TensorFlow alone takes seconds.
        if importlib.util.find_spec(package) is None:
            return Finding(name=name, found=None, reason=f"{package} is not installed", remedy=remedy)
    return Finding(name=name, found=version(name) or "version unknown")


def gpus() -> Iterator[Finding]:
    """Yield NVIDIA's graphics processors as nvidia-smi names them, or why there is none."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        yield Finding(name="NVIDIA GPU", found=None, reason="nvidia-smi is not found: no NVIDIA driver is installed")
        return
    query = [tool, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocesses.run(query, seconds=_NVIDIA_SMI_SECONDS)
    except TimeLimitError:
        yield Finding(name="NVIDIA GPU", found=None, reason=f"nvidia-smi gave no answer in {_NVIDIA_SMI_SECONDS:g} s")
        return
    except CommandError as error:
        yield Finding(name="NVIDIA GPU", found=None, reason=error.message)
        return
    lines = [line.strip() for line in answer.output.splitlines() if line.strip()]
    if answer.code or not lines:
        said = (answer.errors.strip() or answer.output.strip() or "no GPU").splitlines()[0]
        yield Finding(name="NVIDIA GPU", found=None, reason=f"nvidia-smi says: {said}")
        return
    for number, line in enumerate(lines):
        name, memory, driver = (part.strip() for part in line.split(","))
        yield Finding(name=f"NVIDIA GPU {number}", found=f"{name}, {memory}, driver {driver}")


def fashion_mnist(data_dir: Path | None) -> Finding:
    """Return where the files of Fashion-MNIST lie; their content is not verified."""
    from edgefm.data.reference.fashion_mnist import DATA_DIR_VARIABLE, find

    try:
        source = find(data_dir, download=False)
    except DataError as error:
        unset = f"unset {DATA_DIR_VARIABLE}; " if os.environ.get(DATA_DIR_VARIABLE) else ""
        return Finding(name="Fashion-MNIST", found=None, reason=error.message, remedy=f"{unset}edgefm data fetch")
    return Finding(name="Fashion-MNIST", found=f"{source.folder} ({source.origin})")
