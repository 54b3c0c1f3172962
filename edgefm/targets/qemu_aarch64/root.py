"""The arm64 root: Python, numpy and LiteRT for aarch64 in one folder, made without root and without installing.

The system's own apt fetches arm64 packages into folders of its own (nothing is installed, no architecture is added),
and this Python's own pip fetches the wheels. In the folder lie::

    root.json             what is in it (`Manifest`); written last
    root/                 the unpacked packages, the wheels in usr/lib/python3/dist-packages
    cpus/cortex-a72/      what qemu-aarch64 -L is given: links into root/, and proc/cpuinfo of that core

The packages come from the system's own archive, so that has to hold arm64: Debian's does. Ubuntu keeps arm64 in
another archive, which has to be among apt's sources.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock

from edgefm.core import artefacts, subprocesses
from edgefm.core.cache import cache_folder
from edgefm.core.documents import read_json
from edgefm.core.progress import SILENT, Progress
from edgefm.targets.base import TargetError
from edgefm.targets.qemu_aarch64.cpus import CPUS

FOLDER_VARIABLE = "EDGEFM_AARCH64_ROOT"
SETUP = "python -m edgefm.targets.qemu_aarch64 setup"
NEEDED_BYTES = 400_000_000  # the root itself is about 180 MB; packages and wheels lie beside it meanwhile
_VERSION = 1
_COMMAND_SECONDS = 600.0
_DEBIAN = ("python3-minimal", "libpython3-stdlib", "libstdc++6")
_RUNTIME = "ai-edge-litert"
# What the worker imports. LiteRT's other requirements (protobuf, tqdm, ...) serve its converters.
_WHEELS = ("numpy", "flatbuffers")
_NOT_NEEDED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "var")
_SITE = "usr/lib/python3/dist-packages"
_OLDEST_GLIBC = 17  # manylinux_2_17 is the first tag with a glibc number
_CHECK = "import numpy, ai_edge_litert.interpreter, flatbuffers, ctypes"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What is in a root.

    Attributes:
      version: of this layout.
      python: e.g. '3.11'.
      packages: version of each Python package.
      debian: version of each Debian package.
    """

    version: int
    python: str
    packages: Mapping[str, str]
    debian: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Root:
    """A root that is there.

    Attributes:
      folder: see the module.
      manifest: what is in it.
    """

    folder: Path
    manifest: Manifest

    @property
    def python(self) -> Path:
        """The aarch64 Python."""
        return self.folder / "root/usr/bin/python3"

    @property
    def site(self) -> Path:
        """Where the wheels are."""
        return self.folder / "root" / _SITE

    def prefix(self, cpu: str) -> Path:
        """Return what qemu's option -L is given for a core."""
        return self.folder / "cpus" / cpu


def default_folder() -> Path:
    """Return where the root is kept: EDGEFM_AARCH64_ROOT, or 'aarch64' in edgefm's cache."""
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named).expanduser().absolute() if named else cache_folder() / "aarch64"


def find(folder: Path | None = None) -> Root:
    """Return the root in a folder; None takes the default one.

    Raises:
      TargetError: there is none, or it is of another layout.
    """
    folder = default_folder() if folder is None else folder
    path = folder / "root.json"
    if not path.exists():
        raise TargetError(f"there is no arm64 root in {folder}", hint=f"Make it with: {SETUP}")
    value = read_json(path, what="arm64 root", error=TargetError, hint=_again())
    if isinstance(value, dict) and value.get("version", _VERSION) != _VERSION:
        raise TargetError(f"the arm64 root {folder} was made by another version of edgefm", hint=_again())
    try:
        return Root(folder=folder, manifest=Manifest(**value))
    except TypeError as error:
        raise TargetError(f"the arm64 root {folder} is damaged ({error})", hint=_again()) from None


