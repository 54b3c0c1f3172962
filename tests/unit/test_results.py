"""What all public results have in common: frozen, comparable, hashable; to_json, save, a table for notebooks."""

from __future__ import annotations

import dataclasses
import errno
import inspect
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgefm
from edgefm.comparison.aspects import SAME, Aspect
from edgefm.comparison.comparison_result import ModelPair
from edgefm.comparison.gate_result import HELD, LimitCheck
from edgefm.core import artefacts
from edgefm.core.errors import ArgumentError, EdgefmError
from edgefm.core.results import JsonResult
from edgefm.jobs.doctor.findings import Finding, RuntimeFinding
from edgefm.jobs.export import ExportedModel
from edgefm.jobs.export.verify import CheckedFamily
from edgefm.jobs.predict import Prediction, Score
from edgefm.jobs.trace import TracedCause
from edgefm.quantization.applicability import LayerVerdicts, PassVerdict
from tests.fixtures import benchmark_records, tiny_models
from tests.fixtures.explanations import explanation_document
from tests.fixtures.forecasts import FORECAST, small_cost_model
from tests.fixtures.search_driver import search_result
from tests.unit.test_profiling_profile import made_up

FILE = {
    "variant": "float32",
    "file": "float32/model.tflite",
    "size_bytes": 1000,
    "of_float32": 1.0,
    "max_abs_difference": 0.0,
    "validation": None,
    "promises": [],
    "passes": [],
}
EPOCH = {"epoch": 1, "loss": 1.0, "accuracy": 0.5, "val_loss": 1.0, "val_accuracy": 0.5}
CELL = {"name": "litert", "status": "ran", "against_reference": None, "verdict": "reference", "spread": None}
AGREEMENT = {
    "unit": "levels",
    "cells": [CELL],
    "between_families": [],
    "inputs": {"samples": 10},
    "verdict": {"held": True, "lines": ["all agree"]},
}
RECORD = benchmark_records.benchmark_record([benchmark_records.row("float32"), benchmark_records.row("int8_w8a8")])


def _applied() -> edgefm.AppliedPass:
    return edgefm.AppliedPass(recipe=edgefm.Prune(), facts={"sparsity": 0.5}, history=(EPOCH,), seconds=1.0)


def _applicability() -> edgefm.Applicability:
    verdicts = {"prune": PassVerdict(applies=True, why="8 weights of its kernel")}
    layer = LayerVerdicts(layer="dense", kind="Dense", parameters=8, output_shape=(None, 2), passes=verdicts)
    return edgefm.Applicability(model="m", parameters=8, layers=(layer,), refused={"qat": "a reason"})


def _comparison() -> edgefm.ComparisonResult:
    size = Aspect(name="size_bytes", first=20, second=20, verdict=SAME, details={"unit": "bytes"})
    pair = ModelPair(first="a", second="b", aspects=(size,))
    return edgefm.ComparisonResult(
        first="x", second="y", pairs=(pair,), differences=(), forced=False, tests=0, correction="holm", notes=()
    )


def _reproduction(folder: Path) -> edgefm.Reproduction:
    machine = {"cpu": "AMD EPYC", "cores": 2, "python": "3.11.7", "versions": {"keras": "3.15.1"}}
    counts = {"name": "fashion-mnist", "train": 48_000, "validation": 12_000, "test": 10_000}
    record = {"created": "2026-11-29", "dataset": counts, "environment": machine, "systems": [], "latency": None}
    return edgefm.Reproduction(record=record, folder=folder)


def _diagnosis() -> edgefm.Diagnosis:
    here = Finding(name="a", found="1.0")
    return edgefm.Diagnosis(
        environment={"versions": {"numpy": "2"}},
        extras=(here,),
        runtimes=(RuntimeFinding(name="litert", found="2.3.0", kernels=("xnnpack",)),),
        targets=(here,),
        backends=(here,),
        gpus=(here,),
        plugins=(),
        data=here,
    )


def _training() -> edgefm.TrainingResult:
    verdict = {"name": "good fit", "reason": "a reason"}
    return edgefm.TrainingResult(
        recipe=edgefm.Training(), history=(EPOCH,), verdict=verdict, device={"backend": "jax"}, _load=lambda: None
    )


def _inspection(folder: Path) -> Any:
    path = folder / "model.tflite"
    path.write_bytes(tiny_models.dense(np.ones((10, 16), np.float32)))
    return edgefm.inspect(path)


def _file(folder: Path) -> edgefm.TfliteFile:
    return edgefm.TfliteFile(name="float32", path=folder / "model.tflite", report=FILE)


def _predictions(folder: Path) -> edgefm.Predictions:
    prediction = Prediction(picture=Path("a.png"), top=(Score(label="coat", probability=0.9),), inverted=False)
    return edgefm.Predictions(model=Path("model.tflite"), items=(prediction,))


