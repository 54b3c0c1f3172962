"""Recorded results: a file each with the newest one, and a line each in the history that is drawn over time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import tracked
from edgefm.core import artefacts, runs
from edgefm.core.environment import environment, multiplies_bytes

RESULTS = Path(__file__).parent / "results"
HISTORY = RESULTS / "history.jsonl"


def write_result(name: str, *, what: str, command: str, figures: Mapping[str, Any]) -> None:
    """Write results/<name>.json and add its line to the history.

    Args:
      name: of the file; `benchmarks.tracked` says which of its figures the history takes.
      what: was measured.
      command: that measures it again.
      figures: JSON values, raw samples included. An 'environment' among them is the one of the measurement, else it
        is that of this moment.
    """
    value = {"what": what, "command": command, "created": runs.now(), "environment": environment(), **figures}
    artefacts.write_json(RESULTS / f"{name}.json", value)
    add([line(name, value)])


def result(name: str) -> dict[str, Any]:
    """Return a recorded result."""
    value: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return value


def provenance(value: Mapping[str, Any]) -> str:
    """Return hardware, versions and date of a recorded result, in one sentence."""
    machine = value["environment"]
    versions = machine["versions"]
    named = ", ".join(
        f"{name} {versions[name]}" for name in ("tensorflow", "keras", "ai-edge-litert") if name in versions
    )
    cores = f"{machine['cores']} core{'' if machine['cores'] == 1 else 's'}"
    return f"{machine['cpu']}, {cores}, Python {machine['python']}, {named}; {value['created'][:10]}."


def names() -> list[str]:
    """Return the names of all recorded results."""
    return [path.stem for path in sorted(RESULTS.glob("*.json"))]


def line(name: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the history keeps of a result: when, on what, and its tracked figures with their intervals."""
    machine = value["environment"]
    return {
        "name": name,
        "created": value["created"],
        "cpu": processor(machine),
        "cores": machine["cores"],
        "disturbed": disturbed(value),
        "figures": tracked.figures(name, value),
    }


def processor(machine: Mapping[str, Any]) -> str:
    """Return the name of an environment's processor, with what tells apart those that share a name.

    >>> processor({"cpu": "A", "cpu_features": ["avx512_vnni", "avx512_bf16"]}), processor({"cpu": "A"})
    ('A (bfloat16, int8 products)', 'A')
    """
    features = machine.get("cpu_features")
    if not features:  # of a result from before they were recorded nothing is known
        return str(machine["cpu"])
    has = ["bfloat16"] if any("bf16" in str(feature) for feature in features) else []
    has += ["int8 products"] if multiplies_bytes(machine) else []
    return f"{machine['cpu']} ({', '.join(has) or 'no bfloat16, no int8 products'})"


def disturbed(value: Mapping[str, Any]) -> list[str]:
    """Return why the machine was not quiet when a result was measured; empty where nothing tells of it.

    A benchmark record says so itself, and so do its models' rows. Older ones do not: there, a wide interval of a p50
    tells. A study of comparisons was disturbed where most of them were. Of results that hold no record the load average
    tells: with one more than there are cores, others wanted to run while the benchmark did.
    """
    told = [str(reason) for reason in value.get("session", {}).get("disturbed", ())]
    comparisons = value.get("comparisons", ())
    if comparisons:
        not_quiet = sum(bool(one["disturbed"]) for one in comparisons)
        return [f"{not_quiet} of {len(comparisons)} comparisons"] if 2 * not_quiet > len(comparisons) else []
    models = value.get("models")
    rows = [row for row in models if row.get("latency_ns")] if isinstance(models, list) else []
    if told or rows:
        names = [str(row["name"]) for row in rows if row_disturbed(row)]
        return told or ([f"disturbed rounds or wide intervals: {', '.join(names)}"] if names else [])
    load, cores = value["environment"].get("load_average"), value["environment"]["cores"]
    return [f"load average {load[0]:.1f} on {cores} cores"] if load and load[0] >= cores + 1 else []


def row_disturbed(row: Mapping[str, Any]) -> bool:
    """Return whether disturbed rounds of a model were used; of an older row, whether the interval of p50 is wide."""
    if "disturbed" in row:
        return bool(row["disturbed"]["used"])
    p50 = row["latency_ns"]["p50"]
    return bool(p50["high"] > 1.2 * p50["low"])


def history() -> list[dict[str, Any]]:
    """Return all lines of the history, the oldest first."""
    lines = HISTORY.read_text(encoding="utf-8").splitlines() if HISTORY.exists() else []
    return sorted((json.loads(text) for text in lines), key=lambda one: (one["created"], one["name"]))


def add(lines: Sequence[Mapping[str, Any]]) -> int:
    """Add lines to the history and return how many were new; one of the same name and time is replaced."""
    known = {(one["name"], one["created"]): one for one in history()}
    before = len(known)
    known.update({(one["name"], one["created"]): dict(one) for one in lines if one["figures"]})
    text = "".join(f"{json.dumps(known[key])}\n" for key in sorted(known, key=lambda key: (key[1], key[0])))
    artefacts.write_text(HISTORY, text)
    return len(known) - before
