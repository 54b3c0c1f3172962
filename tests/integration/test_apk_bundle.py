"""The APK: built and read by Debian's tools, its code translated back and run on a Java machine."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

import edgefm
from edgefm.cli.main import cli
from edgefm.core.errors import EdgefmError, ModelError, RuntimeUnavailableError
from edgefm.runtimes.litertjs import package
from edgefm_converters.bundles import apk
from edgefm_converters.bundles.for_web import PAGE
from tests.fixtures import kotlin
from tests.fixtures.android_app import HARNESS, SHIPPED, SIGNATURES, run

pytestmark = [
    pytest.mark.java,
    pytest.mark.kotlin,
    pytest.mark.skipif(bool(apk.missing_tools()), reason=f"not installed: {', '.join(apk.missing_tools())}"),
    pytest.mark.skipif(package.package() is None, reason="LiteRT.js is not here"),
]
ORIGIN = "https://appassets.androidplatform.net/index.html"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("apk") / "bundle"
    edgefm.export(SHIPPED, "apk", out=folder, samples=2, progress=False)
    return folder


@pytest.fixture(scope="module")
def unpacked(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(bundle / "edge-model.apk") as archive:
        assert archive.testzip() is None
        archive.extractall(folder)
    return folder


def test_apk_is_signed_aligned_and_says_what_it_is(bundle: Path) -> None:
    path = str(bundle / "edge-model.apk")
    signed = run("apksigner", "verify", "-v", "--min-sdk-version", "24", path)
    assert "Verified using v2 scheme (APK Signature Scheme v2): true" in signed
    assert re.search(r"model\.tflite \(OK\)$", run("zipalign", "-c", "-v", "4", path), re.MULTILINE)
    badging = run("aapt2", "dump", "badging", path)
    assert "package: name='dev.edgefm.page.enhanced_cnn.int8_w8a8'" in badging
    assert "sdkVersion:'24'" in badging and "launchable-activity: name='dev.edgefm.page.PageActivity'" in badging
    permissions = re.findall(r"uses-permission: name='([\w.]+)'", badging)
    assert permissions == ["android.permission.CAMERA"]  # no network
    assert edgefm.verify(bundle, progress=False).held


def test_apk_carries_the_page_and_the_model_byte_for_byte(bundle: Path, unpacked: Path) -> None:
    assets = unpacked / "assets"
    assert (assets / PAGE).read_bytes() == (bundle / PAGE).read_bytes()
    assert (assets / "edge-model" / "model.tflite").read_bytes() == SHIPPED.read_bytes()
    for name in ("contract.json", "labels.txt"):
        assert (assets / "edge-model" / name).read_bytes() == (bundle / name).read_bytes()
    with zipfile.ZipFile(bundle / "edge-model.apk") as archive:
        model = archive.getinfo("assets/edge-model/model.tflite")
    assert model.compress_type == zipfile.ZIP_STORED
    content = (bundle / "edge-model.apk").read_bytes()
    assert content.find(SHIPPED.read_bytes()) % 4 == 0


def test_page_is_the_one_of_the_bundle_for_browsers(bundle: Path, tmp_path: Path) -> None:
    edgefm.export(SHIPPED, "web", out=tmp_path / "web", samples=2, progress=False)
    assert (tmp_path / "web" / PAGE).read_bytes() == (bundle / PAGE).read_bytes()


def test_equal_input_gives_an_equal_apk(bundle: Path, tmp_path: Path) -> None:
    edgefm.export(SHIPPED, "apk", out=tmp_path / "again", samples=2, progress=False)
    assert (tmp_path / "again" / "edge-model.apk").read_bytes() == (bundle / "edge-model.apk").read_bytes()


def test_classes_do_on_a_java_machine_what_the_page_needs(bundle: Path, unpacked: Path, tmp_path: Path) -> None:
    translator = shutil.which("enjarify", path="/usr/bin:/bin")
    if translator is None:
        pytest.skip("enjarify is not installed: apt-get install enjarify")
    jar = tmp_path / "classes.jar"
    # Debian's own Python holds it.
    done = subprocess.run(
        [translator, str(unpacked / "classes.dex"), "-o", str(jar)],
        env={**os.environ, "PATH": "/usr/bin:/bin"}, capture_output=True, text=True,
    )  # fmt: skip
    assert "3 classes translated successfully, 0 classes had errors" in done.stdout, done.stdout + done.stderr
    sources = [*sorted(SIGNATURES.rglob("*.kt")), HARNESS.with_name("PageHarness.kt")]
    stubs = [
        path for path in sources if "androidx" not in path.parts and path.name not in ("LiteRt.kt", "Interpreter.kt")
    ]
    signatures = kotlin.compile_kotlin([path for path in stubs if path != sources[-1]], tmp_path / "signatures")
    classes = kotlin.compile_kotlin([sources[-1]], tmp_path / "harness", path=[signatures, jar])
    kotlin.run_kotlin([classes, jar, signatures], "PageHarnessKt", [str(unpacked)])
    found = (unpacked / "found.txt").read_text().splitlines()
    page, empty = (hashlib.sha256(content).hexdigest() for content in ((bundle / PAGE).read_bytes(), b""))
    assert found == [
        f"loads {ORIGIN} with [JavaScript true, files false, gesture false]",
        f"{ORIGIN}: 200 text/html utf-8 {page}",
        "kept from going there: false",
        f"{ORIGIN}?a: 404 text/plain utf-8 {empty}",
        "kept from going there: true",
        f"https://example.org/: 404 text/plain utf-8 {empty}",
        "kept from going there: true",
        f"file:///x: 404 text/plain utf-8 {empty}",
        "kept from going there: true",
        "data:image/png;base64,: null null null null",
        "kept from going there: true",
        "without the asset: 404",
        "chooser true, asked pick",
        "chooser without an app false",
        "first null",
        "second content://picture",
        "third null",
        "wish for 1: denied",
        "wish for 2: denied",
        "camera, no: asked android.permission.CAMERA, denied",
        "camera, yes: asked android.permission.CAMERA, granted android.webkit.resource.VIDEO_CAPTURE",
        "camera, before: asked null, granted android.webkit.resource.VIDEO_CAPTURE",
        "destroyed true",
    ]


# Android of API level 24 knows these, by developer.android.com/reference; another one needs a look there.
KNOWN_TO_API_24 = {
    "app/Activity": "<init> onActivityResult onCreate onDestroy onRequestPermissionsResult",
    "content/res/AssetManager": "open",
    "net/Uri": "toString",
    "webkit/PermissionRequest": "deny getResources grant",
    "webkit/ValueCallback": "onReceiveValue",
    "webkit/WebChromeClient": "<init>",
    "webkit/WebChromeClient$FileChooserParams": "createIntent parseResult",
    "webkit/WebResourceRequest": "getUrl",
    "webkit/WebResourceResponse": "<init>",
    "webkit/WebSettings": "setAllowFileAccess setJavaScriptEnabled setMediaPlaybackRequiresUserGesture",
    "webkit/WebView": "<init> destroy getSettings loadUrl setWebChromeClient setWebViewClient",
    "webkit/WebViewClient": "<init>",
}


def test_code_is_whole_and_calls_what_android_has(unpacked: Path, tmp_path: Path) -> None:
    run("baksmali", "disassemble", str(unpacked / "classes.dex"), "-o", str(tmp_path / "smali"))
    run("smali", "assemble", "--jobs", "1", "--api", "24", "-o", str(tmp_path / "again.dex"), str(tmp_path / "smali"))
    assert (tmp_path / "again.dex").read_bytes() == (unpacked / "classes.dex").read_bytes()
    text = "".join(path.read_text() for path in (tmp_path / "smali").rglob("*.smali"))
    called = set(re.findall(r"invoke-[\w/]+ \{[^}]*\}, Landroid/([\w/$]+);->([\w<>]+)\(", text))
    known = {(owner, method) for owner, methods in KNOWN_TO_API_24.items() for method in methods.split()}
    assert called == known


# What cannot be built.


def test_without_the_tools_the_error_says_which(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        RuntimeUnavailableError, match="aapt2, smali, zipalign, apksigner, keytool are not installed"
    ) as error:
        edgefm.export(SHIPPED, "apk", out=tmp_path / "bundle", samples=1, progress=False)
    assert "apt-get install aapt android-framework-res libsmali-java" in str(error.value.hint)
    assert not (tmp_path / "bundle").exists()
    done = CliRunner().invoke(
        cli, ["export", "all", str(SHIPPED), "--out", str(tmp_path / "all"), "-n", "1"], standalone_mode=False
    )
    assert done.return_value == 0, done.output
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == ["android", "c", "python", "web"]


def test_page_too_large_for_a_webview_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apk, "LARGEST_PAGE_BYTES", 1000)
    with pytest.raises(ModelError, match=r"the page takes .* MB; a WebView is given at most"):
        apk.apk({PAGE: bytes(1001)}, package="dev.edgefm.page.m", title="m", version="1")


def test_failing_tool_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "aapt2"
    broken.write_text("#!/bin/sh\necho 'error: no such thing' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(EdgefmError, match="aapt2 failed while an APK was built: error: no such thing"):
        apk.apk({PAGE: b""}, package="dev.edgefm.page.m", title="m", version="1")


@pytest.mark.parametrize("title", ['It\'s "a" <模型> & \\more, %1$s', "@string/none", "\n\t"])
def test_titles_of_any_text_stay_what_they_are(title: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.apk"
    path.write_bytes(apk.apk({PAGE: b"<p>"}, package=apk.application_id(title, "v"), title=title, version="1"))
    [label] = re.findall(r"^application-label:'(.*)'$", run("aapt2", "dump", "badging", str(path)), re.MULTILINE)
    # aapt2 shows quotes and backslashes with a backslash before each.
    assert re.sub(r"\\(.)", r"\1", label) == (title if title.strip() else "model")


def test_each_user_has_a_key_of_their_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sums = []
    for user in ("one", "two", "one"):
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / user))
        content = apk.apk({PAGE: b"<p>"}, package="dev.edgefm.page.m", title="m", version="1")
        sums.append(hashlib.sha256(content).hexdigest())
    assert sums[0] == sums[2] != sums[1]
    assert [path.name for path in (tmp_path / "one" / "edgefm").iterdir()] == ["apk-debug.p12"]
    monkeypatch.setenv("XDG_CONFIG_HOME", str(SHIPPED))  # a file: nothing can be kept there
    with pytest.raises(EdgefmError, match="cannot be made"):
        apk.debug_key()
