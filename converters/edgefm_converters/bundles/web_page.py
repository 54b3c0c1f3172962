"""The page for browsers: one file that holds all it needs, or a folder for a server that fetches its parts.

The sources lie in `web_files/`, one idea a module. In the page the modules stand one after the other in one script, the
policy of the page lets nothing else run, and nothing is sent; the page in one file fetches nothing, the served one only
what lies beside it.
"""

from __future__ import annotations

import base64
import functools
import gzip
import hashlib
import html
import json
import re
from importlib import resources
from typing import Any

from edgefm.tflite.contract import Contract
from edgefm.tflite.open_batch import fixed_batch, leaves_batch_open
from edgefm_converters.bundles.base122 import base122
from edgefm_converters.bundles.golden import FILE_NAME, golden_files
from edgefm_converters.bundles.head import fields, score_word
from edgefm_converters.bundles.web_runtime import WebModel, WebPage, file_name, folders

# Each after what it imports.
_AUTO = {"light_border": "automatic", "asked": "automatic: as it is", "always": "automatic: inverted"}
_MODULES = (
    "bytes", "carried", "exif", "png", "size", "decode", "resize", "preprocess", "tensors", "runtime", "self_test",
    "unlike", "model", "tabs", "draw", "camera", "view", "side", "main",
)  # fmt: skip
# What a page says of a measured quality.
QUALITY = ("name", "unit", "value", "low", "high", "n")
_IMPORT = re.compile(r"^import \{[^}]*\} from '\./\w+\.js';\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=const|class|function|async)", re.MULTILINE)


def page(web: WebPage, *, version: str) -> str:
    """Return the page in one file; equal parts give an equal page."""
    blocks = [_block(name, "application/json", _json(value)) for name, value in _plain(web).items()]
    blocks += [_packed_block(name, content) for name, content in _parts(web).items()]
    return _filled(web, "\n".join(blocks), version=version, sources="")


def served_files(web: WebPage, *, version: str) -> dict[str, bytes]:
    """Return the files of the page for a server, by path in its folder: LiteRT.js with threads, models, the page."""
    parts = {**_parts(web), "threaded-glue": web.runtime.threaded.glue, "threaded-wasm": web.runtime.threaded.wasm}
    addresses = {name: _address(name, web) for name in parts}
    plain = {**_plain(web), "addresses": addresses}
    blocks = "\n".join(_block(name, "application/json", _json(value)) for name, value in plain.items())
    return {
        "index.html": _filled(web, blocks, version=version, sources="'self'").encode(),
        **{addresses[name]: content for name, content in parts.items()},
    }


def source(name: str) -> str:
    """Return a file of `web_files/`."""
    return resources.files("edgefm_converters.bundles").joinpath("web_files").joinpath(name).read_text("utf-8")


def _address(name: str, web: WebPage) -> str:
    known = {
        "files": "golden.json",
        "core": "litert/core.js",
        "utils": "litert/wasm-utils.js",
        "glue": "litert/single.js",
        "wasm": "litert/single.wasm",
        "threaded-glue": "litert/threaded.js",
        "threaded-wasm": "litert/threaded.wasm",
    }
    if name in known:
        return known[name]
    place = int(name.removeprefix("model-"))
    return f"models/{place}-{file_name(web.models[place].contract.variant)}.tflite"


def _filled(web: WebPage, blocks: str, *, version: str, sources: str) -> str:
    """Return the template with what a page holds; sources: what the policy lets it fetch from."""
    script, style = _script(), source("page.css")
    contract = web.models[0].contract
    beside = [model.contract.variant for model in web.models[1:]]
    values = {
        "policy": _policy(script=script, style=style, sources=sources),
        "title": html.escape(f"{contract.name}, {contract.variant}"),
        "name": html.escape(contract.name).replace("_", "_<wbr>"),
        "variant": html.escape(", ".join([contract.variant, *beside])),
        "purpose": html.escape(_purpose(contract)),
        "auto": _AUTO[contract.pictures.invert],
        "about": _about(web),
        "these": "these models" if beside else "this model",
        "each": " of each" if beside else "",
        "notices": html.escape(f"Written by edgefm {version}. Holds LiteRT.js (Apache License 2.0)."),
        "style": style,
        "script": script,
        "data": blocks,
    }
    return re.sub(r"\{(\w+)\}", lambda match: values[match[1]], source("page.html"))


def _script() -> str:
    """Return the modules as one: their imports of each other are what stands before."""
    modules = (source(f"{name}.js") for name in _MODULES)
    return "\n".join(_EXPORT.sub("", _IMPORT.sub("", module)).strip() for module in modules)


