"""The pages that edgefm writes, in Chromium: their policy lets them look as they should, and lets nothing run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgefm.benchmarking import record, record_versions
from edgefm.report import write
from edgefm.report.leaderboard import PAGE, write_leaderboard
from edgefm.runtimes.litertjs import package
from edgefm.runtimes.litertjs.server import PageServer
from tests.fixtures import sample_run
from tests.fixtures.watched_page import ATTACKS, WatchedPage, watched_page

SHIPPED = Path(__file__).parents[2] / "android_demo_assets" / "int8" / "model.tflite"
pytestmark = pytest.mark.browser
pytest.importorskip("selenium", reason="the extra browser is not installed")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedPage]:
    with watched_page(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture(scope="module", params=["report", "leaderboard"])
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    value = sample_run.record(images=400, rounds=2)
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "report":
        return write(sample_run.write(folder / "run", record=value))
    value = record_versions.upgraded(value)
    for model in value["models"]:
        model["runtime"]["options"] = {"module": "edgefm.runtimes.litert", "kernels": None, "threads": 1}
    write_leaderboard([record.write(folder / "record.json", value)], folder / "out")
    return folder / "out" / PAGE


def test_page_looks_as_it_should_and_its_console_is_silent(page: Path, browser: WatchedPage) -> None:
    assert browser.open(page.as_uri()) == []
    looks = browser.ask(
        "const style = (name, what) => getComputedStyle(document.querySelector(name))[what];"
        "return {sheet: getComputedStyle(document.documentElement).getPropertyValue('--muted'),"
        "picture: style('svg path', 'strokeLinejoin'),"
        "attribute: getComputedStyle(document.querySelector('svg [style*=\"--muted\"]')).stroke,"
        "images: [...document.images].every(image => image.complete && image.naturalWidth > 0)}"
    )
    assert looks["sheet"] and looks["picture"] == "round" and looks["attribute"] != "none", looks
    assert looks["images"]


def test_nothing_runs_that_gets_into_a_page(page: Path, browser: WatchedPage, tmp_path: Path) -> None:
    text = page.read_text(encoding="utf-8")
    attacked = tmp_path / "attacked.html"
    attacked.write_text(text.replace("<body>", f"<body>{ATTACKS}", 1), encoding="utf-8")
    told = browser.open(attacked.as_uri())
    browser.ask("document.getElementById('attack').click(); document.getElementById('send').click()")
    told += browser.told()
    title, display, base = browser.ask(
        "return [document.title, getComputedStyle(document.body).display, document.baseURI]"
    )
    assert f"<title>{title}</title>" in text and display != "none" and "attack.invalid" not in base
    blocked = " ".join(told)
    for directive in ("script-src", "style-src-elem", "img-src", "frame-src", "base-uri", "form-action"):
        assert directive in blocked or (directive in ("script-src", "frame-src") and "default-src" in blocked), (
            directive
        )
    # Without the policy each of them would have done its work.
    bare = tmp_path / "bare.html"
    bare.write_text(re.sub(r"<meta http-equiv[^>]*>", "", attacked.read_text(encoding="utf-8")), encoding="utf-8")
    browser.open(bare.as_uri())
    assert browser.ask("return document.title") == "ran"


@pytest.mark.skipif(bool(package.missing()), reason="LiteRT.js is not installed")
def test_nothing_runs_that_gets_into_the_page_of_litertjs(browser: WatchedPage) -> None:
    found = package.package()
    assert found is not None
    server = PageServer(model=SHIPPED, folders={"core": found.core, "wasm-utils": found.wasm_utils})
    try:
        assert browser.open(server.url) == []
        assert browser.ask("return typeof window.edgefm") == "function"
        browser.ask(
            "const script = document.createElement('script'); script.textContent = 'document.title = 1';"
            f"document.body.append(script); document.body.insertAdjacentHTML('beforeend', {json.dumps(ATTACKS)})"
        )
        assert browser.ask("return document.title") == "edgefm: LiteRT.js"
        assert "script-src" in " ".join(browser.told())
    finally:
        server.close()
