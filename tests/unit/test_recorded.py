"""The recorded results of benchmarks/: their history, the page over time, and the harness's figures."""

import io
import json
import math
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

import matplotlib.image
import pytest

from benchmarks import backfill, harness_figures, over_time, recorded, search, tracked
from benchmarks.over_time_picture import picture
from benchmarks.series import machines, series
from benchmarks.tracked import alarms_limit, median

STARTUP = {"seconds": {"p50": 0.1, "samples": [0.09, 0.1, 0.11, 0.1, 0.1]}}


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(recorded, "RESULTS", tmp_path)
    monkeypatch.setattr(recorded, "HISTORY", tmp_path / "history.jsonl")
    return tmp_path


def machine(**changes: Any) -> dict[str, Any]:
    return {"cpu": "A", "cores": 2, "load_average": [0.5, 0.5, 0.5], **changes}


def line(name: str, created: str, *, cpu: str = "A", disturbed: tuple[str, ...] = (), **found: Any) -> dict[str, Any]:
    return {"name": name, "created": created, "cpu": cpu, "cores": 2, "disturbed": list(disturbed), "figures": found}


def test_lines_of_the_history_are_valid_in_order_and_told_once() -> None:
    lines = recorded.HISTORY.read_text(encoding="utf-8").splitlines()
    found = [json.loads(text) for text in lines]
    keys = [(one["created"], one["name"]) for one in found]
    assert len(found) > 10 and keys == sorted(set(keys))
    for one in found:
        assert set(one) == {"name", "created", "cpu", "cores", "disturbed", "figures"}
        assert datetime.fromisoformat(one["created"]).tzinfo is not None
        assert one["figures"]
        for key, value in one["figures"].items():
            assert tracked.figure_of(one["name"], key) is not None, (one["name"], key)
            assert math.isfinite(value["value"])
            assert value.get("low", value["value"]) <= value["value"] <= value.get("high", value["value"])


@pytest.mark.parametrize("name", sorted({figure.result for figure in tracked.TRACKED} | {tracked.MODELS}))
def test_newest_result_stands_in_the_history_as_it_is(name: str) -> None:
    if name in recorded.names():
        expected = recorded.line(name, recorded.result(name))
        assert json.loads(json.dumps(expected)) in recorded.history(), "run: make figures"
    else:
        assert not [one for one in recorded.history() if one["name"] == name]


def test_result_is_written_with_its_line(results: Path) -> None:
    recorded.write_result("startup", what="w", command="c", figures=STARTUP)
    value = recorded.result("startup")
    assert value["seconds"] == STARTUP["seconds"] and value["environment"]["cores"] >= 1
    [found] = recorded.history()
    assert found["figures"]["seconds"]["value"] == 0.1
    assert (found["name"], found["created"]) == ("startup", value["created"])
    assert found["cpu"].startswith(value["environment"]["cpu"])


def test_line_of_the_same_name_and_time_is_replaced_and_one_without_figures_left_out(results: Path) -> None:
    first = line("startup", "2026-01-02T00:00:00+00:00", seconds={"value": 1.0})
    assert recorded.add([first, line("other", "2026-01-02T00:00:00+00:00")]) == 1
    earlier = line("startup", "2026-01-01T00:00:00+00:00", seconds={"value": 3.0})
    assert recorded.add([{**first, "figures": {"seconds": {"value": 2.0}}}, earlier]) == 1
    assert [one["figures"]["seconds"]["value"] for one in recorded.history()] == [3.0, 2.0]


BUSY = {"environment": machine(load_average=[5.0, 5.0, 5.0])}
QUIET = {"environment": machine()}


def row(low: float, high: float, **changes: Any) -> dict[str, Any]:
    return {"name": "m", "latency_ns": {"p50": {"low": low, "high": high}}, **changes}


