from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgefm.benchmarking import record
from edgefm.benchmarking.measured import MeasuredModel, ModelFile, Round, name_files
from edgefm.benchmarking.session import BenchmarkSession
from edgefm.core.environment import environment
from edgefm.core.errors import ModelError, RunError
from edgefm.data.dataset import Dataset, Split
from edgefm.recipes import BenchmarkProtocol
from edgefm.targets.host import Host

TRUTH = np.array([0, 1, 2, 0, 1, 2, 0, 1], np.int64)


def _dataset() -> Dataset:
    def split(name: str) -> Split:
        return Split(name=name, images=np.zeros((8, 2, 2, 1), np.uint8), labels=TRUTH)

    return Dataset(
        name="toy",
        labels=("a", "b", "c"),
        train=split("train"),
        validation=split("validation"),
        test=split("test"),
        sha256="0" * 64,
    )


def _measured(name: str, predicted: list[int] | None, *, ns: int, failure: str | None = None) -> MeasuredModel:
    rounds = [
        Round(index=i, position=0, warmup_ns=[9], invoke_ns=[ns, ns + 1, ns + 2], end_to_end_ns=[2 * ns])
        for i in range(3)
    ]
    return MeasuredModel(
        name=name,
        path=Path(f"{name}.tflite"),
        sha256="1" * 64,
        size_bytes=10,
        size_gzip_bytes=8,
        failure=failure,
        loaded={"runtime": "litert", "version": "2", "bare_bytes": 100, "peak_bytes": 150, "load_ns": 5},
        rounds=rounds,
        predicted=None if predicted is None else np.array(predicted, np.int32),
        confidence=None if predicted is None else np.ones(8, np.float32),
    )


def _build(*measured: MeasuredModel, dataset: Dataset | None, reference: str | None = "float32") -> dict[str, Any]:
    return record.build(
        measured,
        dataset=dataset,
        protocol=BenchmarkProtocol(runtime="litert"),
        session=BenchmarkSession(target=Host(), environment=environment()),
        reference=reference,
    )


@pytest.fixture
def built() -> dict[str, Any]:
    right = TRUTH.tolist()
    other = [1, 1, 2, 0, 1, 0, 0, 1]  # images 0 and 5 are wrong
    return _build(_measured("float32", right, ns=1000), _measured("int8", other, ns=400), dataset=_dataset())


def test_build_compares_with_the_reference(built: dict[str, Any]) -> None:
    reference, other = built["models"]
    assert reference["against_reference"] is None
    against = other["against_reference"]
    assert (against["only_reference_right"], against["only_this_right"], against["flipped"]) == (2, 0, [0, 5])
    assert against["mcnemar_p"] == 0.5
    assert against["accuracy_difference"]["value"] == -0.25
    assert against["latency_ratio"]["value"] == pytest.approx(401 / 1001)
    assert against["latency_ratio"] == against["latency_test"]["round_ratio"]
    assert other["accuracy"]["value"] == 0.75
    assert other["confusion"] == [[2, 1, 0], [0, 3, 0], [1, 0, 1]]
    assert other["memory"]["above_bare_bytes"] == 50


def test_build_without_data_gives_reasons(built: dict[str, Any]) -> None:
    first, second = _measured("float32", None, ns=1000), _measured("int8", None, ns=400)
    first.unfed = second.unfed = "no test images were given"
    model = _build(first, second, dataset=None)["models"][1]
    assert model["accuracy"] == {"value": None, "reason": "no test images were given"}
    assert model["against_reference"]["accuracy_difference"]["reason"] == "no test images were given"
    assert model["against_reference"]["mcnemar_p"] is None
    assert model["against_reference"]["latency_ratio"]["value"] == pytest.approx(401 / 1001)


def test_build_with_failed_reference_compares_with_none() -> None:
    failed = _measured("float32", None, ns=1000, failure="it crashed")
    models = _build(failed, _measured("int8", TRUTH.tolist(), ns=1), dataset=_dataset())["models"]
    assert [model["status"] for model in models] == ["failed", "ok"]
    assert models[0]["reason"] == "it crashed" and models[0]["accuracy"]["reason"] == "it crashed"
    assert models[1]["against_reference"] is None


def test_write_and_read_round_trip(built: dict[str, Any], tmp_path: Path) -> None:
    path = record.write(tmp_path / "record.json", built)
    assert record.read(path) == built
    assert '"invoke_ns": [1000, 1001, 1002]' in path.read_text()


def test_read_newer_schema_says_upgrade(built: dict[str, Any], tmp_path: Path) -> None:
    path = record.write(tmp_path / "record.json", {**built, "schema_version": 4, "unheard_of": True})
    with pytest.raises(RunError, match="schema version 4") as caught:
        record.read(path)
    assert caught.value.hint is not None and "upgrade" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("{", "damaged", id="cut"),
        pytest.param("[]", "not a benchmark record", id="list"),
        pytest.param('{"kind": "model-contract"}', "not a benchmark record", id="other"),
        pytest.param('{"kind": "benchmark-record", "schema_version": 1}', "damaged", id="empty"),
    ],
)
def test_read_file_that_is_none_is_an_error(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(RunError, match=words):
        record.read(path)


def test_read_missing_record_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no benchmark record at"):
        record.read(tmp_path / "record.json")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("models", 0, "status"), "fine"),
        (("models", 0, "accuracy"), {"value": None}),
        (("models", 0, "rounds", 0, "invoke_ns"), [1.5]),
        (("models", 0, "rounds", 0, "invoke_ns"), [*range(40), -1]),
        (("models", 0, "rounds", 0, "invoke_ns"), [*range(40), "41"]),
        (("environment", "cores"), 0),
        (("mode",), "guessed"),
    ],
)
def test_validate_names_what_breaks_the_schema(built: dict[str, Any], path: tuple[Any, ...], value: Any) -> None:
    broken = copy.deepcopy(built)
    place: Any = broken
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(ValueError) as caught:
        record.validate(broken)
    assert str(path[-1]) in str(caught.value)


def test_dumps_is_json_whatever_the_strings_hold(built: dict[str, Any]) -> None:
    built["models"][0]["reason"] = 'a list "[ 1,\n 2 ]" in words \\ and [3,  4]'
    assert json.loads(record.dumps(built)) == built


def test_name_files_tells_equal_names_apart(tmp_path: Path) -> None:
    paths = [tmp_path / "a" / "model.tflite", tmp_path / "b" / "model.tflite", tmp_path / "b" / "other.tflite"]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    named = name_files([*paths, paths[0]])
    assert [file.name for file in named] == ["a/model", "b/model", "other", "a/model#2"]
    assert named[0] == ModelFile(name="a/model", path=paths[0])


def test_name_files_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model file at"):
        name_files([tmp_path / "x.tflite"])
