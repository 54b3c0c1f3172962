"""The page of `edgefm export web` in Chromium, from a file: fed as edgefm feeds, answering as LiteRT does."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import functools
import gzip
import io
import json
import re
import shutil
import webbrowser
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import edgefm
from edgefm.cli.main import cli
from edgefm.core.artefacts import sha256_bytes
from edgefm.core.errors import ModelError, RuntimeUnavailableError
from edgefm.core.picture_steps import LETTERBOX
from edgefm.data.picture_file import read_picture
from edgefm.jobs.export.beside import web_model
from edgefm.jobs.export.web_runtime import web_runtime
from edgefm.runtimes.litertjs import package
from edgefm_converters.bundles import for_web
from edgefm_converters.bundles.base122 import base122
from edgefm_converters.bundles.parts import BundleParts
from edgefm_converters.bundles.web_runtime import WebPage
from tests.fixtures import tiny_models
from tests.fixtures.app_cases import ABC, CASES, PICTURE, case, fed, given_values, litert, meant, real_values
from tests.fixtures.app_models import Out
from tests.fixtures.picture_ways import (
    CHANGES,
    FILTERS,
    INVERT,
    WAYS,
    as_edgefm_reads,
    changed,
    odd_pictures,
    picture_case,
)
from tests.fixtures.watched_page import ATTACKS, WatchedPage, watched_page
from tests.integration.test_bundles import parts_of

SHIPPED = Path(__file__).parents[2] / "android_demo_assets" / "int8" / "model.tflite"
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
TESTED = "document.getElementById('verdict').textContent !== 'not run'"
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(bool(package.missing()), reason="LiteRT.js, Chromium or selenium is not installed"),
]
Built = Callable[..., Path]


@pytest.fixture(scope="module", autouse=True)
def packed_once() -> Iterator[None]:
    """LiteRT.js is packed once for all pages."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gzip, "compress", functools.lru_cache(maxsize=64)(gzip.compress))
        yield


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedPage]:
    with watched_page(tmp_path_factory.mktemp("profile"), flags=CAMERA) as page:
        yield page


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle of the shipped model with random inputs."""
    folder = tmp_path_factory.mktemp("web") / "bundle"
    edgefm.export(SHIPPED, "web", out=folder, samples=6, progress=False)
    return folder


def page_of(parts: BundleParts, folder: Path) -> Path:
    """Return the page of made-up parts."""
    (folder / "model.tflite").write_bytes(parts.model)
    model = web_model(folder / "model.tflite", parts.contract, parts.golden, None)
    parts = dataclasses.replace(parts, web=WebPage(runtime=web_runtime(), models=(model,)))
    (folder / "index.html").write_bytes(for_web.files(parts)["index.html"])
    return folder / "index.html"


NAMES = (
    "decoded", "preprocessed", "stepsOf", "resized", "encoded", "decoded32", "ranked", "models", "runtime", "ready",
    "facts", "distanceOf", "entropyOf", "bytesOfText", "pictureSize", "inflatedStart", "selfTest",
)  # fmt: skip


def opened_up(page: Path) -> Path:
    """Return the page with functions of its script where a test reaches them; its policy would not let this run."""
    text = re.sub(r"<meta http-equiv[^>]*>", "", page.read_text(encoding="utf-8"))
    head, script = text.split('<script type="module">')
    path = page.parent.parent / f"{page.parent.name}-opened.html"
    content = script.replace("</script>", f"\nObject.assign(window, {{ {', '.join(NAMES)} }});</script>")
    path.write_text(f'{head}<script type="module">{content}', encoding="utf-8")
    return path


def read_text(text: str, length: int) -> bytes:
    """Return the bytes that a text of base122 holds, bit by bit."""
    symbols: list[int] = []
    for code in map(ord, text):
        symbols += [(0, 13, 60)[(code >> 7) - 2], code & 127] if code > 127 else [code]
    bits = "".join(f"{symbol:07b}" for symbol in symbols)
    return bytes(int(bits[8 * at : 8 * at + 8], 2) for at in range(length))


def text_of(browser: WatchedPage, *names: str) -> list[str]:
    found: list[str] = browser.ask(f"return {json.dumps(names)}.map((id) => document.getElementById(id).textContent)")
    return found


def bars(browser: WatchedPage) -> list[tuple[str, str]]:
    script = "return [...document.querySelectorAll('#bars li')].map((li) => [...li.children].map((c) => c.textContent))"
    return [(label, score) for label, score, *_ in browser.ask(script)]


def ask_model(browser: WatchedPage, arrays: list[np.ndarray[Any, Any]], place: int = 0) -> list[list[bytes]]:
    """Return the outputs' bytes that a model of the page answers for input tensors."""
    sent = [base64.b64encode(array.tobytes()).decode() for array in arrays]
    answers = browser.ask(
        f"const kind = {{ uint8: Uint8Array, float32: Float32Array, int32: Int32Array }}['{arrays[0].dtype}'];"
        "const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));"
        "return (async () => { await ready; const all = [];"
        f"for (const text of {json.dumps(sent)}) {{"
        f"  const outputs = await models[{place}].invoke(new kind(bytes(text).buffer));"
        "  const letters = (o) => String.fromCharCode(...new Uint8Array(o.buffer, o.byteOffset, o.byteLength));"
        "  all.push(outputs.map((output) => btoa(letters(output))));"
        "} return all; })()"
    )
    return [[base64.b64decode(output) for output in outputs] for outputs in answers]


# The answers.


