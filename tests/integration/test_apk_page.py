"""The page that an APK holds, in Chromium at the address under which the app serves it to itself."""

from __future__ import annotations

import http.server
import shutil
import ssl
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import edgefm
from edgefm.runtimes.litertjs import package
from edgefm_converters.bundles import apk
from edgefm_converters.bundles.for_web import PAGE
from tests.fixtures.android_app import SHIPPED, run
from tests.fixtures.watched_page import watched_page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(bool(apk.missing_tools()), reason=f"not installed: {', '.join(apk.missing_tools())}"),
    pytest.mark.skipif(bool(package.missing()), reason="LiteRT.js, Chromium or selenium is not installed"),
]
ORIGIN = "https://appassets.androidplatform.net/index.html"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[int]:
    """Serve the page in the APK by https, as the app serves it to itself, and return the port."""
    edgefm.export(SHIPPED, "apk", out=tmp_path / "bundle", samples=2, progress=False)
    with zipfile.ZipFile(tmp_path / "bundle" / "edge-model.apk") as archive:
        page = archive.read(f"assets/{PAGE}")

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/index.html"
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(page if found else b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed, which makes a certificate")
    run(
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=page"),
        *("-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "certificate.pem")),
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_page_of_the_apk_runs_in_chromium_at_the_address_that_the_app_gives_it(served: int, tmp_path: Path) -> None:
    names = f"MAP appassets.androidplatform.net:443 127.0.0.1:{served}, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    flags = (f"--host-resolver-rules={names}", "--ignore-certificate-errors")
    camera = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    with watched_page(tmp_path / "profile", flags=(*flags, *camera)) as browser:
        browser.open(ORIGIN)
        browser.until("document.getElementById('verdict').textContent !== 'not run'")
        text = browser.ask("return document.getElementById('verdict').textContent")
        assert text == "✓ held"
        browser.ask("document.getElementById('tab-camera').click(); document.getElementById('camera').click()")
        browser.until("document.getElementById('video').srcObject !== null")
        browser.until("document.getElementById('camera').textContent === 'Stop the camera'")
        # "No available adapters" tells of a GPU, which is not asked.
        assert not [line for line in browser.told() if "No available adapters" not in line]
