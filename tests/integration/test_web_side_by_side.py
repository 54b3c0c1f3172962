"""Models side by side in the page of `edgefm export web`, its warning on pictures unlike the data, its served form."""

from __future__ import annotations

import dataclasses
import functools
import gzip
import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from click.testing import CliRunner
from PIL import Image
from scipy.spatial.distance import mahalanobis

import edgefm
from edgefm.cli.main import cli
from edgefm.core.artefacts import sha256_bytes, sha256_file
from edgefm.core.errors import ArgumentError, ModelError, RecipeError
from edgefm.core.picture_steps import PictureSteps
from edgefm.core.runs import RunDirectory
from edgefm.data.dataset import Dataset, Split
from edgefm.jobs.export.unlike import unlike_data
from edgefm.runtimes.litertjs import package
from edgefm.tflite import contract as contracts
from edgefm.tflite.contract import Contract
from edgefm_converters.bundles import for_web
from edgefm_converters.bundles.manifest import with_manifest
from edgefm_converters.bundles.unlike import Unlike, block_means, entropies, read_unlike
from edgefm_converters.bundles.web_runtime import WebPage
from tests.fixtures import sample_run
from tests.fixtures.app_cases import ABC, CASES, PICTURE, case, fed, litert, write_case
from tests.fixtures.app_models import Out
from tests.fixtures.small_data import small_fashion_mnist
from tests.fixtures.watched_page import WatchedPage, watched_page
from tests.integration.test_web_bundle import TESTED, ask_model, drop, opened_up, text_of

SHIPPED = Path(__file__).parents[2] / "android_demo_assets" / "int8" / "model.tflite"
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(bool(package.missing()), reason="LiteRT.js, Chromium or selenium is not installed"),
]
DATA = small_fashion_mnist(train=1500, validation=400, test=300)


@pytest.fixture(scope="module", autouse=True)
def packed_once() -> Iterator[None]:
    """LiteRT.js is packed once for all pages."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gzip, "compress", functools.lru_cache(maxsize=64)(gzip.compress))
        yield


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedPage]:
    with watched_page(tmp_path_factory.mktemp("profile")) as page:
        yield page


def sibling(folder: Path, variant: str, *, seed: int, padding: int = 0, **given: Any) -> Path:
    """Write a model that takes the shipped model's pictures and tells its classes, and return its file.

    Padding: random bytes after it, which are not read.
    """
    shipped = contracts.read(SHIPPED)
    assert shipped is not None
    about: dict[str, Any] = {"shape": (1, 28, 28, 1), "std": 255.0, "labels": shipped.labels, "seed": seed, **given}
    ends = ("uint8", 1 / 256, 0) if about.get("ends") else None
    app = case(
        [("scores", "classes")],
        outputs=[Out(shape=(1, len(about["labels"])), ends=ends, last="SOFTMAX")],
        task=shipped.task,
        **about,
    )
    content = app.content + np.random.default_rng(seed).bytes(padding)
    contract = dataclasses.replace(
        app.contract, variant=variant, pictures=shipped.pictures, file="model.tflite",
        sha256=sha256_bytes(content), size_bytes=len(content),
    )  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "model.tflite").write_bytes(content)
    contract.write(folder)
    return folder / "model.tflite"


@pytest.fixture(scope="module")
def siblings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the files of models that stand beside the shipped one: of floats, and a small one of levels."""
    root = tmp_path_factory.mktemp("siblings")
    return {
        "float32": sibling(root / "float32", "float32", seed=1),
        "small_int8": sibling(root / "small", "small_int8", seed=2, ends=("uint8", 1 / 255, 0)),
    }


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, siblings: dict[str, Path]) -> Path:
    """Return a bundle of three models with data, and its served variant."""
    folder = tmp_path_factory.mktemp("web") / "bundle"
    result = edgefm.export(
        SHIPPED, "web", out=folder, data=DATA, beside=list(siblings.values()), served=True, samples=6, progress=False
    )
    assert (result.beside, result.left_out) == (("float32", "small_int8"), ())
    return folder


def model_files(siblings: dict[str, Path]) -> list[Path]:
    return [SHIPPED, *siblings.values()]


