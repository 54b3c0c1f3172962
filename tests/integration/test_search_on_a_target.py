"""A search whose budget limits the p50 on a board: a real sshd, which is stopped in the middle."""

from __future__ import annotations

import functools
import json
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgefm
from edgefm.cli.main import cli, run
from edgefm.core.documents import check_schema
from edgefm.jobs import search as search_job
from edgefm.profiling import cost_model
from edgefm.profiling.cost_model import CostModel, build
from edgefm.profiling.cost_model.grid import shapes
from edgefm.quantization.chain import FUNCTIONS
from edgefm.searching import search
from edgefm.searching.driver import drive
from edgefm.searching.journal import SearchError
from edgefm.searching.on_targets import prediction
from edgefm.searching.on_targets.prediction import roughly
from edgefm.searching.space import Space
from tests.fixtures import counted_passes, ssh_server
from tests.fixtures.protocols import ONCE
from tests.fixtures.search_driver import latency
from tests.fixtures.small_data import small_fashion_mnist
from tests.fixtures.ssh_server import Server

pytestmark = pytest.mark.skipif(ssh_server.program() is None, reason="sshd is not installed")
SPACE = Space(groups={}, clusters=False, schemes=("int8_w8a8", "int8_w8a8_fc4"))
# As a board it is the host again: what is looked at is which figures there are, and what is done without it.
MADE: dict[str, Any] = {"trials": 2, "epochs": 1, "seeds": 1, "workers": 1, "protocol": ONCE, "progress": False}


