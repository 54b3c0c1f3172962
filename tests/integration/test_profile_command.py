from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgefm import schemas
from edgefm.cli.main import cli, run
from edgefm.profiling.limits import Limits
from tests.fixtures import cut_models, tiny_models

DEMO = Path(__file__).parents[2] / "android_demo_assets" / "int8" / "model.tflite"


def profile(*arguments: object) -> int:
    return run(lambda: cli.main(["profile", *(str(argument) for argument in arguments)], standalone_mode=False))


@pytest.fixture
def no_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the peaks out: seconds that tests of other things need not spend."""
    known = Limits(peaks={}, bandwidth=(), call_ns=500.0, operator_ns=40.0)
    monkeypatch.setattr("edgefm.profiling.profile.measure_limits", lambda **_: (known, "1"))


def test_profile_writes_table_json_and_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = profile(DEMO, "--rounds", 3, "--method", "operators", "--out", tmp_path)
    output = capsys.readouterr().out
    for text in ("conv2", "CONV_2D", "of peak", "limited by", "peak of one core", "off the whole"):
        assert text in output
    value = json.loads((tmp_path / "profile.json").read_text(encoding="utf-8"))
    schemas.validate(value, "operator-profile-1")
    (check,) = value["checks"]
    assert code == (0 if check["holds"] else 1), output
    assert all(len(row["rounds"]) == 3 and all(one["invoke_ns"] for one in row["rounds"]) for row in value["operators"])
    shares = sum(row["share"] for row in value["operators"])
    call_share = value["call_ns"]["value"] / value["whole"]["time_ns"]["value"]
    assert shares + call_share == pytest.approx(check["of_whole"]["value"])
    pytest.importorskip("matplotlib")
    names = {"profile.json", "profile.png", "profile.svg", "profile-narrow.png", "profile-narrow.svg"}
    assert {path.name for path in tmp_path.iterdir()} == names


@pytest.mark.usefixtures("no_peak")
def test_profile_with_json_prints_json_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(tiny_models.two_heads((1, 20_000)))
    code = profile(path, "--rounds", 2, "--json")
    value = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in value["operators"]] == ["RELU", "ABS"]
    assert code == (0 if value["checks"][-1]["holds"] else 1)


@pytest.mark.usefixtures("no_peak")
def test_profile_of_a_row_without_time_exits_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(cut_models.control_flow_behind_relu())
    assert profile(path, "--rounds", 2) == 1
    assert "operator 1, IF, has no time: IF is control flow" in capsys.readouterr().out


def test_profile_says_what_is_not_resolved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    known = Limits(peaks={}, bandwidth=(), call_ns=500.0, operator_ns=0.0, unresolved={"operator": "noise"})
    monkeypatch.setattr("edgefm.profiling.profile.measure_limits", lambda **_: (known, "1"))
    # No two rounds agree on what limits an operator.
    places = iter(range(1000))
    kinds = ("kernel", "call")
    monkeypatch.setattr("edgefm.profiling.rows.limited_by", lambda *_: kinds[next(places) % 2])
    path = tmp_path / "model.tflite"
    path.write_bytes(tiny_models.relu((1, 1000)))
    profile(path, "--rounds", 2)
    output = capsys.readouterr().out
    assert "note: the time of an operator is not resolved: noise" in output
    assert "note: too few rounds for intervals: 2;" in output
    assert output.splitlines()[5].endswith("not resolved"), output


@pytest.mark.usefixtures("no_peak")
def test_profile_without_matplotlib_writes_the_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(tiny_models.relu((1, 1000)))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    profile(path, "--rounds", 1, "--out", tmp_path / "out")
    assert [one.name for one in (tmp_path / "out").iterdir()] == ["profile.json"]
    assert "pip install 'edgefm[report]'" in capsys.readouterr().err


def test_profile_of_no_model_exits_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(DEMO.read_bytes()[:500])
    assert profile(path) == 2
    assert "cut off or damaged" in capsys.readouterr().err
