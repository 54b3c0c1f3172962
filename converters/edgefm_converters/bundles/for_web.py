"""The bundle for browsers: one page that holds all it needs and opens from a file, LiteRT.js and the model included.

The sources lie in `web_files/`, one idea a module. In the page the modules stand one after the other in one script, the
policy of the page lets nothing else run, and nothing is sent or fetched.
"""

from __future__ import annotations

import base64
import dataclasses
import gzip
import hashlib
import html
import json
import re
from importlib import resources
from typing import Any

from edgefm.tflite.open_batch import fixed_batch, leaves_batch_open
from edgefm_converters.bundles.golden import FILE_NAME, golden_files
from edgefm_converters.bundles.head import fields, score_word
from edgefm_converters.bundles.parts import NOTICE_FILE, SBOM_FILE, BundleParts
from edgefm_converters.bundles.sbom import Needed, sbom_bytes
from edgefm_converters.bundles.web_runtime import WebRuntime

KIND = "web"
NEEDS = tuple(
    Needed(name=f"@litertjs/{name}", version="", purl=f"pkg:npm/%40litertjs/{name}", licence="Apache-2.0")
    for name in ("core", "wasm-utils")
)
PAGE = "index.html"
USE = """\
| file | what it is |
|---|---|
| `index.html` | the page: open it from here, send it, or put it on any server; it holds the model and all it needs |
| `contract.json`, `labels.txt` | what goes in and comes out |
| `golden/` | golden vectors |
| `sbom.cdx.json`, `NOTICE`, `LICENSE-LiteRT.js`, `manifest.json` | what it is made of, licences, sums |

The page needs a browser with WebAssembly's SIMD, as all have had since 2023. Pictures stay on the device: its policy
lets it send nothing. Some browsers give no camera to a page that is opened as a file."""
# Each after what it imports.
_MODULES = (
    "bytes", "exif", "png", "decode", "resize", "preprocess", "tensors", "runtime", "self_test", "tabs", "draw",
    "camera", "view", "main",
)  # fmt: skip
_IMPORT = re.compile(r"^import \{[^}]*\} from '\./\w+\.js';\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=const|class|function|async)", re.MULTILINE)
LICENCE_FILE = "LICENSE-LiteRT.js"
_AUTO = {"light_border": "automatic", "asked": "automatic: as it is", "always": "automatic: inverted"}


def files(parts: BundleParts) -> dict[str, bytes]:
    """Return the files of the bundle that are of this kind alone, by path.

    Raises:
      ModelError: no words are known for the ends of the model.
      RuntimeUnavailableError: a library is missing.
    """
    assert parts.web is not None, "who writes a page brings LiteRT.js"
    notice = (
        f"{parts.notice}\nThe page holds LiteRT.js {parts.web.version} (@litertjs/core and @litertjs/wasm-utils, "
        f"Google LLC), under the Apache License 2.0: {LICENCE_FILE}.\n"
    )
    carried = tuple(dataclasses.replace(need, version=parts.web.version) for need in NEEDS)
    return {
        SBOM_FILE: sbom_bytes([parts.contract], carried, version=parts.version),
        PAGE: page(parts, parts.web).encode(),
        NOTICE_FILE: notice.encode(),
        LICENCE_FILE: _source("LICENSE-LiteRT.js.txt").encode(),
    }


def page(parts: BundleParts, runtime: WebRuntime) -> str:
    """Return the page; equal parts give an equal page."""
    script, style = _script(), _source("page.css")
    contract = parts.contract
    values = {
        "policy": _policy(script=script, style=style),
        "title": html.escape(f"{contract.name}, {contract.variant}"),
        "name": html.escape(contract.name).replace("_", "_<wbr>"),
        "variant": html.escape(contract.variant),
        "purpose": html.escape(_purpose(parts)),
        "auto": _AUTO[contract.pictures.invert],
        "about": _about(parts, runtime),
        "notices": html.escape(f"Written by edgefm {parts.version}. Holds LiteRT.js (Apache License 2.0)."),
        "style": style,
        "script": script,
        "data": _carried(parts, runtime),
    }
    return re.sub(r"\{(\w+)\}", lambda match: values[match[1]], _source("page.html"))


def _source(name: str) -> str:
    return resources.files("edgefm_converters.bundles").joinpath("web_files").joinpath(name).read_text("utf-8")


def _script() -> str:
    """Return the modules as one: their imports of each other are what stands before."""
    modules = (_source(f"{name}.js") for name in _MODULES)
    return "\n".join(_EXPORT.sub("", _IMPORT.sub("", module)).strip() for module in modules)


