"""`edgefm zoo reproduce s0_k_fold`: each fold trained, judged, kept and gone on with; no test image is touched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edgefm
from edgefm.core.errors import DataError, RunError
from edgefm.data.dataset import Dataset
from edgefm.data.folds import stratified_folds
from tests.fixtures.small_data import small_fashion_mnist

SETTINGS = {"seeds": 1, "epochs": 1, "rounds": 1, "progress": False}


@pytest.fixture(scope="module")
def small() -> Dataset:
    return small_fashion_mnist(train=300, validation=100, test=100)


@pytest.fixture(scope="module")
def done(small: Dataset, tmp_path_factory: pytest.TempPathFactory) -> edgefm.Reproduction:
    return edgefm.reproduce("s0_k_fold", data=small, out=tmp_path_factory.mktemp("zoo") / "out", **SETTINGS)


def _kept(done: edgefm.Reproduction) -> list[Path]:
    return sorted(done.folder.rglob("fold-?.npz"))


def test_each_fold_is_answered_by_a_network_that_did_not_see_it(done: edgefm.Reproduction, small: Dataset) -> None:
    """The oracle counts the kept answers anew, by scikit-learn's rules for folds."""
    (entry,) = done.record["experiments"]
    (trial,) = entry["trials"]
    (seed,) = trial["seeds"]
    labels = np.concatenate([small.train.labels, small.validation.labels])
    fold = stratified_folds(labels, 5, seed=0)
    answers = [np.load(path)["probabilities"].argmax(axis=1) for path in _kept(done)]
    assert len(answers) == 5 and seed["n"] == 400
    counted = [100 * (answers[index] == labels[fold == index]).mean() for index in range(5)]
    assert seed["accuracies"] == pytest.approx(counted)
    assert seed["mean"] == pytest.approx(np.mean(counted)) and seed["spread"] == pytest.approx(np.std(counted, ddof=1))
    assert trial["measured"]["validation"]["mean"] == pytest.approx(seed["mean"])


def test_test_images_are_not_touched(done: edgefm.Reproduction) -> None:
    (trial,) = done.record["experiments"][0]["trials"]
    assert trial["measured"]["test"] is None and trial["files"] == {} and done.record["latency"] is None
    assert not list(done.folder.rglob("*benchmark*"))


def test_page_shows_each_fold_mean_and_spread(done: edgefm.Reproduction) -> None:
    page = done.page.read_text(encoding="utf-8")
    section = page[page.index("### s0_k_fold") : page.index("### s0_grid_search")]
    (seed,) = done.record["experiments"][0]["trials"][0]["seeds"]
    for value in (*seed["accuracies"], seed["mean"], seed["spread"]):
        assert f"{value:.2f}" in section
    assert "fold 5" in section and "shortened" in section and "not yet recorded" not in section


def test_stopped_folds_go_on_where_they_were(done: edgefm.Reproduction, small: Dataset) -> None:
    first, *others = _kept(done)
    times = {path: path.stat().st_mtime_ns for path in others}
    first.unlink()  # as after a stop in a fold: its answers and the figures of all are missing
    (done.folder / "s0_k_fold" / "5-folds-of-enhanced-cnn" / "seed-0" / "cross_validation.json").unlink()
    again = edgefm.reproduce("s0_k_fold", data=small, out=done.folder, **SETTINGS)
    assert {path: path.stat().st_mtime_ns for path in others} == times and first.is_file()
    assert again.record["experiments"][0]["trials"] == done.record["experiments"][0]["trials"]
    # Once finished nothing is trained at all.
    before = first.stat().st_mtime_ns
    edgefm.reproduce("s0_k_fold", data=small, out=done.folder, **SETTINGS)
    assert first.stat().st_mtime_ns == before


def test_damaged_figures_are_named(done: edgefm.Reproduction, small: Dataset) -> None:
    path = done.folder / "s0_k_fold" / "5-folds-of-enhanced-cnn" / "seed-0" / "cross_validation.json"
    content = path.read_text(encoding="utf-8")
    try:
        for damaged in ("{", "{}", "[]"):
            path.write_text(damaged, encoding="utf-8")
            with pytest.raises(RunError, match=r"cross_validation\.json"):
                edgefm.reproduce("s0_k_fold", data=small, out=done.folder, **SETTINGS)
    finally:
        path.write_text(content, encoding="utf-8")


def test_class_with_fewer_images_than_folds_is_refused(tmp_path: Path) -> None:
    """Nine classes of 40 pictures, one of 3."""
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), [40] * 9 + [3])
    arrays: dict[str, np.ndarray] = {}
    for name, truth in (("train", labels), ("validation", np.arange(9)), ("test", np.arange(10))):
        arrays[f"x_{name}"] = generator.integers(0, 256, (len(truth), 28, 28), dtype=np.uint8)
        arrays[f"y_{name}"] = truth
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(DataError, match="5 folds need at least 5 different images of each class"):
        edgefm.reproduce("s0_k_fold", data=tmp_path / "data.npz", out=tmp_path / "out", **SETTINGS)
