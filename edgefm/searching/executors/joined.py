"""The nodes of a Ray cluster that a search uses: those that live, run what the driver runs, and have no fault."""

from __future__ import annotations

import platform
import time
from contextlib import suppress
from typing import Any

from edgefm.core.environment import version
from edgefm.core.progress import Progress
from edgefm.quantization.export import LIBRARIES as CONVERTING
from edgefm.searching.executors.ray_nodes import LivingNodes, Node, one_line, pinned
from edgefm.searching.journal import SearchError

# What decides what a trial gives, or whether its messages are understood.
LIBRARIES = ("ray", *CONVERTING)
_PROBE_SECONDS = 120.0


class Joined:
    """The nodes that may do trials."""

    def __init__(self, ray: Any, *, notice: float, progress: Progress) -> None:
        """Ask all nodes of a cluster for their versions, and wait for the answers.

        Args:
          ray: the library, connected.
          notice: seconds for which errors of the cluster are borne with.
          progress: is told of nodes that are not used.
        Raises:
          SearchError: a node does not run what this process runs, or there is none.
        """
        self._progress, self._living, self._asked = progress, LivingNodes(ray, notice), _Asked(ray)
        self._nodes: dict[str, Node] = {}
        self._refused: set[str] = set()
        self._faulty: dict[str, str] = {}
        wrong = self._look(seconds=_PROBE_SECONDS)
        if wrong:
            raise SearchError(
                f"nodes of the Ray cluster differ from this process: {'. '.join(sorted(wrong))}",
                hint="Install the same versions there, or stop those nodes.",
            )
        if not self._nodes:
            raise SearchError("no node of the Ray cluster has a core", hint="Start one with `ray start`.")

    def __contains__(self, node: Node) -> bool:
        """Return whether a node lives."""
        return node.id in self._nodes

    @property
    def usable(self) -> list[Node]:
        """Those that get trials."""
        return [node for node in self._nodes.values() if node.id not in self._faulty]

    @property
    def faults(self) -> list[str]:
        """The faults of nodes that live."""
        return [fault for name, fault in self._faulty.items() if name in self._nodes]

    def living(self) -> dict[str, Node]:
        """Return all nodes that live now, by their id."""
        return self._living.now()

    def look(self) -> None:
        """See who lives now; a new node joins when it has said that it runs what the driver runs, and nobody waits."""
        for reason in self._look(seconds=0.0):
            self._progress.note(f"a new node is not used: {reason}")

    def set_aside(self, node: Node, fault: str) -> str:
        """Use a node no more; return its address with its fault."""
        return self._faulty.setdefault(node.id, f"{node.address}: {fault}")

    def _look(self, *, seconds: float) -> list[str]:
        """Take the nodes that live now, and return what is wrong with new ones; they are waited for so long."""
        living = self._living.now()
        for name, node in living.items():
            if name not in self._nodes and name not in self._refused:
                self._asked.ask(node)
        answers = self._asked.answers(seconds=seconds)
        wrong = {name: reason for name, reason in answers.items() if reason}
        self._refused |= set(wrong)
        self._nodes = {name: node for name, node in living.items() if name in self._nodes or answers.get(name) == ""}
        return list(wrong.values())


class _Asked:
    """Nodes that were asked for their versions; each runs one short task."""

    def __init__(self, ray: Any) -> None:
        self._ray, self._probe = ray, ray.remote(num_cpus=0, max_retries=0)(about)
        self._running: dict[Node, tuple[Any, float]] = {}

    def ask(self, node: Node) -> None:
        """Ask a node, unless it is being asked."""
        if node not in self._running:
            self._running[node] = pinned(self._ray, self._probe, node.id).remote(), time.monotonic()

    def answers(self, *, seconds: float) -> dict[str, str]:
        """Return what is wrong with nodes, by their id, and '' where nothing is; they are waited for so long.

        One that gives no answer for too long is among them, one that is gone is not.
        """
        if seconds and self._running:
            waiting = [reference for reference, _ in self._running.values()]
            with suppress(self._ray.exceptions.RayError):  # each is asked below
                self._ray.wait(waiting, num_returns=len(waiting), timeout=seconds)
        ended = {}
        for node, (reference, since) in list(self._running.items()):
            try:
                found = self._ray.get(reference, timeout=min(seconds, 1.0))
            except self._ray.exceptions.GetTimeoutError:
                if time.monotonic() - since < _PROBE_SECONDS:
                    continue
                ended[node.id] = f"{node.address} gave no answer within {_PROBE_SECONDS:g} s"
            except self._ray.exceptions.RayTaskError as error:
                ended[node.id] = f"{node.address} cannot run edgefm: {one_line(error)}"
            except self._ray.exceptions.RayError:  # it is gone, and Ray has perhaps not noticed it yet
                pass
            else:
                ended[node.id] = _difference(node, found)
            del self._running[node]
        return ended


def about() -> dict[str, str]:
    """Return the versions that must be the same on all nodes."""
    return {"Python": platform.python_version(), **{name: version(name) or "none" for name in LIBRARIES}}


def _difference(node: Node, found: dict[str, str]) -> str:
    others = [
        f"{name} {found.get(name, 'none')}, here {here}" for name, here in about().items() if found.get(name) != here
    ]
    return f"{node.address} has {'; '.join(others)}" if others else ""
