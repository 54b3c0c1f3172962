"""A whole search of a small model: real conversions and a real benchmark; passes are stand-ins that train nothing."""

from __future__ import annotations

import gzip
import importlib.metadata
import importlib.util
import itertools
import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest

import edgefm
from edgefm.cli.main import cli, run
from edgefm.core.errors import DataError, ModelError, TrainingDivergedError
from edgefm.core.progress import SILENT
from edgefm.data.dataset import Dataset
from edgefm.jobs import search as search_job
from edgefm.quantization.chain import FUNCTIONS
from edgefm.quantization.checks.given_model import given_model
from edgefm.recipes import BenchmarkProtocol
from edgefm.searching import finalists, search
from edgefm.searching.budget import SearchBudget
from edgefm.searching.evaluation import Evaluator, Trials
from edgefm.searching.executors import by_default
from edgefm.searching.executors.execution import Hands
from edgefm.searching.forecast import corners, impossible, nearest
from edgefm.searching.journal import SearchError
from edgefm.searching.on_targets.prediction import roughly
from edgefm.searching.space import Epochs, Space
from edgefm.searching.space import space as space_module
from tests.fixtures import counted_passes
from tests.fixtures.notes import Notes
from tests.fixtures.search_driver import latency
from tests.fixtures.small_data import small_fashion_mnist

ONCE = BenchmarkProtocol(rounds=1, rounds_at_most=1, repeats_at_most=0, round_seconds=0.01)
BUDGETS: dict[str, Any] = {
    "any": {"max_size_bytes": "1 MB", "max_accuracy_loss": 99},
    "never": {"max_size_bytes": "1 KB"},
}
SPACE = Space(groups={}, clusters=False, schemes=("int8_w8a8", "int8_w8a8_fc4"))


@cache
def _network() -> Any:
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Rescaling(1 / 255),
            layers.AveragePooling2D(4),
            layers.Flatten(),
            layers.Dense(16, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ],
        name="small",
    )


