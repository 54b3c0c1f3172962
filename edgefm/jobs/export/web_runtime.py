"""LiteRT.js for a page, from where edgefm keeps it, and what it must be told of a model."""

from __future__ import annotations

from pathlib import Path

from edgefm.core.errors import RuntimeUnavailableError
from edgefm.runtimes.litertjs import package
from edgefm.runtimes.litertjs.model import read_ends
from edgefm_converters.bundles.web_runtime import WebRuntime

# The build without relaxed SIMD, which some browsers of phones lack; a page holds one. Its int8 answers are the same.
_BUILD = "litert_wasm_compat_internal"


def web_runtime(model: Path) -> WebRuntime:
    """Return LiteRT.js and the names of a model's ends in it.

    Args:
      model: .tflite file with one input; its ends are float32, int32 or uint8.
    Raises:
      ModelError: LiteRT.js cannot run the file.
      RuntimeUnavailableError: the npm packages are not there.
    """
    ends = read_ends(model)
    packages = package.package()
    wasm = [] if packages is None else [packages.core / "wasm" / f"{_BUILD}.{suffix}" for suffix in ("js", "wasm")]
    if packages is None or not all(file.is_file() for file in wasm):
        raise RuntimeUnavailableError(
            "a page for browsers holds LiteRT.js, whose packages of npm, @litertjs/core and @litertjs/wasm-utils, are "
            "not here",
            hint=f"Fetch them with: {package.SETUP}",
        )
    glue, binary = (file.read_bytes() for file in wasm)
    return WebRuntime(
        version=packages.version,
        core=(packages.core / "dist" / "index.js").read_bytes(),
        utils=(packages.wasm_utils / "dist" / "index.js").read_bytes(),
        glue=glue,
        wasm=binary,
        signature=ends.signature,
        order=ends.order,
    )
