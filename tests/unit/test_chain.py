from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgefm.compression.fine_tuning.task import Task
from edgefm.data.preprocessing import preprocessing
from edgefm.data.quality import quality
from edgefm.quantization.chain import FUNCTIONS, Chain
from edgefm.recipes import Cluster, FineTuning, Prune
from tests.fixtures import counted_passes
from tests.fixtures.small_data import small_fashion_mnist

TUNING = FineTuning(epochs=1, distillation=None)
PRUNE = Prune(fine_tuning=TUNING)
CLUSTER = Cluster(fine_tuning=TUNING)


@pytest.fixture(autouse=True)
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    for kind in FUNCTIONS:
        monkeypatch.setitem(FUNCTIONS, kind, "tests.fixtures.counted_passes:counted")
    counted_passes.calls.clear()
    counted_passes.fail_at.clear()
    yield counted_passes.calls


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    import keras

    dataset = small_fashion_mnist(train=20, validation=10, test=10)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="dense")])
    task = Task(dataset=dataset, encoding=preprocessing((0, 255)), quality=quality("accuracy", task="classification"))
    return Chain(model=model, key="0", task=task, folder=tmp_path / "passes", seed=3)


def test_finished_passes_are_not_done_again(chain: Chain, counted: list[str]) -> None:
    first = chain.run((PRUNE, CLUSTER))
    again = chain.run((PRUNE, CLUSTER))
    assert counted == ["prune", "cluster"]
    assert [link.cached for link in first] == [False, False] and [link.cached for link in again] == [True, True]
    assert [link.key for link in first] == [link.key for link in again]
    assert again[1].facts == {"seed": 3} and again[1].history == ({"epoch": 1, "loss": 0.5},)
    scaled = np.asarray(chain.model.get_weights()[0]) * 4
    np.testing.assert_allclose(again[1].load().get_weights()[0], scaled)


def test_changing_a_recipe_redoes_what_depends_on_it(chain: Chain, counted: list[str]) -> None:
    chain.run((PRUNE, CLUSTER))
    chain.run((PRUNE, replace(CLUSTER, clusters=8)))
    assert counted == ["prune", "cluster", "cluster"]
    chain.run((replace(PRUNE, sparsity=0.5), CLUSTER))
    assert counted == ["prune", "cluster", "cluster", "prune", "cluster"]


def test_other_seed_data_or_model_is_other_work(chain: Chain, counted: list[str]) -> None:
    chain.run((PRUNE,))
    dataset = replace(chain.task.dataset, sha256="other")
    for other in (
        replace(chain, seed=4),
        replace(chain, key="1"),
        replace(chain, task=replace(chain.task, dataset=dataset)),
    ):
        other.run((PRUNE,))
    assert len(counted) == 4


def test_stopped_run_goes_on_behind_the_last_finished_pass(chain: Chain, counted: list[str]) -> None:
    counted_passes.fail_at.append("cluster")
    with pytest.raises(KeyboardInterrupt):
        chain.run((PRUNE, CLUSTER))
    assert len(list(chain.folder.iterdir())) == 1
    counted_passes.fail_at.clear()
    chain.run((PRUNE, CLUSTER))
    assert counted == ["prune", "cluster", "cluster"]


@pytest.mark.parametrize("name", ["model.keras", "pass.json"])
def test_damaged_result_is_done_again(chain: Chain, counted: list[str], name: str) -> None:
    link = chain.run((PRUNE,))[0]
    path = link.folder / name
    path.write_bytes(path.read_bytes()[:-7])
    assert not chain.run((PRUNE,))[0].cached
    assert counted == ["prune", "prune"]


def test_half_written_result_is_done_again(chain: Chain, counted: list[str]) -> None:
    link = chain.run((PRUNE,))[0]
    link.folder.rename(link.folder.with_name(f"{link.folder.name}.partial"))
    assert not chain.run((PRUNE,))[0].cached
    assert [path.suffix for path in chain.folder.iterdir()] == [""]
