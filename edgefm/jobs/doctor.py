"""What is installed here, what works, and for what does not: why, and the command that helps."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edgefm.core import html, subprocesses
from edgefm.core.arguments import PathLike, as_path
from edgefm.core.environment import environment, version
from edgefm.core.errors import DataError, EdgefmError, RecipeError
from edgefm.core.results import JsonResult
from edgefm.core.subprocesses import CommandError, TimeLimitError
from edgefm.runtimes.probe import PROBE, Probed, probe

# Keras backend -> extra that installs it.
BACKENDS = {"tensorflow": "train", "jax": "train-jax", "torch": "train-torch"}
# Extras for work on edgefm itself: shown where its source is.
_FOR_DEVELOPERS = frozenset({"dev", "docs"})
_SOURCE = Path(__file__).parents[2] / "pyproject.toml"
# Extras that cannot be installed beside the others (they need another numpy).
_APART = frozenset({"tflite-runtime"})
_NVIDIA_SMI_SECONDS = 5.0
_PROBE_SECONDS = 20.0


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked for.

    Attributes:
      name: what it is.
      found: its version or place, or None where it cannot be used.
      reason: why it cannot be used, or None.
      remedy: command that makes it usable, or None where there is none.
    """

    name: str
    found: str | None
    reason: str | None = None
    remedy: str | None = None


@dataclass(frozen=True, kw_only=True)
class RuntimeFinding(Finding):
    """A runtime that was looked for; `found` is its version.

    Attributes:
      kernels: names of its kernel sets, the default first: 'litert:reference'; empty where it has but one.
      python: the interpreter that its workers run under; None for the present one.
    """

    kernels: tuple[str, ...] = ()
    python: str | None = None


@dataclass(frozen=True, kw_only=True)
class Diagnosis(JsonResult):
    """What `doctor` found.

    Attributes:
      environment: machine and versions, as in benchmark records.
      extras: edgefm's optional parts; 'edgefm' itself first.
      runtimes: what runs models.
      targets: where models are run or estimated; a board is known only by its address, so `ssh` says what it needs.
      backends: what trains models.
      gpus: NVIDIA's graphics processors, or one finding with the reason why there is none.
      plugins: runtimes, targets and passes of other packages.
      data: Fashion-MNIST's place; its content is not verified here.
    """

    environment: dict[str, Any] = field(hash=False)
    extras: tuple[Finding, ...]
    runtimes: tuple[RuntimeFinding, ...]
    targets: tuple[Finding, ...]
    backends: tuple[Finding, ...]
    gpus: tuple[Finding, ...]
    plugins: tuple[Finding, ...]
    data: Finding

    def to_json(self) -> dict[str, Any]:
        """Return the diagnosis as a JSON object."""
        return asdict(self)

    def _repr_html_(self) -> str:
        findings = [
            *self.runtimes,
            *self.targets,
            *self.plugins,
            *self.backends,
            *self.gpus,
            self.data,
            *self.extras,
        ]
        rows = [
            [finding.name, finding.found or "no", finding.reason or "", finding.remedy or ""] for finding in findings
        ]
        return html.table(rows, ["what", "found", "reason", "remedy"])


def doctor(*, data_dir: PathLike | None = None) -> Diagnosis:
    """Return what is installed here and what works; about a second, and no Keras backend is imported.

    Args:
      data_dir: folder to look for Fashion-MNIST in.
    """
    return Diagnosis(
        environment=environment(),
        extras=tuple(extras()),
        runtimes=tuple(runtimes()),
        targets=tuple(targets()),
        backends=tuple(_backend(name, extra) for name, extra in BACKENDS.items()),
        gpus=tuple(gpus()),
        plugins=tuple(plugin_findings()),
        data=_data(None if data_dir is None else as_path(data_dir, "data_dir")),
    )


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
    probed = probe(module) if python is None else _probe_elsewhere(module, python)
    if probed.version:
        return Finding(name=name, found="complete" if python is None else f"complete, in {python}")
    return Finding(
        name=name, found=None, reason="it needs an environment of its own; see the runtime of this name above"
    )


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
        told = probe(module) if python is None else _probe_elsewhere(module, python)
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
    return install if here else f"{python} -m {install}"


def _probe_elsewhere(module: str, python: Path) -> Probed:
    """Return what another interpreter says of a runtime; it is asked with the worker's bundle on its path."""
    from edgefm.targets.bundle import bundle

    # What the user put there stays: it may hold a runtime of their own.
    given = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    with tempfile.TemporaryDirectory() as folder:
        try:
            answer = subprocesses.run(
                [str(python), "-m", PROBE, module],
                environment={**os.environ, "PYTHONPATH": os.pathsep.join([str(bundle(Path(folder))), *given])},
                seconds=_PROBE_SECONDS,
            )
        except TimeLimitError:
            return Probed(reason=f"{python} gave no answer in {_PROBE_SECONDS:g} s")
        except CommandError as error:
            return Probed(reason=error.message)
    lines = answer.output.splitlines()
    if answer.code or not lines:
        said = (answer.errors.strip() or "no answer").splitlines()[-1]
        return Probed(reason=f"{python} ends with exit code {answer.code}: {said}")
    try:
        return Probed.from_json(json.loads(lines[-1]))
    except (ValueError, TypeError, KeyError):
        return Probed(reason=f"{python} gave an unexpected answer: {lines[-1][:100]}")


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


def _backend(name: str, extra: str) -> Finding:
    remedy = f"pip install 'edgefm[{extra}]'"
    for package in ("keras", name):
        # Looked for, not imported: TensorFlow alone takes seconds.
        if importlib.util.find_spec(package) is None:
            return Finding(name=name, found=None, reason=f"{package} is not installed", remedy=remedy)
    return Finding(name=name, found=version(name) or "version unknown")


def _data(data_dir: Path | None) -> Finding:
    from edgefm.data.reference.fashion_mnist import DATA_DIR_VARIABLE, find

    try:
        source = find(data_dir, download=False)
    except DataError as error:
        unset = f"unset {DATA_DIR_VARIABLE}; " if os.environ.get(DATA_DIR_VARIABLE) else ""
        return Finding(name="Fashion-MNIST", found=None, reason=error.message, remedy=f"{unset}edgefm data fetch")
    return Finding(name="Fashion-MNIST", found=f"{source.folder} ({source.origin})")


def _lacks(extra: str) -> tuple[list[str], bool]:
    """Return what an extra ('' for edgefm itself) lacks, and whether installing it can help."""
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
