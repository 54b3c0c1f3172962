"""Fetching from a local HTTP server that breaks off, and from a local Debian archive: never the network."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from edgefm.cli.main import cli, run
from edgefm.core.errors import DataError
from edgefm.core.progress import SILENT
from edgefm.data.reference import fashion_mnist, fetch
from edgefm.data.reference.fashion_mnist import FILES, find, load_fashion_mnist

TEST_IMAGES, TEST_LABELS = f"{FILES[2].name}.gz", f"{FILES[3].name}.gz"


class Server(ThreadingHTTPServer):
    """Serves files from memory; breaks off answers at will.

    Attributes:
      break_after: for each name, how many bytes each coming answer sends before it breaks off.
      ranges: whether ranges are honoured.
      requests: (method, name, Range header) of every request.
    """

    def __init__(self, contents: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.contents = contents
        self.break_after: dict[str, list[int]] = {}
        self.ranges = True
        self.requests: list[tuple[str, str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        name, wanted = self.path.strip("/"), self.headers.get("Range")
        self.server.requests.append((self.command, name, wanted))
        content = self.server.contents.get(name)
        if content is None:
            self.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.server.ranges else 0
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if body:
            breaks = self.server.break_after.get(name)
            end = start + breaks.pop(0) if breaks else len(content)
            self.wfile.write(content[start:end])

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


class Told:
    """Keeps what the library tells of its progress."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, int, int]] = []
        self.notes: list[str] = []

    def step(self, label: str, done: int, total: int, figures: object = None) -> None:
        self.steps.append((label, done, total))

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture(scope="module")
def contents() -> dict[str, bytes]:
    folder = find().folder
    return {f"{file.name}.gz": (folder / f"{file.name}.gz").read_bytes() for file in FILES}


