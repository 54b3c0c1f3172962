"""Kills the driver of a search 50 times, and counts the trials that were lost or counted twice.

Run: python -m benchmarks.search_kills [--kills 50]. Trials cost nothing but a moment: it takes three minutes.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path

from benchmarks.recorded import write_result
from tests.fixtures.killed_search import finished_in_journal, killed
from tests.fixtures.search_driver import searched

NAME = "search_kills"


def main() -> None:
    """Write results/search_kills.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--trials", type=int, default=150)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edgefm-kills-") as name:
        calm, folder = Path(name) / "calm", Path(name) / "killed"
        kills = killed(folder, trials=arguments.trials, kills=arguments.kills, seed=0)
        reached = max(finished_in_journal(folder), default=-1) + 1
        trials = searched(folder, trials=arguments.trials, resume=True)
        undisturbed = searched(calm, trials=arguments.trials)
        counts = Counter(finished_in_journal(folder))
    figures = {
        "kills": kills,
        "trials": arguments.trials,
        "trials_before_last_kill": reached,
        "lost": sum(index not in counts for index in range(arguments.trials)),
        "double": sum(count > 1 for count in counts.values()),
        "same_as_undisturbed": [(t.index, t.params, t.costs) for t in trials]
        == [(t.index, t.params, t.costs) for t in undisturbed],
    }
    print(figures)
    write_result(NAME, what="a search whose driver is killed", command=f"python -m benchmarks.{NAME}", figures=figures)


if __name__ == "__main__":
    main()
