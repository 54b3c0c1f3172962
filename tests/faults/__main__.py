"""The command: python -m tests.faults; see the package for its forms."""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import importlib
import json
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from tests.faults import small_run
from tests.faults.bench import KINDS, ROOT, Part, environment

# Kind (a module of this package) -> its share of the time of the short form.
SHARES = {"models": 85, "kills": 130, "documents": 70, "data": 55, "attacks": 75, "disks": 60, "text": 45}
_LANES = 2  # processes beside each other
_MINUTES = 5.0
_MARGIN = 0.9  # of the time: processes start, and a kill is looked after to its end


def main() -> None:
    """Run the kinds, two beside each other, and say what came of them."""
    options = _options()
    started = time.monotonic()
    seed = options.seed if options.seed is not None else secrets.randbelow(10**9)
    minutes = options.minutes or (None if options.long else _MINUTES)
    print(f"seed {seed}, {'the long form' if options.long else 'the short form'}", flush=True)
    fails = options.fails or Path(tempfile.gettempdir()) / f"faults-{seed}"
    names = options.names or list(SHARES)
    # A folder by any other name than edgefm's own: the sweeping of temporary folders must leave it alone.
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True)))
        run = _run(options.run, folder)
        left = None if minutes is None else max(20.0, 60 * minutes - (time.monotonic() - started)) * _MARGIN
        parts = _tried(_by_kind(names), seed=seed, left=left, lanes=options.lanes, folder=folder, run=run, fails=fails)
    result = _result(
        parts, seed=seed, long=options.long, lanes=options.lanes, minutes=(time.monotonic() - started) / 60
    )
    print(_table(parts))
    for part in parts:
        for sort, count in part.get("failures", {}).items():
            print(f"  {count:5d} x {part['part']}: {sort}")
    print(json.dumps({name: result[name] for name in ("seed", "form", "minutes", "created")}))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    if options.record:
        _record(result)
    failed = sum(sum(part.get("failures", {}).values()) for part in parts)
    print(f"{failed} failures; their inputs are in {fails}" if failed else "0 failures")
    sys.exit(1 if failed else 0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Break edgefm on purpose.")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"kinds ({', '.join(SHARES)}) or parts of them; by default all"
    )
    parser.add_argument(
        "--long", action="store_true", help="all counts of docs/reliability.md, however long that takes"
    )
    parser.add_argument("--seed", type=int, help="the same inputs as another time; by default a new one")
    parser.add_argument("--minutes", type=float, help=f"time for all; short form: {_MINUTES:g}, long form: no limit")
    parser.add_argument("--lanes", type=int, default=_LANES, help=f"kinds tried at once; by default {_LANES}")
    parser.add_argument("--run", type=Path, help="a finished small run; by default one is made")
    parser.add_argument("--fails", type=Path, help="folder for failing inputs")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument(
        "--record", action="store_true", help="write what was tried into benchmarks/results/faults.json"
    )
    options = parser.parse_args()
    known = (*SHARES, *_parts())
    for name in options.names:
        if name not in known:
            parser.error(f"unknown name {name!r}; known: {', '.join(known)}")
    return options


def _parts() -> dict[str, Part]:
    """Return all parts of all kinds by name."""
    return {part.name: part for kind in SHARES for part in importlib.import_module(f"tests.faults.{kind}").PARTS}


def _by_kind(names: Sequence[str]) -> dict[str, list[str]]:
    """Return the names of the parts that are to be tried, of each kind."""
    chosen = {}
    for kind in SHARES:
        parts = [part.name for part in importlib.import_module(f"tests.faults.{kind}").PARTS]
        wanted = [name for name in parts if kind in names or name in names]
        if wanted:
            chosen[kind] = wanted
    return chosen


def _run(given: Path | None, folder: Path) -> Path:
    """Return the run that is damaged: a copy of a given one, or a new one."""
    if given is not None:
        return Path(shutil.copytree(given, folder / "run"))
    print("making a small run", flush=True)
    return small_run.make(folder)


def _tried(
    kinds: Mapping[str, Sequence[str]],
    *,
    seed: int,
    left: float | None,
    lanes: int,
    folder: Path,
    run: Path,
    fails: Path,
) -> list[dict[str, Any]]:
    """Run each kind in a process of its own, so many beside each other, and return all parts' figures."""
    shares, lanes = sum(SHARES[kind] for kind in kinds), min(lanes, len(kinds))

    def one(kind: str) -> list[dict[str, Any]]:
        seconds = None if left is None else lanes * left * SHARES[kind] / shares
        settings = {
            "kind": kind,
            "parts": kinds[kind],
            "seed": seed,
            "seconds": seconds,
            "folder": str(folder),
            "run": str(run),
            "fails": str(fails),
        }
        command = [sys.executable, "-m", "tests.faults.one_kind", json.dumps(settings)]
        temporary = folder / f"tmp-{kind}"
        temporary.mkdir()
        variables = {**environment(), "TMPDIR": str(temporary)}
        done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
        found = [{"kind": kind, **json.loads(line)} for line in done.stdout.splitlines() if line.startswith("{")]
        if done.returncode:
            print(done.stderr[-2000:], flush=True)
            found.append(
                {"kind": kind, "part": kind, "failures": {f"the program itself ended with {done.returncode}": 1}}
            )
        for part in found:
            print(f"  {part['part']}: {part.get('not_run') or _told(part)}", flush=True)
        return found

    with concurrent.futures.ThreadPoolExecutor(lanes) as pool:
        return [part for found in pool.map(one, kinds) for part in found]


def _told(part: dict[str, Any]) -> str:
    return f"{part.get('tried', 0)} tried, {sum(part.get('failures', {}).values())} failed"


def _result(parts: list[dict[str, Any]], *, seed: int, long: bool, lanes: int, minutes: float) -> dict[str, Any]:
    """Return all that was found, and what it was found on."""
    from edgefm.core import environment as machine
    from edgefm.core import runs

    return {
        "seed": seed,
        "form": "long" if long else "short",
        "minutes": round(minutes, 1),
        "lanes": lanes,
        "created": runs.now(),
        "environment": machine.environment(),
        "parts": parts,
    }


def _table(parts: list[dict[str, Any]]) -> str:
    rows = [
        [part["kind"], part["part"], part.get("tried", 0), *(part.get(kind, 0) for kind in KINDS)] for part in parts
    ]
    rows.append(["", "all", *(sum(row[column] for row in rows) for column in range(2, 3 + len(KINDS)))])
    return tabulate(rows, headers=["kind", "part", "tried", *KINDS])


def _record(result: dict[str, Any]) -> None:
    """Put the parts that were tried in the place of what is recorded of them; the others stay."""
    from benchmarks.recorded import RESULTS, write_result
    from benchmarks.recorded import result as recorded

    runs = recorded("faults")["runs"] if (RESULTS / "faults.json").exists() else []
    tried = {part["part"] for part in result["parts"]}
    for run in runs:
        run["parts"] = [part for part in run["parts"] if part["part"] not in tried]
    write_result(
        "faults",
        what="Damaged inputs, kills, full and read-only disks, attacks and hostile names",
        command="python -m tests.faults --record",
        figures={
            "runs": [*(run for run in runs if run["parts"]), result],
            "wanted": {
                name: {"kind": kind, "tries": _parts()[name].count}
                for kind, names in _by_kind(list(SHARES)).items()
                for name in names
            },
        },
    )


if __name__ == "__main__":
    main()
