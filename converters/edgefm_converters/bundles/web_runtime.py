"""What a page holds: LiteRT.js and the models that it runs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgefm.core.errors import ModelError
from edgefm.tflite.contract import Contract
from edgefm_converters.bundles.golden import GoldenVectors
from edgefm_converters.bundles.unlike import Unlike

BESIDE = "beside"


@dataclass(frozen=True, kw_only=True)
class WasmBuild:
    """A build of LiteRT.js: the script and the WebAssembly that go together."""

    glue: bytes = field(repr=False)
    wasm: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class WebRuntime:
    """LiteRT.js.

    Attributes:
      version: of @litertjs/core.
      core: its module.
      utils: the module of @litertjs/wasm-utils, which it imports.
      single: the build for one thread, which every browser with WebAssembly's SIMD runs.
      threaded: the build for several threads.
    """

    version: str
    core: bytes = field(repr=False)
    utils: bytes = field(repr=False)
    single: WasmBuild
    threaded: WasmBuild


@dataclass(frozen=True, kw_only=True)
class WebModel:
    """A model that a page runs.

    Attributes:
      contract: of the model.
      model: content of the file.
      golden: vectors.
      signature: key of the model's signature; '' where the file has none.
      order: for each output of the contract, its name in the signature.
      quality: what a benchmark measured: name, value, low, high, n and unit; None where nothing is known.
    """

    contract: Contract
    model: bytes = field(repr=False)
    golden: GoldenVectors
    signature: str
    order: tuple[str, ...]
    quality: Mapping[str, Any] | None = field(default=None, hash=False)


@dataclass(frozen=True, kw_only=True)
class WebPage:
    """What the pages of a bundle hold.

    Attributes:
      runtime: that runs the models.
      models: the bundle's own first; the others answer the same pictures beside it.
      unlike: what pictures of the data look like; None where no warning is given.
      unlike_reason: why `unlike` is None.
      served: whether the bundle also holds the folder for a web server.
      page: content of the page in one file; b'' where it is not written yet.
      beside: variants that stand beside the bundle's own in it.
      left_out: models that were left out of the page in one file, each with the reason.
    """

    runtime: WebRuntime
    models: tuple[WebModel, ...]
    unlike: Unlike | None = None
    unlike_reason: str = ""
    served: bool = False
    page: bytes = field(default=b"", repr=False)
    beside: tuple[str, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()


def file_name(variant: str) -> str:
    """Return the name of a variant as one of a file or folder.

    >>> file_name("int8_w8a8"), file_name("../x y")
    ('int8_w8a8', '___x_y')
    """
    return re.sub("[^A-Za-z0-9_-]", "_", variant) or "_"


def folders(models: Sequence[WebModel]) -> tuple[str, ...]:
    """Return the folder of each model's files in a bundle: '' of its own, 'beside/NAME/' of others."""
    return ("", *(f"{BESIDE}/{file_name(model.contract.variant)}/" for model in models[1:]))


def check_beside(first: Contract, other: Contract) -> None:
    """Raise a ModelError where a model cannot answer the same pictures as another one in a page."""
    for what, one, two in (
        ("an input of", list(first.input.shape), list(other.input.shape)),
        ("the labels", ", ".join(first.labels) or "none", ", ".join(other.labels) or "none"),
        ("the task", first.task or "unknown", other.task or "unknown"),
        ("pictures that get in by", first.pictures, other.pictures),
        ("pictures:", first.takes_pictures, other.takes_pictures),
    ):
        if one != two:
            raise ModelError(
                f"{other.name}, {other.variant} cannot stand beside {first.variant} in a page: it has {what} {two}, "
                f"not {one}",
                hint="Models beside each other answer the same pictures with the same labels.",
            )