def _policy(*, script: str, style: str, sources: str) -> str:
    """Return a policy that lets this script, this style and what they make run, and lets nothing out."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hash(script)} blob: 'wasm-unsafe-eval'",
            *((f"connect-src {sources}", "worker-src blob:") if sources else ()),
            f"style-src {_hash(style)}",
            "img-src data: blob:",
            "media-src blob: mediastream:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _plain(web: WebPage) -> dict[str, Any]:
    """Return what a page holds as JSON that can be read."""
    first = web.models[0].contract
    return {
        "facts": {
            "pictures": first.takes_pictures,
            "runtime": f"LiteRT.js {web.runtime.version}",
            "unlike": None if web.unlike is None else _thresholds(web),
        },
        "models": [_model(model, folder) for model, folder in zip(web.models, folders(web.models), strict=True)],
    }


def _thresholds(web: WebPage) -> dict[str, Any]:
    assert web.unlike is not None
    value = web.unlike.to_json()
    return {name: value[name] for name in value if name not in ("kind", "schema_version", "measured", "source")}


def _model(model: WebModel, folder: str) -> dict[str, Any]:
    """Return what the page must know of a model."""
    contract = model.contract
    first = fields(contract)[0]
    return {
        "contract": contract.to_json(),
        "golden": json.loads(golden_files(model.golden, contract)[FILE_NAME]),
        "folder": folder,
        "head": first.head,
        "percent": first.head == "places" or score_word(first) == "probability",
        "note": {
            "labels": "Each label stands for itself: several may hold.",
            "places": "The share of the picture that each class has.",
        }.get(first.head, ""),
        "size": contract.output.size,
        "ends": {"signature": model.signature, "order": model.order},
        "sha256": hashlib.sha256(fixed_batch(model.model)).hexdigest(),
        "quality": None if model.quality is None else {name: model.quality[name] for name in QUALITY},
    }


def quality_words(quality: Any) -> str:
    """Return a measured quality for a person, '' where there is none.

    >>> quality_words({"name": "accuracy", "unit": "%", "value": 0.93, "low": 0.925, "high": 0.935, "n": 10000})
    'accuracy 93.00 % (95 % interval 92.50 to 93.50 %, n = 10,000)'
    """
    if not quality:
        return ""
    factor, unit = (100.0, " %") if quality["unit"] == "%" else (1.0, "")
    value, low, high = (factor * float(quality[name]) for name in ("value", "low", "high"))
    return f"{quality['name']} {value:.2f}{unit} (95 % interval {low:.2f} to {high:.2f}{unit}, n = {quality['n']:,})"


def _parts(web: WebPage) -> dict[str, bytes]:
    """Return what a page holds beside: golden files, models and LiteRT.js."""
    carried: dict[str, str] = {}
    for model, folder in zip(web.models, folders(web.models), strict=True):
        golden = golden_files(model.golden, model.contract)
        vectors = json.loads(golden[FILE_NAME])["vectors"]
        given_by_pictures = {vector["input"] for vector in vectors if vector["picture"] is not None}
        for name, content in golden.items():
            text = base64.b64encode(content).decode()
            # A picture of another model is most often that of the first, and stands there.
            if name != FILE_NAME and name not in given_by_pictures and carried.get(name) != text:
                carried[f"{folder}{name}"] = text
    runtime = web.runtime
    return {
        "files": json.dumps(carried, sort_keys=True).encode(),
        **{f"model-{place}": fixed_batch(model.model) for place, model in enumerate(web.models)},
        "core": runtime.core,
        "utils": runtime.utils,
        "glue": runtime.single.glue,
        "wasm": runtime.single.wasm,
    }


@functools.lru_cache(maxsize=32)
def _packed(content: bytes) -> tuple[str, int]:
    packed = gzip.compress(content, 9, mtime=0)
    return base122(packed), len(packed)


def _packed_block(name: str, content: bytes) -> str:
    text, size = _packed(content)
    return f'<script type="text/plain" id="carried-{name}" data-bytes="{size}">{text}</script>'


def _block(name: str, kind: str, text: str) -> str:
    return f'<script type="{kind}" id="carried-{name}">{text}</script>'


def _json(value: Any) -> str:
    r"""Return JSON that ends no script and begins no comment, whatever texts are in it.

    >>> print(_json({"label": "</script><!--"}))
    {"label":"\u003c/script>\u003c!--"}
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":")).replace("<", "\\u003c")


def _purpose(contract: Contract) -> str:
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


def _about(web: WebPage) -> str:
    rows: list[tuple[str, str]] = []
    for model in web.models:
        contract = model.contract
        sources = model.golden.source
        come = sources["name"] if sources["kind"] == "data" else f"random inputs: {sources['reason']}"
        shape = " x ".join(str(side) for side in contract.input.shape[1:])
        rows += [
            ("model", f"{contract.name}, {contract.variant}, {contract.size_bytes / 1000:,.1f} KB"),
            ("sha256", contract.sha256),
            ("measured", quality_words(model.quality) or "nothing that is known here"),
            ("input", f"{shape}, {contract.input.dtype}: {contract.input_formula()}"),
            ("output", f"{contract.output.dtype}: {contract.output_formula()}"),
            ("golden vectors", f"{len(model.golden)}, {come}"),
            ("kernel families", "; ".join(f"{one.title} ({one.made_by})" for one in model.golden.families)),
        ]
        if contract.no_pixels:
            rows.append(("no pictures", contract.no_pixels))
        if leaves_batch_open(model.model):
            rows.append(("batch", "the file leaves it open; in this page it is fixed at 1"))
    rows += [
        ("labels", ", ".join(web.models[0].contract.labels) or "none"),
        ("runtime", f"LiteRT.js {web.runtime.version}, WebAssembly"),
        ("unlike pictures", _unlike_words(web)),
    ]
    return "".join(
        f'<dt class="{name if name == "model" else ""}">{html.escape(name)}</dt><dd>{html.escape(text)}</dd>'
        for name, text in rows
    )


def _unlike_words(web: WebPage) -> str:
    unlike = web.unlike
    if unlike is None:
        return f"no warning: {web.unlike_reason or 'nothing is known of the data'}"
    parts = [f"{share.what} {100 * share.either / share.n:.1f} % (n = {share.n:,})" for share in unlike.measured]
    return (
        f"warned of where the entropy or the distance is above that of {100 * unlike.quantile:g} % of "
        f"{unlike.validation:,} validation pictures of {unlike.source}; warned of were: {', '.join(parts)}"
    )
