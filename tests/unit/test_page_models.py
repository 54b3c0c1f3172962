"""Which models the page in one file holds, each page written once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from edgefm_converters.bundles import for_web
from edgefm_converters.bundles.web_runtime import WebPage

SIZES = {"pruned": 3, "float32": 16, "float16": 8, "int8": 4, "slim": 1}


@pytest.mark.parametrize(
    ("limit", "stand_in", "names", "beside", "left_out", "written"),
    [
        (99, True, ("float32", "float16", "int8"), ("float32", "int8"), (), 2),
        (99, False, ("float32", "float16", "int8"), ("float32", "float16", "int8"), (), 3),
        (15, True, ("float32", "float16", "int8"), ("float16", "int8"), ("float32",), 3),
        (12, True, ("float16", "int8", "slim"), ("float16", "slim"), ("int8",), 3),
        (1, True, ("slim",), (), ("slim",), 2),
        (1, True, (), (), (), 1),
    ],
)
def test_page_holds_the_models_that_fit_and_is_written_once_for_each(
    limit: int,
    stand_in: bool,
    names: tuple[str, ...],
    beside: tuple[str, ...],
    left_out: tuple[str, ...],
    written: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pages = []

    def page(web: WebPage, *, version: str) -> str:
        pages.append(" ".join(model.contract.variant for model in web.models))
        return "x" * sum(len(model.model) for model in web.models)

    monkeypatch.setattr(for_web, "page", page)
    monkeypatch.setattr(for_web, "LARGEST_PAGE_BYTES", limit)
    models: Any = tuple(
        SimpleNamespace(contract=SimpleNamespace(variant=name), model=bytes(SIZES[name])) for name in ("pruned", *names)
    )
    runtime: Any = None
    found = for_web.fitted(WebPage(runtime=runtime, models=models), version="0", stand_in=stand_in)
    assert (found.beside, tuple(name for name, _ in found.left_out)) == (beside, left_out)
    assert len(pages) == len(set(pages)) == written
    assert found.page == b"x" * (SIZES["pruned"] + sum(SIZES[name] for name in beside))
    assert [model.contract.variant for model in found.models] == ["pruned", *beside]
    served = for_web.fitted(WebPage(runtime=runtime, models=models, served=True), version="0", stand_in=stand_in)
    assert {model.contract.variant for model in served.models} == {"pruned", *beside, *left_out}
