"""Kills workers, nodes and the driver of a search on a Ray cluster; counts trials that were lost or counted twice.

Run: python -m benchmarks.cluster_kills [--kills 50]. Three nodes of one core on this machine; trials sleep. A node is
killed with all of its processes at once, and replaced. It takes some ten minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil

from benchmarks.recorded import write_result
from edgefm.searching.journal import opened
from tests.fixtures.ray_cluster import LocalCluster, cluster
from tests.fixtures.search_driver import SPACE, identity, searched

NAME = "cluster_kills"
ROOT = Path(__file__).parent.parent
NODES = 3
TRIAL_SECONDS = 0.6
# One kind after the other: six of ten kills are a worker's.
KINDS = ("worker", "node", "worker", "driver", "worker", "worker", "node", "worker", "worker", "driver")
# Of the search before the next kill; longer than a trial, so that what was done again has ended.
_CALM_SECONDS = (1.3, 2.5)


def main() -> None:
    """Write results/cluster_kills.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--trials", type=int, default=500)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edgefm-kills-") as name:
        folder = Path(name) / "search"
        with cluster(NODES) as nodes:
            kills, seconds = _killed(nodes, folder, trials=arguments.trials, kills=arguments.kills)
        with opened(folder, identity(), SPACE.distributions(), resume=True) as journal:
            finished = Counter(
                frozen.user_attrs["index"] for frozen in journal._study.get_trials() if frozen.state.name == "COMPLETE"
            )
            trials = [(trial.index, trial.params, trial.costs) for trial in journal.trials()]
        undisturbed = searched(Path(name) / "calm", trials=len(trials))
        begun = sum(len(path.read_text().splitlines()) for path in (Path(name) / "seen").iterdir())
    figures = {
        "kills": dict(Counter(kills)),
        "nodes": NODES,
        "trials": len(trials),
        "seconds": round(seconds, 1),
        "lost": sum(index not in finished for index in range(len(trials))),
        "double": sum(count > 1 for count in finished.values()),
        "begun_again": begun - len(trials),
        "same_as_undisturbed": trials == [(trial.index, trial.params, trial.costs) for trial in undisturbed],
    }
    print(figures)
    write_result(
        NAME,
        what="a search on a Ray cluster whose workers, nodes and driver are killed",
        command=f"python -m benchmarks.{NAME}",
        figures=figures,
    )


def _killed(nodes: LocalCluster, folder: Path, *, trials: int, kills: int) -> tuple[list[str], float]:
    """Search, kill as often as is wanted, and return what was killed and the seconds that it took.

    After the last kill the trials that run are waited for, and those that none was begun for are left out: the search
    is stopped by its number of trials, which is set by the last driver.
    """
    chance, done = random.Random(0), list[str]()
    started = time.monotonic()
    driver = _driver(folder, nodes, trials)
    while len(done) < kills:
        _wait_for_trials(folder, more=2)
        time.sleep(chance.uniform(*_CALM_SECONDS))
        if driver.poll() is not None:
            raise RuntimeError(f"the search ended by itself: {(folder.parent / 'log').read_text()[-2000:]}")
        kind = KINDS[len(done) % len(KINDS)]
        if kind == "driver":
            driver.kill()
            driver.wait()
            driver = _driver(folder, nodes, trials)
        elif kind == "node":
            nodes.kill(chance.choice(nodes.nodes))
            nodes.add()
        elif not _kill_worker(nodes, chance):
            continue
        done.append(kind)
        print(f"{len(done)} kills: {kind}", flush=True)
    driver.kill()
    driver.wait()
    last = max(int(path.name) for path in (folder.parent / "seen").iterdir()) + 3
    if _driver(folder, nodes, last).wait():
        raise RuntimeError(f"the search did not end: {(folder.parent / 'log').read_text()[-2000:]}")
    return done, time.monotonic() - started


def _driver(folder: Path, nodes: LocalCluster, trials: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.fixtures.search_on_ray", str(folder), nodes.address]
    with (folder.parent / "log").open("ab") as log:
        return subprocess.Popen([*command, str(trials), str(TRIAL_SECONDS)], cwd=ROOT, stdout=log, stderr=log)


def _wait_for_trials(folder: Path, *, more: int) -> None:
    """Wait until some trials were begun, whoever begins them."""
    seen = folder.parent / "seen"

    def begun() -> int:
        return sum(1 for _ in seen.iterdir()) if seen.exists() else 0

    before, until = begun(), time.monotonic() + 120
    while begun() < before + more and time.monotonic() < until:
        time.sleep(0.05)


def _kill_worker(nodes: LocalCluster, chance: random.Random) -> bool:
    """Kill a process that does a trial; return whether there was one."""
    found = []
    for node in nodes.nodes:
        with contextlib.suppress(psutil.NoSuchProcess):
            raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
            found += [one for one in raylet.children(recursive=True) if one.name().startswith("ray::do")]
    if not found:
        return False
    with contextlib.suppress(psutil.NoSuchProcess):
        chance.choice(found).kill()
        return True
    return False


if __name__ == "__main__":
    main()