def check_answers(browser: WatchedPage, siblings: dict[str, Path], count: int = 40) -> None:
    """Hold the answers of each model of the open page against LiteRT's: levels bit for bit, floats within 1e-5."""
    pixels = DATA.test.images[:count]
    for place, path in enumerate(model_files(siblings)):
        contract = contracts.read(path)
        assert contract is not None
        inputs = [fed(contract, picture) for picture in pixels]
        found = [np.frombuffer(answer, contract.output.dtype) for (answer,) in ask_model(browser, inputs, place)]
        wanted = [litert(path.read_bytes(), values)[0][0] for values in inputs]
        if contract.output.dtype == "float32":
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
        else:
            np.testing.assert_array_equal(found, wanted)
        assert len({answer.tobytes() for answer in found}) > 10, "the premise: the answers differ"


# Side by side.


def test_every_model_answers_as_litert_does(bundle: Path, siblings: dict[str, Path], browser: WatchedPage) -> None:
    browser.open(opened_up(bundle / "index.html").as_uri())
    check_answers(browser, siblings)


def cards(browser: WatchedPage) -> list[dict[str, Any]]:
    return browser.ask(  # type: ignore[no-any-return]
        "return [...document.querySelectorAll('.card')].map((card) => ({ name: card.querySelector('h3').textContent,"
        " bars: [...card.querySelectorAll('li')].map((li) => [...li.children].slice(0, 2).map((c) => c.textContent)),"
        " facts: [...card.querySelectorAll('dl div')].map((div) => [...div.children].map((c) => c.textContent)) }))"
    )


def test_cards_show_top_three_speed_size_and_self_test_of_each(
    bundle: Path, siblings: dict[str, Path], browser: WatchedPage, tmp_path: Path
) -> None:
    browser.open((bundle / "index.html").as_uri())
    browser.until(TESTED)
    picture = DATA.test.images[7]
    Image.fromarray(picture[..., 0]).save(tmp_path / "picture.png")
    drop(browser, tmp_path / "picture.png")
    browser.until("document.getElementById('file-name').textContent === 'picture.png'")
    browser.ask("return new Promise((resolve) => setTimeout(resolve, 400))")
    firsts = []
    for card, path in zip(cards(browser), model_files(siblings), strict=True):
        contract = contracts.read(path)
        assert contract is not None and card["name"] == contract.variant
        (raw,) = litert(path.read_bytes(), fed(contract, picture))
        scores = raw[0].astype(float) * (contract.output.scale or 1)
        order = np.argsort(-scores, kind="stable")[:3]
        assert card["bars"] == [[contract.labels[at], f"{100 * scores[at]:.1f} %"] for at in order]
        firsts.append(contract.labels[order[0]])
        facts = dict(card["facts"])
        assert facts["size"].split()[0].replace(",", "") == f"{contract.size_bytes / 1000:.0f}" or "." in facts["size"]
        assert facts["self-test"] == "✓ held" and re.fullmatch(r"\d+\.\d\d? ms", facts["p50"])
        assert facts["quality"] == "not known", "no benchmark was made"
    together = "All 3 models say so." if len(set(firsts)) == 1 else "The models differ."
    assert text_of(browser, "best-label", "together") == [firsts[0], together]
    browser.until("document.getElementById('announced').textContent.includes('small_int8: ')")


def test_self_test_fails_where_one_of_the_models_answers_otherwise(
    bundle: Path, browser: WatchedPage, tmp_path: Path
) -> None:
    text = (bundle / "index.html").read_text(encoding="utf-8")
    models = re.search(r'id="carried-models">([^<]*)<', text)
    assert models is not None
    changed = json.loads(models[1])
    changed[1]["golden"]["vectors"][0]["answers"]["float"] = changed[1]["golden"]["vectors"][1]["answers"]["float"]
    (tmp_path / "page.html").write_text(text.replace(models[1], json.dumps(changed).replace("<", "\\u003c")))
    browser.open((tmp_path / "page.html").as_uri())
    browser.until(TESTED)
    assert text_of(browser, "verdict") == ["✗ FAILED"]
    assert [dict(card["facts"])["self-test"] for card in cards(browser)] == ["✓ held", "✗ FAILED", "✓ held"]


