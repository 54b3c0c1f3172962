"""What a search costs against the number of nodes: measured with 1 to 4 here, simulated to 1,000.

Run: python -m benchmarks.search_scale [--search FOLDER]. FOLDER holds a search that was done: how long its trials took
is recorded, and used from then on. Two cores suffice: a trial sleeps for its recorded time, shortened so that the mean
is `MEAN_SLEEP`.

The simulation has a driver that does one thing after the other (choose the next trial, write it, write its result),
with the times that these take here, and workers that each take a recorded time.
"""

from __future__ import annotations

import argparse
import heapq
import pickle
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.recorded import names, result, write_result
from edgefm.searching.budget import SearchBudget
from edgefm.searching.driver import Limits, Task, drive
from edgefm.searching.executors.execution import AHEAD
from edgefm.searching.executors.ray_tasks import ray_tasks
from edgefm.searching.journal import opened, read_identity
from edgefm.searching.sampling import LAG, Sampling
from edgefm.searching.space import QAT, Space
from edgefm.searching.trials import Outcome, Stage, Trial
from tests.fixtures import search_driver
from tests.fixtures.ray_cluster import cluster
from tests.fixtures.search_work import SleepyWork

NAME = "search_scale"
WORKERS = (1, 2, 3, 4)
TRIALS = 24
# Sleeps are so long on average: what Ray itself takes is small beside it, as in a real search.
MEAN_SLEEP = 2.0
SIMULATED = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000)
SIMULATED_TRIALS = 1000
# Trials that there are when what the driver does is timed.
SIZES = (10, 30, 100, 300, 1000)
# Of a space like that of the Enhanced CNN.
SPACE = Space(groups={f"keep:{name}": (name,) for name in "abcdef"}, schemes=("int8_w8a8", QAT))
BUDGETS = (SearchBudget(name="phone", limits={"max_p50_ratio": 0.15}),)


def main() -> None:
    """Write results/search_scale.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--search", type=Path, default=None)
    folder = parser.parse_args().search
    seconds = recorded_seconds(folder)
    measured = [searched(workers, seconds) for workers in WORKERS]
    costs = driver_costs()
    figures = {
        "trial_seconds": seconds,
        "shortened": _shortened(seconds),
        "measured": measured,
        "driver": costs,
        "simulated": simulated(seconds, costs),
        "checked": [checked(one, seconds, costs) for one in measured],
    }
    write_result(
        NAME, what="time of a search against its workers", command=f"python -m benchmarks.{NAME}", figures=figures
    )


def recorded_seconds(folder: Path | None) -> list[float]:
    """Return how long each finished trial of a search took; of the last recording where no folder is given."""
    if folder is None:
        assert NAME in names(), "give the folder of a search: nothing is recorded yet"
        return list(result(NAME)["trial_seconds"])
    identity = read_identity(folder)
    assert identity is not None, f"{folder} holds no search"
    choices = identity["space"]["choices"]
    from optuna.distributions import CategoricalDistribution, IntDistribution

    distributions = {
        name: CategoricalDistribution(values) if name == "scheme" else IntDistribution(0, len(values) - 1)
        for name, values in choices.items()
    }
    with opened(folder, identity, distributions, resume=True) as journal:
        return [round(trial.outcome.seconds, 1) for trial in journal.trials() if trial.outcome is not None]


def searched(workers: int, seconds: Sequence[float]) -> dict[str, Any]:
    """Search on so many nodes of one core and return how long it took; each number of nodes does the same trials."""
    work = SleepyWork(seconds=tuple(one / _shortened(seconds) for one in seconds))
    sampling = Sampling(space=search_driver.SPACE, budgets=search_driver.BUDGETS, seed=7, lag=_lag(max(WORKERS)))
    identity = {**search_driver.identity(), "lag": sampling.lag}
    with tempfile.TemporaryDirectory(prefix="edgefm-scale-") as name, cluster(workers) as nodes:
        folder = Path(name)
        with (
            ray_tasks(address=nodes.address, store=str(folder / "store")) as executor,
            opened(folder / "search", identity, search_driver.SPACE.distributions(), resume=False) as journal,
        ):
            executor.take(work)
            drive(journal, sampling, executor, Limits(trials=workers))  # starts a process on each node
            started = time.monotonic()
            trials = drive(journal, sampling, executor, Limits(trials=workers + TRIALS))
            took = time.monotonic() - started
    slept = sum(work.seconds[trial.index % len(seconds)] for trial in trials[workers:])  # type: ignore[index]
    print(f"{workers} workers: {took:.1f} s for {slept:.1f} s of trials", flush=True)
    return {"workers": workers, "seconds": round(took, 2), "trials": TRIALS, "trial_seconds": round(slept, 2)}


def driver_costs() -> dict[str, list[float]]:
    """Return what the driver does for a trial, in seconds of its processor, by the number of trials before it."""
    chance = random.Random(0)
    asked, written, sent = [], [], []
    for size in SIZES:
        sampling = Sampling(space=SPACE, budgets=BUDGETS, seed=1, lag=LAG)
        trials = [_made_up(index, chance) for index in range(size)]
        asked.append(_seconds(lambda trials=trials, sampling=sampling: sampling.choose(len(trials), trials)))
        known = tuple(sampling.known(size, trials))
        task = Task(index=size, params=dict(trials[0].params), known=known)
        sent.append(_seconds(lambda task=task: pickle.dumps(task)))
        written.append(_write_seconds(trials))
        print(f"{size} trials: {asked[-1]:.3f} s to choose, {written[-1]:.3f} s to write", flush=True)
    return {"trials": list(SIZES), "choose": asked, "write": written, "send": sent}


def _made_up(index: int, chance: random.Random) -> Trial:
    params = {
        name: chance.choice(values) if name == "scheme" else chance.randrange(len(values))
        for name, values in SPACE.choices.items()
    }
    figures: dict[str, float | None] = {
        "accuracy_loss": 5 * chance.random(),
        "p50_ratio": chance.random(),
        "download_bytes": 1e5 * chance.random(),
    }
    count = chance.choice((1, 1, 2, 3))
    stages = tuple(Stage(epochs=epochs, figures=figures) for epochs in (1, 3, 8)[:count])
    outcome = Outcome(stages=stages, complete=count == 3)
    return Trial(index=index, params=params, state="finished", outcome=outcome)


def _write_seconds(trials: Sequence[Trial]) -> float:
    """Return the time of writing a trial's beginning and end behind others, and of reading it again."""
    with tempfile.TemporaryDirectory(prefix="edgefm-scale-") as name:
        identity = {**search_driver.identity(), "space": SPACE.to_json()}
        with opened(Path(name) / "search", identity, SPACE.distributions(), resume=False) as journal:
            for trial in trials[:-1]:
                journal.begin(trial.index, trial.params)
                assert trial.outcome is not None, "made up with one"
                journal.finish(trial.index, trial.outcome, elapsed=0.0)
            last, outcome = trials[-1], trials[-1].outcome
            assert outcome is not None, "made up with one"

            def write() -> None:
                journal.begin(last.index, last.params)
                journal.finish(last.index, outcome, elapsed=0.0)
                journal.trials()

            return _seconds(write, times=1)