def _policy(*, script: str, style: str) -> str:
    """Return a policy that lets this script, this style and what they make run, and lets nothing out."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hash(script)} blob: 'wasm-unsafe-eval'",
            f"style-src {_hash(style)}",
            "img-src data: blob:",
            "media-src blob: mediastream:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _carried(parts: BundleParts, runtime: WebRuntime) -> str:
    """Return the blocks of data, which a browser reads as text and runs nothing of."""
    golden = golden_files(parts.golden, parts.contract)
    head = json.loads(golden[FILE_NAME])
    given_by_pictures = {vector["input"] for vector in head["vectors"] if vector["picture"] is not None}
    carried = {
        name: base64.b64encode(content).decode()
        for name, content in golden.items()
        if name != FILE_NAME and name not in given_by_pictures
    }
    model = fixed_batch(parts.model)
    plain = {"facts": _facts(parts, runtime, model), "contract": parts.contract.to_json(), "golden": head}
    packed = {
        "files": json.dumps(carried, sort_keys=True).encode(),
        "model": model,
        "core": runtime.core,
        "utils": runtime.utils,
        "glue": runtime.glue,
        "wasm": runtime.wasm,
    }
    blocks = [_block(name, "application/json", _json(value)) for name, value in plain.items()]
    blocks += [
        _block(name, "text/plain", base64.b64encode(gzip.compress(content, 9, mtime=0)).decode())
        for name, content in packed.items()
    ]
    return "\n".join(blocks)


def _block(name: str, kind: str, text: str) -> str:
    return f'<script type="{kind}" id="carried-{name}">{text}</script>'


def _json(value: Any) -> str:
    r"""Return JSON that ends no script and begins no comment, whatever texts are in it.

    >>> print(_json({"label": "</script><!--"}))
    {"label": "\u003c/script>\u003c!--"}
    """
    return json.dumps(value, sort_keys=True).replace("<", "\\u003c")


def _facts(parts: BundleParts, runtime: WebRuntime, model: bytes) -> dict[str, Any]:
    """Return what the page must know that the contract does not say."""
    contract = parts.contract
    first = fields(contract)[0]
    return {
        "head": first.head,
        "percent": first.head == "places" or score_word(first) == "probability",
        "note": {
            "labels": "Each label stands for itself: several may hold.",
            "places": "The share of the picture that each class has.",
        }.get(first.head, ""),
        "size": contract.output.size,
        "pictures": contract.takes_pictures,
        "ends": {"signature": runtime.signature, "order": runtime.order},
        "runtime": f"LiteRT.js {runtime.version}",
        "model_sha256": hashlib.sha256(model).hexdigest(),
    }


def _purpose(parts: BundleParts) -> str:
    contract = parts.contract
    head, labels = fields(contract)[0].head, len(contract.labels)
    thing = "picture" if contract.takes_pictures else "sample"
    return {
        "classes": f"A model that tells which of {labels} classes a {thing} shows.",
        "second": f"A model that tells which of two classes a {thing} shows.",
        "labels": f"A model that tells which of {labels} labels hold for a {thing}.",
        "places": f"A model that tells the class at each place of a {thing}.",
        "reconstruction": f"A model that gives a {thing} back.",
        "values": f"A model that tells numbers of a {thing}.",
    }[head]


def _about(parts: BundleParts, runtime: WebRuntime) -> str:
    contract = parts.contract
    source = parts.golden.source
    come = source["name"] if source["kind"] == "data" else f"random inputs: {source['reason']}"
    shape = " x ".join(str(side) for side in contract.input.shape[1:])
    rows = {
        "model": f"{contract.name}, {contract.variant}, {contract.size_bytes / 1000:,.1f} KB",
        "sha256": contract.sha256,
        "input": f"{shape}, {contract.input.dtype}: {contract.input_formula()}",
        "output": f"{contract.output.dtype}: {contract.output_formula()}",
        "labels": ", ".join(contract.labels) or "none",
        "golden vectors": f"{len(parts.golden)}, {come}",
        "kernel families": "; ".join(f"{family.title} ({family.made_by})" for family in parts.golden.families),
        "runtime": f"LiteRT.js {runtime.version}, WebAssembly, one thread",
    }
    if contract.no_pixels:
        rows["no pictures"] = contract.no_pixels
    if leaves_batch_open(parts.model):
        rows["batch"] = "the file leaves it open; in this page it is fixed at 1"
    return "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd>" for name, text in rows.items())