def setup(folder: Path | None = None, *, qemu: str, again: bool = False, progress: Progress = SILENT) -> Root:
    """Make the root where it is not there yet, and return it. It is whole or it is not there.

    Args:
      folder: where; None takes the default one.
      qemu: the emulator; every core imports LiteRT once in it before the root counts as made.
      again: make it anew where it is there already.
      progress: receives a line for each step.
    Raises:
      TargetError: a tool is missing, the network or the disk failed, or the new root does not work.
    """
    folder = default_folder() if folder is None else folder.absolute()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{folder.name}.lock")):  # the second of two at once finds it made
            if not again:
                with contextlib.suppress(TargetError):
                    return find(folder)
            for left in folder.parent.glob(f".{folder.name}-*"):  # by one that was killed
                shutil.rmtree(left, ignore_errors=True)
            _check_tools()
            _check_space(folder.parent)
            with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as name:
                unfinished = Path(name) / "made"
                unfinished.mkdir()
                _fill(unfinished, downloads=Path(name), qemu=qemu, progress=progress)
                if folder.exists():
                    folder.rename(Path(name) / "old")
                unfinished.rename(folder)
    except OSError as error:
        raise TargetError(f"the arm64 root {folder} could not be made: {error}") from error
    return find(folder)


def _fill(folder: Path, *, downloads: Path, qemu: str, progress: Progress) -> None:
    root = folder / "root"
    progress.note("Fetching Debian's arm64 packages of Python (16 MB) with apt-get")
    debian = _unpack_debian(root, downloads / "apt")
    python = (root / "usr/bin/python3").resolve().name.removeprefix("python")
    progress.note(f"Fetching the aarch64 wheels of {', '.join((_RUNTIME, *_WHEELS))} (30 MB) with pip")
    packages = _unpack_wheels(root / _SITE, downloads / "wheels", python=python, glibc=debian["libc6"])
    for name in CPUS:
        _make_prefix(folder / "cpus" / name, cpu=name)
    manifest = Manifest(version=_VERSION, python=python, packages=packages, debian=debian)
    whole = Root(folder=folder, manifest=manifest)
    for name in CPUS:
        progress.note(f"Importing LiteRT on an emulated {name}")
        _check_import(whole, cpu=name, qemu=qemu)
    artefacts.write_json(folder / "root.json", asdict(manifest))


