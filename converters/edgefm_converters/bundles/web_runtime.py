"""LiteRT.js as a page carries it, and how it names the ends of a model."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class WebRuntime:
    """What a page runs a model with.

    Attributes:
      version: of @litertjs/core.
      core: its module.
      utils: the module of @litertjs/wasm-utils, which it imports.
      glue: the script that goes with `wasm`.
      wasm: WebAssembly for one thread.
      signature: key of the model's signature; '' where the file has none.
      order: for each output of the contract, its name in the signature.
    """

    version: str
    core: bytes = field(repr=False)
    utils: bytes = field(repr=False)
    glue: bytes = field(repr=False)
    wasm: bytes = field(repr=False)
    signature: str
    order: tuple[str, ...]
