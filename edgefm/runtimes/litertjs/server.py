"""A web server for one page: the files of LiteRT.js, a model, or a folder with a page, to this machine alone.

Two headers make the page cross-origin isolated: threads of WebAssembly need it, and Chromium's clock then steps by
5 us instead of 100. The address holds a secret, so that no other user of the machine reads the model; a request whose
Host is another name than this machine's own is refused, so that no page elsewhere reads it by a name that leads here.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from typing import Any

from edgefm.tflite.open_batch import fixed_batch

_TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript", ".wasm": "application/wasm"}
_TYPES |= {".json": "application/json"}
_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_NAMES = ("127.0.0.1", "localhost")
_PAGE = resources.files("edgefm.runtimes.litertjs") / "page"


class PageServer:
    """The server, in a thread until it is closed."""

    def __init__(self, *, folders: Mapping[str, Path], model: Path | None = None, page: str = "page.html") -> None:
        """Start it.

        Args:
          folders: name in the address -> folder whose files are served below it.
          model: served as 'model.tflite'.
          page: what `url` leads to: the page that edgefm measures with, or a file in a folder.
        """
        secret = secrets.token_urlsafe(16)
        handler = type("_Handler", (_Handler,), {"secret": secret, "model": model, "folders": dict(folders)})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/{secret}/{page}"

    def close(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    secret: str
    model: Path | None
    folders: Mapping[str, Path]

    def do_GET(self) -> None:
        """Send a file, or say that there is none."""
        name = self.path.partition("?")[0]
        if self._is_meant():
            known = name.startswith(f"/{self.secret}/")
            content = self._content(name.removeprefix(f"/{self.secret}/")) if known else None
            status = HTTPStatus.NOT_FOUND if content is None else HTTPStatus.OK
        else:
            content, status = None, HTTPStatus.MISDIRECTED_REQUEST
        self.send_response(status)
        for header, value in _HEADERS.items():
            self.send_header(header, value)
        self.send_header("Content-Type", _TYPES.get(Path(name).suffix, "application/octet-stream"))
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def _is_meant(self) -> bool:
        """Return whether the browser asked this machine: a page elsewhere may have a name that leads here."""
        _, port, *_ = self.connection.getsockname()
        hosts = self.headers.get_all("Host", [])
        return len(hosts) == 1 and hosts[0].strip().lower() in {f"{name}:{port}" for name in _NAMES}

    def _content(self, name: str) -> bytes | None:
        first, _, rest = name.partition("/")
        try:
            if name == "model.tflite" and self.model is not None:
                return fixed_batch(self.model.read_bytes())
            if name in ("page.html", "page.js"):
                return (_PAGE / name).read_bytes()
            if first in self.folders:
                folder = self.folders[first].resolve()
                path = (folder / rest).resolve()
                return path.read_bytes() if path.is_relative_to(folder) else None
        except (OSError, ValueError):  # the latter for a name with a NUL
            return None
        return None

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing: standard error belongs to the worker."""