def _unpack_debian(root: Path, folder: Path) -> dict[str, str]:
    """Unpack Python and what it depends on, and return the versions."""
    for name in ("state/lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()  # nothing counts as installed: all dependencies are fetched
    options = {
        "APT::Architecture": "arm64",
        "APT::Architectures::": "arm64",
        "Dir::State": folder / "state",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "APT::Sandbox::User": "",  # root's cache folder is closed to apt's own user
        "APT::Update::Error-Mode": "any",  # else it succeeds without a network
        "Acquire::Languages": "none",
        "Acquire::Retries": "1",
        "Acquire::http::Timeout": "20",
        "Acquire::https::Timeout": "20",
    }
    apt = ["apt-get", "-q", "-y", *(part for name, value in options.items() for part in ("-o", f"{name}={value}"))]
    try:
        _run([*apt, "update"])
        failure = ""
    except TargetError as error:  # one source that fails, e.g. without arm64, may not be the one that is needed
        failure = error.message
    try:
        _run([*apt, "install", "--no-install-recommends", "--download-only", *_DEBIAN])
    except TargetError as error:
        raise TargetError(
            failure or error.message,
            hint="apt's sources must be reachable and hold arm64, as Debian's do; or copy the folder from a machine "
            f"where it could be made, and set {FOLDER_VARIABLE} to it.",
        ) from None
    versions = {}
    for archive in sorted((folder / "cache/archives").glob("*.deb")):
        _run(["dpkg-deb", "-x", str(archive), str(root)])
        package, version, _ = archive.name.split("_")
        versions[package] = version.replace("%3a", ":")
    for name in _NOT_NEEDED:
        shutil.rmtree(root / name, ignore_errors=True)
    return versions


def _unpack_wheels(site: Path, folder: Path, *, python: str, glibc: str) -> dict[str, str]:
    """Unpack the wheels that the worker needs, and return the versions; LiteRT in the version that is used here."""
    newest = re.match(r"(?:\d+:)?2\.(\d+)", glibc)
    minors = range(int(newest.group(1)) if newest else _OLDEST_GLIBC, _OLDEST_GLIBC - 1, -1)
    tags = ["cp" + python.replace(".", ""), "abi3", "none"]
    try:
        runtime = f"{_RUNTIME}=={importlib.metadata.version(_RUNTIME)}"
    except importlib.metadata.PackageNotFoundError:
        runtime = _RUNTIME
    _run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"),
            *("--no-deps", "--only-binary=:all:", "--implementation", "cp", "--python-version", python),
            *(part for tag in tags for part in ("--abi", tag)),
            *(part for minor in minors for part in ("--platform", f"manylinux_2_{minor}_aarch64")),
            *("--platform", "manylinux2014_aarch64", "--dest", str(folder), runtime, *_WHEELS),
        ]
    )
    versions = {}
    for wheel in sorted(folder.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
        name, version = wheel.name.split("-")[:2]
        versions[name.replace("_", "-")] = version
    return versions


def _make_prefix(prefix: Path, *, cpu: str) -> None:
    """Make what qemu sees as the root of the file system: links, and what the kernel would say of the core."""
    (prefix / "proc").mkdir(parents=True)
    for name in ("etc", "lib", "usr"):
        (prefix / name).symlink_to(Path("../../root") / name)
    (prefix / "proc/cpuinfo").write_text(CPUS[cpu].cpuinfo(), encoding="ascii")
    cores = prefix / "sys/devices/system/cpu"
    cores.mkdir(parents=True)
    for name in ("online", "possible", "present"):
        (cores / name).write_text("0\n", encoding="ascii")  # one core, as in cpuinfo


def _check_import(root: Root, *, cpu: str, qemu: str) -> None:
    """Import what the worker imports; Python keeps the compiled modules, so that later starts are faster."""
    try:
        _run([qemu, "-L", str(root.prefix(cpu)), "-cpu", cpu, str(root.python), "-I", "-c", _CHECK])
    except TargetError as error:
        raise TargetError(f"the new arm64 root does not work on an emulated {cpu}: {error.message}") from None


def _check_tools() -> None:
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise TargetError(
                f"{tool} is not installed; Debian or Ubuntu is needed",
                hint=f"Copy the folder from a machine where it could be made, and set {FOLDER_VARIABLE} to it.",
            )


def _check_space(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < NEEDED_BYTES:
        raise TargetError(
            f"{folder} has {free / 1e6:,.0f} MB free; the arm64 root needs {NEEDED_BYTES / 1e6:,.0f} MB",
            hint=f"Set {FOLDER_VARIABLE} to a folder on another disk.",
        )


def _run(command: list[str]) -> None:
    """Run a tool; on failure raise a TargetError with its last words."""
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive", "OPENBLAS_NUM_THREADS": "1"}
    name = " ".join(command[1:3]).removeprefix("-m ") if command[0] == sys.executable else Path(command[0]).name
    try:
        result = subprocesses.run(command, seconds=_COMMAND_SECONDS, environment=environment)
    except subprocesses.TimeLimitError:
        raise TargetError(f"{name} took more than {_COMMAND_SECONDS:g} s") from None
    except subprocesses.CommandError as error:
        raise TargetError(error.message, hint=error.hint) from None
    if result.code:
        lines = [line.strip() for line in (result.output + "\n" + result.errors).splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith(("E:", "ERROR:", "dpkg-deb:"))][:2]
        messages = dict.fromkeys([*errors, *lines[-1:]])  # pip's last line says more than its first error
        raise TargetError(f"{name} failed: {'; '.join(messages) or f'exit code {result.code}'}")


def _again() -> str:
    return f"Make it anew with: {SETUP} --again"
