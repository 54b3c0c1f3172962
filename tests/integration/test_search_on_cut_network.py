"""A search on a Ray cluster whose nodes have a network of their own: one is cut off while it does a trial.

A head and two nodes, each in a network namespace; the driver runs beside the head. What is cut off lives on, and its
answers would come when the cable is back.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgefm.searching.journal import opened
from tests.fixtures.network import REASON, Network, available, network
from tests.fixtures.search_driver import SPACE, identity, searched

pytestmark = [pytest.mark.ray, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
TRIALS, TRIAL_SECONDS = 14, 1.0
_PORT, _START_SECONDS = 6390, 120
_RAY = [sys.executable, "-c", "from ray.scripts.scripts import main; main()", "start"]
_SMALL = ["--object-store-memory", str(80 << 20), "--disable-usage-stats"]
# The head notices within seconds that a node does not answer, sooner than by Ray's own settings.
_SOON = {
    "health_check_initial_delay_ms": 500,
    "health_check_period_ms": 300,
    "health_check_timeout_ms": 500,
    "health_check_failure_threshold": 4,
}


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    pytest.importorskip("ray")
    if not available():
        pytest.skip(REASON)
    # A path short enough for sockets; without one Ray would tell all of this machine of the cluster.
    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder,
        network(["head", "one", "two"]) as made,
        (tmp_path_factory.mktemp("ray") / "log").open("wb") as log,
    ):
        patch.setenv("RAY_AUTH_MODE", "disabled")  # a token in the home folder would be the head's alone
        head = ["--head", f"--port={_PORT}", "--num-cpus=0", "--include-dashboard=false", f"--temp-dir={folder}"]
        _start(made, "head", log, *head, f"--system-config={json.dumps(_SOON)}")
        for name in ("one", "two"):
            _start(made, name, log, f"--address={made.addresses['head']}:{_PORT}", "--num-cpus=1")
        yield made


def _start(machines: Network, name: str, log: Any, *options: str) -> None:
    command = [*_RAY, *_SMALL, f"--node-ip-address={machines.addresses[name]}", *options]
    assert machines.start(name, command, stdout=log, stderr=log, cwd=ROOT).wait(timeout=_START_SECONDS) == 0


def _searched(machines: Network, folder: Path, disturb: Callable[[Path], None]) -> Any:
    """Search, disturb it, and return its trials and how often each was finished."""
    seen = folder.parent / "seen"
    address = f"{machines.addresses['head']}:{_PORT}"
    command = [sys.executable, "-m", "tests.fixtures.search_on_ray", str(folder), address]
    with (folder.parent / "log").open("wb") as log:
        driver = machines.start("head", [*command, str(TRIALS), str(TRIAL_SECONDS)], cwd=ROOT, stdout=log, stderr=log)
        disturb(seen)
        ended = driver.wait(timeout=180)
    assert not ended, (folder.parent / "log").read_text()[-3000:]
    with opened(folder, identity(), SPACE.distributions(), resume=True) as journal:
        finished = Counter(one.user_attrs["index"] for one in journal._study.get_trials() if one.state.name != "FAIL")
        return [(trial.index, trial.params, trial.costs) for trial in journal.trials()], finished


def _running(machines: Network, seen: Path, index: int) -> str:
    """Wait until a trial runs, and return the machine that does it."""
    until = time.monotonic() + 120
    while not (seen / str(index)).exists() and time.monotonic() < until:
        time.sleep(0.02)
    return machines.machine_of(int((seen / str(index)).read_text().split()[-1]))


def test_node_that_is_cut_off_loses_no_trial_and_none_counts_twice(tmp_path: Path, machines: Network) -> None:
    """First the cable is out for a moment, then for good; it is back when the trial was done again elsewhere."""
    cut, again = list[str](), list[str]()

    def disturb(seen: Path) -> None:
        blinking = _running(machines, seen, 3)
        machines.cut(blinking)
        time.sleep(0.4)
        machines.mend(blinking)
        cut.append(_running(machines, seen, 6))
        machines.cut(cut[0])
        until = time.monotonic() + 90
        while len((seen / "6").read_text().split()) < 2 and time.monotonic() < until:
            time.sleep(0.05)
        again.append(_running(machines, seen, 6))
        machines.mend(cut[0])

    trials, finished = _searched(machines, tmp_path / "search", disturb)
    assert sorted(cut + again) == ["one", "two"]
    assert len((tmp_path / "seen" / "6").read_text().split()) == 2
    assert finished == Counter(range(TRIALS))
    undisturbed = searched(tmp_path / "calm", trials=TRIALS)
    assert trials == [(trial.index, trial.params, trial.costs) for trial in undisturbed]
