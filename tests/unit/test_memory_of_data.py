"""What reading and dividing data takes of the memory, as tracemalloc counts it, beside their own size by hand."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgefm.core import container
from edgefm.core.errors import DataError
from edgefm.data.dataset import Dataset, Split
from edgefm.data.own import cut
from edgefm.data.own.load import load_data
from edgefm.jobs.explain import cross_validation
from edgefm.jobs.explain.leakage import FoldRecipe
from edgefm.keras_graph.backend import BackendDevice
from edgefm.recipes import Training
from tests.fixtures.notes import Notes

SHAPE = (80, 100, 3)
COUNT = 2 * 300
BYTES = COUNT * 80 * 100 * 3


def peak(call: Callable[[], Any]) -> int:
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def folders(folder: Path, count: int) -> str:
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            level = index % 256
            Image.new("RGB", (5, 4), (level, index // 256, len(name + str(name == "cat")))).save(
                folder / name / f"{index:04d}.png"
            )
    return str(folder)


def test_a_folder_of_pictures_is_held_once_while_it_is_cut(tmp_path: Path) -> None:
    where = folders(tmp_path / "pictures", COUNT // 2)
    load_data(where, input_shape=(4, 5, 3))  # what is imported does not count
    # The two splits that are cut, a tenth each, stand beside what the whole took.
    assert peak(lambda: load_data(where, input_shape=SHAPE)) < 1.4 * BYTES


def test_a_file_of_arrays_is_cut_as_the_same_arrays_in_memory_are(tmp_path: Path, monkeypatch: Any) -> None:
    """Those in memory belong to somebody else: they stay as they were."""
    x = np.random.default_rng(1).integers(0, 256, (900, 3, 3, 1), dtype=np.uint8)
    y = np.arange(900) % 3
    np.savez(tmp_path / "own.npz", x=x, y=y)
    np.savez(tmp_path / "given.npz", x=x, y=y)
    (tmp_path / "memory_given.py").write_text(
        "import numpy\nwith numpy.load('given.npz') as file:\n    x, y = file['x'], file['y']\n"
        "def data():\n    return {'x': x, 'y': y}\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(cut, "_BLOCK_BYTES", 100)  # of 11 samples: many blocks
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    from_file = load_data("own.npz", input_shape=None)
    from_memory = load_data("memory_given:data", input_shape=None)
    assert from_file.sha256 == from_memory.sha256
    import memory_given  # type: ignore[import-not-found]

    np.testing.assert_array_equal(memory_given.x, x)
    kept = {image.tobytes() for split in from_file.splits for image in split.images}
    assert kept == {image.tobytes() for image in x}
    assert [len(split) for split in from_file.splits] == [720, 90, 90]


def test_pictures_that_do_not_fit_are_refused_before_one_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = folders(tmp_path / "pictures", 3)
    for path in Path(where).rglob("*.png"):
        path.write_bytes(b"no picture")
    monkeypatch.setattr(container, "free_memory_bytes", lambda: 6 * 100 * 100 * 3 - 1)
    with pytest.raises(
        DataError, match=r"6 pictures of .* at 100 x 100 x 3 take 0\.2 MB of memory; 0\.2 MB are free"
    ) as e:
        load_data(where, input_shape=(100, 100, 3))
    assert "smaller image size" in str(e.value.hint)


def test_pictures_that_take_most_of_the_memory_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = folders(tmp_path / "pictures", 5)
    wanted = 10 * 100 * 100 * 3
    for free, told in ((2 * wanted - 1, True), (2 * wanted, False)):
        monkeypatch.setattr(container, "free_memory_bytes", lambda free=free: free)
        notes = Notes()
        load_data(where, input_shape=(100, 100, 3), progress=notes)
        assert any("holds them twice" in note for note in notes.notes) is told


def test_folds_copy_the_pictures_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loaded set is divided without a second whole of it: a fold's training and held-out images are one set."""
    images = np.random.default_rng(0).integers(0, 256, (COUNT, *SHAPE), dtype=np.uint8)
    labels = np.arange(COUNT) % 2
    border = COUNT - 60
    parts = [
        Split(name=name, images=images[some], labels=labels[some])
        for name, some in (("train", slice(border)), ("validation", slice(border, COUNT)), ("test", slice(4)))
    ]
    dataset = Dataset(name="d", labels=("a", "b"), train=parts[0], validation=parts[1], test=parts[2], sha256="0" * 64)
    seen = []

    def trained(part: Dataset, *_: Any, **__: Any) -> Any:
        seen.append((part.train.images.copy(), part.validation.images.copy()) if len(seen) < 1 else None)
        return np.tile(np.float32([0.5, 0.5]), (len(part.validation), 1))

    monkeypatch.setattr(cross_validation, "_trained", trained)

    def divided(name: str) -> Any:
        return cross_validation.cross_validate(
            tmp_path / name,
            FoldRecipe(training=Training(epochs=1)),
            dataset,
            folds=3,
            seed=0,
            device=BackendDevice(backend="tensorflow", keras="3", name="CPU", kind="cpu", precision="float32"),
            named_in=None,
            inputs={},
            progress=Notes(),
        )

    found = divided("first")
    train, held = seen[0]
    np.testing.assert_array_equal(train, images[found.fold != 0])
    np.testing.assert_array_equal(held, images[found.fold == 0])
    assert peak(lambda: divided("second")) < 1.3 * BYTES