@pytest.fixture
def server(contents: dict[str, bytes]) -> Iterator[Server]:
    with Server(dict(contents)) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: Server) -> Path:
    """The cache of a machine that has the files nowhere, and whose official address is the local server."""
    monkeypatch.delenv("EDGEFM_DATA_DIR", raising=False)
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", tmp_path / "debian")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("EDGEFM_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(fashion_mnist, "OFFICIAL_URL", server.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    # A tool path without apt-get, unless a test gives one.
    monkeypatch.setenv("PATH", str(tmp_path / "no-tools"))
    return tmp_path / "cache" / "fashion-mnist"


def test_download_goes_on_where_the_connection_broke(cache: Path, server: Server) -> None:
    server.break_after = {TEST_IMAGES: [1_000_000, 500_000]}
    told = Told()
    found = find(progress=told)
    assert (found.folder, found.origin) == (cache, "the official download")
    asked = [wanted for method, name, wanted in server.requests if (method, name) == ("GET", TEST_IMAGES)]
    starts = [int(wanted.removeprefix("bytes=").removesuffix("-")) for wanted in asked if wanted]
    assert len(asked) == 3 and asked[0] is None
    assert 1_000_000 - fetch.CHUNK_BYTES < starts[0] <= 1_000_000
    assert starts[0] + 500_000 - fetch.CHUNK_BYTES < starts[1] <= starts[0] + 500_000
    assert (cache / TEST_IMAGES).read_bytes() == server.contents[TEST_IMAGES]
    assert not list(cache.glob("*.part"))
    size = len(server.contents[TEST_IMAGES]) // 1000
    steps = [step for step in told.steps if step[0].startswith(TEST_IMAGES)]
    assert steps[-1][1:] == (size, size)
    assert all(total == size for _, _, total in steps)
    # Found again without a request.
    requests = list(server.requests)
    assert find().origin == "edgefm's cache"
    assert server.requests == requests
    assert len(load_fashion_mnist().train) == 48_000


def test_download_goes_on_from_the_part_of_a_killed_process(tmp_path: Path, server: Server) -> None:
    content = server.contents[TEST_LABELS]
    (tmp_path / f"{TEST_LABELS}.part").write_bytes(content[:2000])
    path = fetch.download(server.url + TEST_LABELS, tmp_path)
    assert path.read_bytes() == content
    assert server.requests == [("GET", TEST_LABELS, "bytes=2000-")]


def test_download_takes_a_part_that_is_whole(tmp_path: Path, server: Server) -> None:
    content = server.contents[TEST_LABELS]
    (tmp_path / f"{TEST_LABELS}.part").write_bytes(content)
    assert fetch.download(server.url + TEST_LABELS, tmp_path).read_bytes() == content


def test_download_starts_afresh_where_the_part_is_too_long(tmp_path: Path, server: Server) -> None:
    content = server.contents[TEST_LABELS]
    (tmp_path / f"{TEST_LABELS}.part").write_bytes(content + b"more")
    assert fetch.download(server.url + TEST_LABELS, tmp_path).read_bytes() == content


def test_download_starts_afresh_where_the_server_knows_no_ranges(tmp_path: Path, server: Server) -> None:
    server.ranges = False
    server.break_after = {TEST_LABELS: [3000]}
    assert fetch.download(server.url + TEST_LABELS, tmp_path).read_bytes() == server.contents[TEST_LABELS]


def test_download_gives_up_without_progress_and_keeps_the_part(tmp_path: Path, server: Server) -> None:
    server.break_after = {TEST_IMAGES: [100_000, *[0] * 20]}
    with pytest.raises(DataError, match=r"was interrupted after \d+ bytes"):
        fetch.download(server.url + TEST_IMAGES, tmp_path)
    kept = (tmp_path / f"{TEST_IMAGES}.part").read_bytes()
    assert 100_000 - fetch.CHUNK_BYTES < len(kept) <= 100_000
    assert server.contents[TEST_IMAGES].startswith(kept)
    assert len(server.requests) == 4
    server.break_after = {}
    assert fetch.download(server.url + TEST_IMAGES, tmp_path).read_bytes() == server.contents[TEST_IMAGES]


def test_a_wrong_download_is_removed_and_told_with_both_sums(cache: Path, server: Server) -> None:
    wrong = gzip.compress(bytes(FILES[3].size_bytes))
    server.contents[TEST_LABELS] = wrong
    with pytest.raises(DataError) as caught:
        find()
    found = hashlib.sha256(bytes(FILES[3].size_bytes)).hexdigest()
    assert FILES[3].sha256 in caught.value.message
    assert found in caught.value.message
    assert not (cache / TEST_LABELS).exists()


def test_a_part_of_another_file_costs_one_attempt(cache: Path, server: Server) -> None:
    cache.mkdir(parents=True)
    part = cache / f"{TEST_LABELS}.part"
    part.write_bytes(bytes(1000))
    with pytest.raises(DataError, match=r"gzip|no IDX|sha256"):
        find()
    assert not part.exists()
    assert find().origin == "the official download"


def test_a_missing_address_is_told(cache: Path, server: Server) -> None:
    server.contents.clear()
    with pytest.raises(DataError, match="answers 404") as caught:
        find()
    assert "apt-get is not installed" in caught.value.message


def test_offline_falls_through_in_seconds_and_lists_every_place(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setattr(fashion_mnist, "OFFICIAL_URL", f"http://127.0.0.1:{free.getsockname()[1]}/")
        start = time.monotonic()
        assert run(lambda: cli.main(["data", "fetch"], standalone_mode=False)) == 2
        assert time.monotonic() - start < 8
    told = capsys.readouterr().err
    for place in (
        "Debian's folder",
        "the Keras cache",
        "edgefm's cache",
        "the official download",
        "Debian's package",
    ):
        assert f"- {place}, " in told
    assert "Connection refused" in told


def test_a_server_that_never_answers_costs_no_more_than_the_limit() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        start = time.monotonic()
        with pytest.raises(DataError, match=r"no answer|timed out"):
            fetch.check_reachable(f"http://127.0.0.1:{silent.getsockname()[1]}/file", seconds=0.5)
        assert time.monotonic() - start < 4


needs_apt = pytest.mark.skipif(
    shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None, reason="apt is Debian's and Ubuntu's"
)


@pytest.fixture
def archive(tmp_path: Path, contents: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Debian archive in a folder with our package: the only source that the real apt-get sees."""
    root = tmp_path / "package"
    folder = root / "usr/share/datasets/fashion-mnist"
    folder.mkdir(parents=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    control = (
        f"Package: {fashion_mnist.DEBIAN_PACKAGE}\nVersion: 9.9\nArchitecture: all\n"
        "Maintainer: A Test <test@edgefm.invalid>\nDescription: the files of a test\n"
    )
    (root / "DEBIAN").mkdir()
    (root / "DEBIAN" / "control").write_text(control)
    archive = tmp_path / "archive"
    archive.mkdir()
    package = archive / "package.deb"
    subprocess.run(["dpkg-deb", "-Znone", "-b", root, package], check=True, capture_output=True)
    content = package.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    (archive / "Packages").write_text(f"{control}Filename: ./package.deb\nSize: {len(content)}\nSHA256: {sha256}\n\n")
    (tmp_path / "sources.list").write_text(f"deb [trusted=yes] file:{archive} ./\n")
    for name in ("lists/partial", "apt-cache/archives/partial"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "status").write_text("")
    (tmp_path / "apt.conf").write_text(
        f'Dir::Etc::sourcelist "{tmp_path / "sources.list"}";\nDir::Etc::sourceparts "-";\n'
        f'Dir::State::lists "{tmp_path / "lists"}";\nDir::State::status "{tmp_path / "status"}";\n'
        f'Dir::Cache "{tmp_path / "apt-cache"}";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    return archive


@needs_apt
def test_debian_package_is_fetched_and_unpacked_without_installing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, archive: Path, cache: Path, server: Server
) -> None:
    server.contents.clear()
    monkeypatch.setenv("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
    told = Told()
    found = find(progress=told)
    assert (found.folder, found.origin) == (cache, "Debian's package")
    # There were no package lists, and the ones fetched stayed apart from the system's.
    assert any("package lists" in note for note in told.notes)
    assert not [path for path in (tmp_path / "lists").iterdir() if path.name.endswith("Packages")]
    assert np.bincount(load_fashion_mnist().test.labels).tolist() == [1000] * 10


@needs_apt
def test_a_package_that_no_archive_has_is_told_in_apts_words(archive: Path) -> None:
    with pytest.raises(DataError, match="Unable to locate package no-such-package"):
        fetch.unpack_debian_package("no-such-package", archive)


def test_download_without_its_libraries_names_the_extra(
    cache: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="needs pooch and requests: pip install 'edgefm\\[data\\]'"):
        fashion_mnist._fetch_official(cache, progress=SILENT)
    assert not server.requests
