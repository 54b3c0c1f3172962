"""Does the harness keep its word? Equal models compared many times, and pairs with a true slowdown of 3 %.

A/A: one file twice, measured by the whole protocol; 'faster' or 'slower' is a false alarm, of which at most 5 % are
allowed (and two standard errors). A/B: the same file with each invoke 3 % longer (`benchmarks.slowed`: the extra
nanoseconds are 3 % of the p50 that is measured first, in each comparison), which must be found in 90 %.

Run: python -m benchmarks.false_alarms [--same 200] [--slower 100] [--rounds N] [--rounds-at-most N] [--resume]. The
result is written after each comparison; with --resume a stopped study goes on, on the same machine.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import slowed
from edgefm import runtimes
from edgefm.benchmarking import harness
from edgefm.benchmarking.measured import ModelFile
from edgefm.core import artefacts, runs
from edgefm.core.environment import environment
from edgefm.recipes import BenchmarkProtocol
from edgefm.recipes.benchmark import rounds_between
from edgefm.statistics.estimates import proportion

RESULT = Path(__file__).parent / "results" / "false_alarms.json"
MODEL = Path(__file__).parents[1] / "android_demo_assets" / "int8" / "model.tflite"
SLOWDOWN = 0.03
ALARMS_ALLOWED = 0.05
FOUND_WANTED = 0.9
KINDS = ("same", "slower")


def main() -> int:
    """Compare until there are as many comparisons as were asked for; 1 where a rate is not what it must be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--same", type=int, default=200, help="comparisons of a file with itself")
    parser.add_argument("--slower", type=int, default=100, help="comparisons with a slowdown of 3 %%")
    parser.add_argument("--rounds", type=int, help="least number of rounds; 15 by default, as in edgefm benchmark")
    parser.add_argument("--rounds-at-most", type=int, help="greatest number of rounds; 45 by default")
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--resume", action="store_true", help="keep the comparisons that --out holds")
    given = parser.parse_args()
    protocol = BenchmarkProtocol(**rounds_between(given.rounds, given.rounds_at_most))
    runtimes.RUNTIMES["slowed"] = slowed.__name__
    done = _kept(given.out, given.model, protocol) if given.resume else []
    wanted = {"same": given.same, "slower": given.slower}
    # One of each in turn, so that a study that is stopped has some of both.
    for number in range(max(wanted.values())):
        for kind in KINDS:
            if number < wanted[kind] and sum(one["kind"] == kind for one in done) <= number:
                done.append(compare_once(kind, given.model, protocol, seed=number))
                write(given.out, done, model=given.model, protocol=protocol)
                one = done[-1]
                print(f"{kind} {number + 1}/{wanted[kind]}: ratio {one['round_ratio']['value']:.4f}, p {one['p']:.4f}, "
                      f"{one['verdict']}, {one['rounds']} rounds, {one['seconds']:.0f} s", flush=True)  # fmt: skip
    found = write(given.out, done, model=given.model, protocol=protocol)
    for kind in KINDS:
        rate = found["rates"][kind]
        if rate is not None:
            print(f"{kind}: {rate['hits']} of {rate['n']}, {rate['share']['value']:.1%} "
                  f"({rate['share']['low']:.1%} to {rate['share']['high']:.1%})", flush=True)  # fmt: skip
    return 0 if found["held"] else 1