@pytest.mark.parametrize(
    ("value", "is_disturbed"),
    [
        (QUIET, False),
        (BUSY, True),
        ({"environment": machine(load_average=None)}, False),
        ({**QUIET, "session": {"disturbed": ["another benchmark"]}}, True),
        # A record knows better than the load average, of which it is a part, and than the width of an interval.
        ({**BUSY, "models": [row(1.0, 9.0, disturbed={"turns": 3, "used": False})]}, False),
        ({**QUIET, "models": [row(1.0, 1.0, disturbed={"turns": 3, "used": True})]}, True),
        ({**QUIET, "models": [row(1.0, 1.3)]}, True),
        ({**BUSY, "models": [row(1.0, 1.1)]}, False),
        ({**QUIET, "models": 200}, False),
        ({**BUSY, "comparisons": [{"disturbed": []}, {"disturbed": ["load"]}]}, False),
        ({**QUIET, "comparisons": [{"disturbed": ["load"]}, {"disturbed": ["load"]}]}, True),
    ],
    ids=[
        "quiet",
        "load",
        "no load told",
        "session",
        "calm row",
        "row",
        "old, wide",
        "old, narrow",
        "a count of models",
        "study",
        "disturbed study",
    ],
)
def test_disturbed_is_what_the_record_says_else_guessed(value: dict[str, Any], is_disturbed: bool) -> None:
    assert bool(recorded.disturbed(value)) is is_disturbed


def test_median_has_an_interval_that_holds_it() -> None:
    found = median([5.0, 1.0, 9.0, 4.0, 6.0, 2.0, 8.0])
    assert found["value"] == 5.0 and 1.0 <= found["low"] < 5.0 < found["high"] <= 9.0
    assert median([3.0]) == {"value": 3.0, "low": 3.0, "high": 3.0}


