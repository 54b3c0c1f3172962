"""A headless Chromium on one page of edgefm's own, in the care of a guard process."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from edgefm.core import subprocesses
from edgefm.core.documents import object_told
from edgefm.core.errors import RuntimeUnavailableError
from edgefm.runtimes.litertjs import package

_GUARD = "edgefm.runtimes.litertjs.guard"
_START_SECONDS = 90.0  # the guard itself gives the driver 60
_END_SECONDS = 15.0
_DAY_SECONDS = 86_400
_FLAGS = (
    "--headless=new",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--disable-extensions",
    "--disable-breakpad",
    "--no-proxy-server",
    "--password-store=basic",
    # The page must not be slowed down because nobody looks at it.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    # No machine but this one is asked for anything.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
_CALL = "return window.edgefm(arguments[0], arguments[1])"


class BrowserGoneError(Exception):
    """The page or the browser crashed; the message says what WebDriver says."""


class Browser:
    """Chromium on a page; a context manager. Closed or not, it ends with this process."""

    def __init__(self, url: str) -> None:
        """Start the browser and open the page.

        Raises:
          RuntimeUnavailableError: a program is missing or did not start.
        """
        browser, driver = package.browser(), package.driver()
        assert browser is not None and driver is not None, "availability() comes first"
        self._guard = subprocess.Popen(
            subprocesses.python_module(_GUARD, str(driver)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": subprocesses.import_path()},
            start_new_session=True,
            text=True,
        )
        try:
            self._driver = self._start(browser, driver)
            self._open(url)
        except BaseException:
            self.close()
            raise
        capabilities = self._driver.capabilities
        self.name = f"{capabilities['browserName']} {capabilities['browserVersion']}"

    def call(self, name: str, request: dict[str, Any]) -> dict[str, Any]:
        """Return what a command of the page answers.

        Raises:
          BrowserGoneError: the page or the browser crashed.
        """
        from selenium.common.exceptions import WebDriverException
        from urllib3.exceptions import HTTPError

        try:
            answer: dict[str, Any] = self._driver.execute_script(_CALL, name, request)
        except WebDriverException as error:
            raise BrowserGoneError(_first_line(error.msg)) from error
        except (HTTPError, OSError) as error:
            raise BrowserGoneError(f"ChromeDriver has ended ({type(error).__name__})") from error
        return answer

    @property
    def guard_pid(self) -> int:
        """Process id of the guard: the browser's processes are its descendants."""
        return self._guard.pid

    def renderers(self) -> tuple[int, ...]:
        """Return the processes that run pages; the main thread of one of them runs ours."""
        import psutil

        pids = []
        for process in psutil.Process(self._guard.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if "--type=renderer" in process.cmdline():
                    pids.append(process.pid)
        return tuple(pids)

    def close(self) -> None:
        """End the browser and everything that belongs to it."""
        assert self._guard.stdin is not None and self._guard.stdout is not None
        self._guard.stdin.close()  # the guard waits for this
        self._guard.stdout.close()
        try:
            self._guard.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._guard.terminate()
            self._guard.wait()

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self, browser: Path, driver: Path) -> Any:
        """Return a WebDriver session; nothing is looked for or downloaded: the driver runs already."""
        from selenium.common.exceptions import WebDriverException
        from selenium.webdriver.chrome.options import Options
        from selenium.webdriver.common.proxy import Proxy, ProxyType
        from selenium.webdriver.remote.client_config import ClientConfig
        from selenium.webdriver.remote.webdriver import WebDriver
        from urllib3.exceptions import HTTPError

        line = self._first_line()
        started = object_told(line) or {"reason": f"the process that watches {driver} ended at once"}
        if "reason" in started:
            raise RuntimeUnavailableError(str(started["reason"]))
        options = Options()
        options.binary_location = str(browser)
        options.timeouts = {"script": _DAY_SECONDS * 1000}  # the parent of this process sets the real limit
        for flag in (*_FLAGS, f"--user-data-dir={started['profile']}", *_sandbox()):
            options.add_argument(flag)
        address = f"http://127.0.0.1:{started['port']}"
        config = ClientConfig(
            remote_server_addr=address, proxy=Proxy({"proxyType": ProxyType.DIRECT}), timeout=_DAY_SECONDS
        )
        try:
            return WebDriver(command_executor=address, options=options, client_config=config)
        except (HTTPError, OSError) as error:
            raise RuntimeUnavailableError(f"{driver} gave no answer ({type(error).__name__}: {error})") from error
        except WebDriverException as error:
            raise RuntimeUnavailableError(
                f"{browser} did not start: {_first_line(error.msg)}",
                hint="Check that Chromium and ChromeDriver have the same version. Without root a sandbox is needed: "
                "user namespaces, or Debian's package chromium-sandbox.",
            ) from error

    def _open(self, url: str) -> None:
        try:
            self._driver.get(url)
        except Exception as error:  # of WebDriver, of its connection, of the answer's form
            reason = _first_line(getattr(error, "msg", None) or str(error))
            raise RuntimeUnavailableError(
                f"Chromium did not open edgefm's page ({type(error).__name__}: {reason})"
            ) from error

    def _first_line(self) -> str:
        """Return what the guard says first; '' where it ended, or was killed because no error message in time."""
        assert self._guard.stdout is not None
        watch = threading.Timer(_START_SECONDS, self._guard.kill)
        watch.start()
        try:
            return self._guard.stdout.readline()
        finally:
            watch.cancel()


def _sandbox() -> tuple[str, ...]:
    """Chromium refuses its sandbox to root; anybody else keeps it."""
    return ("--no-sandbox",) if hasattr(os, "geteuid") and os.geteuid() == 0 else ()


def _first_line(message: str | None) -> str:
    lines = [line.strip() for line in (message or "").splitlines() if line.strip()]
    return lines[0] if lines else "no error message"
