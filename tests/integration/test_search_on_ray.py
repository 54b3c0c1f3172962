"""A search on a Ray cluster of several nodes on this machine: worker, node and driver are killed, and nothing is lost.

One cluster for all tests, for it takes seconds to start. The trials are made up: what is tested is who does them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgefm.searching.driver import Limits, drive
from edgefm.searching.executors.ray_tasks import RayTasks, ray_tasks
from edgefm.searching.journal import SearchError, opened
from tests.fixtures.ray_cluster import LocalCluster, cluster
from tests.fixtures.search_driver import SPACE, identity, in_folder, sampling, searched
from tests.fixtures.search_work import SleepyWork

pytestmark = [pytest.mark.ray]
ROOT = Path(__file__).parents[2]
TRIALS = 16


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[LocalCluster]:
    pytest.importorskip("ray")
    with cluster(2) as made:
        yield made


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return _results(searched(tmp_path_factory.mktemp("alone") / "search", trials=TRIALS))


def _results(trials: Any) -> Any:
    return [(trial.index, trial.params, trial.costs, trial.reason) for trial in trials]


def _search(
    folder: Path,
    cluster: LocalCluster,
    work: SleepyWork,
    *,
    resume: bool = False,
    beside: Callable[[RayTasks], None] | None = None,
    notice: float = 20.0,
) -> Any:
    """Search; what is `beside` runs in a thread once some trials run."""
    with (
        ray_tasks(address=cluster.address, store=str(folder.parent / "store"), notice=notice) as executor,
        opened(folder, identity(), SPACE.distributions(), resume=resume) as journal,
    ):
        executor.take(work)
        thread = threading.Thread(target=beside, args=(executor,), daemon=True) if beside else None
        if thread:
            thread.start()
        trials = drive(journal, sampling(), executor, Limits(trials=TRIALS))
        if thread:
            thread.join()
        return trials


def _wait_for(path: Path) -> None:
    until = time.monotonic() + 60
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.02)


def test_killed_worker_and_killed_node_lose_nothing(
    tmp_path: Path, ray_cluster: LocalCluster, undisturbed: Any
) -> None:
    """Trial 5 loses its process, trial 9 its whole node; two nodes are left."""
    seen = tmp_path / "seen"
    seen.mkdir()
    lost: list[Any] = []

    def disturb(executor: RayTasks) -> None:
        _wait_for(seen / "5")
        os.kill(int((seen / "5").read_text().split()[0]), signal.SIGKILL)
        _wait_for(seen / "9")
        busy = executor.running_on.get(9)
        node = next(node for node in ray_cluster.nodes if node.node_id == busy)
        ray_cluster.kill(node)
        lost.append(node)

    ray_cluster.add()
    trials = _search(tmp_path / "search", ray_cluster, SleepyWork(seconds=0.15, seen=seen), beside=disturb)
    assert lost and _results(trials) == undisturbed
    begun = {index: len((seen / str(index)).read_text().splitlines()) for index in range(TRIALS)}
    assert begun[5] >= 2 and begun[9] >= 2 and sum(begun.values()) <= TRIALS + 4
    assert _results(in_folder(tmp_path / "search")) == undisturbed


def test_trial_that_kills_its_process_fails_and_impossible_ones_are_said(
    tmp_path: Path, ray_cluster: LocalCluster
) -> None:
    seen = tmp_path / "seen"
    seen.mkdir()
    work = SleepyWork(seen=seen, kills=((2, 9),), impossible=(3,), raising=(4,))
    trials = _search(tmp_path / "search", ray_cluster, work, notice=0.5)
    assert trials[2].reason.startswith("its process ended 2 times: WorkerCrashedError on ")
    assert trials[3].reason == "nothing can be made of this point"
    assert trials[4].reason.startswith(
        "it failed 2 times: MemoryError: Unable to allocate 2.1 GiB (search_work.py, line"
    )
    assert [len((seen / name).read_text().splitlines()) for name in "234"] == [2, 1, 2]
    assert sum(trial.complete for trial in trials) > 3


def test_killed_driver_is_resumed_with_the_same_trials(
    tmp_path: Path, ray_cluster: LocalCluster, undisturbed: Any
) -> None:
    command = [sys.executable, "-m", "tests.fixtures.search_on_ray", str(tmp_path / "search"), ray_cluster.address]
    driver = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _wait_for(tmp_path / "seen" / "7")
    driver.kill()
    driver.wait()
    trials = _search(tmp_path / "search", ray_cluster, SleepyWork(), resume=True)
    assert _results(trials) == undisturbed


def test_password_of_a_driver_is_not_in_the_clusters_table_of_jobs(ray_cluster: LocalCluster) -> None:
    """Ray writes there how the driver was called, for all who reach the cluster."""
    program = (
        "from edgefm.searching.executors.ray_nodes import connected\n"
        f"with connected({ray_cluster.address!r}, workers=None) as ray:\n"
        "    print([job['Entrypoint'] for job in ray._private.state.state.job_table()])"
    )
    command = [sys.executable, "-c", program, "--storage", "postgresql://me:swordfish@db.lab/searches"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "--storage postgresql://***@db.lab/searches" in told and "swordfish" not in told


def test_node_with_other_versions_is_named_and_refused(tmp_path: Path, ray_cluster: LocalCluster) -> None:
    """Its Python finds other metadata of numpy first."""
    metadata = tmp_path / "packages" / "numpy-1.0.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 1.0\n")
    path = f"{metadata.parents[1]}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    node = ray_cluster.add(variables={"PYTHONPATH": path})
    try:
        with pytest.raises(SearchError, match=r"differ from this process: \S+ has numpy 1\.0, here \d"):
            _search(tmp_path / "search", ray_cluster, SleepyWork())
    finally:
        ray_cluster.kill(node)
    assert not (tmp_path / "search").exists()


def test_store_that_a_node_cannot_reach_ends_the_search(tmp_path: Path, ray_cluster: LocalCluster) -> None:
    """Memory is each process's own."""
    pytest.importorskip("fsspec")
    with (
        ray_tasks(address=ray_cluster.address, store="memory://here") as executor,
        opened(tmp_path / "search", identity(), SPACE.distributions(), resume=False) as journal,
        pytest.raises(SearchError, match=r"lost trial 0 5 times: StoreError on \S+: memory://here holds no"),
    ):
        executor.take(SleepyWork())
        drive(journal, sampling(), executor, Limits(trials=1))


def test_no_node_left_ends_the_search_and_it_goes_on_later(
    tmp_path: Path, ray_cluster: LocalCluster, undisturbed: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    """The last of these tests: no node is left for another."""
    seen = tmp_path / "seen"
    seen.mkdir()

    def disturb(_: RayTasks) -> None:
        _wait_for(seen / "4")
        for node in ray_cluster.nodes:
            ray_cluster.kill(node)

    with pytest.raises(SearchError, match="no node of the Ray cluster is left"):
        _search(tmp_path / "search", ray_cluster, SleepyWork(seconds=0.2, seen=seen), beside=disturb, notice=3.0)
    assert "raylet" not in capfd.readouterr().out  # which --json would not survive
    assert _results(searched(tmp_path / "search", trials=TRIALS, resume=True)) == undisturbed


def test_address_without_a_cluster_is_said(tmp_path: Path) -> None:
    with (
        pytest.raises(SearchError, match=r"no Ray cluster at 127\.0\.0\.1:9"),
        ray_tasks(address="127.0.0.1:9", store=str(tmp_path)),
    ):
        pass
