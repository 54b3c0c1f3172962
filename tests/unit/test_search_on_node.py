"""What a node of a cluster keeps: no pass longer than the trial that wants it."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgefm.core import artefacts
from edgefm.searching.driver import Evaluate, Task
from edgefm.searching.executors import on_node
from edgefm.searching.executors.store import Store
from edgefm.searching.executors.work import Workplace
from edgefm.searching.trials import Outcome


@dataclass(frozen=True)
class _Work:
    """Trials that want a pass each; they say in a file where it was, and whether they did it."""

    told: Path

    def __call__(self, workplace: Workplace) -> Evaluate:
        def do(task: Task) -> Outcome:
            folder = workplace.kept / f"slim-{task.params['pass']}"
            with workplace.shelf(folder):
                done = not folder.exists()
                if done:
                    artefacts.write_bytes(folder / "model.keras", b"weights")
            with self.told.open("a") as file:
                file.write(f"{folder} {done} {(folder / 'model.keras').read_bytes().decode()}\n")
            return Outcome(stages=(), complete=False)

        return do


def test_node_keeps_passes_no_longer_than_a_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_node, "_work", {})
    store = str(tmp_path / "store")
    work = Store(store).put(pickle.dumps(_Work(tmp_path / "told")))
    for index, name in enumerate("aab"):
        answer = on_node.do(work, store, Task(index=index, params={"pass": name}))
        assert answer.error is None
        folder = Path((tmp_path / "told").read_text().splitlines()[-1].split()[0])
        assert folder.parent.is_dir() and not folder.exists()
    told = [line.split()[1:] for line in (tmp_path / "told").read_text().splitlines()]
    assert told == [["True", "weights"], ["False", "weights"], ["True", "weights"]], "the second comes from the store"
