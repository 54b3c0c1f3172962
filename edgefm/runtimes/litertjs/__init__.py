"""LiteRT.js: the WebAssembly build of LiteRT in headless Chromium, as a web page runs it on the CPU.

One thread takes the plain wasm build, more threads take the threaded one with XNNPACK's numThreads; the page's main
thread invokes the model through the public interface of @litertjs/core. Times are the page's own, see `facts`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import ModelError
from edgefm.runtimes.base import Availability, Available, TensorDetails, TimedInvokes, Unavailable
from edgefm.runtimes.litertjs import package
from edgefm.runtimes.litertjs.browser import Browser, BrowserGoneError
from edgefm.runtimes.litertjs.model import SignedEnds, read_ends
from edgefm.runtimes.litertjs.server import PageServer
from edgefm.runtimes.litertjs.watch import MainThreadWatch
from edgefm.runtimes.session import BaseSession, check_available, check_input, check_threads

name = "litertjs"
INSTALL = f"apt-get install chromium chromium-driver; pip install 'edgefm[browser]'; {package.SETUP}"
# A browser reserves more address space than any sensible limit: the worker must not limit its own.
LIMITS_MEMORY = False
_CUSTOM_OPERATOR = re.compile(r"unresolved custom op: (\S+?)\.?(?:\s|$)")
_HIDDEN = "the page was hidden: Chromium slows hidden pages down"


def version() -> str:
    """Return the version of @litertjs/core."""
    packages = package.package()
    return "unknown" if packages is None else packages.version


def availability() -> Availability:
    """Return whether a browser, its driver, selenium and the npm package are here; none of them is started."""
    missing = package.missing()
    if missing:
        return Unavailable(f"it needs {'; '.join(missing)}", remedy="; ".join(package.remedies()))
    return Available()


def load(path: Path, *, threads: int = 1) -> LiteRTJsSession:
    """Return a session of a .tflite file in a browser of its own; see `edgefm.runtimes.base.Runtime.load`.

    Args:
      path: model with one input of a fixed shape; its ends are float32, int32 or uint8.
      threads: 1 takes the plain build, more take the threaded one.
    """
    check_threads(threads)
    ends = read_ends(path)
    check_available(availability(), install=INSTALL)
    packages = package.package()
    assert packages is not None
    server = PageServer(model=path, folders={"core": packages.core, "wasm-utils": packages.wasm_utils})
    try:
        browser = Browser(server.url)
        try:
            return LiteRTJsSession(path, ends, threads=threads, browser=browser, server=server)
        except BaseException:
            browser.close()
            raise
    except BaseException:
        server.close()
        raise


class LiteRTJsSession(BaseSession):
    """A loaded model in a page.

    An input goes to the page with the next invoke, and the outputs come back with it: one way there and back.
    """

    def __init__(self, path: Path, ends: SignedEnds, *, threads: int, browser: Browser, server: PageServer) -> None:
        super().__init__(ends.input, ends.outputs, self._invoke)
        self._path = path
        self._browser, self._server = browser, server
        self._given: dict[str, Any] | None = None
        self._answers: tuple[NDArray[Any], ...] = ()
        self._facts = {"browser": browser.name, "threads": threads}
        self._ask("starting LiteRT.js", "start", {"threads": threads})
        loaded = self._ask("loading the model", "load", {"threads": threads, "key": ends.signature})
        places = [output["name"] for output in loaded["outputs"]]
        if sorted(places) != sorted(ends.order):
            raise ModelError(f"LiteRT.js reports the outputs {places} for {path}; the file has {list(ends.order)}")
        self._places = [places.index(name) for name in ends.order]

    def set_input(self, array: NDArray[Any]) -> None:
        """Copy an array of the input's dtype and shape."""
        check_input(self.input, array)
        self._given = {"data": _to_base64(array), "dtype": self.input.dtype, "shape": list(self.input.shape)}

    def get_outputs(self) -> tuple[NDArray[Any], ...]:
        """Return copies of all outputs of the last invoke."""
        return tuple(answer.copy() for answer in self._answers)

    def timed_invokes(
        self, *, warmup_calls: int, least_calls: int, least_ns: int, most_calls: int, most_ns: int
    ) -> TimedInvokes:
        """Return the time of invokes in the page, on the input that is set.

        A warm-up call is one invoke. A sample is the mean over `facts()['calls_a_sample']` invokes, so many that the
        clock's resolution is at most 1/200 of what it times; `least_calls` and `most_calls` count samples. An invoke
        is `await model.run(...)` and the freeing of its outputs.
        """
        limits = {"least_calls": least_calls, "least_ns": least_ns, "most_calls": most_calls, "most_ns": most_ns}
        request = {"given": self._take_input(), "warmup_calls": warmup_calls, "limits": limits}
        watch = MainThreadWatch(self._browser.renderers())
        answer = self._ask("timing", "time", request)
        disturbed = watch.reasons() if answer["visible"] else (*watch.reasons(), _HIDDEN)
        return TimedInvokes(warmup_ns=answer["warmup_ns"], invoke_ns=answer["invoke_ns"], disturbed=disturbed)

    def facts(self) -> Mapping[str, Any]:
        """Return what is known beside times.

        Keys: browser, threads, hardware_concurrency; wasm_build (the WebAssembly module's name);
        cross_origin_isolated; clock_resolution_ns (the smallest step seen of the page's clock); calls_a_sample;
        wasm_load_ns, compile_ns and first_invoke_ns (by the page's clock); wasm_heap_bare_bytes and wasm_heap_bytes
        (the module's linear memory without a model and now: it grows in steps and never shrinks).
        """
        answer = self._ask("reading the facts", "tell", {})
        return {**self._facts, **{key: value for key, value in answer.items() if key != "ok"}}

    def close(self) -> None:
        """End the browser and the server."""
        super().close()
        self._browser.close()
        self._server.close()

    @property
    def guard_pid(self) -> int:
        """Process id whose descendants are the browser's processes."""
        return self._browser.guard_pid

    def _invoke(self) -> None:
        answer = self._ask("invoking the model", "run", {"given": self._take_input()})
        raw = [answer["outputs"][place] for place in self._places]
        self._answers = tuple(_from_base64(data, tensor) for data, tensor in zip(raw, self.outputs, strict=True))

    def _take_input(self) -> dict[str, Any] | None:
        request, self._given = self._given, None
        return request

    def _ask(self, doing: str, command: str, request: dict[str, Any]) -> dict[str, Any]:
        try:
            answer = self._browser.call(command, request)
        except BrowserGoneError as error:
            raise ModelError(
                f"the page crashed while {doing}: {error}", hint="Out of memory, or a fault of LiteRT.js or Chromium."
            ) from error
        if not answer["ok"]:
            raise _explain(self._path, doing, str(answer["error"]), answer["lines"])
        return answer


def _to_base64(array: NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")


def _from_base64(data: str, tensor: TensorDetails) -> NDArray[Any]:
    values = np.frombuffer(base64.b64decode(data), dtype=np.dtype(tensor.dtype))
    return values.reshape(tensor.shape)


def _explain(path: Path, doing: str, message: str, lines: list[str]) -> ModelError:
    """Return the error for what LiteRT.js threw, with what it told the console before."""
    texts = [line.strip() for line in lines if line.strip()]
    custom = _CUSTOM_OPERATOR.search("\n".join([*texts, message]))
    if custom:
        return ModelError(
            f"{path} uses the custom operator '{custom.group(1)}', which LiteRT.js does not have",
            hint="Convert the model with built-in operators only (no Flex or custom operators).",
        )
    errors = [line.removeprefix("ERROR:").strip() for line in texts if line.startswith("ERROR")]
    return ModelError(f"LiteRT.js failed while {doing}, {path}: {' '.join(errors[:2]) or message}")