def compare_once(kind: str, model: Path, protocol: BenchmarkProtocol, *, seed: int) -> dict[str, Any]:
    """Return what one comparison gave: the test, the truth, and how disturbed the machine was."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="false-alarms-") as scratch:
        truth: dict[str, Any] = {"ratio": 1.0, "extra_ns": 0}
        files = (ModelFile(name="a", path=model), ModelFile(name="b", path=model))
        how = replace(protocol, seed=seed)
        if kind == "slower":
            how = replace(how, runtime="slowed")
            plain = _copy(model, Path(scratch), 0)
            p50 = _p50(plain, how)
            extra_ns = round(SLOWDOWN * p50)
            truth = {"ratio": 1 + extra_ns / p50, "extra_ns": extra_ns, "p50_ns": p50}
            files = (ModelFile(name="a", path=plain), ModelFile(name="b", path=_copy(model, Path(scratch), extra_ns)))
        record = harness.measure(files, dataset=None, protocol=how, reference="a").record
    mine = record["models"][1]
    failures = [row["reason"] for row in record["models"] if row["status"] != "ok"]
    if failures:
        raise SystemExit(f"the model could not be measured: {failures[0]}")
    test = mine["against_reference"]["latency_test"]
    kept = ("round_ratio", "p", "effect", "smallest_difference", "rounds", "verdict")
    return {
        "kind": kind,
        "created": record["created"],
        "machine": _machine(record["environment"]),
        "truth": truth,
        **{name: test[name] for name in kept},
        "disturbed_turns": sum(row["disturbed"]["turns"] for row in record["models"]),
        "disturbed": record["session"]["disturbed"],
        "stopped": record["session"]["stopped"],
        "seconds": round(time.perf_counter() - started, 1),
    }


def rates(done: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the share of alarms of each kind with Wilson's interval: of equal models any, of slower ones 'slower'."""
    found: dict[str, Any] = {}
    for kind in KINDS:
        verdicts = [one["verdict"] for one in done if one["kind"] == kind]
        alarms = ("faster", "slower") if kind == "same" else ("slower",)
        hits = sum(verdict in alarms for verdict in verdicts)
        found[kind] = (
            {"n": len(verdicts), "hits": hits, "share": proportion(hits, len(verdicts)).to_json()} if verdicts else None
        )
    return found


def held(found: Mapping[str, Any]) -> bool:
    """Return whether the rates are what they must be, as far as there are any."""
    same, slower = found["same"], found["slower"]
    few = same is None or same["share"]["value"] <= ALARMS_ALLOWED + 2 * math.sqrt(
        ALARMS_ALLOWED * (1 - ALARMS_ALLOWED) / same["n"]
    )
    return few and (slower is None or slower["share"]["value"] >= FOUND_WANTED)


def write(path: Path, done: Sequence[Mapping[str, Any]], *, model: Path, protocol: BenchmarkProtocol) -> dict[str, Any]:
    """Write the result so far and return it."""
    found = rates(done)
    value = {
        "what": "how often equal models were called different (same), and models slower by 3 % were found (slower)",
        "command": "python -m benchmarks.false_alarms",
        "created": runs.now(),
        "environment": environment(),
        "cores_of_the_machine": os.cpu_count(),
        "model": {"name": model.name, "sha256": artefacts.sha256_file(model)},
        "protocol": protocol.to_json(),
        "slowdown": SLOWDOWN,
        "limits": {"same": f"<= {ALARMS_ALLOWED} + 2 standard errors", "slower": f">= {FOUND_WANTED}"},
        "rates": found,
        "held": held(found),
        "comparisons": list(done),
    }
    artefacts.write_json(path, value)
    return value


def _kept(path: Path, model: Path, protocol: BenchmarkProtocol) -> list[dict[str, Any]]:
    """Return the comparisons of a study that was stopped; none of another model, protocol or machine."""
    if not path.exists():
        return []
    value = json.loads(path.read_text(encoding="utf-8"))
    if value["protocol"] != protocol.to_json() or value["model"]["sha256"] != artefacts.sha256_file(model):
        raise SystemExit(f"{path} is of another model or protocol: remove it, or leave out --resume")
    comparisons: list[dict[str, Any]] = value["comparisons"]
    here, there = _machine(environment()), _machine(value["environment"])
    # Older studies tell the machine of the last comparison alone.
    others = [one for one in (there, *(one.get("machine", there) for one in comparisons)) if one != here]
    if others:
        raise SystemExit(
            f"{path} is of another machine: {others[0]['cpu']} with {others[0]['cores']} usable cores, here are "
            f"{here['cpu']} with {here['cores']}; go on there, or leave out --resume"
        )
    return comparisons


def _machine(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what decides a latency of an environment."""
    return {name: found[name] for name in ("cpu", "cores")}


def _copy(model: Path, folder: Path, extra_ns: int) -> Path:
    """Return a copy of the model whose name says how much slower it is."""
    return Path(shutil.copyfile(model, folder / f"copy-{extra_ns}ns.tflite"))


def _p50(model: Path, protocol: BenchmarkProtocol) -> float:
    """Return the p50 of a model in nanoseconds, from five rounds."""
    how = replace(protocol, rounds=5, rounds_at_most=5)
    [row] = harness.measure([ModelFile(name="a", path=model)], dataset=None, protocol=how).record["models"]
    if row["status"] != "ok":
        raise SystemExit(f"the model could not be measured: {row['reason']}")
    return float(row["latency_ns"]["p50"]["value"])


if __name__ == "__main__":
    raise SystemExit(main())
