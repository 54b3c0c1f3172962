"""The report's table of what was forecast beside what came of it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from edgefm.core.artefacts import Artefact
from edgefm.core.documents import check_schema
from edgefm.core.errors import RunError
from edgefm.core.runs import Step
from edgefm.jobs.forecast.result import SCHEMA
from edgefm.report.content import forecast
from tests.fixtures.forecasts import FORECAST

DESCRIBED: dict[str, Any] = {
    "source": {"sha256": "0" * 64},
    "variants": [
        {
            "variant": "int8_w8a8",
            "sha256": "2" * 64,
            "size_bytes": 441_216,
            "gzip_bytes": 402_556,
            "validation": {"unit": "%", "loss": 0.3},
        }
    ],
}
RECORD: dict[str, Any] = {
    "target": {"name": "host", "mode": "measured", "latency": True},
    "environment": {"cpu": "AMD EPYC 9B14"},
    "models": [
        {
            "name": "int8_w8a8",
            "sha256": "2" * 64,
            "runtime": {"name": "litert", "version": "2.3.0", "options": {"kernels": None, "threads": 1}},
            "latency_ns": {"p50": {"value": 21_500.0}},
        },
        {
            "name": "another",
            "sha256": "3" * 64,
            "runtime": {"name": "litert", "version": "2.3.0", "options": {"kernels": None, "threads": 1}},
            "latency_ns": None,
        },
    ],
}


def _held(figures: list[forecast.Forecasted]) -> dict[str, bool]:
    return {figure.what: figure.held for figure in figures}


def test_outcomes_are_held_against_their_intervals() -> None:
    figures = forecast.figures(FORECAST, DESCRIBED, RECORD)
    assert _held(figures) == {"size": True, "download, gzip": True, "p50": True, "loss on validation, points": False}
    assert figures[2].forecast == "20.0 us (18.0 to 22.0)" and figures[2].outcome == "21.5 us"
    assert forecast.summary(figures).startswith("3 of 4 figures became what was forecast")


def test_time_of_another_machine_and_forecast_of_another_model_are_left_out() -> None:
    elsewhere = {**RECORD, "environment": {"cpu": "another"}}
    assert "p50" not in _held(forecast.figures(FORECAST, DESCRIBED, elsewhere))
    assert forecast.figures(FORECAST, {**DESCRIBED, "source": {"sha256": "1" * 64}}, RECORD) == []
    assert forecast.figures(None, DESCRIBED, RECORD) == []


@pytest.mark.parametrize(
    ("forecast_on", "measured_on", "same"),
    [
        (["avx2", "avx512_vnni"], ["avx512_vnni", "avx2"], True),
        (["avx2", "avx512_vnni"], ["avx2"], False),
        (None, ["avx2"], True),  # an older forecast does not tell
        (["avx2"], None, True),  # nor does an older record
    ],
)
def test_processors_of_one_name_are_told_apart_by_their_instructions(
    forecast_on: list[str] | None, measured_on: list[str] | None, same: bool
) -> None:
    told, record = copy.deepcopy(FORECAST), copy.deepcopy(RECORD)
    if forecast_on is not None:
        told["cost_model"]["cpu_features"] = forecast_on
    if measured_on is not None:
        record["environment"]["cpu_features"] = measured_on
    check_schema(told, SCHEMA, where="the forecast", error=RunError, hint="")
    assert ("p50" in _held(forecast.figures(told, DESCRIBED, record))) is same


@pytest.mark.parametrize(
    "changes",
    [
        {"runtime": {"name": "litert", "version": "2.3.0", "options": {"kernels": None, "threads": 4}}},
        {"runtime": {"name": "litert", "version": "2.3.0", "options": {"kernels": "builtin", "threads": 1}}},
        {"runtime": {"name": "litert", "version": "2.4.0", "options": {"kernels": None, "threads": 1}}},
        {"runtime": {"name": "openvino", "version": "2.3.0", "options": {"kernels": None, "threads": 1}}},
        {"sha256": "4" * 64},
    ],
    ids=["threads", "kernels", "version", "runtime", "an older file"],
)
def test_time_that_was_measured_otherwise_is_no_outcome(changes: dict[str, Any]) -> None:
    record = copy.deepcopy(RECORD)
    record["models"][0].update(changes)
    figures = forecast.figures(FORECAST, DESCRIBED, record)
    assert "p50" not in _held(figures) and len(figures) == 3


def test_time_of_an_emulator_on_this_machine_is_no_outcome() -> None:
    emulated = {**RECORD, "target": {"name": "qemu-aarch64", "mode": "simulated", "latency": False}}
    assert "p50" not in _held(forecast.figures(FORECAST, DESCRIBED, emulated))


@pytest.mark.parametrize(
    ("row_created", "held"),
    [("2026-11-30T11:00:00+00:00", True), ("2026-11-30T13:00:00+00:00", False), (None, False)],
)
def test_what_was_forecast_after_its_file_had_been_made_is_left_out(row_created: str | None, held: bool) -> None:
    """The file was made at 12:00 and written again, unchanged, at 15:00; an older forecast has one time for all."""
    told = copy.deepcopy(FORECAST)
    told["created"], told["variants"][0]["created"] = "2026-11-30T14:00:00+00:00", row_created
    if row_created is None:
        del told["variants"][0]["created"]
    file = Artefact(path="a.tflite", format="tflite", sha256="2" * 64, size_bytes=1, produced_by="01-quantize")
    of_files: dict[str, Any] = {"kind": "quantize", "key": "", "seconds": 1.0, "recipe": {}, "inputs": {}}
    steps = [
        Step(name=name, created=f"2026-11-30T{hour}:00:00+00:00", outputs=(file,), **of_files)
        for name, hour in (("01-quantize", 12), ("02-quantize", 15))
    ]
    kept, late = forecast.in_time(told, DESCRIBED, steps)
    assert late == ([] if held else ["int8_w8a8"])
    assert bool(forecast.figures(kept, DESCRIBED, RECORD)) is held


def test_damaged_forecast_is_said(tmp_path: Path) -> None:
    assert forecast.read(tmp_path) is None
    broken = copy.deepcopy(FORECAST)
    broken["variants"][0]["size_bytes"] = -1
    (tmp_path / forecast.FILE_NAME).write_text(json.dumps(broken))
    with pytest.raises(RunError, match=r"variants\[0\]\.size_bytes is -1"):
        forecast.read(tmp_path)