@pytest.fixture(scope="module")
def data() -> Dataset:
    return small_fashion_mnist(train=100, validation=50, test=40)


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Search a small space with stand-ins of passes and of the cost model; the names of the passes that were done."""
    for kind in FUNCTIONS:
        monkeypatch.setitem(FUNCTIONS, kind, "tests.fixtures.counted_passes:counted")
    monkeypatch.setattr(search, "space_of", lambda model: SPACE)
    monkeypatch.setattr(search_job, "_latency", lambda folder, progress: latency)
    monkeypatch.setattr(search_job, "_rough", lambda folder, budgets, progress: (None, {}))
    monkeypatch.setattr(by_default, "core_share", lambda: 1)  # stand-ins are in this process alone
    counted_passes.calls.clear()
    yield counted_passes.calls


def _search(folder: Path, data: Dataset, **options: Any) -> edgefm.SearchResult:
    asked: dict[str, Any] = {"trials": 3, "epochs": 1, "seeds": 2, "protocol": ONCE, "progress": False}
    return edgefm.search(_network(), BUDGETS, data=data, out=folder, **asked | options)


def test_search_gives_measured_files_and_answers_the_test_samples_once_at_the_end(
    quickly: list[str], data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured, search_in = finalists.measured, search.search_in
    looks: list[list[str]] = []

    def untouched(folder: Path, source: Any, *arguments: Any, **options: Any) -> Path:
        """Search with test samples that nothing can look at without failing."""
        hidden = replace(data, test=replace(data.test, images=_Untouchable(), labels=_Untouchable()))
        return search_in(folder, replace(source, task=replace(source.task, dataset=hidden)), *arguments, **options)

    def with_test_samples(files: Any, source: Any, *arguments: Any, **options: Any) -> Any:
        looks.append(list(files))
        return measured(files, replace(source, task=replace(source.task, dataset=data)), *arguments, **options)

    monkeypatch.setattr(search, "search_in", untouched)
    monkeypatch.setattr(finalists, "measured", with_test_samples)
    result = _search(tmp_path / "s", data)
    assert looks == [["float32", "int8_w8a8", "any", "never"]]
    assert result.met == {"any": True, "never": False} and not result.held
    assert "never: cannot be met: max_size_bytes is 1.0 KB, and the least of all files is " in result.lines[1]
    row = result.document["budgets"][0]["figures"]
    assert row["size_bytes"] == result.files["any"].stat().st_size and row["p50_us"] > 0
    assert len(result.document["finalists"][0]["seeds"]) == 2
    assert (result.files["any"].parent / "contract.json").exists() and (result.folder / "front.png").exists()
    assert "met by any/model.tflite" in (result.folder / "result.md").read_text()
    live = (tmp_path / "s" / "live.html").read_text()
    assert "The search has ended" in live and 'http-equiv="refresh"' not in live
    links = [unquote(link) for link in re.findall(r'<a href="([^"]+)"', live)]
    assert links == ["result/models/any/model.tflite", "result/models/never/model.tflite", "result/result.md"]
    assert all((tmp_path / "s" / link).is_file() for link in links)
    record = json.loads((result.folder / "benchmark" / "record.json").read_text())
    rows = {one["name"]: one["quality"]["value"] for one in record["models"]}
    assert row["accuracy_loss"] == pytest.approx(100 * (rows["float32"] - rows["any"]), abs=1e-3)

    done = len(quickly)
    _search(tmp_path / "s", data, resume=True)
    assert len(quickly) == done and len(looks) == 1  # nothing is left to do
    monkeypatch.setattr(Hands, "lag", 16)  # of a machine with more cores
    longer = _search(tmp_path / "s", data, resume=True, trials=5).document
    assert len(longer["front"]) >= 1 and longer["identity"]["lag"] == 4, "it goes on as it was begun"
    assert len(looks) == 2


def test_finalist_with_a_seed_that_fails_is_neither_trained_nor_measured_again(
    quickly: list[str], data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finalist, tried = Trials._finalist, []

    def diverging(self: Trials, params: Any, seed: int) -> Any:
        tried.append(seed)
        if seed == 2:
            raise TrainingDivergedError("the loss became NaN")
        return finalist(self, params, seed)

    monkeypatch.setattr(Trials, "_finalist", diverging)
    first = _search(tmp_path / "s", data, trials=1)
    assert [one["seed"] for one in first.document["finalists"][0]["seeds"]] == [1] and tried == [1, 2]
    again = _search(tmp_path / "s", data, trials=1, resume=True)
    assert tried == [1, 2] and again.document == first.document
    _search(tmp_path / "s", data, trials=1, resume=True, seeds=3)
    assert tried == [1, 2, 1, 2, 3]


def test_search_that_goes_on_by_another_measure_or_value_range_is_refused(
    quickly: list[str], data: Dataset, tmp_path: Path
) -> None:
    first = _search(tmp_path / "s", data, trials=1, seeds=0)
    for changed, differs in (
        ({"quality": "top5"}, r'quality \("accuracy", now "top5"\)'),
        ({"value_range": (0, 1)}, r"value_range \(\[0.0, 255.0\], now \[0.0, 1.0\]\)"),
    ):
        with pytest.raises(SearchError, match=rf"holds another search: it differs in {differs}"):
            _search(tmp_path / "s", data, trials=2, seeds=0, resume=True, **changed)
    again = _search(tmp_path / "s", data, trials=1, seeds=0, resume=True, quality="accuracy", value_range=(0, 255))
    assert again.document == first.document


def test_search_that_goes_on_with_another_optuna_is_refused_with_both_versions(
    quickly: list[str], data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, installed = importlib.metadata.version, importlib.metadata.version("optuna")
    _search(tmp_path / "s", data, trials=1, seeds=0)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "99.1" if name == "optuna" else real(name))
    with pytest.raises(SearchError, match=rf'differs in optuna \("{re.escape(installed)}", now "99.1"\)'):
        _search(tmp_path / "s", data, trials=2, seeds=0, resume=True)


def test_search_that_goes_on_with_other_libraries_says_which_and_keeps_those_it_was_begun_with(
    quickly: list[str], data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, same, other = importlib.metadata.version, Notes(), Notes()
    _search(tmp_path / "s", data, trials=1, seeds=0)
    begun = json.loads((tmp_path / "s" / "search.json").read_text())["versions"]
    assert begun == {name: real(name) for name in ("edgefm", "tensorflow", "keras", "ai-edge-litert")}
    _search(tmp_path / "s", data, trials=1, seeds=0, resume=True, progress=same)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "99.1" if name == "keras" else real(name))
    result = _search(tmp_path / "s", data, trials=2, seeds=0, resume=True, progress=other)
    assert result.document["trials"]["ended"] == 2 and result.document["identity"]["versions"] == begun
    said = f"this search was begun with keras {begun['keras']} (now 99.1): what is tried from now on"
    assert [note.startswith(said) for note in other.notes if "was begun with" in note] == [True]
    assert not [note for note in same.notes if "was begun with" in note]


def test_longer_search_that_is_stopped_before_its_result_makes_it_when_it_is_resumed(
    quickly: list[str], data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _search(tmp_path / "s", data, trials=1, seeds=0)

    def stopped(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(search, "trained", stopped)
        _search(tmp_path / "s", data, trials=2, seeds=0, resume=True)
    again = _search(tmp_path / "s", data, trials=2, seeds=0, resume=True)
    assert (first.document["trials"]["ended"], again.document["trials"]["ended"]) == (1, 2)


def test_budget_that_nothing_can_meet_is_raised_in_the_same_folder(
    quickly: list[str], data: Dataset, tmp_path: Path
) -> None:
    asked: dict[str, Any] = {"data": data, "out": tmp_path / "s", "trials": 1, "epochs": 1, "seeds": 0}
    with pytest.raises(SearchError, match="cannot be met"):
        edgefm.search(_network(), {"any": {"max_size_bytes": "1 KB"}}, protocol=ONCE, progress=False, **asked)
    raised = edgefm.search(_network(), {"any": {"max_size_bytes": "1 MB"}}, protocol=ONCE, progress=False, **asked)
    assert raised.document["trials"]["ended"] == 1


class _Untouchable:
    """Samples that nobody may look at, only count."""

    def __len__(self) -> int:
        return 40

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the test samples were looked at: {name}")

    def __getitem__(self, key: Any) -> Any:
        raise AssertionError("the test samples were looked at")


def test_command_says_within_seconds_that_no_budget_can_be_met(
    quickly: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(folder: Path, progress: Any) -> Any:
        raise AssertionError("the cost model takes minutes: sizes are looked at before")

    def unasked(source: Any, **options: Any) -> Any:
        raise AssertionError("answers of a large model to all samples take minutes: sizes are looked at before")

    monkeypatch.setattr(search_job, "_latency", never)
    monkeypatch.setattr(search, "given_model", unasked)
    monkeypatch.chdir(tmp_path)
    _network().save("m.keras")
    np.savez("data.npz", **_arrays())
    Path("budget.toml").write_text('[mcu]\nmax_download_bytes = "100 B"\nmax_p50_ratio = 0.5\n')
    assert run(lambda: cli.main(["search", "m.keras", "--data", "data.npz"], standalone_mode=False)) == 2
    said = capsys.readouterr().err
    assert "budget mcu cannot be met: max_download_bytes is 0.1 KB, and the least of all files is" in said
    assert "(int8_w8a8_fc4)" in said and "nothing was trained" in said


def test_p50_that_nothing_reaches_is_refused_before_the_cost_model_is_measured(
    quickly: list[str], data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEFM_CACHE_DIR", str(tmp_path / "nothing is kept here"))
    measured: list[Any] = []

    def once(folder: Path, budgets: Any, progress: Any) -> Any:
        measured[:] = measured or [roughly(folder, budgets)]
        return measured[0]

    def never(folder: Path, progress: Any) -> Any:
        raise _CostModelNeededError

    monkeypatch.setattr(search_job, "_latency", never)
    monkeypatch.setattr(search_job, "_rough", once)

    def ask(limits: dict[str, Any]) -> None:
        edgefm.search(_network(), {"phone": limits}, data=data, out=tmp_path / "s", trials=1, seeds=0, progress=False)

    least = "and the least of all files is at least"
    with pytest.raises(SearchError, match=rf"max_p50_ratio is 0.001, {least} 0\.\d+ \(int8_w8a8") as error:
        ask({"max_p50_ratio": 0.001})
    assert "nothing was trained" in str(error.value) and len(measured) == 1
    with pytest.raises(SearchError, match=rf"max_p50_us is 0.01, {least} \d+\.\d+ \(int8_w8a8"):
        ask({"max_p50_us": 0.01, "target": "host"})
    for within_reach in ({"max_p50_ratio": 0.9}, {"max_p50_us": 1e6, "target": "host"}):
        with pytest.raises(_CostModelNeededError):
            ask(within_reach)
    assert not list(tmp_path.rglob("cost-models"))


class _CostModelNeededError(Exception):
    """The search goes on: nothing was refused before."""


def _arrays() -> dict[str, Any]:
    part = small_fashion_mnist(train=100, validation=50, test=40)
    return {"x_train": part.train.images, "y_train": part.train.labels, "x_test": part.test.images} | {
        "y_test": part.test.labels
    }


def test_stopped_command_says_how_to_go_on(
    quickly: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(counted_passes, "fail_at", ["prune"])  # Ctrl-C in the middle of a pass
    monkeypatch.setattr(search, "never_met", lambda *_, **__: {})
    _network().save("m.keras")
    np.savez("data.npz", **_arrays())
    Path("budget.toml").write_text("[phone]\nmax_p50_ratio = 2\n")
    assert run(lambda: cli.main(["search", "m.keras", "--data", "data.npz"], standalone_mode=False)) == 130
    said = capsys.readouterr().err
    assert "go on with: edgefm search runs/m --budget budget.toml --resume" in said and "stopped by the user" in said
    assert "how the search stands: runs/m/search/live.html" in said
    live = Path("runs/m/search/live.html").read_text()
    assert (
        re.search(r"The search was stopped: \d+ of at most \d+ trials ended", live)
        and 'http-equiv="refresh"' not in live
    )


@pytest.mark.parametrize(
    ("options", "error", "reason"),
    [
        ({"data": None}, edgefm.ArgumentError, "data is None"),
        ({"data": "gone.npz"}, DataError, "gone"),
        ({"trials": 0}, edgefm.EdgefmError, "trials 0 is not allowed"),
        ({"sampler": "tpes"}, edgefm.EdgefmError, "did you mean 'tpe'"),
        ({"time_limit": "soon"}, edgefm.EdgefmError, "a time limit of soon is not allowed"),
        ({"executor": "rays"}, edgefm.EdgefmError, "did you mean 'ray'"),
        ({"address": "auto"}, edgefm.EdgefmError, "address is given, and the executor is 'local'"),
        ({"storage": "sqlite:///a.db"}, edgefm.EdgefmError, "the storage's address has not the form postgresql://"),
        ({"resume": True}, SearchError, "holds no search to go on with"),
    ],
)
def test_search_refuses_what_it_cannot_do(
    options: dict[str, Any], error: type[Exception], reason: str, quickly: list[str], data: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(error, match=reason):
        _search(tmp_path / "s", **{"data": data, **options})


def test_limit_of_points_is_refused_where_quality_has_none(quickly: list[str], tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    inputs, targets = 255 * random.random((60, 28, 28, 1), np.float32), random.random((60, 10), np.float32)
    numbers = edgefm.data.from_arrays(inputs, targets, task="regression")
    with pytest.raises(SearchError, match="max_accuracy_loss of any is in percentage points; mse has none"):
        _search(tmp_path, numbers, head="logits")


def test_loss_of_numbers_is_in_their_measure_everywhere(quickly: list[str], tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    inputs = 255 * random.random((60, 28, 28, 1), np.float32)
    numbers = edgefm.data.from_arrays(inputs, random.random((60, 10), np.float32) / 100, task="regression")
    folder, sizes = tmp_path / "a b \u00e9", {"any": {"max_size_bytes": "1 MB"}}
    asked: dict[str, Any] = {"data": numbers, "head": "logits", "out": folder, "protocol": ONCE, "progress": False}
    result = edgefm.search(_network(), sizes, trials=1, epochs=1, seeds=1, **asked)
    assert result.document["loss_unit"] == "mse" and result.document["volume"] is None
    row = result.document["budgets"][0]["figures"]
    record = json.loads((result.folder / "benchmark" / "record.json").read_text())
    rows = {one["name"]: one["quality"]["value"] for one in record["models"]}
    assert row["accuracy_loss"] == rows["any"] - rows["float32"] != 0
    texts = (folder / "live.html", result.folder / "result.md")
    for text in (*(path.read_text() for path in texts), result._repr_html_()):
        assert "loss (mse)" in text and "points" not in text
    assert f"{row['accuracy_loss']:.4g}" in texts[1].read_text()


def test_tflite_file_is_refused_since_nothing_can_be_trained(data: Dataset, tmp_path: Path) -> None:
    files = edgefm.quantize(_network(), "float32", data=data, progress=False)
    with pytest.raises(ModelError, match="holds no Keras model to train"):
        edgefm.search(files["float32"].path, BUDGETS, data=data, out=tmp_path / "s", progress=False)


def test_forecast_that_is_none_is_named(quickly: list[str], data: Dataset, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"data": data, "out": tmp_path / "s", "progress": False}
    with pytest.raises(SearchError):
        edgefm.search(_network(), {"never": {"max_size_bytes": 1}}, **asked)
    (tmp_path / "s" / "forecast.json").write_text('{"smallest": 3}')
    with pytest.raises(SearchError, match=r"forecast\.json is no forecast of a search\n.*Remove it"):
        edgefm.search(_network(), {"never": {"max_size_bytes": 1}}, resume=True, **asked)


def test_p50_is_called_impossible_only_below_the_interval_of_the_cost_model(
    quickly: list[str], data: Dataset, tmp_path: Path
) -> None:
    wanted = {"near": {"max_p50_ratio": 0.85}, "never": {"max_p50_ratio": 0.8}}
    asked: dict[str, Any] = {"trials": 1, "epochs": 1, "seeds": 0, "protocol": ONCE, "progress": False}
    result = edgefm.search(_network(), wanted, data=data, out=tmp_path / "s", **asked)
    near, never = (entry["impossible"] for entry in result.document["budgets"])
    # All have the reference's MACs: their ratio is 1; both times may be a tenth less or more: 0.9 / 1.1 at least.
    assert near is None
    assert "max_p50_ratio is 0.800, and the least of all files is at least 0.818 (" in never
    assert result.document["front"][0]["figures"]["p50_ratio"] == pytest.approx(1)


def test_what_this_machine_tells_is_said_before_a_board_is_measured(
    quickly: list[str], data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("measuring the board takes minutes")

    monkeypatch.setattr(search, "check_reachable", lambda folder, addresses: None)
    monkeypatch.setattr(search, "of_targets", never)
    wanted = {
        "here": {"max_p50_ratio": 0.1},
        "board": {"max_p50_us": 900, "target": "ssh://pi@board", "max_size_bytes": "1 KB"},
    }
    with pytest.raises(SearchError, match=r"budget here cannot be met: max_p50_ratio .*; budget board cannot be met"):
        edgefm.search(_network(), wanted, data=data, out=tmp_path / "s", progress=False)


def test_nearest_file_is_the_nearest_of_the_whole_space_as_it_is_built(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(space_module, "_SPARSITIES", (0.0, 0.9))
    space = Space(clusters=False, schemes=("int8_w8a8", "qat_int8"))
    task = {"data": data, "quality": None, "labels": None, "value_range": None, "head": "auto", "trust": False}
    source = search_job._source(_network(), seed=0, progress=SILENT, **task)
    given = partial(given_model, source)
    evaluator = Evaluator(source, space, given=given, kept=tmp_path / "passes", latency=lambda: latency)
    built: dict[str, tuple[int, int]] = {}
    for zeros, scheme in itertools.product((0.0, 0.9), space.schemes):
        point = {"sparsity": zeros, "scheme": scheme}
        path = tmp_path / "model.tflite"
        path.write_bytes(evaluator.made(space.variant(point, Epochs.of(0), name="smallest")).content)
        with zipfile.ZipFile(tmp_path / "model.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            archive.write(path)
        # gzip has ten bytes before what zip has deflated, and eight behind.
        built[space.words(point)] = path.stat().st_size, archive.infolist()[0].compress_size + 18
    smallest = [corner for corner, _ in corners(evaluator)]
    size, download = (min(costs[place] for costs in built.values()) for place in (0, 1))
    for limits in ((size - 1, 1e6), (1e6, download * 0.9), (size / 2, download / 2), (size / 3, download / 2)):
        budget = SearchBudget(name="b", limits={"max_size_bytes": limits[0], "max_download_bytes": limits[1]})
        chosen = nearest(budget, smallest, space)
        excess = {
            words: max(0.0, *(cost / limit - 1 for cost, limit in zip(costs, limits, strict=True)))
            for words, costs in built.items()
        }
        assert excess[space.words(chosen.point)] == min(excess.values())
        assert (chosen.figures["size_bytes"], chosen.figures["download_bytes"]) == built[space.words(chosen.point)]
        assert list(impossible([budget], smallest, space)) == ["b"]
    # Zeros give a file of quantisation-aware training one scale a kernel: it is the smallest of all.
    kept = SearchBudget(name="b", limits={"max_size_bytes": float(size)})
    assert not impossible([kept], smallest, space) and built["90 % zeros; qat_int8"][0] == size
    assert size < min(costs[0] for words, costs in built.items() if "int8_w8a8" in words)


def test_least_download_of_the_forecast_is_that_of_any_file_of_zeros_and_levels(data: Dataset, tmp_path: Path) -> None:
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    convolutions = [layers.Conv2D(channels, 3, strides=2, activation="relu") for channels in (16, 32, 64)]
    head = [layers.GlobalAveragePooling2D(), layers.Dense(10, activation="softmax")]
    model = keras.Sequential([keras.Input((28, 28, 1)), layers.Rescaling(1 / 255), *convolutions, *head], name="conv")
    space = Space(schemes=("int8_w8a8", "qat_int8"))
    task = {"data": data, "quality": None, "labels": None, "value_range": None, "head": "auto", "trust": False}
    source = search_job._source(model, seed=0, progress=SILENT, **task)
    kept = tmp_path / "passes"
    evaluator = Evaluator(source, space, given=partial(given_model, source), kept=kept, latency=lambda: latency)
    least = min(corner.figures["download_bytes"] or 0 for corner, _ in corners(evaluator))
    for scheme in space.schemes:
        variant = space.variant({"sparsity": 0.9, "clusters": 8, "scheme": scheme}, Epochs.of(0), name="smallest")
        assert len(gzip.compress(evaluator.made(variant).content, 9)) >= least


@pytest.mark.skipif(importlib.util.find_spec("tflite_micro") is None, reason="tflite_micro is not installed")
def test_file_that_tflite_micro_does_not_run_is_not_proposed_where_the_arena_is_limited(
    quickly: list[str], data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = Space(groups={}, sparsity=False, clusters=False, schemes=("int8_w8a8_fc4", "int8_w8a8"))
    monkeypatch.setattr(search, "space_of", lambda model: both)
    wanted = {"mcu": {"max_arena_bytes": "1 MB"}}
    result = edgefm.search(
        _network(), wanted, data=data, out=tmp_path / "s", trials=2, epochs=1, seeds=1, protocol=ONCE, progress=False
    )
    tried = {
        one["words"]: one["figures"]["arena_bytes"] for name in ("front", "others") for one in result.document[name]
    }
    assert tried["int8_w8a8_fc4"] is None and 0 < tried["int8_w8a8"] < 1e6
    assert result.document["finalists"][0]["words"] == "int8_w8a8" and result.met["mcu"]


def test_quality_that_is_no_number_fails_the_trial_with_the_reason(
    quickly: list[str], data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = Evaluator.__init__

    def without_quality(self: Evaluator, *given: Any, **options: Any) -> None:
        begin(self, *given, **options)
        self._task = replace(self._task, quality=replace(self._task.quality, function=lambda *both: float("nan")))

    monkeypatch.setattr(Evaluator, "__init__", without_quality)
    with pytest.raises(SearchError, match="all 2 trials failed, the last one: its accuracy on validation"):
        _search(tmp_path / "s", data, trials=2, seeds=0)
    assert "on validation samples is nan" in (tmp_path / "s" / "journal.log").read_text()


def test_own_measure_without_a_number_fails_the_trial_and_the_search_goes_on(
    quickly: list[str], data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "measures_of_a_search.py").write_text(
        "answers = [0.5, float('nan'), None, 0.4, 0.3]\n"
        "def share(outputs, targets):\n"
        "    value = answers.pop(0) if answers else 0.5\n"
        "    return 1 / 0 if value is None else value\n"
        "share.unit = '%'\n"
    )
    monkeypatch.chdir(tmp_path)
    result = _search(tmp_path / "s", data, trials=4, seeds=0, quality="measures_of_a_search:share")
    figures = [one["figures"]["accuracy_loss"] for name in ("front", "others") for one in result.document[name]]
    assert sorted(figures) == pytest.approx([10, 20])
    journal = (tmp_path / "s" / "journal.log").read_text()
    assert "share gave nan" in journal and "share raised ZeroDivisionError" in journal


def test_own_measure_that_raises_fails_the_trial_and_the_search_goes_on(
    quickly: list[str], data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "measures_that_raise.py").write_text(
        "calls = []\n"
        "def second(outputs, targets):\n"
        "    calls.append(targets)\n"
        "    return {}['a class'] if len(calls) == 2 else 0.5\n"
        "def floats(outputs, targets):\n"
        "    if ((256 * outputs[0]) % 1 == 0).all():\n"
        "        raise ValueError('these are scores of int8')\n"
        "    return 0.5\n"
        "second.unit = floats.unit = '%'\n"
    )
    monkeypatch.chdir(tmp_path)
    result = _search(tmp_path / "s", data, trials=3, seeds=0, quality="measures_that_raise:second")
    assert (result.document["trials"]["ended"], result.document["trials"]["failed"]) == (3, 1)
    assert "measures_that_raise:second raised KeyError: 'a class'" in (tmp_path / "s" / "journal.log").read_text()
    for resume in (False, True):
        with pytest.raises(
            SearchError, match=r"all 2 trials failed, the last one: the .* ValueError: these are scores"
        ):
            _search(tmp_path / "n", data, trials=2, seeds=0, resume=resume, quality="measures_that_raise:floats")