def test_int8_answers_are_litert_s_bit_for_bit(bundle: Path, browser: WatchedPage) -> None:
    random = np.random.default_rng(5)
    inputs = [np.frombuffer(path.read_bytes(), np.uint8) for path in sorted(bundle.glob("golden/*.in.bin"))]
    inputs += [random.integers(0, 256, 784, dtype=np.uint8) // int(random.integers(1, 9)) for _ in range(60)]
    browser.open(opened_up(bundle / "index.html").as_uri())
    found = [np.frombuffer(answer, np.uint8) for (answer,) in ask_model(browser, inputs)]
    wanted = [litert(SHIPPED.read_bytes(), values.reshape(1, 28, 28, 1))[0][0] for values in inputs]
    np.testing.assert_array_equal(found, wanted)
    assert len({answer.tobytes() for answer in found}) > 10, "the premise: the answers differ"


# Of those whose ends LiteRT.js takes: uint8 and float32.
ENDS = [
    "uint8_raw__uint8", "uint8_odd__uint8_7", "uint8_128__float", "float_symmetric__float", "float__uint8_7",
    "second__uint8", "second__float", "second_logit__float", "logits__float", "label_logits__float", "labels__uint8",
    "masks__uint8", "mask_logits__float", "values__float",
]  # fmt: skip


@pytest.mark.parametrize("name", ENDS)
def test_page_feeds_and_says_what_numpy_and_litert_do(name: str, browser: WatchedPage, tmp_path: Path) -> None:
    app = CASES[name]
    browser.open(opened_up(page_of(parts_of(app), tmp_path)).as_uri())
    given = given_values(app.contract)
    values = fed(app.contract, given)
    encoded = browser.ask(f"return Array.from(encoded(Uint8Array.from({given.tolist()}), contract))".replace(
        "contract)", "models[0].contract)"
    ))  # fmt: skip
    np.testing.assert_array_equal(np.array(encoded, values.dtype), values.reshape(-1))
    (found,) = ask_model(browser, [values])
    for answer, wanted, tensor in zip(found, litert(app.content, values), app.contract.outputs, strict=True):
        got = np.frombuffer(answer, tensor.dtype).reshape(wanted.shape)
        if tensor.dtype == "float32":
            np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)
        else:
            np.testing.assert_array_equal(got, wanted)
    real = real_values(
        np.frombuffer(found[0], app.contract.output.dtype).reshape(app.contract.output.shape), app.contract.output
    )
    head = app.fields[0][1]
    ranked = browser.ask(
        "const [{ contract, head }] = models;"
        f"const raw = {np.frombuffer(found[0], app.contract.output.dtype).tolist()};"
        f"return ranked({'Float32Array' if app.contract.output.dtype == 'float32' else 'Uint8Array'}.from(raw),"
        " contract, head).map(({ label, score }) => [label, score])"
    )
    if head == "values":
        assert ranked == []
    elif head == "places":
        labels = app.contract.labels or tuple(f"class {place}" for place in range(3))
        places = meant(head, real, app.contract)
        wanted_shares = {label: float((places == place).mean()) for place, label in enumerate(labels)}
        assert dict(ranked) == pytest.approx(wanted_shares)
    else:
        pairs = meant(head, real, app.contract)
        pairs = sorted(pairs, key=lambda pair: -pair[1])
        assert [label for label, _ in ranked] == [label for label, _ in pairs]
        np.testing.assert_allclose([score for _, score in ranked], [score for _, score in pairs], rtol=1e-6, atol=1e-7)
    browser.until(TESTED)
    assert text_of(browser, "verdict") == ["✓ held"]


def test_outputs_come_in_the_contract_s_order(browser: WatchedPage, tmp_path: Path) -> None:
    outputs = [Out(shape=(1, 3), last="SOFTMAX", name="z"), Out(shape=(1, 2, 4), name="a"), Out(shape=(1, 1), name="m")]
    app = case([("scores", "classes")], shape=PICTURE, outputs=outputs, labels=ABC, std=255.0)
    browser.open(opened_up(page_of(parts_of(app), tmp_path)).as_uri())
    values = fed(app.contract, given_values(app.contract))
    (found,) = ask_model(browser, [values])
    for answer, wanted in zip(found, litert(app.content, values), strict=True):
        np.testing.assert_allclose(np.frombuffer(answer, np.float32), wanted.reshape(-1), rtol=1e-5, atol=1e-5)


# Pictures.


def seen_pixels(browser: WatchedPage) -> np.ndarray[Any, Any]:
    """Return what the page shows as the network's view, RGBA."""
    values = browser.ask(
        "const canvas = document.getElementById('seen');"
        "return [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data]"
    )
    return np.array(values).reshape(28, 28, 4)


def pixels_in_page(browser: WatchedPage, path: Path, contracts: Any) -> Any:
    """Return [pixels, inverted] of each contract and value of invert."""
    content = base64.b64encode(path.read_bytes()).decode()
    return browser.ask(
        f"const bytes = Uint8Array.from(atob('{content}'), (letter) => letter.charCodeAt(0));"
        f"return decoded(new Blob([bytes])).then((picture) => {{ const all = [];"
        f" for (const contract of {json.dumps(contracts)}) for (const invert of {json.dumps(INVERT)}) {{"
        "  const { pixels, inverted } = preprocessed(picture, contract, invert);"
        "  all.push([Array.from(pixels), inverted]); }"
        " return all; })"
    )


def contracts() -> list[dict[str, Any]]:
    return [picture_case(name).contract.to_json() for name in WAYS]


