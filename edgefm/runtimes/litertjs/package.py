"""Where the browser, its driver and the npm packages of LiteRT.js are, and how to have them.

`python -m edgefm.runtimes.litertjs setup` fetches the two packages with npm into edgefm's cache.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from edgefm.core import subprocesses
from edgefm.core.cache import cache_folder
from edgefm.core.documents import read_json
from edgefm.core.errors import EdgefmError, RuntimeUnavailableError

VERSION = "2.5.3"  # what the tests have run; another one that lies in one of the places is used as well
PACKAGE_VARIABLE = "EDGEFM_LITERTJS"
BROWSER_VARIABLE = "EDGEFM_CHROMIUM"
DRIVER_VARIABLE = "EDGEFM_CHROMEDRIVER"
SETUP = "python -m edgefm.runtimes.litertjs setup"
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_DRIVERS = ("chromedriver", "/usr/lib/chromium/chromedriver", "/usr/lib/chromium-browser/chromedriver")
_SCOPE = Path("node_modules", "@litertjs")
_FILES = ("dist/index.js", "wasm/litert_wasm_internal.js", "wasm/litert_wasm_threaded_internal.js")


@dataclass(frozen=True, kw_only=True)
class Package:
    """The npm packages of LiteRT.js.

    Attributes:
      core: folder of @litertjs/core.
      wasm_utils: folder of @litertjs/wasm-utils, which it imports.
      version: of @litertjs/core.
    """

    core: Path
    wasm_utils: Path
    version: str


def browser() -> Path | None:
    """Return the program of Chromium or Chrome: EDGEFM_CHROMIUM, or what is on PATH."""
    return _program(BROWSER_VARIABLE, _BROWSERS)


def driver() -> Path | None:
    """Return the program of ChromeDriver: EDGEFM_CHROMEDRIVER, what is on PATH, or what lies beside Chromium."""
    return _program(DRIVER_VARIABLE, _DRIVERS)


def package() -> Package | None:
    """Return the npm packages, or None where they are in none of the places.

    The places, in order: the folder of @litertjs/core that EDGEFM_LITERTJS names (where it is set, the only one);
    node_modules of the working folder; edgefm's cache.
    """
    named = os.environ.get(PACKAGE_VARIABLE)
    places = (
        [Path(named).expanduser()]
        if named
        else [Path.cwd() / _SCOPE / "core", cache_folder() / "litertjs" / _SCOPE / "core"]
    )
    return next((packages for packages in map(_at, places) if packages is not None), None)


def missing() -> list[str]:
    """Return what is missing to run LiteRT.js in a browser, each with its remedy; empty where nothing is."""
    return [f"{what} ({remedy}{wrong})" for what, remedy, wrong in _missing()]


def remedies() -> list[str]:
    """Return the commands that get what is missing."""
    return [remedy for _, remedy, _ in _missing()]


def _missing() -> list[tuple[str, str, str]]:
    """Return what is missing, the command that gets it, and what is wrong with a variable that names it."""
    lacks = []
    if browser() is None:
        lacks.append(("Chromium", "apt-get install chromium", _wrong(BROWSER_VARIABLE, "is not an executable")))
    if driver() is None:
        lacks.append(
            ("ChromeDriver", "apt-get install chromium-driver", _wrong(DRIVER_VARIABLE, "is not an executable"))
        )
    if importlib.util.find_spec("selenium") is None:
        lacks.append(("the Python package selenium", "pip install 'edgefm[browser]'", ""))
    if package() is None:
        what = "the npm package @litertjs/core with @litertjs/wasm-utils beside it"
        lacks.append((what, SETUP, _wrong(PACKAGE_VARIABLE, "does not hold it")))
    return lacks


def setup(*, seconds: float = 300) -> Package:
    """Fetch the npm packages into edgefm's cache, at the version that was tested, and return where they are.

    npm checks what it fetched against the registry's checksums; no script of a package is run.

    Raises:
      RuntimeUnavailableError: npm is not there, or failed.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeUnavailableError(
            "npm is not installed",
            hint=f"Install it (apt-get install npm), or unpack @litertjs/core {VERSION} and @litertjs/wasm-utils "
            f"{VERSION} side by side and name the folder of the first in {PACKAGE_VARIABLE}.",
        )
    folder = cache_folder() / "litertjs"
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"@litertjs/{part}@{VERSION}" for part in ("core", "wasm-utils")]
    flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--no-package-lock", "--loglevel=error"]
    try:
        command = [npm, "install", "--prefix", str(folder), *flags, *names]
        result = subprocesses.run(command, seconds=seconds, cwd=folder)
    except subprocesses.TimeLimitError:
        raise RuntimeUnavailableError(f"npm did not fetch {names[0]} within {seconds:g} s") from None
    packages = _at(folder / _SCOPE / "core")
    if result.code != 0 or packages is None:
        lines = (result.errors.strip() or result.output.strip() or "no error message").splitlines()
        raise RuntimeUnavailableError(
            f"npm could not fetch {' and '.join(names)}: {lines[0]}", hint="Is the registry reachable? See: npm ping"
        )
    return packages


def _at(core: Path) -> Package | None:
    """Return the packages where this folder is a whole @litertjs/core with its dependency."""
    if not all((core / file).is_file() for file in _FILES):
        return None
    # npm lays a dependency beside the package, or inside it where versions differ.
    for utils in (core / _SCOPE / "wasm-utils", core.resolve().parent / "wasm-utils"):
        if (utils / "dist" / "index.js").is_file():
            return Package(core=core, wasm_utils=utils, version=_version(core))
    return None


def _program(variable: str, names: tuple[str, ...]) -> Path | None:
    named = os.environ.get(variable)
    for name in [named] if named else names:
        path = shutil.which(name)
        if path:
            return Path(path)
    return None


def _wrong(variable: str, why: str) -> str:
    named = os.environ.get(variable)
    return f"; {variable} is '{named}', which {why}" if named else ""


def _version(core: Path) -> str:
    try:
        return str(read_json(core / "package.json", what="npm package")["version"])
    except (OSError, EdgefmError, TypeError, KeyError):
        return "unknown"