CAUSE = TracedCause(steps=("range",), title="a title", mend="Mend it.", explains=True, largest=0.0, mean=0.0)
# Makes a result of each kind; two calls give equal ones.
RESULTS: dict[type, Callable[[Path], Any]] = {
    edgefm.AgreementResult: lambda folder: edgefm.AgreementResult(document=AGREEMENT),
    edgefm.Applicability: lambda folder: _applicability(),
    edgefm.AppliedPass: lambda folder: _applied(),
    edgefm.BenchmarkRecord: lambda folder: edgefm.BenchmarkRecord(folder=folder, record=RECORD, path=folder / "r.json"),
    edgefm.ComparisonResult: lambda folder: _comparison(),
    edgefm.CompressionResult: lambda folder: edgefm.CompressionResult(model=None, passes=(_applied(),)),
    edgefm.CostModel: lambda folder: small_cost_model(),
    edgefm.Diagnosis: lambda folder: _diagnosis(),
    edgefm.Explanation: lambda folder: edgefm.Explanation(document=explanation_document(), files={}),
    edgefm.ExportResult: lambda folder: edgefm.ExportResult(
        kind="c",
        folder=Path("b"),
        files=("model.tflite",),
        size_bytes=9,
        models=(ExportedModel(name="", variant="v", sha256="0" * 64, size_bytes=7, golden=(2, "data")),),
    ),
    edgefm.ForecastResult: lambda folder: edgefm.ForecastResult.from_json(FORECAST),
    edgefm.GateResult: lambda folder: edgefm.GateResult(
        record="r", baseline=None, checks=(LimitCheck(model="m", key="size_bytes", limit=1.0, state=HELD, value=1.0),)
    ),
    edgefm.Inspection: _inspection,
    edgefm.LatencyForecast: lambda folder: edgefm.LatencyForecast(p50_ns=2.0, low_ns=1.0, high_ns=3.0),
    edgefm.Predictions: _predictions,
    edgefm.ProfileResult: lambda folder: made_up(times_ns=[1000.0, 2000.0]),
    edgefm.Reproduction: _reproduction,
    edgefm.QuantizationResult: lambda folder: edgefm.QuantizationResult(
        folder=folder, report={"variants": [FILE], "skipped": []}
    ),
    edgefm.SearchResult: lambda folder: edgefm.SearchResult(folder=folder, document=search_result()),
    edgefm.TfliteFile: _file,
    edgefm.TraceResult: lambda folder: edgefm.TraceResult(
        model=Path("m"),
        picture=Path("p"),
        verdict="A reason.",
        found=True,
        causes=(CAUSE,),
        nearest=(CAUSE,),
        input_held=None,
        tried=3,
    ),
    edgefm.TrainingResult: lambda folder: _training(),
    edgefm.VerificationResult: lambda folder: edgefm.VerificationResult(
        folder=Path("b"),
        kind="c",
        written_by="edgefm 0",
        problems=("a.bin is missing",),
        families=(CheckedFamily(name="xnnpack", held=True, text="held"),),
        signature="none",
    ),
    edgefm.Verdict: lambda folder: edgefm.verdict(RECORD),
}
AS_JSON = [kind for kind in RESULTS if issubclass(kind, JsonResult)]


def _is_result(value: object) -> bool:
    no_result = (edgefm.EdgefmError, edgefm.recipes.Recipe, edgefm.Run)
    return inspect.isclass(value) and not issubclass(value, no_result)


def test_every_public_result_is_looked_at_here() -> None:
    assert set(RESULTS) == {getattr(edgefm, name) for name in edgefm.__all__ if _is_result(getattr(edgefm, name))}


@pytest.mark.parametrize("kind", RESULTS, ids=lambda kind: kind.__name__)
def test_result_is_frozen_comparable_and_hashable(kind: type, tmp_path: Path) -> None:
    result, same = RESULTS[kind](tmp_path), RESULTS[kind](tmp_path)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(result, dataclasses.fields(result)[0].name, None)
    assert result == same and hash(result) == hash(same)
    assert {result: 1}[same] == 1


@pytest.mark.parametrize("kind", RESULTS, ids=lambda kind: kind.__name__)
def test_result_has_json_a_table_and_can_be_saved(kind: type, tmp_path: Path) -> None:
    result = RESULTS[kind](tmp_path)
    assert isinstance(json.loads(json.dumps(result.to_json(), allow_nan=False)), dict)
    assert result._repr_html_().startswith("<")
    assert callable(result.save) and inspect.getdoc(result.save)


def test_results_without_a_file_of_their_own_are_saved_as_json() -> None:
    assert set(AS_JSON) == {
        edgefm.Applicability,
        edgefm.AppliedPass,
        edgefm.ComparisonResult,
        edgefm.CostModel,
        edgefm.Diagnosis,
        edgefm.ExportResult,
        edgefm.ForecastResult,
        edgefm.GateResult,
        edgefm.Inspection,
        edgefm.LatencyForecast,
        edgefm.Predictions,
        edgefm.Reproduction,
        edgefm.TraceResult,
        edgefm.Verdict,
        edgefm.VerificationResult,
    }


@pytest.mark.parametrize("kind", AS_JSON, ids=lambda kind: kind.__name__)
def test_saved_result_is_its_json(kind: type, tmp_path: Path) -> None:
    result = RESULTS[kind](tmp_path)
    path = result.save(tmp_path / "new" / "result.json")
    assert path == tmp_path / "new" / "result.json"
    assert json.loads(path.read_text(encoding="utf-8")) == json.loads(json.dumps(result.to_json()))
    result.save(path)  # a second time: it is replaced


@pytest.mark.parametrize(("name", "reason"), [("folder", ", a folder"), ("a.txt", ""), ("f.json", ", a folder")])
def test_save_refuses_what_is_no_json_file(name: str, reason: str, tmp_path: Path) -> None:
    for folder in ("folder", "f.json"):
        (tmp_path / folder).mkdir()
    with pytest.raises(ArgumentError, match=f"{name}{reason}; a file name that ends in .json is expected"):
        _comparison().save(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.json", "folder"]


def test_save_says_why_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file where a folder is needed")
    with pytest.raises(EdgefmError, match=r"result\.json cannot be written: .*") as caught:
        _comparison().save(tmp_path / "file" / "result.json")
    assert caught.value.hint


def test_failed_save_keeps_the_file_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _comparison().save(tmp_path / "result.json")
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(artefacts.os, "fsync", full)
    with pytest.raises(EdgefmError, match="No space left"):
        _diagnosis().save(path)
    assert path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == ["result.json"]
