"""LiteRT.js for a page, from where edgefm keeps it."""

from __future__ import annotations

from pathlib import Path

from edgefm.core.errors import RuntimeUnavailableError
from edgefm.runtimes.litertjs import package
from edgefm_converters.bundles.web_runtime import WasmBuild, WebRuntime

# The build without relaxed SIMD, which some browsers of phones lack; a page holds one. Its int8 answers are the same.
_SINGLE = "litert_wasm_compat_internal"
_THREADED = "litert_wasm_threaded_internal"


def web_runtime() -> WebRuntime:
    """Return LiteRT.js.

    Raises:
      RuntimeUnavailableError: the npm packages are not there.
    """
    packages = package.package()
    builds = () if packages is None else tuple(_files(packages.core, name) for name in (_SINGLE, _THREADED))
    if packages is None or not all(file.is_file() for build in builds for file in build):
        raise RuntimeUnavailableError(
            "a page for browsers holds LiteRT.js, whose packages of npm, @litertjs/core and @litertjs/wasm-utils, are "
            "not here",
            hint=f"Fetch them with: {package.SETUP}",
        )
    single, threaded = (WasmBuild(glue=glue.read_bytes(), wasm=wasm.read_bytes()) for glue, wasm in builds)
    return WebRuntime(
        version=packages.version,
        core=(packages.core / "dist" / "index.js").read_bytes(),
        utils=(packages.wasm_utils / "dist" / "index.js").read_bytes(),
        single=single,
        threaded=threaded,
    )


def _files(core: Path, name: str) -> tuple[Path, Path]:
    return core / "wasm" / f"{name}.js", core / "wasm" / f"{name}.wasm"