def test_older_results_become_lines_with_their_own_date_and_machine(
    results: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path_factory.mktemp("clone")
    folder = root / "benchmarks" / "results"
    (folder / "sub").mkdir(parents=True)
    git = ["git", "-c", "user.name=n", "-c", "user.email=e@x.invalid"]
    subprocess.run([*git, "init", "-q"], cwd=root, check=True)
    for day, cpu in ((1, "A"), (2, "B")):
        value = {"created": f"2026-01-0{day}T00:00:00+00:00", "environment": machine(cpu=cpu), **STARTUP}
        for path in (folder / "startup.json", folder / "sub" / "startup.json", folder / "untracked.json"):
            path.write_text(json.dumps(value), encoding="utf-8")
        subprocess.run([*git, "add", "."], cwd=root, check=True)
        subprocess.run([*git, "commit", "-q", "-m", "results"], cwd=root, check=True)
    monkeypatch.setattr(backfill, "ROOT", root)
    assert backfill.backfill() == 2
    found = [(one["created"][:10], one["cpu"]) for one in recorded.history()]
    assert found == [("2026-01-01", "A"), ("2026-01-02", "B")]
    assert backfill.backfill() == 0, "the second time finds nothing new"


def test_result_without_a_line_gets_one(results: Path) -> None:
    value = {"created": "2026-01-01T00:00:00+00:00", "environment": machine(), **STARTUP}
    (results / "startup.json").write_text(json.dumps(value), encoding="utf-8")
    assert (backfill.catch_up(), backfill.catch_up()) == (1, 0)


HISTORY = [
    line("startup", "2026-01-01T00:00:00+00:00", seconds={"value": 0.10, "low": 0.09, "high": 0.11}),
    line("startup", "2026-02-01T00:00:00+00:00", cpu="B", disturbed=("load",), seconds={"value": 0.40}),
    line("startup", "2026-03-01T00:00:00+00:00", seconds={"value": 0.20, "low": 0.19, "high": 0.21}),
    line("base_install", "2026-03-01T00:00:00+00:00", disturbed=("load",), size={"value": 149.0}),
    line("shipped_models", "2026-01-01T00:00:00+00:00", **{"m.tflite litert:x": {"value": 50.0, "of": "aa"}}),
    line("shipped_models", "2026-03-01T00:00:00+00:00", **{"m.tflite litert:x": {"value": 90.0, "of": "bb"}}),
    line("startup", "2026-03-02T00:00:00+00:00", gone={"value": 1.0}),
]


def test_series_keep_machines_apart_and_leave_out_what_is_tracked_no_longer() -> None:
    found = {one.figure.title: one for one in series(HISTORY)}
    assert list(found) == ["m.tflite, litert:x, p50", "edgefm --help", "base install on disk"]
    points = found["edgefm --help"].points
    assert [(point.cpu, point.value, point.quiet) for point in points] == [
        ("A", 0.10, True), ("B", 0.40, False), ("A", 0.20, True),
    ]  # fmt: skip
    assert found["base install on disk"].points[0].quiet, "no other program changes a size"
    assert machines(list(found.values())) == ["A", "B"]


def test_page_compares_values_of_one_machine_and_one_file_alone() -> None:
    rows = [row for row in over_time.page(series(HISTORY)).splitlines() if row.startswith("| ")]
    mine, other = (next(row for row in rows if "edgefm --help" in row and f"| {cpu} " in row) for cpu in "AB")
    assert "+100 %" in mine and "0.200 s (0.19 to 0.21)" in mine and "0.100 s" in mine and "<= 0.06 s" in mine
    assert "%" not in other and "0.400 s *" in other
    model = next(row for row in rows if "m.tflite" in row)
    assert "90.0 us" in model and "50.0" not in model


def test_page_sees_no_change_where_intervals_touch() -> None:
    lines = [
        line("startup", "2026-01-01T00:00:00+00:00", seconds={"value": 0.10, "low": 0.09, "high": 0.12}),
        line("startup", "2026-01-02T00:00:00+00:00", seconds={"value": 0.13, "low": 0.11, "high": 0.14}),
    ]
    assert "none seen" in over_time.page(series(lines))


def test_picture_never_joins_machines_or_files(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import over_time_picture

    drawn: list[list[tuple[str, str, float]]] = []
    monkeypatch.setattr(
        over_time_picture,
        "_line",
        lambda axes, points, hue, mark: drawn.append([(point.cpu, point.of, point.value) for point in points]),
    )
    picture(series(HISTORY))
    assert sorted(drawn) == [
        [("A", "", 0.10), ("A", "", 0.20)],
        [("A", "", 149.0)],
        [("A", "aa", 50.0)],
        [("A", "bb", 90.0)],
        [("B", "", 0.40)],
    ]


def test_picture_is_a_png_with_something_on_it() -> None:
    pixels = matplotlib.image.imread(io.BytesIO(picture(series(HISTORY))))
    assert pixels.shape[1] > 1000 and 0 < (pixels[..., :3] < 0.9).mean() < 0.5


def test_harness_figures_say_what_was_not_recorded(results: Path) -> None:
    text = harness_figures.section()
    assert text.count(harness_figures.NOT_YET) == len(harness_figures.WANTED)


def test_harness_figures_keep_a_missed_target_with_its_number(results: Path) -> None:
    recorded.write_result(
        "base_install",
        what="w",
        command="c",
        figures={"size_bytes": 161_000_000, "seconds": 2.0, "first_ever_seconds": 3.0, "samples": [2.0]},
    )
    rows = {one.what: harness_figures.row(one) for one in harness_figures.WANTED}
    assert rows["base install on disk"][2:4] == ("161.0 MB", "**missed**")
    assert [row[3] for row in rows.values() if row[3]] == ["**missed**", "reached"]


@pytest.mark.parametrize(
    ("alarms", "found", "n", "told"),
    [
        (16, 92, 200, ("reached", "reached")),
        (17, 89, 200, ("**missed**", "**missed**")),
        (0, 100, 50, ("**missed**", "reached")),
    ],
    ids=["held", "missed", "too few"],
)
def test_rates_are_held_to_their_targets(alarms: int, found: int, n: int, told: tuple[str, str], results: Path) -> None:
    from edgefm.statistics.estimates import proportion

    def rate(hits: int, total: int) -> dict[str, Any]:
        return {"n": total, "hits": hits, "share": proportion(hits, total).to_json()}

    rates = {"same": rate(alarms, n), "slower": rate(found, 100)}
    recorded.write_result("false_alarms", what="w", command="c", figures={"rates": rates})
    rows = [harness_figures.row(one) for one in harness_figures.WANTED if one.result == "false_alarms"]
    assert tuple(row[3] for row in rows) == told
    kept = {key for one in recorded.history() for key in one["figures"]}
    assert kept == ({"same", "slower"} if n == 200 else {"slower"}), "a study in the making is not drawn"
    assert alarms_limit(200) == pytest.approx(0.0808, abs=1e-4)


def test_profile_that_had_to_take_prefixes_says_so(results: Path) -> None:
    profiles = [
        {
            "model": "int8",
            "runtime": "litert:builtin",
            "method": method,
            "holds": True,
            "of_whole": {"value": 1.021, "low": 1.01, "high": 1.03},
        }
        for method in ("operators", "prefixes")
    ]
    recorded.write_result("profile_sums", what="w", command="c", figures={"profiles": profiles})
    row = next(harness_figures.row(one) for one in harness_figures.WANTED if one.result == "profile_sums")
    assert "int8, builtin: +2.1 %; int8, builtin: +2.1 % (prefixes)" in row[2] and row[3] == "reached"
    assert recorded.history()[0]["figures"]["furthest"] == {"value": 2.1, "low": 1.0, "high": 3.0}


@pytest.mark.parametrize(
    ("images", "cells", "seconds", "held"),
    [(1000, 5, 180.0, True), (1000, 5, 181.0, False), (1000, 4, 20.0, False), (100, 9, 20.0, False)],
    ids=["held", "slow", "few cells", "few images"],
)
def test_agreement_counts_only_with_enough_images_and_cells(
    images: int, cells: int, seconds: float, held: bool, results: Path
) -> None:
    figures = {"images": images, "seconds": seconds, "cells": {str(place): 1.0 for place in range(cells)}}
    recorded.write_result("agreement_time", what="w", command="c", figures=figures)
    row = next(harness_figures.row(one) for one in harness_figures.WANTED if one.result == "agreement_time")
    assert row[3] == ("reached" if held else "**missed**")


def _one_search(sampler: str, seed: int, volume: float, cpu: str = "A") -> dict[str, Any]:
    return {"sampler": sampler, "seed": seed, "volume": volume, "cpu": cpu, "trials": {"seconds": 7.0}}


def test_searches_of_one_setting_are_joined_and_compared_in_pairs_of_one_processor() -> None:
    settings = {"minutes": 60.0, "budgets": {"phone": {"max_p50_ratio": 0.15}}}
    first = search.joined({**settings, "searches": [_one_search("tpe", 0, 3.0)]}, None)
    assert "ratio" not in first and tracked.figures("search", first) == {}
    latest = {**settings, "searches": [_one_search("random", 0, 2.0), _one_search("tpe", 1, 9.0, cpu="B")]}
    second = search.joined(latest, json.loads(json.dumps(first)))
    assert [(one["sampler"], one["seed"]) for one in second["searches"]] == [("random", 0), ("tpe", 0), ("tpe", 1)]
    assert second["ratio"] == 1.5
    third = search.joined({**settings, "searches": [_one_search("random", 1, 1.0)]}, second)
    assert third["ratio"] == 1.5, "those of seed 1 are of two processors"
    fourth = search.joined({**settings, "searches": [_one_search("random", 1, 4.0, cpu="B")]}, third)
    assert fourth["ratio"] == (3 + 9) / (2 + 4) and len(fourth["searches"]) == 4
    other = search.joined({**settings, "minutes": 6.0, "searches": [_one_search("tpe", 5, 1.0)]}, fourth)
    assert len(other["searches"]) == 1, "of other settings"
    assert search.seconds_of_trials(fourth, 0) == 7.0, "random search gets as long"
    with pytest.raises(SystemExit, match="--samplers tpe first"):
        search.seconds_of_trials(fourth, 9)