def test_bundle_holds_each_model_whole_and_demo_writes_the_same_page(
    bundle: Path, browser: WatchedPage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = edgefm.verify(bundle, progress=False)
    assert checked.held
    assert sum(family.text.startswith("float32: ") for family in checked.families) == 1
    found = package.package()
    assert found is not None
    monkeypatch.setenv(package.PACKAGE_VARIABLE, str(found.core))
    monkeypatch.setenv("EDGEFM_CACHE_DIR", str(tmp_path / "cache"))
    done = CliRunner().invoke(cli, ["demo", str(bundle), "--no-open"], standalone_mode=False)
    assert Path(done.stdout.strip()).read_bytes() == (bundle / "index.html").read_bytes()


def test_verify_finds_wrong_answers_of_a_model_beside(bundle: Path, siblings: dict[str, Path], tmp_path: Path) -> None:
    paths = [path for path in bundle.rglob("*") if path.is_file() and path.name != "manifest.json"]
    files = {path.relative_to(bundle).as_posix(): path.read_bytes() for path in paths}
    wrong = bytearray(files["beside/float32/golden/00.float.bin"])
    wrong[3] ^= 0x40
    files["beside/float32/golden/00.float.bin"] = bytes(wrong)
    for name, content in with_manifest(files, kind="web", written_by="a test").items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    checked = edgefm.verify(tmp_path, progress=False)
    assert [family.text.split(":")[0] for family in checked.families if not family.held] == ["float32"]


def test_page_never_grows_above_its_limit(
    siblings: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sibling(tmp_path / "large", "large", seed=3, padding=1_000_000)
    pages, page = [], for_web.page

    def counted(web: WebPage, *, version: str) -> str:
        pages.append(web)
        return page(web, version=version)

    monkeypatch.setattr(for_web, "page", counted)
    done = CliRunner().invoke(
        cli,
        ["export", "web", str(SHIPPED), "--out", str(tmp_path / "out"), "--beside", str(tmp_path / "large"), "-n", "3",
         "--beside", str(siblings["small_int8"])],
        standalone_mode=False,
    )  # fmt: skip
    assert done.return_value == 0, done.exception
    assert "beside it in the page: small_int8" in done.stdout
    assert "large is not in the page: the page would have 5." in done.stderr and "5.0 MB are the limit" in done.stderr
    assert (tmp_path / "out" / "index.html").stat().st_size <= for_web.LARGEST_PAGE_BYTES
    assert not (tmp_path / "out" / "beside" / "large").exists()
    assert len(pages) == 2, "one for each model that may stand beside"


def test_models_of_other_pictures_are_refused_beside(tmp_path: Path) -> None:
    others = {
        "an input of": sibling(tmp_path / "a", "a", seed=1, shape=(1, 28, 28, 3)),
        "the labels": sibling(tmp_path / "b", "b", seed=1, labels=ABC),
    }
    for message, path in others.items():
        with pytest.raises(ModelError, match=f"cannot stand beside int8_w8a8 in a page: it has {message}"):
            edgefm.export(SHIPPED, "web", out=tmp_path / "out", beside=[path], samples=2, progress=False)
    twice = [sibling(tmp_path / "c", "x", seed=1), sibling(tmp_path / "d", "x", seed=2)]
    with pytest.raises(ModelError, match="two models of the page are called x"):
        edgefm.export(SHIPPED, "web", out=tmp_path / "out", beside=twice, samples=2, progress=False)
    with pytest.raises(RecipeError, match="unknown model beside 'nothing'"):
        edgefm.export(SHIPPED, "web", out=tmp_path / "out", beside=["nothing"], samples=2, progress=False)
    with pytest.raises(ArgumentError, match="beside is the text"):
        edgefm.export(SHIPPED, "web", out=tmp_path / "out", beside="float32", samples=2, progress=False)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_cards_fit_the_width(width: int, bundle: Path, browser: WatchedPage) -> None:
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser._driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        browser.open((bundle / "index.html").as_uri())
        browser.until(TESTED)
        assert browser.ask("return document.documentElement.scrollWidth") <= width
        tops = browser.ask("return [...document.querySelectorAll('.card')].map((c) => c.getBoundingClientRect().top)")
        assert (len(set(tops)) == 1) == (width >= 768), "beside each other where there is room, else below"
    finally:
        browser._driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_cards_and_warning_have_names(bundle: Path, browser: WatchedPage, tmp_path: Path) -> None:
    browser.open((bundle / "index.html").as_uri())
    browser.until(TESTED)
    nodes = browser.accessible()
    named = [node["name"] for node in nodes if node["role"] == "article"]
    assert named == ["int8_w8a8", "float32", "small_int8"]
    lists = [node["name"] for node in nodes if node["role"] == "list"]
    assert "Most probable labels by float32" in lists
    assert all(node["name"].strip() for node in nodes if node["focusable"] and node["role"] != "RootWebArea")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)).save(tmp_path / "noise.png")
    drop(browser, tmp_path / "noise.png")
    browser.until("document.getElementById('announced').textContent.endsWith('Unlike the data')")


