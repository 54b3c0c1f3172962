"""What differs between two measurements beside the model, so that their latencies do not say which model is faster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

# Of the protocol: what changes a latency. The number of rounds and the time budget change only how well it is known.
_PROTOCOL = ("warmup_invokes", "round_seconds")
_SAME_MACHINE = "Measure both on the same machine: edgefm compare A.tflite B.tflite"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing in which two measurements differ.

    Attributes:
      what: e.g. 'governor'.
      first: its value in the first record.
      second: in the second.
      remedy: what to do.
    """

    what: str
    first: str
    second: str
    remedy: str

    def to_json(self) -> dict[str, str]:
        """Return the difference as a JSON object."""
        return asdict(self)


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Return in what the environments and protocols of two records differ, as far as it decides a latency."""
    mine, other = first["environment"], second["environment"]
    candidates = [
        _difference("processor", mine["cpu"], other["cpu"], _SAME_MACHINE),
        _difference("usable cores", mine["cores"], other["cores"], "Use the same cores for both, e.g. with taskset."),
        # Older records do not tell them.
        _difference("vector instructions", _features(mine), _features(other), _SAME_MACHINE)
        if "cpu_features" in mine and "cpu_features" in other
        else None,
        _difference(
            "frequency governor",
            _text(mine["governor"]),
            _text(other["governor"]),
            "Set the same governor for both, e.g. cpupower frequency-set -g performance.",
        ),
        _difference("target", _target(first), _target(second), "Measure both on the same target."),
        _difference(
            "new process for each round",
            _fresh(first),
            _fresh(second),
            "One was measured by an older edgefm: measure it again.",
        ),
    ]
    for name in _PROTOCOL:
        a, b = (value["protocol"]["params"].get(name) for value in (first, second))
        candidates.append(_difference(f"protocol {name}", a, b, "Measure both with the same protocol."))
    return tuple(difference for difference in candidates if difference is not None)


def row_differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Return in what the runtimes of two rows differ."""
    mine, other = first["runtime"], second["runtime"]
    options, others = mine["options"], other["options"]
    candidates = [
        _difference("runtime", mine["name"], other["name"], "Measure both with the same runtime."),
        _difference("runtime version", mine["version"], other["version"], "Use the same version for both."),
        _difference(
            "kernels",
            options.get("kernels"),
            others.get("kernels"),
            "Measure both with the same kernel set (NAME:KERNELS as the runtime).",
        ),
        _difference(
            "threads", options.get("threads"), others.get("threads"), "Measure both with the same number of threads."
        ),
    ]
    return tuple(difference for difference in candidates if difference is not None)


def worth_telling(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Return sentences on what differs and may matter, yet is no reason to refuse."""
    mine, other = first["environment"], second["environment"]
    return [
        f"{what} differs: {a} and {b}"
        for what, a, b in (
            ("the operating system", mine["os"], other["os"]),
            ("Python", mine["python"], other["python"]),
        )
        if a != b
    ]


def _difference(what: str, first: Any, second: Any, remedy: str) -> Difference | None:
    if first == second:
        return None
    names = ["unknown" if value is None else str(value) for value in (first, second)]
    return Difference(what=what, first=names[0], second=names[1], remedy=remedy)


def _features(environment: Mapping[str, Any]) -> str:
    return " ".join(environment["cpu_features"]) or "none"


def _text(governor: Any) -> str:
    return governor if isinstance(governor, str) else "none"


def _target(value: Mapping[str, Any]) -> str:
    target: Mapping[str, Any] = value.get("target", {})
    return str(target.get("name", "host"))


def _fresh(value: Mapping[str, Any]) -> str:
    turns = [turn for row in value["models"] for turn in row["rounds"]]
    return "no" if turns and all(turn.get("cold_start_ns") is None for turn in turns) else "yes"
