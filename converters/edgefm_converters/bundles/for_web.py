"""The bundle for browsers: a page that opens from a file, and on request the same for a server, with threads."""

from __future__ import annotations

import dataclasses
from typing import Any

from edgefm.core.artefacts import json_bytes
from edgefm.core.text import one_a_line
from edgefm.tflite import contract as contracts
from edgefm_converters.bundles.golden import golden_files
from edgefm_converters.bundles.parts import LABELS_FILE, MODEL_FILE, NOTICE_FILE, SBOM_FILE, BundleParts
from edgefm_converters.bundles.sbom import Needed, sbom_bytes
from edgefm_converters.bundles.unlike import FILE_NAME as UNLIKE_FILE
from edgefm_converters.bundles.web_page import QUALITY, page, served_files, source
from edgefm_converters.bundles.web_runtime import WebPage, folders

KIND = "web"
NEEDS = tuple(
    Needed(name=f"@litertjs/{name}", version="", purl=f"pkg:npm/%40litertjs/{name}", licence="Apache-2.0")
    for name in ("core", "wasm-utils")
)
PAGE = "index.html"
SERVED = "served"
LARGEST_PAGE_BYTES = 5_000_000
USE = """\
| file | what it is |
|---|---|
| `index.html` | the page: open it from here, send it, or put it on any server; it holds the model and all it needs |
| `contract.json`, `labels.txt` | what goes in and comes out |
| `golden/` | golden vectors |
| `beside/` | where there is one: models that answer the same pictures, with their contracts and golden vectors |
| `unlike.json` | where there is one: from where on a picture is unlike the data, and how that was set |
| `page.json` | what the page holds: its models in their order, what was measured of them |
| `served/` | where there is one: the page for a web server, with threads |
| `sbom.cdx.json`, `NOTICE`, `LICENSE-LiteRT.js`, `manifest.json` | what it is made of, licences, sums |

The page needs a browser with WebAssembly's SIMD, as all have had since 2023. Pictures stay on the device: its policy
lets it send nothing. Some browsers give no camera to a page that is opened as a file.

Threads need a server that sends two headers with `served/index.html`, from https or from the machine itself:

    Cross-Origin-Opener-Policy: same-origin
    Cross-Origin-Embedder-Policy: require-corp

`edgefm demo FOLDER --serve` is such a server for this machine. Netlify and Cloudflare Pages read them from
`served/_headers`, Apache from `served/.htaccess`; for nginx:

    location /demo/ {
      add_header Cross-Origin-Opener-Policy same-origin;
      add_header Cross-Origin-Embedder-Policy require-corp;
    }

GitHub Pages sends none: the page works there too, with one thread, and says so."""
PAGE_FACTS = "page.json"
LICENCE_FILE = "LICENSE-LiteRT.js"
# By what a browser gives a page threads; see https://developer.mozilla.org/docs/Web/API/Window/crossOriginIsolated.
ISOLATION = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}


def files(parts: BundleParts) -> dict[str, bytes]:
    """Return the files of the bundle that are of this kind alone, by path.

    Raises:
      ModelError: no words are known for the ends of the model.
      RuntimeUnavailableError: a library is missing.
    """
    web = parts.web
    assert web is not None, "who writes a page brings LiteRT.js"
    runtime = web.runtime
    notice = (
        f"{parts.notice}\nThe page holds LiteRT.js {runtime.version} (@litertjs/core and @litertjs/wasm-utils, "
        f"Google LLC), under the Apache License 2.0: {LICENCE_FILE}.\n"
    )
    carried = tuple(dataclasses.replace(need, version=runtime.version) for need in NEEDS)
    content: dict[str, bytes] = {
        SBOM_FILE: sbom_bytes([model.contract for model in web.models], carried, version=parts.version),
        PAGE: (web if web.page else fitted(web, version=parts.version)).page,
        NOTICE_FILE: notice.encode(),
        LICENCE_FILE: source("LICENSE-LiteRT.js.txt").encode(),
        PAGE_FACTS: json_bytes(_page_facts(web)),
    }
    for model, folder in list(zip(web.models, folders(web.models), strict=True))[1:]:
        contract = dataclasses.replace(model.contract, file=MODEL_FILE)
        content[f"{folder}{MODEL_FILE}"] = model.model
        content[f"{folder}{contracts.FILE_NAME}"] = json_bytes(contract.to_json())
        if contract.labels:
            content[f"{folder}{LABELS_FILE}"] = one_a_line(contract.labels).encode()
        content |= {f"{folder}{name}": file for name, file in golden_files(model.golden, contract).items()}
    if web.unlike is not None:
        content[UNLIKE_FILE] = web.unlike.file()
    if web.served:
        content |= {f"{SERVED}/{name}": file for name, file in served(web, version=parts.version).items()}
    return content


def _page_facts(web: WebPage) -> dict[str, Any]:
    """Return what a page says that no other file of the bundle does: its models in their order, what was measured."""
    models = [
        {
            "folder": folder,
            "quality": None if model.quality is None else {name: model.quality[name] for name in QUALITY},
        }
        for model, folder in zip(web.models, folders(web.models), strict=True)
    ]
    return {
        "kind": "web-page",
        "schema_version": 1,
        "models": models,
        "unlike_reason": web.unlike_reason,
        "served": web.served,
    }


def served(web: WebPage, *, version: str) -> dict[str, bytes]:
    """Return the folder for a web server, by path: the page, its parts, and the headers for hosts that read files."""
    headers = "".join(f"  {name}: {value}\n" for name, value in ISOLATION.items())
    apache = "".join(f'Header always set {name} "{value}"\n' for name, value in ISOLATION.items())
    return {
        **served_files(web, version=version),
        "_headers": f"/*\n{headers}".encode(),
        ".htaccess": apache.encode(),
        LICENCE_FILE: source("LICENSE-LiteRT.js.txt").encode(),
    }


def fitted(web: WebPage, *, version: str, stand_in: bool = False) -> WebPage:
    """Return what the pages hold with the page in one file, written, and the models that it has no place for.

    Models are added in their order, as long as that page has at most LARGEST_PAGE_BYTES; the first is always there.

    Args:
      web: with all models; those that the page in one file does not hold stay for a server, where there is one.
      version: of edgefm.
      stand_in: float16 stands in for float32 where that is too large: beside it float16 is left away, unless it is the
        smallest.
    """
    kept, single, left_out = dataclasses.replace(web, models=web.models[:1]), b"", []
    models, smallest = list(web.models[:1]), min(len(model.model) for model in web.models)
    for model in web.models[1:]:
        beside = {each.contract.variant for each in kept.models[1:]}
        if stand_in and model.contract.variant == "float16" and "float32" in beside and len(model.model) > smallest:
            continue
        models.append(model)
        larger = dataclasses.replace(kept, models=(*kept.models, model))
        written = page(larger, version=version).encode()
        if len(written) <= LARGEST_PAGE_BYTES:
            kept, single = larger, written
        else:
            limit = f"{LARGEST_PAGE_BYTES / 1e6:.1f} MB are the limit"
            why = f"the page would have {len(written) / 1e6:.1f} MB with it; {limit}"
            left_out.append((model.contract.variant, why))
    return dataclasses.replace(
        web,
        models=tuple(models) if web.served else kept.models,
        page=single or page(kept, version=version).encode(),
        beside=tuple(model.contract.variant for model in kept.models[1:]),
        left_out=(*web.left_out, *left_out),
    )