def all_read(path: Path) -> list[tuple[np.ndarray[Any, Any], bool]]:
    pictures = [as_edgefm_reads(path, name, invert) for name in WAYS for invert in INVERT]
    return [(picture.pixels, picture.inverted) for picture in pictures]


def test_odd_pictures_give_the_bytes_that_edgefm_reads(bundle: Path, browser: WatchedPage, tmp_path: Path) -> None:
    browser.open(opened_up(bundle / "index.html").as_uri())
    seen = set()
    for path in odd_pictures(tmp_path, 200):
        if path.suffix != ".png":
            continue  # of JPEG see below; browsers read no TIFF
        seen.add(Image.open(path).mode)
        found = pixels_in_page(browser, path, contracts())
        for place, (pixels, inverted) in enumerate(all_read(path)):
            assert found[place][1] == inverted, (path, place)
            np.testing.assert_array_equal(found[place][0], pixels.reshape(-1), err_msg=f"{path} {place}")
    assert seen >= {"1", "L", "LA", "P", "RGB", "RGBA", "I;16"}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_differ_by_few_levels_at_most(
    orientation: int, bundle: Path, browser: WatchedPage, tmp_path: Path
) -> None:
    """The browser decodes JPEG itself. Chromium's decoder and Pillow's are both libjpeg-turbo: 2 levels are allowed."""
    browser.open(opened_up(bundle / "index.html").as_uri())
    y, x = np.mgrid[0:61, 0:83]
    random = np.random.default_rng(orientation)
    waves = np.stack([127 + 100 * np.sin(x / 9 + channel) * np.cos(y / (7 + channel)) for channel in range(3)], -1)
    picture = Image.fromarray(np.clip(waves + random.normal(0, 6, waves.shape), 0, 255).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.save(tmp_path / "photo.jpg", quality=88, exif=exif)
    found = pixels_in_page(browser, tmp_path / "photo.jpg", contracts())
    for place, (pixels, inverted) in enumerate(all_read(tmp_path / "photo.jpg")):
        assert found[place][1] == inverted
        apart = np.abs(np.array(found[place][0], int) - pixels.reshape(-1))
        assert apart.max() <= 2, (place, apart.max())


@pytest.mark.parametrize("filter_name", FILTERS)
def test_filters_give_pillow_s_bytes_for_many_sizes(filter_name: str, bundle: Path, browser: WatchedPage) -> None:
    random = np.random.default_rng(6)
    browser.open(opened_up(bundle / "index.html").as_uri())
    olds = [*((side, 90 - side) for side in range(1, 90, 4)), (30, 45), (45, 30), (90, 60)]
    for height, width in ((9, 7), (16, 16), (24, 31), (5, 60)):
        pictures = [random.integers(0, 256, shape, dtype=np.uint8) for shape in olds]
        found = browser.ask(
            f"return {json.dumps([[*picture.shape, picture.reshape(-1).tolist()] for picture in pictures])}.map("
            f"([h, w, levels]) => Array.from(resized(Uint8Array.from(levels), w, h, 1, {width}, {height}, "
            f"'{filter_name}')))"
        )
        for pixels, picture in zip(found, pictures, strict=True):
            wanted = np.array(Image.fromarray(picture).resize((width, height), FILTERS[filter_name]))
            np.testing.assert_array_equal(pixels, wanted.reshape(-1), err_msg=f"{picture.shape} {height} {width}")


def test_steps_that_the_page_does_not_carry_out_are_refused(bundle: Path, browser: WatchedPage) -> None:
    browser.open(opened_up(bundle / "index.html").as_uri())
    other = changed("an unknown key") | {"schema_version": 4}
    given = [*(changed(name) for name in CHANGES), other]
    found = browser.ask(
        f"return {json.dumps(given)}.map((contract) => {{ try {{ stepsOf(contract); return 'taken'; }}"
        " catch (error) { return error.message; } })"
    )
    for name, message in zip(CHANGES, found, strict=False):
        assert re.search(r"^Step \d of the contract is .*; this page carries out .* there\.$", message), (name, message)
        assert CHANGES[name][1] in message, (name, message)
    assert found[-1] == "The contract is of version 4; this page reads version 3."


def test_page_of_a_blue_first_model_shows_red_as_red_and_feeds_blue_first(browser: WatchedPage, tmp_path: Path) -> None:
    app = picture_case("stretch bicubic bgr")
    browser.open(opened_up(page_of(parts_of(app), tmp_path)).as_uri())
    browser.until(TESTED)
    assert text_of(browser, "verdict") == ["✓ held"]  # the golden inputs are carried as pictures
    picture = tmp_path / "red.png"
    Image.new("RGB", (20, 30), (200, 30, 10)).save(picture)
    browser.give("#file", picture)
    browser.until("document.getElementById('file-name').textContent === 'red.png'")
    browser.ask("return new Promise((resolve) => setTimeout(resolve, 300))")
    script = "return [...document.getElementById('seen').getContext('2d').getImageData(3, 3, 1, 1).data]"
    assert browser.ask(script) == [200, 30, 10, 255]
    pixels = np.full((1, 9, 7, 3), (10, 30, 200), np.uint8)
    (raw,) = litert(app.content, fed(app.contract, pixels.reshape(-1)))
    order = np.argsort(-raw[0], kind="stable")
    assert [label for label, _ in bars(browser)] == [ABC[place] for place in order]


def drop(browser: WatchedPage, path: Path) -> None:
    content = base64.b64encode(path.read_bytes()).decode()
    browser.ask(
        f"const bytes = Uint8Array.from(atob('{content}'), (letter) => letter.charCodeAt(0));"
        "const dataTransfer = new DataTransfer();"
        f"dataTransfer.items.add(new File([bytes], '{path.name}', {{ type: 'image/png' }}));"
        "const drop = new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true });"
        "document.querySelector('h1').dispatchEvent(drop)"
    )


def test_uploaded_or_dropped_picture_gets_numpy_s_and_litert_s_top_three(
    bundle: Path, browser: WatchedPage, tmp_path: Path
) -> None:
    y, x = np.mgrid[0:90, 0:70]
    boot = np.where((x > 25) & (x < 45) & (y > 10) & (y < 75) | (x > 5) & (x < 45) & (y > 55) & (y < 75), 40, 250)
    browser.open((bundle / "index.html").as_uri())
    labels = (bundle / "labels.txt").read_text().splitlines()
    for name, pixels in (("light", boot), ("dark", 255 - boot)):
        path = tmp_path / f"{name}.png"
        Image.fromarray(pixels.astype(np.uint8)).save(path)
        if name == "light":
            browser.give("#file", path)
        else:
            drop(browser, path)
        browser.until(f"document.getElementById('file-name').textContent === '{name}.png'")
        inverted = ", inverted" if name == "light" else ""
        browser.until(f"document.getElementById('seen-text').textContent.endsWith('grey{inverted}')")
        browser.ask("return new Promise((resolve) => setTimeout(resolve, 300))")
        picture = read_picture(path, LETTERBOX, shape=(28, 28, 1), invert="yes" if inverted else "no")
        (raw,) = litert(SHIPPED.read_bytes(), picture.pixels[np.newaxis])
        order = np.argsort(-raw[0].astype(int), kind="stable")[:3]
        assert bars(browser) == [(labels[place], f"{100 * int(raw[0][place]) / 256:.1f} %") for place in order]
        np.testing.assert_array_equal(seen_pixels(browser)[..., 0], picture.pixels[..., 0])
        assert browser.ask("return document.getElementById('best-label').textContent") == labels[order[0]]
        assert browser.ask("return document.getElementById('problem').hidden")


def test_what_is_no_picture_is_said(bundle: Path, browser: WatchedPage, tmp_path: Path) -> None:
    whole = tmp_path / "whole.png"
    Image.fromarray(np.full((40, 40), 9, np.uint8)).save(whole)
    content = whole.read_bytes()
    huge = bytearray(content)
    huge[16:24] = (60_000).to_bytes(4, "big") * 2
    Image.fromarray(np.full((40, 40, 3), 9, np.uint8)).save(tmp_path / "whole.jpg")
    content_of_jpeg = (tmp_path / "whole.jpg").read_bytes()
    frame = content_of_jpeg.index(b"\xff\xc0") + 5
    large = content_of_jpeg[:frame] + (20_000).to_bytes(2, "big") * 2 + content_of_jpeg[frame + 4 :]
    deep = io.BytesIO()
    Image.fromarray(np.full((4, 4), 0.5, np.float32)).save(deep, "TIFF")
    cases = {
        "text.png": (b"no picture", "cannot read the file as a picture"),
        "large.jpg": (large, "This picture has 20000 x 20000 pixels; 50 million are the most."),
        "deep.tiff": (deep.getvalue(), "it takes PNG, JPEG, WebP, GIF, BMP and AVIF"),
        "cut.png": (content[:-30], "cannot be read"),
        "huge.png": (bytes(huge), "60000 x 60000 pixels are too many"),
        "empty.jpg": (b"", "cannot read the file as a picture"),
    }
    browser.open((bundle / "index.html").as_uri())
    browser.until(TESTED)
    for name, (bad, message) in cases.items():
        (tmp_path / name).write_bytes(bad)
        browser.give("#file", tmp_path / name)
        browser.until("!document.getElementById('problem').hidden")
        assert message in text_of(browser, "problem")[0], name
        browser.give("#file", whole)
        browser.until("document.getElementById('problem').hidden")


def test_sizes_are_read_from_the_heads_of_files_before_they_are_decoded(
    bundle: Path, browser: WatchedPage, tmp_path: Path
) -> None:
    random, files = np.random.default_rng(2), {}
    image = Image.fromarray(random.integers(0, 256, (37, 301, 4), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # as stored is not as shown
    kinds: dict[str, dict[str, Any]] = {
        "a.jpg": {"exif": exif}, "progressive.jpg": {"progressive": True}, "a.bmp": {}, "a.gif": {}, "a.avif": {},
        "a.webp": {}, "exact.webp": {"lossless": True}, "with.webp": {"exif": exif},
    }  # fmt: skip
    for name, options in kinds.items():
        with contextlib.suppress(OSError, KeyError):  # a build of Pillow without AVIF
            opaque = name.endswith((".jpg", ".bmp")) or name == "a.webp"
            (image.convert("RGB") if opaque else image).save(tmp_path / name, **options)
            files[name] = (tmp_path / name).read_bytes()
    gif = bytearray(files["a.gif"])
    gif[6:10] = bytes([1, 0, 1, 0])  # a screen smaller than its frame
    files["small screen.gif"] = bytes(gif)
    files["cut.jpg"] = files["a.jpg"][:40]
    browser.open(opened_up(bundle / "index.html").as_uri())
    packed = base64.b64encode(zlib.compress(bytes(range(200)) + bytes(30_000_000))).decode()
    script = (
        f"inflatedStart(Uint8Array.from(atob('{packed}'), (one) => one.charCodeAt(0)), 'deflate', 150)"
        ".then((start) => [start.length, start.buffer.byteLength, start[149]])"
    )
    assert browser.ask(f"return {script}") == [150, 150, 149], "30 MB behind a small picture are not kept"
    sent = [base64.b64encode(content).decode() for content in files.values()]
    found = browser.ask(
        f"return {json.dumps(sent)}.map((text) => pictureSize(Uint8Array.from(atob(text), (one) => one.charCodeAt(0))))"
    )
    assert len(files) >= 9
    for name, size in zip(files, found, strict=True):
        assert size == (None if name == "cut.jpg" else {"width": 301, "height": 37}), name


def test_samples_drawings_and_the_camera_are_answered(bundle: Path, browser: WatchedPage) -> None:
    browser.open((bundle / "index.html").as_uri())
    browser.until(TESTED)
    browser.ask("document.querySelectorAll('#samples button')[3].click()")
    raw = np.frombuffer((bundle / "golden" / "03.xnnpack.bin").read_bytes(), np.uint8)
    best = (bundle / "labels.txt").read_text().splitlines()[int(raw.argmax())]
    browser.until(f"document.getElementById('best-label').textContent === {json.dumps(best)}")
    assert bars(browser)[0] == (best, f"{100 * int(raw.max()) / 256:.1f} %")
    browser.ask("document.getElementById('tab-draw').click(); document.getElementById('drawing').focus()")
    browser.press(" ", *["\ue014"] * 6)  # the pen down, and to the right
    browser.ask("return new Promise((resolve) => setTimeout(resolve, 400))")
    rows = seen_pixels(browser)[..., 0]
    assert rows[14, 15:19].min() > 200 and rows[14, :10].max() == 0, "a line from the middle to the right"
    times = int(text_of(browser, "p50-text")[0].split("last ")[1].split()[0])
    browser.ask("document.getElementById('tab-camera').click(); document.getElementById('camera').click()")
    browser.until(
        f"Number(document.getElementById('p50-text').textContent.split('last ')[1].split(' ')[0]) > {times + 3}"
    )
    assert text_of(browser, "camera", "problem") == ["Stop the camera", ""]
    browser.ask("document.getElementById('tab-file').click()")
    assert browser.ask("return document.getElementById('video').srcObject") is None


def test_picture_that_is_read_slowly_does_not_replace_a_later_one(
    bundle: Path, browser: WatchedPage, tmp_path: Path
) -> None:
    browser.open((bundle / "index.html").as_uri())
    browser.until(TESTED)
    browser.ask(
        "const read = Blob.prototype.arrayBuffer; window.late = false;"
        "Blob.prototype.arrayBuffer = async function () {"
        "  if (this.name !== 'first.png') return read.call(this);"
        "  await new Promise((resolve) => setTimeout(resolve, 800)); setTimeout(() => (window.late = true), 400);"
        "  return read.call(this); };"
    )
    for name, level in (("first", 90), ("second", 30)):
        Image.new("L", (28, 28), level).save(tmp_path / f"{name}.png")
        drop(browser, tmp_path / f"{name}.png")
    browser.until("window.late")
    assert text_of(browser, "file-name", "problem") == ["second.png", ""]
    assert seen_pixels(browser)[3, 3, 0] == 30


def test_camera_that_comes_after_it_was_left_is_stopped(bundle: Path, browser: WatchedPage) -> None:
    """A person may take a while to allow it; what was asked for before and is not wanted any more must not run on."""
    browser.open((bundle / "index.html").as_uri())
    browser.until(TESTED)
    browser.ask(
        "window.tracks = []; const { mediaDevices } = navigator;"
        "const given = mediaDevices.getUserMedia.bind(mediaDevices);"
        "mediaDevices.getUserMedia = async (...asked) => {"
        "  const stream = await given(...asked); await new Promise((resolve) => setTimeout(resolve, 500));"
        "  window.tracks.push(...stream.getTracks()); return stream; };"
        "document.getElementById('tab-camera').click();"
        "document.getElementById('camera').click(); document.getElementById('camera').click();"
    )
    browser.until("window.tracks.length === 2 && document.getElementById('video').videoWidth > 0")
    live = "return window.tracks.filter(({ readyState }) => readyState === 'live').length"
    assert browser.ask(live) == 1, "asked for twice, it runs once"
    assert text_of(browser, "camera", "problem") == ["Stop the camera", ""]
    browser.ask("document.getElementById('camera').click(); document.getElementById('camera').click()")
    browser.ask("document.getElementById('tab-file').click()")
    browser.until("window.tracks.length === 3")
    browser.ask("return new Promise((resolve) => setTimeout(resolve, 100))")
    assert browser.ask(live) == 0 and browser.ask("return document.getElementById('video').srcObject") is None


# The self-test.


def test_each_output_is_held_to_its_own_tolerance(bundle: Path, browser: WatchedPage) -> None:
    """Two outputs, levels and floats: by one tolerance for both, a level would allow the whole magnitude of a float."""
    browser.open(opened_up(bundle / "index.html").as_uri())
    wanted = np.array([3, 200], np.uint8).tobytes() + np.array([0.5, -2.0], np.float32).tobytes()
    found = browser.ask(
        "const outputs = [{ dtype: 'uint8', shape: [2], scale: 0.1 }, { dtype: 'float32', shape: [2], scale: null }];"
        f"const wanted = Uint8Array.from({list(wanted)});"
        "const held = (limits, level, apart) => selfTest("
        "  { model_sha256: 'a', outputs, vectors: [{ answers: { f: 'x' } }],"
        "    families: [{ name: 'f', title: 'kernels', tolerance: { largest: 1, share: 1, ...limits } }] },"
        "  { sha256: 'a' },"
        "  { inputOf: () => 0, bytesAt: () => wanted,"
        "    invoke: () => [Uint8Array.of(3 + level, 200), Float32Array.of(0.5, -2 + apart)] },"
        ").then((result) => result.held);"
        "const each = { outputs: [1, 0.01] };"
        "return Promise.all([held(each, 1, 0.018), held(each, 2, 0), held(each, 0, 0.022), held({}, 1, 1.8)])"
    )
    assert found == [True, False, False, True]


def test_self_test_holds_and_fails_where_it_should(bundle: Path, browser: WatchedPage, tmp_path: Path) -> None:
    browser.open((bundle / "index.html").as_uri())
    browser.until(TESTED)
    verdict, words = text_of(browser, "verdict", "verdict-text")
    assert verdict == "✓ held" and words == "6 golden vectors, XNNPACK kernels: equal bit for bit."
    text = (bundle / "index.html").read_text(encoding="utf-8")

    def changed(name: str, change: Callable[[bytes], bytes]) -> tuple[str, str]:
        block = re.search(rf'id="carried-{name}" data-bytes="(\d+)">([^<]*)<', text)
        assert block is not None
        packed = gzip.compress(change(gzip.decompress(read_text(block[2], int(block[1])))), 1)
        new = f'id="carried-{name}" data-bytes="{len(packed)}">{base122(packed)}<'
        (tmp_path / "changed.html").write_text(text.replace(block[0], new, 1), encoding="utf-8")
        browser.open((tmp_path / "changed.html").as_uri())
        browser.until(TESTED)
        found = text_of(browser, "verdict", "verdict-text")
        return found[0], found[1]

    def one_byte(content: bytes, *, most: int) -> bytes:
        carried = json.loads(content)
        for family in ("xnnpack", "builtin"):
            answer = bytearray(base64.b64decode(carried[f"golden/02.{family}.bin"]))
            answer[4] += most if answer[4] < 128 else -most
            carried[f"golden/02.{family}.bin"] = base64.b64encode(answer).decode()
        return json.dumps(carried).encode()

    verdict, words = changed("files", lambda content: one_byte(content, most=90))
    assert verdict == "✗ FAILED" and "more than these kernels may differ" in words
    verdict, words = changed("files", lambda content: one_byte(content, most=1))
    assert verdict == "✓ held" and "1 level in 1.7 % of the values" in words
    verdict, _ = changed(
        "model-0", lambda content: content[:200_000] + bytes([content[200_000] ^ 1]) + content[200_001:]
    )
    assert verdict == "✗ FAILED"
    assert "is not the one that this page was written with" in text_of(browser, "problem")[0]


def test_float_self_test_holds_within_its_tolerance(browser: WatchedPage, tmp_path: Path) -> None:
    app = CASES["float_symmetric__float"]
    parts = parts_of(app)
    browser.open(page_of(parts, tmp_path).as_uri())
    browser.until(TESTED)
    assert text_of(browser, "verdict") == ["✓ held"]
    family = parts.golden.families[0]
    wrong = tuple(output * np.float32(1.01) for output in family.outputs)
    golden = dataclasses.replace(parts.golden, families=(dataclasses.replace(family, outputs=wrong),))
    browser.open(page_of(dataclasses.replace(parts, golden=golden), tmp_path).as_uri())
    browser.until(TESTED)
    assert text_of(browser, "verdict") == ["✗ FAILED"]


# Who uses it.


def test_every_control_has_a_name_and_the_keyboard_reaches_it(bundle: Path, browser: WatchedPage) -> None:
    browser.open((bundle / "index.html").as_uri())
    browser.until(TESTED)
    reached = []
    for tab in ("tab-samples", "tab-file", "tab-draw", "tab-camera"):
        browser.ask(f"document.getElementById('{tab}').click()")
        nodes = [node for node in browser.accessible() if node["focusable"] and node["role"] != "RootWebArea"]
        assert len(nodes) >= 8 and [node for node in nodes if not node["name"].strip()] == [], nodes
        browser.ask("document.activeElement.blur(); window.getSelection().removeAllRanges()")
        browser.ask("document.querySelector('.skip').focus()")
        order = []
        for _ in range(18):
            browser.press("\ue004")
            order.append(browser.ask("return document.activeElement.id || document.activeElement.tagName"))
        reached.append(order)
    assert reached[0][:2] == ["tab-samples", "BUTTON"] and reached[0][7:10] == ["measure", "test", "SUMMARY"]
    assert reached[1][:5] == ["tab-file", "file", "invert", "measure", "test"]
    assert reached[2][:5] == ["tab-draw", "drawing", "pen", "clear", "invert"]
    assert reached[3][:3] == ["tab-camera", "camera", "invert"]
    browser.ask("document.getElementById('tab-samples').focus()")
    browser.press("\ue014", "\ue014", "\ue012", "\ue010", "\ue014")  # right, right, left, end, right
    chosen = "document.querySelector('[role=tab][aria-selected=true]')"
    assert browser.ask(f"return [{chosen}.id, document.activeElement.id]") == ["tab-samples", "tab-samples"]
    browser.ask("document.querySelectorAll('#samples button')[1].click()")
    browser.until("document.getElementById('announced').textContent.includes('%')")
    roles = browser.ask(
        "return ['announced', 'verdict', 'status'].map((id) => document.getElementById(id).getAttribute('role'))"
    )
    assert (
        roles == ["status"] * 3
        and browser.ask("return document.getElementById('problem').getAttribute('role')") == "alert"
    )
    assert browser.ask("return document.documentElement.lang") == "en"


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_page_fits_its_width(width: int, bundle: Path, browser: WatchedPage) -> None:
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser._driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        browser.open((bundle / "index.html").as_uri())
        for tab in ("samples", "file", "draw", "camera"):
            browser.ask(f"document.getElementById('tab-{tab}').click()")
            assert browser.ask("return document.documentElement.scrollWidth") <= width, tab
    finally:
        browser._driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


# What is in the page.


@pytest.mark.parametrize("length", [0, 1, 6, 7, 8, 500])
def test_bytes_as_text_are_read_back_by_the_page_and_bit_by_bit(
    length: int, bundle: Path, browser: WatchedPage
) -> None:
    random = np.random.default_rng(length)
    contents = [random.bytes(length), bytes(length), b"\x1a" * length, b"<\r\0" * (length // 3), b"\xff" * length]
    browser.open(opened_up(bundle / "index.html").as_uri())
    for content in contents:
        text = base122(content)
        assert not {"\0", "\r", "<"} & set(text) and read_text(text, len(content)) == content
        assert len(text.encode()) <= 8 / 7 * len(content) + 2
        sent = base64.b64encode(text.encode("utf-16-le")).decode()
        units = f"new Uint16Array(Uint8Array.from(atob('{sent}'), (letter) => letter.charCodeAt(0)).buffer)"
        found = browser.ask(f"return Array.from(bytesOfText(String.fromCharCode(...{units}), {len(content)}))")
        assert bytes(found) == content


def test_bundle_is_whole_small_and_the_same_again(bundle: Path, tmp_path: Path) -> None:
    assert edgefm.verify(bundle, progress=False).held
    assert (bundle / "index.html").stat().st_size <= 5_000_000
    edgefm.export(SHIPPED, "web", out=tmp_path / "again", samples=6, progress=False)
    assert (tmp_path / "again" / "manifest.json").read_bytes() == (bundle / "manifest.json").read_bytes()
    components = json.loads((bundle / "sbom.cdx.json").read_text())["components"]
    found = package.package()
    assert found is not None
    assert {(one["name"], one["version"]) for one in components} == {
        ("@litertjs/core", found.version), ("@litertjs/wasm-utils", found.version),
    }  # fmt: skip
    assert "Apache License" in (bundle / "LICENSE-LiteRT.js").read_text()
    assert "LiteRT.js" in (bundle / "NOTICE").read_text()


def test_page_of_a_users_model_says_nothing_of_other_data(tmp_path: Path, browser: WatchedPage) -> None:
    page = page_of(parts_of(CASES["uint8_raw__uint8"]), tmp_path)
    words = re.sub(r'"text/plain"[^<]*<', "<", page.read_text(encoding="utf-8")).lower()
    assert len(words) < 200_000 and not re.search("fashion|mnist|zalando|sneaker|clothes", words)


def test_hostile_labels_and_names_stay_text(browser: WatchedPage, tmp_path: Path) -> None:
    labels = (f"</script>{ATTACKS}", "<!--<script>", '"; DROP TABLE users; --\u2028')
    app = case(
        [("scores", "classes")], shape=PICTURE, outputs=[Out(shape=(1, 3), ends=("uint8", 1 / 256, 0))], labels=labels
    )
    name = "{style}<img src=x onerror=\"document.title = 'ran'\">"
    app = dataclasses.replace(app, contract=dataclasses.replace(app.contract, name=name, variant=labels[0]))
    page = page_of(parts_of(app), tmp_path)
    assert [line for line in browser.open(page.as_uri()) if "Content Security" in line or "Uncaught" in line] == []
    browser.until(TESTED)
    browser.until("document.querySelectorAll('#bars li').length === 3")
    assert {label for label, _ in bars(browser)} == set(labels)
    assert browser.ask("return [document.title, document.querySelector('h1').textContent]") == [
        f"{name}, {labels[0]}".replace("\u2028", " "),
        name,
    ]
    assert (
        browser.ask(
            "return document.querySelectorAll('iframe, form, base, img:not(#preview):not(#samples img)').length"
        )
        == 0
    )


def test_nothing_else_runs_in_the_page_and_nothing_leaves_it(
    bundle: Path, browser: WatchedPage, tmp_path: Path
) -> None:
    text = (bundle / "index.html").read_text(encoding="utf-8")
    (tmp_path / "attacked.html").write_text(text.replace("<body>", f"<body>{ATTACKS}", 1), encoding="utf-8")
    told = browser.open((tmp_path / "attacked.html").as_uri())
    browser.until(TESTED)
    assert browser.ask("return document.title") == "enhanced_cnn, int8_w8a8" and text_of(browser, "verdict") == [
        "✓ held"
    ]
    blocked = browser.ask("return fetch('https://attack.invalid/').then(() => 'sent', (error) => String(error))")
    told += browser.told()
    assert "Failed to fetch" in blocked and "Content Security Policy" in " ".join(told)


def test_model_without_pictures_shows_speed_and_self_test_alone(browser: WatchedPage, tmp_path: Path) -> None:
    browser.open(page_of(parts_of(CASES["rank2__real_uint8"]), tmp_path).as_uri())
    browser.until(TESTED)
    hidden = browser.ask("return ['input', 'answer', 'problem'].map((id) => document.getElementById(id).hidden)")
    assert hidden == [True, True, True] and text_of(browser, "verdict") == ["✓ held"]
    assert "its samples are no pictures" in browser.ask("return document.querySelector('dl').textContent")
    browser.ask("document.getElementById('measure').click()")
    browser.until("document.getElementById('p50-text').textContent.includes('last 100')")


def test_open_batch_is_fixed_and_said(browser: WatchedPage, tmp_path: Path) -> None:
    content = tiny_models.dynamic(batch=True)
    end = CASES["rank2__real"].contract.input
    source, sink = (dataclasses.replace(end, name=name, shape=(1, 4)) for name in "xy")
    contract = dataclasses.replace(
        CASES["rank2__real"].contract, input=source, outputs=(sink,), labels=(), sha256=sha256_bytes(content)
    )
    app = dataclasses.replace(CASES["rank2__real"], content=content, contract=contract)
    browser.open(page_of(parts_of(app), tmp_path).as_uri())
    browser.until(TESTED)
    assert text_of(browser, "verdict", "problem") == ["✓ held", ""]
    assert "fixed at 1" in browser.ask("return document.querySelector('dl').textContent")


# What cannot be written.


@pytest.mark.parametrize(("name", "message"), [("int8__uint8", "is int8; LiteRT.js takes"), ("int64", "is int64")])
def test_ends_that_litertjs_does_not_take_are_refused(name: str, message: str, tmp_path: Path) -> None:
    app = CASES[name]
    (tmp_path / "model.tflite").write_bytes(app.content)
    app.contract.write(tmp_path)
    with pytest.raises(ModelError, match=message):
        edgefm.export(tmp_path / "model.tflite", "web", out=tmp_path / "out", samples=2, progress=False)
    assert not (tmp_path / "out").exists()


def test_missing_litertjs_is_said_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(package.PACKAGE_VARIABLE, str(tmp_path))
    with pytest.raises(RuntimeUnavailableError, match="holds LiteRT") as raised:
        edgefm.export(SHIPPED, "web", out=tmp_path / "out", samples=2, progress=False)
    assert raised.value.hint == f"Fetch them with: {package.SETUP}"


def test_contract_of_the_bundle_is_that_of_the_page(bundle: Path) -> None:
    block = re.search('id="carried-models">([^<]*)<', (bundle / "index.html").read_text(encoding="utf-8"))
    assert block is not None
    (model,) = json.loads(block[1])
    assert model["contract"] == json.loads((bundle / "contract.json").read_text())


# edgefm demo.


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty cache; LiteRT.js stays where it is."""
    found = package.package()
    assert found is not None
    monkeypatch.setenv(package.PACKAGE_VARIABLE, str(found.core))
    monkeypatch.setenv("EDGEFM_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def demo(*words: str) -> Any:
    return CliRunner().invoke(cli, ["demo", *words], standalone_mode=False)


def test_demo_of_a_bundle_is_its_own_page_and_of_a_file_a_new_one(
    bundle: Path, cache: Path, browser: WatchedPage, tmp_path: Path
) -> None:
    of_bundle = Path(json.loads(demo(str(bundle), "--no-open", "--json").stdout)["page"])
    assert of_bundle.read_bytes() == (bundle / "index.html").read_bytes() and cache in of_bundle.parents
    edgefm.export(SHIPPED, "python", out=tmp_path / "python", samples=6, progress=False)
    (of_python,) = demo(str(tmp_path / "python"), "--no-open").stdout.splitlines()
    assert Path(of_python).read_bytes() == of_bundle.read_bytes(), "the same model, the same vectors"
    (of_file,) = demo(str(SHIPPED), "--no-open").stdout.splitlines()
    browser.open(Path(of_file).as_uri())
    browser.until(TESTED)
    assert text_of(browser, "verdict") == ["✓ held"]
    (again,) = demo(str(SHIPPED), "--no-open").stdout.splitlines()
    assert again == of_file


def test_demo_of_several_models_says_which_it_shows_and_how_the_others_are(cache: Path, tmp_path: Path) -> None:
    folder = tmp_path / "two models"
    given: Any = {"a": SHIPPED, "b": SHIPPED}
    edgefm.export(given, "android", out=folder, samples=2, progress=False)
    done = demo(str(folder), "--no-open")
    first, second = done.stderr.splitlines()
    assert first == f"the page shows a, the first of 2 models in {folder}; the others:"
    assert second == f"  edgefm demo '{folder}/b/model.tflite'"
    assert Path(second.split(" demo ")[1].strip("'")).is_file()


def test_demo_opens_the_page_and_says_where_there_is_no_browser(
    bundle: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def opens(address: str) -> bool:
        opened.append(address)
        return True

    monkeypatch.setattr(webbrowser, "open", opens)
    done = demo(str(bundle))
    assert opened == [Path(done.stdout.strip()).as_uri()] and done.stderr == ""
    monkeypatch.setattr(webbrowser, "open", lambda address: False)
    assert "open the page yourself" in demo(str(bundle)).stderr


def test_demo_refuses_a_changed_bundle(bundle: Path, cache: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle, tmp_path / "copy")
    (tmp_path / "copy" / "labels.txt").write_text("other\n")
    done = demo(str(tmp_path / "copy"), "--no-open")
    assert isinstance(done.exception, ModelError) and "labels.txt was changed" in str(done.exception)
    assert not cache.exists() or not list(cache.rglob("index.html"))