# Unlike the data.


def pictures(shape: tuple[int, int, int], counts: tuple[int, int, int], seed: int = 0) -> Dataset:
    """Return grey-ish pictures in which each pixel leans on the others."""
    random = np.random.default_rng(seed)
    size = int(np.prod(shape))
    mixing = np.eye(size) + random.normal(size=(size, size)) / (2 * np.sqrt(size))
    values = np.clip(128 + 40 * random.normal(size=(sum(counts), size)) @ mixing, 0, 255).astype(np.uint8)
    images, splits, start = values.reshape(-1, *shape), [], 0
    for name, count in zip(("train", "validation", "test"), counts, strict=True):
        labels = random.integers(0, 3, count)
        splits.append(Split(name=name, images=images[start : start + count], labels=labels))
        start += count
    train, validation, test = splits
    return Dataset(name="made-up", labels=ABC, train=train, validation=validation, test=test, sha256="0" * 64)


def found_for(folder: Path, name: str, data: Dataset | None) -> tuple[Unlike | None, str, Contract]:
    write_case(folder / name, CASES[name])
    contract = CASES[name].contract
    return *unlike_data([(folder / name / "model.tflite", contract)], data, seed=0), contract


def test_distance_is_mahalanobis_where_all_directions_are_kept(tmp_path: Path) -> None:
    data = pictures((5, 4, 1), (4000, 200, 200))
    app = case([("scores", "classes")], shape=(1, 5, 4, 1), outputs=[Out(shape=(1, 3), last="SOFTMAX")], labels=ABC)
    write_case(tmp_path / "grey", app)
    unlike, reason = unlike_data([(tmp_path / "grey" / "model.tflite", app.contract)], data, seed=0)
    assert unlike is not None and reason == "" and unlike.block == 1 and len(unlike.components) == 19
    flat = data.train.images.reshape(4000, -1).astype(float)
    inverse = np.linalg.inv(np.cov(flat.T))
    found = unlike.distances(data.test.images)
    wanted = [mahalanobis(row, flat.mean(0), inverse) for row in data.test.images.reshape(200, -1).astype(float)]
    np.testing.assert_allclose(found, wanted, rtol=0.01)


def test_blocks_are_means_of_pixels() -> None:
    image = np.random.default_rng(1).integers(0, 256, (1, 7, 10, 3), dtype=np.uint8)
    wide = Image.new("RGB", (10, 8))
    wide.paste(Image.fromarray(image[0]))
    wanted = np.asarray(wide, float).reshape(4, 2, 5, 2, 3).mean((1, 3))
    np.testing.assert_allclose(block_means(image, 2).reshape(4, 5, 3), wanted)


