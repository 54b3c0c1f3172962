"""The parts of the browser's runtime that need no browser."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import numpy as np
import psutil
import pytest
from click.testing import CliRunner

from edgefm.core.artefacts import sha256_file
from edgefm.core.errors import ModelError, RecipeError, RuntimeUnavailableError
from edgefm.runtimes import litert, litertjs
from edgefm.runtimes.base import Available, Unavailable
from edgefm.runtimes.litertjs import browser, package, watch
from edgefm.runtimes.litertjs.model import read_ends
from edgefm.runtimes.litertjs.server import PageServer
from edgefm.runtimes.litertjs.setup import main as setup_command
from edgefm.targets import target
from edgefm.targets.base import TargetError
from edgefm.targets.bundle import bundle
from tests.fixtures import tiny_models
from tests.fixtures.first_line import first_line

SHIPPED = Path(__file__).parent.parent.parent / "android_demo_assets" / "int8" / "model.tflite"


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with no browser, no npm package and no cache; its working folder."""
    for variable in ("EDGEFM_LITERTJS", "EDGEFM_CHROMIUM", "EDGEFM_CHROMEDRIVER"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("EDGEFM_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(package, "_DRIVERS", ("chromedriver",))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bin").mkdir()
    return tmp_path


def _program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def _package(scope: Path, *, version: str = "2.5.3") -> Path:
    """Write what passes for the npm packages below a folder node_modules/@litertjs and return the core's folder."""
    core = scope / "core"
    for file in (*package._FILES, "../wasm-utils/dist/index.js"):
        (core / file).resolve().parent.mkdir(parents=True, exist_ok=True)
        (core / file).write_text("//")
    (core / "package.json").write_text(json.dumps({"version": version}))
    return core


def test_availability_names_all_that_is_missing_and_its_remedy(bare: Path) -> None:
    started = time.perf_counter()
    found = litertjs.availability()
    assert time.perf_counter() - started < 1
    assert isinstance(found, Unavailable)
    for words in (
        "Chromium (apt-get install chromium)",
        "ChromeDriver (apt-get install chromium-driver)",
        "python -m edgefm.runtimes.litertjs setup",
    ):
        assert words in found.reason
    with pytest.raises(RuntimeUnavailableError, match="Chromium"):
        litertjs.load(SHIPPED)


def test_availability_wants_selenium(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package.importlib.util, "find_spec", lambda name: None)
    assert any("pip install 'edgefm[browser]'" in lack for lack in package.missing())


def test_everything_there_is_available(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(bare / "bin" / "chromium", "exit 0")
    monkeypatch.setenv("EDGEFM_CHROMEDRIVER", str(_program(bare / "my-driver", "exit 0")))
    monkeypatch.setattr(package.importlib.util, "find_spec", lambda name: object())
    _package(bare / "node_modules" / "@litertjs")
    assert litertjs.availability() == Available() == target("browser").availability()
    assert litertjs.version() == "2.5.3"


def test_named_program_that_is_none_is_told(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(bare / "bin" / "chromium", "exit 0")
    monkeypatch.setenv("EDGEFM_CHROMIUM", "/no/such/browser")
    assert any("'/no/such/browser', which is not an executable" in lack for lack in package.missing())


def test_package_is_looked_for_in_order(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert package.package() is None
    _package(bare / "cache" / "litertjs" / "node_modules" / "@litertjs", version="1")
    assert litertjs.version() == "1"
    _package(bare / "node_modules" / "@litertjs", version="2")
    assert litertjs.version() == "2"
    monkeypatch.setenv("EDGEFM_LITERTJS", str(_package(bare / "mine", version="3")))
    assert litertjs.version() == "3"
    # A name that leads nowhere is a mistake to tell, not a reason to take another one.
    monkeypatch.setenv("EDGEFM_LITERTJS", "/no/such/folder")
    assert package.package() is None
    assert any("'/no/such/folder', which does not hold it" in lack for lack in package.missing())


@pytest.mark.parametrize("content", ["[" * 100_000, "[]", "{}", "", "9" * 5000])
def test_package_whose_description_is_damaged_has_an_unknown_version(
    bare: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    core = _package(bare / "mine")
    (core / "package.json").write_text(content)
    monkeypatch.setenv("EDGEFM_LITERTJS", str(core))
    assert litertjs.version() == "unknown"


def test_package_without_its_dependency_does_not_count(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    core = _package(bare / "mine")
    (bare / "mine" / "wasm-utils" / "dist" / "index.js").unlink()
    monkeypatch.setenv("EDGEFM_LITERTJS", str(core))
    assert package.package() is None


def test_setup_without_npm_says_what_to_do(bare: Path) -> None:
    done = CliRunner().invoke(setup_command, ["setup"])
    assert done.exit_code == 1
    assert "npm is not installed" in done.output
    assert "EDGEFM_LITERTJS" in done.output


def test_setup_tells_what_npm_says(bare: Path) -> None:
    _program(bare / "bin" / "npm", "echo 'npm error code E404' >&2; exit 1")
    with pytest.raises(RuntimeUnavailableError, match=r"@litertjs/core@2\.5\.3 .*: npm error code E404"):
        package.setup()


def test_setup_does_not_wait_for_ever(bare: Path) -> None:
    _program(bare / "bin" / "npm", "exec /bin/sleep 30")
    with pytest.raises(RuntimeUnavailableError, match=r"within 0\.2 s"):
        package.setup(seconds=0.2)


def test_setup_asks_npm_for_pinned_packages_and_runs_no_script(bare: Path) -> None:
    made = _package(bare / "made" / "@litertjs")
    copy = f'echo "$@" > {bare}/asked; /bin/mkdir -p node_modules; /bin/cp -r {made.parent} node_modules/'
    _program(bare / "bin" / "npm", copy)
    done = CliRunner().invoke(setup_command, ["setup"])
    assert done.exit_code == 0, done.output
    assert "still missing: Chromium" in done.output
    asked = (bare / "asked").read_text().split()
    assert {"--ignore-scripts", "@litertjs/core@2.5.3", "@litertjs/wasm-utils@2.5.3"} <= set(asked)
    found = package.package()
    assert found is not None
    assert found.core.is_relative_to(bare / "cache")


def test_ends_equal_those_of_python() -> None:
    ends = read_ends(SHIPPED)
    with litert.load(SHIPPED) as reference:
        assert ends.input == reference.input
        assert ends.outputs == reference.outputs
    assert len(ends.order) == 1


def _one_relu(shape: tuple[int, ...], dtype: str = "float32") -> bytes:
    tensors = [tiny_models.Tensor(name=name, shape=shape, dtype=dtype) for name in ("x", "y")]
    relu = tiny_models.Operator(name="RELU", inputs=(0,), outputs=(1,))
    return tiny_models.build(tiny_models.Graph(tensors=tensors, operators=[relu], inputs=[0], outputs=[1]))


@pytest.mark.parametrize(
    ("content", "expected", "remedy"),
    [
        pytest.param(tiny_models.dynamic(), r"dynamic shape \(1, -1\)", "fixed sizes", id="dynamic length"),
        pytest.param(tiny_models.add(), r"2 inputs \('a', 'b'\)", "run in litert", id="two inputs"),
        pytest.param(_one_relu((4, 2)), r"a batch of 4", "fixed batch of 1", id="batch of 4"),
        pytest.param(_one_relu((1, 2), "int8"), "is int8; LiteRT.js takes", "uint8 or float32", id="int8 ends"),
        pytest.param(b"\x1c\0\0\0TFL3" + b"\xff" * 64, "damaged", "", id="damaged"),
        pytest.param(b"no model at all", "not a TFLite file", "", id="another file"),
    ],
)
def test_model_that_cannot_run_is_refused_before_a_browser_starts(
    content: bytes, expected: str, remedy: str, tmp_path: Path, bare: Path
) -> None:
    model = tmp_path / "model.tflite"
    model.write_bytes(content)
    with pytest.raises(ModelError, match=expected) as caught:
        litertjs.load(model)  # there is no browser: any later check would say so
    assert remedy in (caught.value.hint or "")


def test_threads_below_one_are_refused() -> None:
    with pytest.raises(RecipeError, match="threads 0"):
        litertjs.load(SHIPPED, threads=0)


def test_target_takes_no_address_and_no_other_runtime() -> None:
    found = target("browser")
    assert (found.name, found.mode, found.latency) == ("browser", "measured", True)
    assert found.runtimes == ("litertjs",)
    assert found.figures(SHIPPED) == ()
    with pytest.raises(RecipeError, match="'browser:firefox' is not understood"):
        target("browser:firefox")
    with pytest.raises(TargetError, match="'litert' does not run in a browser"):
        found.open("litert")


def test_server_shows_its_files_to_those_who_know_the_address(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    core = _package(tmp_path / "scope")
    server = PageServer(model=SHIPPED, folders={"core": core})
    try:
        with urllib.request.urlopen(server.url) as answer:
            assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
            assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
            assert b"page.js" in answer.read()
        base = server.url.removesuffix("page.html")
        with urllib.request.urlopen(base + "model.tflite") as answer:
            assert answer.read() == SHIPPED.read_bytes()
        with urllib.request.urlopen(base + "core/dist/index.js") as answer:
            assert answer.headers["Content-Type"] == "text/javascript"
        root = base[: base.rstrip("/").rindex("/") + 1]
        for address in (
            root + "model.tflite", root + "guess/model.tflite", base + "core/../../secret.txt", base + "core/none.js",
            base + "core/", base,
        ):  # fmt: skip
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(address)
    finally:
        server.close()


def _answer(port: int, lines: list[str]) -> bytes:
    """Return what a server answers to the lines of a request."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall("".join(f"{line}\r\n" for line in [*lines, "Connection: close", ""]).encode("latin-1"))
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer


def test_server_answers_only_to_the_names_of_this_machine(tmp_path: Path) -> None:
    server = PageServer(model=SHIPPED, folders={"core": _package(tmp_path / "scope")})
    address = urllib.parse.urlsplit(server.url)
    port, path = address.port, address.path
    assert port is not None
    model = path.replace("page.html", "model.tflite")
    try:
        for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"LOCALHOST:{port}"):
            answer = _answer(port, [f"GET {model} HTTP/1.1", f"Host: {host}"])
            assert answer.startswith(b"HTTP/1.1 200") and answer.endswith(SHIPPED.read_bytes())
        for hosts in (
            ["attack.invalid"], [f"attack.invalid:{port}"], [f"127.0.0.1.attack.invalid:{port}"], ["127.0.0.1"],
            [f"127.0.0.1:{port + 1}"], [f"localhost:{port}.attack.invalid"], [f"a@localhost:{port}"], ["localhost"],
            [f"localhost.:{port}"], [f"0.0.0.0:{port}"], [f"127.0.0.1:{port}", "attack.invalid"], [""], [],
            ["attack.invalid", f"127.0.0.1:{port}"], [f"127.0.0.1:{port} attack.invalid"], [f"127.0.0.1:0{port}"],
        ):  # fmt: skip
            for name in (model, path, "/", f"http://127.0.0.1:{port}{model}"):
                for version in ("1.1", "1.0"):
                    lines = [f"GET {name} HTTP/{version}", *(f"Host: {host}" for host in hosts)]
                    answer = _answer(port, lines)
                    assert answer.startswith(b"HTTP/1.1 421"), (hosts, name, answer[:80])
                    head, _, body = answer.partition(b"\r\n\r\n")
                    assert body == b"" and address.path.split("/")[1].encode() not in head
        own = f"Host: 127.0.0.1:{port}"
        for name in (f"/x{model}", f"{model}/", f"http://127.0.0.1:{port}{model}", f"{path}/../model.tflite"):
            assert _answer(port, [f"GET {name} HTTP/1.1", own]).startswith(b"HTTP/1.1 404"), name
        for method in ("POST", "HEAD", "OPTIONS", "PUT"):
            assert _answer(port, [f"{method} {model} HTTP/1.1", own]).startswith(b"HTTP/1.1 501"), method
    finally:
        server.close()


def test_policy_of_the_page_names_its_own_script() -> None:
    text = (Path(litertjs.__file__).parent / "page" / "page.html").read_text(encoding="utf-8")
    policies = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    scripts = re.findall(r"<script type=[^>]*>([^<]+)</script>", text)
    assert len(policies) == len(scripts) == 1
    told = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert f"'sha256-{told}'" in policies[0]
    assert "default-src 'none'" in policies[0] and "unsafe-inline" not in policies[0]


def test_page_is_read_from_the_worker_s_bundle(tmp_path: Path) -> None:
    path = bundle(tmp_path)
    code = (
        "import hashlib, sys; from edgefm.runtimes.litertjs import server; "
        "assert server.__file__.startswith(sys.argv[1]); "
        "print(*(hashlib.sha256((server._PAGE / name).read_bytes()).hexdigest() for name in ('page.html', 'page.js')))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        env={**os.environ, "PYTHONPATH": str(path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    page = Path(litertjs.__file__).parent / "page"
    assert told.split() == [sha256_file(page / name) for name in ("page.html", "page.js")]


def test_watch_tells_a_page_that_was_kept_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    # (on a processor, waiting) in ns of two processes, before and after; the second is the busy one.
    told = iter([(0, 0), (100, 50), (10, 9_000), (10_100, 50 + 2_500)])
    monkeypatch.setattr(watch, "_schedstat", lambda pid: next(told))
    (reason,) = watch.MainThreadWatch([1, 2]).reasons()
    assert reason == "the page was off the processor for 20.0 % of its turn"


def test_watch_finds_nothing_where_the_system_tells_nothing() -> None:
    assert watch.MainThreadWatch([]).reasons() == ()
    assert watch.MainThreadWatch([2**22 + 1]).reasons() == ()  # beyond the greatest process id of Linux


def _guard(driver: Path, tmp_path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "edgefm.runtimes.litertjs.guard", str(driver)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path)},
    )


def test_guard_tells_why_a_driver_did_not_start(tmp_path: Path) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    driver = _program(tmp_path / "driver", "echo 'cannot open shared object file' >&2; exit 127")
    guard = _guard(driver, folder)
    said = first_line(guard)
    guard.communicate(timeout=30)
    assert json.loads(said)["reason"] == f"{driver} did not start: cannot open shared object file"
    assert list(folder.glob("*/*")) == []


def test_guard_starts_a_driver_again_whose_port_was_taken(tmp_path: Path) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    script = f"""if [ -e {tmp_path}/second ]; then
  echo 'ChromeDriver was started successfully on port 4711.'; exec sleep 600
fi
touch {tmp_path}/second; echo 'IPv4 port not available. Exiting...' >&2; exit 1"""
    guard = _guard(_program(tmp_path / "driver", script), folder)
    said = first_line(guard)
    guard.communicate(timeout=30)
    assert json.loads(said)["port"] == 4711


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are adopted on Linux alone")
@pytest.mark.parametrize("how", ["closed", "terminated"])
def test_guard_ends_what_ran_away_from_its_driver(how: str, tmp_path: Path) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    # The first sleeper has left its parent and its session, as Chromium's crash handler does.
    script = f"""(/usr/bin/setsid /bin/sleep 600 & echo $! > {tmp_path}/away) &
/bin/sleep 600 & echo $! > {tmp_path}/near
while [ ! -s {tmp_path}/away ] || [ ! -s {tmp_path}/near ]; do /bin/sleep 0.02; done
echo 'ChromeDriver was started successfully on port 4711.'; wait"""
    guard = _guard(_program(tmp_path / "driver", script), folder)
    assert guard.stdin is not None and guard.stdout is not None
    assert json.loads(first_line(guard))["port"] == 4711
    sleepers = [psutil.Process(int((tmp_path / name).read_text())) for name in ("away", "near")]
    latest = time.monotonic() + 30
    while sleepers[0].ppid() != guard.pid:
        assert time.monotonic() < latest, "the orphan is not the guard's"
        time.sleep(0.02)
    assert list(folder.glob("*/*"))
    if how == "closed":
        guard.stdin.close()
    else:
        guard.terminate()
    guard.wait(20)
    assert not any(sleeper.is_running() for sleeper in sleepers)
    assert list(folder.glob("*/*")) == []


needs_selenium = pytest.mark.skipif(importlib.util.find_spec("selenium") is None, reason="selenium is not installed")


def _driver(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program in ChromeDriver's place that names a port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script = f"echo 'ChromeDriver was started successfully on port {port}.'; exec /bin/sleep 600"
    monkeypatch.setenv("EDGEFM_CHROMEDRIVER", str(_program(folder / "driver", script)))
    monkeypatch.setenv("EDGEFM_CHROMIUM", str(_program(folder / "chromium", "exit 0")))


@needs_selenium
def test_driver_that_does_not_answer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _driver(tmp_path, monkeypatch)
    with pytest.raises(RuntimeUnavailableError, match=r"driver gave no answer \(.*refused"):
        browser.Browser("http://127.0.0.1:1/page.html")


@needs_selenium
@pytest.mark.parametrize("error", [OSError("reset by peer"), KeyError("value")])
def test_page_that_does_not_open_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    class Fails:
        def get(self, url: str) -> None:
            raise error

    _driver(tmp_path, monkeypatch)
    monkeypatch.setattr(browser.Browser, "_start", lambda self, program, driver: Fails())
    with pytest.raises(
        RuntimeUnavailableError, match=rf"did not open edgefm's page \({type(error).__name__}: .*(reset|value)"
    ):
        browser.Browser("http://127.0.0.1:1/page.html")


def test_answers_survive_the_way_through_text() -> None:
    tensor = litert.load(SHIPPED).output
    values = np.arange(250, 260).astype(np.uint8).reshape(1, 10)
    np.testing.assert_array_equal(litertjs._from_base64(litertjs._to_base64(values), tensor), values)
