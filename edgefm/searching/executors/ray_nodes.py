"""The nodes of a Ray cluster: how it is joined, and who is there."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from subprocess import list2cmdline
from typing import Any, TextIO, cast
from urllib.parse import urlsplit

from edgefm.core.errors import EdgefmError, missing_extra
from edgefm.core.text import without_passwords
from edgefm.searching.journal import SearchError

LOCAL, AUTO = "local", "auto"
_CONNECT_SECONDS = 10.0
_TALKER = "ray_listen_error_messages"
_OBJECT_STORE_BYTES = 100 << 20


@dataclass(frozen=True)
class Node:
    """A node that lives.

    Attributes:
      id: Ray's.
      address: of its machine.
      cores: that Ray counts on it.
    """

    id: str
    address: str
    cores: int


def ray_here() -> Any:
    """Return the library Ray.

    Raises:
      RuntimeUnavailableError: it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would tell its makers of each cluster
    try:
        import ray
    except ImportError as error:
        raise missing_extra("ray", "cluster") from error
    return ray


@contextlib.contextmanager
def connected(address: str, *, workers: int | None) -> Iterator[Any]:
    """Give Ray, connected to a cluster; a local one is ended at the end of the block.

    Args:
      address: 'local' starts a cluster of this machine; 'auto', 'HOST:PORT' or 'ray://HOST:PORT' means one that runs.
      workers: cores of a local one; None takes all.
    Raises:
      SearchError: there is no cluster, or its Ray or Python is another version.
      RuntimeUnavailableError: Ray is not installed.
    """
    ray = ray_here()
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    if address == LOCAL:
        options |= {"num_cpus": workers, "include_dashboard": False, "object_store_memory": _OBJECT_STORE_BYTES}
    try:
        _check_listens(address)
        with _without_passwords(ray):
            ray.init(address=address, **options)
    except Exception as error:  # Ray raises its own errors, those of psutil, and Exception itself
        if not isinstance(error, RuntimeError) or "mismatch" not in str(error).lower():
            raise _unreachable(address, error) from None
        raise SearchError(
            f"the Ray cluster at {address} runs other versions than this process: {one_line(error)}",
            hint="Install the same Ray and Python here and there.",
        ) from None
    except SystemExit:  # Ray's way to say that it has tried for minutes
        raise _unreachable(address, ConnectionError("it does not answer")) from None
    try:
        with _without_messages():
            yield ray
    finally:
        with contextlib.redirect_stdout(io.StringIO()):  # what it has not printed yet it prints now
            ray.shutdown()


@contextlib.contextmanager
def _without_passwords(ray: Any) -> Iterator[None]:
    """Keep passwords out of the command line that Ray writes into the cluster's table of jobs, which all may read."""
    utils = ray._private.utils
    before = utils.get_entrypoint_name
    utils.get_entrypoint_name = lambda: list2cmdline(map(without_passwords, sys.orig_argv))
    try:
        yield
    finally:
        utils.get_entrypoint_name = before


@contextlib.contextmanager
def _without_messages() -> Iterator[None]:
    """Keep what Ray prints of nodes that ended out of standard output within the block; all else passes."""
    before = sys.stdout
    sys.stdout = cast(TextIO, _Sieve(before))
    try:
        yield
    finally:
        sys.stdout = before


class _Sieve:
    """A stream that drops what Ray's thread writes."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text unless it is Ray's."""
        if threading.current_thread().name == _TALKER:
            return len(text)
        return int(self._stream.write(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def nodes(ray: Any) -> dict[str, Node]:
    """Return the nodes that live and have a core, by their id."""
    living = (row for row in ray.nodes() if row["Alive"])
    found = (Node(row["NodeID"], row["NodeManagerAddress"], int(row["Resources"].get("CPU", 0))) for row in living)
    return {node.id: node for node in found if node.cores}


def failures(ray: Any) -> tuple[type[Exception], ...]:
    """Return what Ray raises of itself; what a trial raises is in its answer."""
    return (ray.exceptions.RayError, ConnectionError)


class Patience:
    """Bears with a cluster that gives errors in place of answers for a while."""

    def __init__(self, seconds: float) -> None:
        """Take for how long."""
        self._seconds = seconds
        self._since: float | None = None

    def answered(self) -> None:
        """Say that it gave an answer."""
        self._since = None

    def failed(self, error: Exception) -> None:
        """Say that it gave an error; raise a SearchError where it has given nothing else for too long."""
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        if now - self._since >= self._seconds:
            raise _no_answer(error) from None


def _no_answer(error: Exception) -> SearchError:
    return SearchError(
        f"the Ray cluster does not answer: {type(error).__name__}: {one_line(error)}",
        hint="Check that its head runs, and go on by resume: what runs now is done again, nothing is lost.",
    )


class LivingNodes:
    """Says who lives; those of the last answer where the cluster gives none for a while."""

    def __init__(self, ray: Any, seconds: float) -> None:
        """Take the library, connected, and for how long errors are borne with."""
        self._ray, self._patience = ray, Patience(seconds)
        self._last: dict[str, Node] | None = None

    def now(self) -> dict[str, Node]:
        """Return the nodes by their id.

        Raises:
          SearchError: the cluster has given errors for too long, or nothing else yet.
        """
        try:
            self._last = nodes(self._ray)
            self._patience.answered()
        except failures(self._ray) as error:
            if self._last is None:
                raise _no_answer(error) from None
            self._patience.failed(error)
        return self._last


def own_node_gone() -> SearchError:
    """Return what is said where the driver's own node has ended."""
    return SearchError(
        "the Ray node of this machine is gone, by which the driver reaches the others",
        hint="Start it again, and go on by resume: what runs now is done again, nothing is lost.",
    )


def pinned(ray: Any, task: Any, node: str) -> Any:
    """Return a task that runs on one node, and fails where that is gone."""
    strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node_id=node, soft=False)
    return task.options(scheduling_strategy=strategy)


def _check_listens(address: str) -> None:
    """Raise an OSError or a ValueError where nothing listens at an address: Ray itself would try for seven minutes."""
    if address in (LOCAL, AUTO):
        return
    parts = urlsplit(address if "://" in address else f"//{address}")
    if not parts.hostname or not parts.port:
        raise ValueError(f"'{address}' is not of the form HOST:PORT")
    with socket.create_connection((parts.hostname, parts.port), timeout=_CONNECT_SECONDS):
        pass


def _unreachable(address: str, error: Exception) -> SearchError:
    return SearchError(
        f"there is no Ray cluster at {address}: {one_line(error)}",
        hint="Start one with `ray start --head`; this machine joins it with `ray start --address=HOST:PORT`.",
    )


def one_line(error: Exception) -> str:
    """Return what an exception says, in a line, with the last one of a traceback that Ray wrote into it."""
    if isinstance(error, EdgefmError):
        return error.message
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    # Of an exception on another node the last line says what it was.
    return (lines[-1] if lines and "Traceback" in str(error) else " ".join(lines[:4])) or type(error).__name__