def test_thresholds_hold_99_percent_of_validation_and_the_entropy_is_scipy_s(bundle: Path) -> None:
    unlike = read_unlike(bundle)
    assert unlike is not None and (unlike.training, unlike.validation, unlike.source) == (1500, 400, DATA.name)
    assert 0.985 <= (unlike.distances(DATA.validation.images) <= unlike.distance).mean() <= 0.9975
    (levels,) = zip(*(litert(SHIPPED.read_bytes(), image[np.newaxis]) for image in DATA.validation.images), strict=True)
    scores = np.concatenate(levels).astype(float)
    bits = scipy.stats.entropy(scores, base=2, axis=1)
    np.testing.assert_allclose(entropies(scores), bits, atol=1e-12)
    contract = contracts.read(SHIPPED)
    assert contract is not None
    assert 0.985 <= (bits <= unlike.entropies[contract.sha256]).mean() <= 0.9975
    assert len(unlike.entropies) == 3, "each model has its own"
    shares = {share.what: share.either / share.n for share in unlike.measured}
    assert shares["test pictures"] < 0.06 and shares["noise"] == 1 and shares["inverted test pictures"] > 0.9
    card = (bundle / "README.md").read_text()
    assert "| noise | 200 |" in card and "see below" in card and (bundle / "unlike.json").stat().st_size < 50_000


def test_page_measures_what_python_does(bundle: Path, browser: WatchedPage) -> None:
    unlike = read_unlike(bundle)
    assert unlike is not None
    browser.open(opened_up(bundle / "index.html").as_uri())
    random = np.random.default_rng(2)
    shown = np.concatenate([DATA.test.images[:20], random.integers(0, 256, (10, 28, 28, 1), dtype=np.uint8)])
    sent = [picture.reshape(-1).tolist() for picture in shown]
    found = browser.ask(f"return {sent}.map((pixels) => distanceOf(Uint8Array.from(pixels), facts.unlike))")
    np.testing.assert_allclose(found, unlike.distances(shown), rtol=1e-9)
    scores = [[0.2, 0.8, 0.0], [0.0, 0.0, 0.0], [3.0, 1.0, 0.5], [1.0, 0.0, 0.0]]
    np.testing.assert_allclose(browser.ask(f"return {scores}.map(entropyOf)"), entropies(np.array(scores)), atol=1e-12)


def test_page_warns_of_noise_and_not_of_the_data(bundle: Path, browser: WatchedPage, tmp_path: Path) -> None:
    unlike = read_unlike(bundle)
    assert unlike is not None
    browser.open((bundle / "index.html").as_uri())
    browser.until(TESTED)
    near = DATA.test.images[int(np.argmin(unlike.distances(DATA.test.images[:50])))]
    noise = np.random.default_rng(3).integers(0, 256, (28, 28, 1), dtype=np.uint8)
    for name, picture, warned in (("near", near, False), ("noise", noise, True), ("again", near, False)):
        Image.fromarray(picture[..., 0]).save(tmp_path / f"{name}.png")
        drop(browser, tmp_path / f"{name}.png")
        browser.until(f"document.getElementById('file-name').textContent === '{name}.png'")
        browser.ask("return new Promise((resolve) => setTimeout(resolve, 400))")
        words = text_of(browser, "unlike-text")[0]
        assert ("Its distance from the data is" in words) == warned, (name, words)
        if warned:
            assert browser.ask("return document.getElementById('unlike').hidden") is False
            seen = 255 - picture if text_of(browser, "seen-text")[0].endswith("inverted") else picture
            assert f"{unlike.distances(seen[np.newaxis])[0]:.1f}; 99 % of 400 validation pictures" in words
    assert browser.ask("return document.getElementById('problem').hidden")


def test_predict_marks_pictures_unlike_the_data(bundle: Path, siblings: dict[str, Path], tmp_path: Path) -> None:
    unlike = read_unlike(bundle)
    assert unlike is not None
    near = DATA.test.images[int(np.argmin(unlike.distances(DATA.test.images[:50])))]
    noise = np.random.default_rng(3).integers(0, 256, (28, 28, 1), dtype=np.uint8)
    for name, picture in (("a", near), ("b", noise)):
        Image.fromarray(picture[..., 0]).save(tmp_path / f"{name}.png")
    found = edgefm.predict(tmp_path, model=bundle / "model.tflite", invert="no", progress=False)
    assert "distance" not in found[0].unlike and "distance" in found[1].unlike
    assert found.to_json()["predictions"][1]["unlike"] == list(found[1].unlike)
    done = CliRunner().invoke(
        cli,
        ["predict", str(tmp_path / "b.png"), "--model", str(bundle / "model.tflite"), "--invert", "no"],
        standalone_mode=False,
    )
    assert "unlike the data: distance" in done.stdout
    without = edgefm.predict(tmp_path, model=siblings["float32"], invert="no", progress=False)
    assert [item.unlike for item in without] == [(), ()], "no thresholds lie beside it"


