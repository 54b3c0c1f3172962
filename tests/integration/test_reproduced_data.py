"""The pictures of the data that `edgefm zoo reproduce` makes for S2: what they show is what numpy says."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgefm.core.errors import RunError
from edgefm.core.progress import SILENT
from edgefm.data.dataset import Dataset, Split
from edgefm.jobs.reproduce import data_space, page
from edgefm.jobs.reproduce.plan import document_of
from tests.fixtures.small_data import small_fashion_mnist


@pytest.fixture(scope="module")
def small() -> Dataset:
    return small_fashion_mnist(train=900, validation=60, test=50)


@pytest.fixture(scope="module")
def folder(small: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("zoo")
    data_space.written(out, _first(small, 200), progress=SILENT)
    return out


def _first(dataset: Dataset, count: int) -> Dataset:
    train = Split(name="train", images=dataset.train.images[:count], labels=dataset.train.labels[:count])
    return dataclasses.replace(dataset, train=train)


def test_components_are_those_of_a_singular_value_decomposition(small: Dataset) -> None:
    facts, points = data_space.described(_first(small, 300), progress=SILENT)
    pixels = small.train.images[:300].reshape(300, -1) / 255.0
    pixels -= pixels.mean(axis=0)
    left, values, _ = np.linalg.svd(pixels, full_matrices=False)
    shares = values**2 / (values**2).sum()
    np.testing.assert_allclose(facts["shares"][:200], shares[:200], atol=2e-6)
    assert facts["needed"] == int((np.cumsum(shares) < 0.95).sum()) + 1
    assert facts["stated_share"] == pytest.approx(shares[:187].sum(), abs=2e-6)
    # The images lie where the decomposition puts them, in another order, up to the sign of a component.
    wanted = np.sort(np.abs(left[:, :2] * values[:2]), axis=0)
    np.testing.assert_allclose(np.sort(np.abs(points["pca"]), axis=0), wanted, atol=1e-6)
    assert len(points["pca"]) == len(points["pca_class"]) == facts["drawn"] == 300


def test_classes_are_counted_in_every_split(small: Dataset) -> None:
    facts, _ = data_space.described(_first(small, 120), progress=SILENT)
    for split in _first(small, 120).splits:
        assert facts["counts"][split.name] == [int((split.labels == label).sum()) for label in range(10)]


def test_pictures_are_light_and_show_something(folder: Path) -> None:
    for name in data_space.PICTURES:
        content = (folder / "data" / name).read_bytes()
        assert len(content) < 120_000
        image = np.asarray(Image.open(io.BytesIO(content)).convert("L"))
        assert image.shape[1] > 900 and (image < 200).mean() > 0.005


def test_made_once(folder: Path, small: Dataset) -> None:
    times = {path: path.stat().st_mtime_ns for path in (folder / "data").iterdir()}
    data_space.written(folder, _first(small, 200), progress=SILENT)
    assert {path: path.stat().st_mtime_ns for path in (folder / "data").iterdir()} == times


def test_too_few_images_for_t_sne_have_no_such_panel(small: Dataset, tmp_path: Path) -> None:
    data_space.written(tmp_path, _first(small, 12), progress=SILENT)
    facts = data_space.recorded(tmp_path)
    assert facts is not None and facts["perplexity"] is None and facts["embedded"] == 0 and facts["drawn"] == 12


def test_page_shows_the_pictures_where_they_lie(folder: Path) -> None:
    from edgefm.jobs.reproduce import page_data

    facts = data_space.recorded(folder)
    text = "\n".join(page_data.section(facts, page.PICTURES))
    for name in data_space.PICTURES:
        assert f"]({data_space.FOLDER}/{name})" in text and (folder / data_space.FOLDER / name).is_file()
    assert facts is not None and f"{facts['needed']} components keep 95 %" in text
    assert "zoo reproduce pca_dnn" in "\n".join(page_data.section(None, page.PICTURES))


def test_damaged_figures_are_named(small: Dataset, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for damaged in ("{", "[]", "{}"):
        (tmp_path / "data" / "data.json").write_text(damaged, encoding="utf-8")
        with pytest.raises(RunError, match=r"data\.json"):
            data_space.recorded(tmp_path)


@pytest.mark.parametrize(("name", "document"), [("pca_dnn", "S2"), ("s2_grid", "S2"), ("lenet5", "S1"), ("ann", "S3")])
def test_documents_of_systems_and_experiments(name: str, document: str) -> None:
    assert document_of(name) == document