def _seconds(function: Callable[[], Any], *, times: int = 3) -> float:
    """Return the least processor time of some calls: the machine may be busy with something else."""
    found = []
    for _ in range(times):
        started = time.process_time()
        function()
        found.append(time.process_time() - started)
    return round(min(found), 5)


def simulated(seconds: Sequence[float], costs: dict[str, list[float]]) -> list[dict[str, Any]]:
    """Return the time of a search of 1,000 trials by the number of its workers, and what bounds it."""
    chance = random.Random(0)
    durations = [chance.choice(seconds) for _ in range(SIMULATED_TRIALS)]
    alone = sum(durations)
    rows = []
    for workers in SIMULATED:
        for ahead in sorted({1, AHEAD, 4}):
            lag = LAG if workers == 1 else max(LAG, ahead * workers)
            run = simulate(durations, workers=workers, lag=lag, choose=_at(costs, "choose"), write=_at(costs, "write"))
            free = simulate(durations, workers=workers, lag=lag, choose=lambda _: 0.0, write=lambda _: 0.0)
            rows.append(
                {
                    "workers": workers,
                    "lag": lag,
                    "ahead": ahead,
                    "hours": run.seconds / 3600,
                    "busy": alone / (workers * run.seconds),
                    "driver_busy": run.driver_seconds / run.seconds,
                    "busy_with_a_free_driver": alone / (workers * free.seconds),
                }
            )
    return rows


def checked(measured: dict[str, Any], seconds: Sequence[float], costs: dict[str, list[float]]) -> float:
    """Return the simulated time over the measured time of a search that was done."""
    workers = measured["workers"]
    durations = [seconds[(workers + place) % len(seconds)] / _shortened(seconds) for place in range(TRIALS)]
    lag = _lag(max(WORKERS))
    run = simulate(durations, workers=workers, lag=lag, choose=_at(costs, "choose"), write=_at(costs, "write"))
    return round(run.seconds / measured["seconds"], 3)


@dataclass(frozen=True)
class Run:
    """A simulated search: how long it took, and how long its driver had something to do."""

    seconds: float
    driver_seconds: float


def simulate(
    durations: Sequence[float],
    *,
    workers: int,
    lag: int,
    choose: Callable[[int], float],
    write: Callable[[int], float],
) -> Run:
    """Return what became of a search, event by event, as `edgefm.searching.driver.drive` does it.

    Args:
      durations: of its trials, in seconds.
      workers: trials at a time.
      lag: a trial begins when all those so many places before it have ended.
      choose: seconds of the driver for choosing a trial, by the number of trials before it.
      write: the same for writing it.
    """
    now, driver, first_running = 0.0, 0.0, 0
    running: list[tuple[float, int]] = []
    ended: set[int] = set()
    index = 0
    while len(ended) < len(durations):
        while index < len(durations) and len(running) < workers and index - lag < first_running:
            cost = choose(index) + write(index)
            now, driver = now + cost, driver + cost
            heapq.heappush(running, (now + durations[index], index))
            index += 1
        done, place = heapq.heappop(running)
        now = max(now, done)
        ended.add(place)
        while first_running in ended:
            first_running += 1
    return Run(seconds=now, driver_seconds=driver)


def _shortened(seconds: Sequence[float]) -> float:
    return sum(seconds) / len(seconds) / MEAN_SLEEP


def _at(costs: dict[str, list[float]], name: str) -> Callable[[int], float]:
    return lambda trials: float(np.interp(trials, costs["trials"], costs[name]))


def _lag(workers: int) -> int:
    return max(LAG, AHEAD * workers)


if __name__ == "__main__":
    main()