def test_colours_of_a_blue_first_model_are_measured_as_those_of_the_data(browser: WatchedPage, tmp_path: Path) -> None:
    """Data and pictures are red first, whichever order the model takes."""
    data = pictures(PICTURE[1:], (400, 300, 50))
    for split in data.splits:
        split.images[..., 0] = 200 + split.images[..., 0] // 8
        split.images[..., 2] //= 8
    app = case([("scores", "classes")], shape=PICTURE, outputs=[Out(shape=(1, 3), last="SOFTMAX")], labels=ABC)
    blue = dataclasses.replace(app.contract, pictures=PictureSteps(channel_order="bgr"))
    for name, contract, chosen in (("chosen", app.contract, "bgr"), ("learnt", blue, None)):
        write_case(tmp_path / name, app)
        contract.write(tmp_path / name)
        out = tmp_path / f"{name}-web"
        edgefm.export(tmp_path / name, "web", out=out, data=data, channel_order=chosen, samples=2, progress=False)
        unlike = read_unlike(out)
        assert unlike is not None
        fed = app.contract.encode(np.ascontiguousarray(data.validation.images[..., ::-1]))
        bits = entropies(np.concatenate([litert(app.content, values[np.newaxis])[0] for values in fed]))
        assert 0.985 <= (bits <= unlike.entropies[blue.sha256]).mean() <= 0.9975, name
        near = data.test.images[int(np.argmin(unlike.distances(data.test.images)))]
        Image.fromarray(near).save(tmp_path / f"{name}.png")
        (found,) = edgefm.predict(tmp_path / f"{name}.png", model=out, invert="no", progress=False)
        assert "distance" not in found.unlike, name
        browser.open((out / "index.html").as_uri())
        browser.until(TESTED)
        drop(browser, tmp_path / f"{name}.png")
        browser.until(f"document.getElementById('file-name').textContent === '{name}.png'")
        browser.ask("return new Promise((resolve) => setTimeout(resolve, 400))")
        assert "Its distance" not in text_of(browser, "unlike-text")[0], name


NO_WARNING = {
    "masks__uint8": "one class of several", "labels__uint8": "one class of several", "values__float": "one class",
    "rank2__real": "no pictures go in", "int32": "no pictures go in",
}  # fmt: skip


@pytest.mark.parametrize("name", NO_WARNING)
def test_models_without_classes_or_pictures_give_no_warning(name: str, tmp_path: Path) -> None:
    unlike, reason, _ = found_for(tmp_path, name, pictures(PICTURE[1:], (200, 150, 50)))
    assert unlike is None and NO_WARNING[name] in reason


def test_data_that_are_few_or_others_or_none_give_no_warning(tmp_path: Path) -> None:
    _, reason, _ = found_for(tmp_path / "a", "uint8_raw__uint8", pictures(PICTURE[1:], (200, 99, 50)))
    assert reason == "made-up has 99 validation pictures; 100 are the fewest"
    _, reason, _ = found_for(tmp_path / "b", "uint8_raw__uint8", pictures((6, 4, 3), (200, 150, 50)))
    assert reason == "the pictures of made-up are not those that go in"
    _, reason, _ = found_for(tmp_path / "c", "uint8_raw__uint8", None)
    assert reason == "no data were given"


@pytest.mark.parametrize("name", ["uint8_raw__uint8", "float__float", "second__float", "logits__float"])
def test_colour_pictures_of_other_models_have_thresholds(name: str, tmp_path: Path) -> None:
    unlike, reason, contract = found_for(tmp_path, name, pictures(PICTURE[1:], (300, 150, 50)))
    assert unlike is not None, reason
    assert 0 < unlike.entropies[contract.sha256] <= np.log2(max(2, len(contract.labels))) + 1e-6
    flat = np.full((1, *PICTURE[1:]), 255, np.uint8)
    assert np.isfinite(unlike.distances(flat)).all() and unlike.distances(flat)[0] > unlike.distance