@pytest.fixture(scope="module")
def model() -> Any:
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    stack = [layers.Rescaling(1 / 255), layers.AveragePooling2D(4), layers.Flatten(), layers.Dense(10)]
    return keras.Sequential([keras.Input((28, 28, 1)), *stack], name="small")


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Search a small space with stand-ins of passes, and with cost models of few operators, each timed once."""
    for kind in FUNCTIONS:
        monkeypatch.setitem(FUNCTIONS, kind, "tests.fixtures.counted_passes:counted")
    monkeypatch.setattr(search, "space_of", lambda model: SPACE)
    monkeypatch.setattr(search_job, "_latency", lambda folder, progress: latency)
    monkeypatch.setattr(search_job, "_rough", lambda folder, budgets, progress: (None, {}))
    _few_operators(monkeypatch)
    counted_passes.calls.clear()
    yield counted_passes.calls


def _few_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["edgefm.profiling.cost_model.build"]
    once = replace(module._TURNS, rounds=1)
    monkeypatch.setattr(module, "_TURNS", once)
    monkeypatch.setattr(module, "_NETWORK_TURNS", once)
    few = [next(one for one in shapes(share=0.05) if one.group == group) for group in KINDS]
    monkeypatch.setattr(module.grid, "shapes", lambda **options: few)
    for place in (prediction, cost_model):
        monkeypatch.setattr(place, "build", functools.partial(build, network_count=2))


KINDS = ("FULLY_CONNECTED int8", "AVERAGE_POOL_2D int8", "SOFTMAX int8", "CONV_2D float32")


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with ssh_server.serving(tmp_path_factory.mktemp("sshd"), environment={"PATH": os.environ["PATH"]}) as serving:
        monkeypatch.setenv("EDGEFM_SSH_OPTIONS", serving.options)
        monkeypatch.setenv("EDGEFM_SSH_PYTHON", sys.executable)
        yield serving


def test_p50_that_nothing_reaches_on_a_board_is_refused_before_its_cost_model_is_measured(
    quickly: list[str], model: Any, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(folder: Path, progress: Any) -> Any:
        raise AssertionError("the cost model takes minutes")

    monkeypatch.setattr(search_job, "_latency", never)
    monkeypatch.setattr(search_job, "_rough", lambda folder, budgets, progress: roughly(folder, budgets))
    wanted = {"slow": {"max_p50_us": 1e-3, "target": server.address}}
    data = small_fashion_mnist(train=60, validation=50, test=40)
    with pytest.raises(SearchError, match=r"max_p50_us is 0.00, and the least of all files is at least \d"):
        edgefm.search(model, wanted, data=data, out=tmp_path / "s", **MADE)
    assert not (tmp_path / "s" / "cost-models").exists()


def test_board_that_disappears_lets_the_search_end_and_is_measured_when_it_is_resumed(
    quickly: list[str], model: Any, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = small_fashion_mnist(train=60, validation=50, test=40)
    folder, figure = tmp_path / "a \u00e9", f"p50_us@{server.address}"
    wanted = {
        "board": {"max_p50_us": 1e6, "target": server.address},
        "here": {"max_p50_us": 1e6, "target": "host"},
        "slow": {"max_p50_us": 1e-3, "target": server.address, "max_size_bytes": "1 MB"},
    }
    asked: dict[str, Any] = {"data": data, "out": folder, **MADE}

    def leaves(*arguments: Any, **options: Any) -> Any:
        server.process.terminate()
        server.process.wait()
        return drive(*arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(search, "drive", leaves)  # its operators are measured, then it is gone
        result = edgefm.search(model, wanted, **asked)
    (kept,) = (folder / "cost-models").iterdir()
    there = CostModel.load(kept)
    assert there.target == server.address and {row.shape.group for row in there.operators} == {*KINDS}
    # It predicts: the sum of its own table is what the trials have, within what the JSON keeps.
    tried = [*result.document["front"], *result.document["others"]]
    assert len(tried) == 2 and all(one["figures"][figure] > 0 for one in tried)

    check_schema(result.document, "search-result-1", where="it")
    assert list(result.waiting) == [server.address] and "cannot be used" in result.waiting[server.address]
    assert result.met == {"board": False, "here": True, "slow": False} and not result.held
    assert result.lines[0].endswith(f"not measured on {server.address}; that is tried again when the search is resumed")
    assert "slow: cannot be met: max_p50_us is 0.00" in result.lines[2]
    assert result.files["board"].is_file() and "Not measured on" in (result.folder / "result.md").read_text()
    assert "not measured on" in (folder / "live.html").read_text()
    front, done = result.document["front"], len(quickly)

    # Still away: nothing changes, nothing is trained.
    assert edgefm.search(model, wanted, resume=True, **asked).waiting and len(quickly) == done

    with ssh_server.serving_again(server):
        again = edgefm.search(model, wanted, resume=True, **asked)
    assert len(quickly) == done and again.document["front"] == front and not again.waiting
    assert again.met == {"board": True, "here": True, "slow": False}
    (record,) = again.folder.glob("benchmark-*/record.json")
    rows = {row["name"]: row["latency_ns"]["p50"]["value"] for row in json.loads(record.read_text())["models"]}
    assert set(rows) == {"float32", "int8_w8a8", "board", "here", "slow"}
    assert again.document["budgets"][0]["figures"][figure] == rows["board"] / 1000
    assert json.loads(record.read_text())["protocol"]["params"]["target"] == server.address
    page = (again.folder / "result.md").read_text()
    assert (
        "Not measured" not in page
        and "p50 on" in page
        and "met by board/model.tflite" in (folder / "live.html").read_text()
    )


def test_board_that_was_never_there_is_said_before_anything_is_done(
    quickly: list[str], model: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"ssh://pi@127.0.0.1:{closed.getsockname()[1]}"
    monkeypatch.chdir(tmp_path)
    model.save("m.keras")
    part = small_fashion_mnist(train=60, validation=50, test=40)
    arrays = {"x_train": part.train.images, "y_train": part.train.labels}
    np.savez("data.npz", **arrays, x_test=part.test.images, y_test=part.test.labels)
    Path("budget.toml").write_text(f'[board]\nmax_p50_us = 5\ntarget = "{address}"\n')
    assert run(lambda: cli.main(["search", "m.keras", "--data", "data.npz"], standalone_mode=False)) == 2
    said = capsys.readouterr().err
    assert f"the target {address} cannot be reached: " in said and "are measured at the beginning: connect it" in said
    assert not quickly and not list(Path("runs/m/search").glob("*.log"))


def test_board_that_leaves_while_its_operators_are_measured_is_said(
    quickly: list[str], model: Any, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leaves(**options: Any) -> Any:
        server.process.terminate()
        server.process.wait()
        return build(**options)

    monkeypatch.setattr(prediction, "build", leaves)
    data = small_fashion_mnist(train=60, validation=50, test=40)
    with pytest.raises(SearchError, match=r"could not be measured: .*\n.*resume the search"):
        edgefm.search(model, {"b": {"max_p50_us": 5, "target": server.address}}, data=data, out=tmp_path / "s", **MADE)


def test_cost_model_of_a_board_tells_what_files_take_there(
    model: Any, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _few_operators(monkeypatch)
    monkeypatch.chdir(tmp_path)
    model.save("m.keras")

    def said(*words: str) -> str:
        code = run(lambda: cli.main(list(words), standalone_mode=False))
        printed = capsys.readouterr()
        return f"{code} {printed.out}{printed.err}"

    target = ["--target", server.address]
    assert "0 litert " in said("cost-model", *target, "--out", "board.json")
    there = CostModel.load(Path("board.json"))
    assert there.target == server.address and {row.shape.group for row in there.operators} == {*KINDS}
    # A second is added to the call: it is this file that tells the time.
    Path("board.json").write_text(json.dumps({**json.loads(Path("board.json").read_text()), "call_ns": 1e9}))
    forecast = ["forecast", "m.keras", "--variant", "float16", "--cost-model", "board.json"]
    assert "0 variant" in said(*forecast, *target)
    (row,) = json.loads(Path("runs/m/forecast.json").read_text())["variants"]
    assert 1e9 < row["latency"]["p50_ns"] < 1.1e9
    refused = said(*forecast)
    assert f"2 error: the cost model is of the target '{server.address}'; 'host' was asked for" in refused
    assert f"Ask for the target {server.address}, or build a cost model of host" in refused