def test_pictures_that_are_all_alike_divide_by_nothing(tmp_path: Path) -> None:
    data = pictures(PICTURE[1:], (200, 150, 50))
    same = {split.name: dataclasses.replace(split, images=np.full_like(split.images, 90)) for split in data.splits}
    unlike, _, _ = found_for(tmp_path, "uint8_raw__uint8", dataclasses.replace(data, **same))
    assert unlike is not None and np.isfinite(unlike.distances(data.test.images)).all()


def test_damaged_thresholds_are_refused(bundle: Path, tmp_path: Path) -> None:
    value = json.loads((bundle / "unlike.json").read_text())
    for change in ({"mean": value["mean"][:-1]}, {"rest": 0}, {"components": [[100_000]]}, {"scales": []}):
        (tmp_path / "unlike.json").write_text(json.dumps({**value, **change}))
        with pytest.raises(ModelError, match="is damaged"):
            read_unlike(tmp_path)
    (tmp_path / "unlike.json").write_text(json.dumps({**value, "schema_version": 2}))
    with pytest.raises(ModelError, match="reads up to 1"):
        read_unlike(tmp_path)


# Served.


@contextmanager
def plain_server(folder: Path) -> Iterator[str]:
    """Serve a folder as hosts without headers of one's own do."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


@contextmanager
def served_by_demo(*words: str) -> Iterator[str]:
    """Run `edgefm demo --serve` and give the address that it tells."""
    command = [
        sys.executable,
        "-c",
        "from edgefm.cli.start import main; main()",
        "demo",
        *words,
        "--serve",
        "--no-open",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def test_served_page_runs_several_threads_and_answers_the_same(
    bundle: Path, siblings: dict[str, Path], browser: WatchedPage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = package.package()
    assert found is not None
    monkeypatch.setenv(package.PACKAGE_VARIABLE, str(found.core))
    monkeypatch.setenv("EDGEFM_CACHE_DIR", str(tmp_path / "cache"))
    with served_by_demo(str(bundle)) as address:
        told = browser.open(address)
        browser.until(TESTED, seconds=60)
        assert [line for line in told + browser.told() if "Content Security" in line or "Uncaught" in line] == []
        cores = browser.ask("return navigator.hardwareConcurrency")
        assert browser.ask("return [self.crossOriginIsolated, typeof SharedArrayBuffer]") == [True, "function"]
        status, verdict, speed = text_of(browser, "status-text", "verdict", "p50-text")
        assert verdict == "✓ held" and cores > 1
        assert f", {min(4, cores)} threads" in status and f"in this page, {min(4, cores)} threads, on" in speed
        fetched = browser.ask("return performance.getEntriesByType('resource').map((entry) => entry.name)")
        assert any(name.endswith("/litert/threaded.wasm") for name in fetched)
        assert not any(name.endswith("/litert/single.wasm") for name in fetched)
        assert {name.split("/")[2] for name in fetched if name.startswith("http")} == {address.split("/")[2]}
        (opened,) = (page for page in (tmp_path / "cache").rglob("index.html"))
        (opened.parent / "opened.html").write_bytes(opened_up(opened).read_bytes())
        browser.open(address.replace("index.html", "opened.html"))
        check_answers(browser, siblings, 20)
        assert browser.ask("return runtime.threads") == min(4, cores)


@pytest.mark.parametrize("below", ["", "demo/"])
def test_served_page_falls_back_to_one_thread_without_headers(
    below: str, bundle: Path, browser: WatchedPage, tmp_path: Path
) -> None:
    root = bundle / "served" if not below else bundle
    with plain_server(root) as address:
        browser.open(f"{address}/{'served/' if below else ''}index.html")
        browser.until(TESTED, seconds=60)
        assert browser.ask("return self.crossOriginIsolated") is False
        status, verdict, problem = text_of(browser, "status-text", "verdict", "problem")
        assert verdict == "✓ held" and problem == ""
        assert status.endswith("one thread, as the server sends no headers that allow more")


def test_served_page_says_what_could_not_be_fetched(bundle: Path, browser: WatchedPage, tmp_path: Path) -> None:
    shutil.copytree(bundle / "served", tmp_path / "served")
    (model,) = (tmp_path / "served" / "models").glob("1-*.tflite")
    model.unlink()
    with plain_server(tmp_path / "served") as address:
        browser.open(f"{address}/index.html")
        browser.until("!document.getElementById('problem').hidden", seconds=60)
        assert "models/1-float32.tflite could not be fetched: 404" in text_of(browser, "problem")[0]


def test_served_folder_tells_servers_the_headers(bundle: Path) -> None:
    for name in ("_headers", ".htaccess"):
        text = (bundle / "served" / name).read_text()
        assert "Cross-Origin-Opener-Policy" in text and "require-corp" in text
    assert "add_header Cross-Origin-Embedder-Policy require-corp;" in (bundle / "README.md").read_text()
    assert "connect-src 'self'" in (bundle / "served" / "index.html").read_text()
    assert "connect-src" not in (bundle / "index.html").read_text().split('<script type="module">')[0].split("body>")[0]


# Of a run.


def made_run(folder: Path) -> RunDirectory:
    """Return a run of four variants that run, with a benchmark whose rows are of their files."""
    variants = (sample_run.VARIANTS[0], sample_run.VARIANTS[1], sample_run.VARIANTS[3], sample_run.FINE_TUNED[4])
    run = RunDirectory.create_at(folder)
    step = run.begin("quantize")
    (step / "quantize.json").write_text(json.dumps(sample_run._quantize(variants)))
    for seed, variant in enumerate(variants):
        ends = {"ends": ("uint8", 1 / 255, 0)} if "int8" in variant.name else {}
        sibling(step / variant.name, variant.name, seed=seed, padding=variant.size_bytes // 10, **ends)
    sums = {variant.name: sha256_file(step / variant.name / "model.tflite") for variant in variants}
    sample_run._finish(run, step, sample_run.recipe(variants).to_json())
    record = sample_run.record(images=1000, variants=variants)
    for row in record["models"]:
        row["sha256"] = sums[row["name"]]
    step = run.begin("benchmark")
    (step / "record.json").write_text(json.dumps(record))
    sample_run._finish(run, step, {})
    return run


def test_page_of_a_run_holds_its_float_int8_and_small_models_with_what_was_measured(
    browser: WatchedPage, tmp_path: Path
) -> None:
    run = made_run(tmp_path / "run")
    result = edgefm.export(run.path, "web", out=tmp_path / "out", variant="int8_w8a8", data=DATA, samples=3,
                           progress=False)  # fmt: skip
    assert result.beside == ("float32", "slim50_qat_int8") and result.left_out == (), "float16 only for float32"
    browser.open((tmp_path / "out" / "index.html").as_uri())
    browser.until(TESTED)
    rows = {
        row["name"]: row["accuracy"]
        for row in json.loads(next(run.path.glob("*benchmark/record.json")).read_text())["models"]
    }
    for card in cards(browser):
        assert dict(card["facts"])["accuracy"] == f"{100 * rows[card['name']]['value']:.2f} %"
    none = CliRunner().invoke(
        cli, ["export", "web", str(run.path), "--out", str(tmp_path / "alone"), "--beside", "none", "-n", "2"],
        standalone_mode=False,
    )  # fmt: skip
    assert none.return_value == 0 and "beside" not in none.stdout and not (tmp_path / "alone" / "beside").exists()
    named = CliRunner().invoke(
        cli,
        ["export", "web", str(run.path), "--out", str(tmp_path / "named"), "--beside", "float16", "-n", "2", "--json"],
        standalone_mode=False,
    )  # fmt: skip
    (bundle,) = json.loads(named.stdout)["bundles"]
    assert bundle["beside"] == ["float16"] and bundle["left_out"] == {}
    with pytest.raises(RecipeError, match="did you mean 'float16'"):
        edgefm.export(run.path, "web", out=tmp_path / "wrong", beside=["floatl6"], samples=2, progress=False)
