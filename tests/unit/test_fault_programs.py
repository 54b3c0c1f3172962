"""The programs of tests/faults themselves: a failure must be seen, kept and told."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import recorded, reliability_page
from tests.faults import __main__ as command
from tests.faults import bench, damage, kills, text
from tests.faults.bench import Bench, Outcome
from tests.faults.one_kind import Tally
from tests.fixtures import tiny_models


@pytest.fixture(autouse=True)
def room(monkeypatch: pytest.MonkeyPatch) -> None:
    """A forked child begins with the memory of this process, which other tests may have filled."""
    inherited = bench._resident(os.getpid())
    for name in ("MOST_BYTES", "_STOP_BYTES"):
        monkeypatch.setattr(bench, name, getattr(bench, name) + inherited)


def _raises() -> int:
    raise RecursionError("too deep")


def _refuses(messages: int, code: int = 2) -> int:
    os.write(2, b"error: no run at x\n" * messages)
    return code


@pytest.mark.parametrize(
    ("action", "kind", "detail"),
    [
        (lambda: 0, "accepted", ""),
        (lambda: 1, "accepted", ""),
        (lambda: _refuses(1), "clean", ""),
        (lambda: _refuses(0), "broken", "exit 2 with 0 error messages"),
        (lambda: _refuses(2), "broken", "exit 2 with 2 error messages"),
        (lambda: _refuses(1, code=70), "traceback", ""),
        (lambda: _refuses(0, code=3), "broken", "exit 3"),
        (_raises, "traceback", "RecursionError: too deep"),
        (lambda: os.kill(os.getpid(), signal.SIGSEGV) or 0, "crash", "SIGSEGV"),
        (lambda: time.sleep(60) or 0, "hang", "> 0.9 s"),
    ],
    ids=["held", "limit", "clean", "silent", "two", "70", "3", "raises", "crash", "hang"],
)
def test_try_is_judged_by_how_it_ends(action: Callable[[], int], kind: str, detail: str, tmp_path: Path) -> None:
    place = Bench(folder=tmp_path, seed=0, name="part", run=tmp_path)
    outcome = place.forked(action, seconds=0.3 if kind == "hang" else 20.0, how="it")
    assert (outcome.kind, outcome.how) == (kind, "it") and detail in outcome.detail


def test_try_that_takes_much_memory_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "MOST_BYTES", 1 << 20)
    assert Bench(folder=tmp_path, seed=0, name="part", run=tmp_path).forked(lambda: 0).kind == "memory"


def test_slow_try_is_given_more_time_before_it_counts_as_hanging(tmp_path: Path) -> None:
    place = Bench(folder=tmp_path, seed=0, name="part", run=tmp_path)
    assert place.forked(lambda: time.sleep(0.6) or 0, seconds=0.4).kind == "accepted"


def test_try_is_cut_off_and_not_counted_when_the_time_of_all_is_over(tmp_path: Path) -> None:
    place = Bench(folder=tmp_path, seed=0, name="part", run=tmp_path, until=time.monotonic() + 0.3)
    started = time.monotonic()
    with pytest.raises(bench.TimeOverError):
        place.forked(lambda: time.sleep(60) or 0)
    assert time.monotonic() - started < 10


def test_damage_is_the_same_for_a_seed_and_another_for_another() -> None:
    content, value = tiny_models.relu(), {"a": [1, {"b": 2}], "c": "x", "d": None}

    def drawn(seed: int) -> list[Any]:
        r = random.Random(seed)
        return [
            *(damage.bytes_damaged(content, r) for _ in range(20)),
            *(damage.json_damaged(value, r) for _ in range(20)),
            *(damage.graph_damaged(content, r) for _ in range(5)),
        ]

    assert drawn(1) == drawn(1) != drawn(2)
    assert sum(found[0] != content for found in drawn(1)[:20]) > 15


def test_failing_input_is_kept_with_how_it_was_found_and_told_without_a_path(tmp_path: Path) -> None:
    file = tmp_path / "work" / "recipe.json"
    file.parent.mkdir()
    file.write_text("{")
    tally = Tally("recipe", file.parent, tmp_path / "fails")
    tally.add(Outcome(kind="clean"))
    for _ in range(5):
        tally.add(Outcome(kind="broken", detail=f"lost: {file}", how="edgefm recipes validate", file=file, text="said"))
    kept = sorted((tmp_path / "fails/recipe").iterdir())
    assert [folder.name for folder in kept] == ["01-broken-1", "01-broken-2", "01-broken-3"]
    assert (kept[0] / "recipe.json").read_text() == "{" and "recipes validate" in (kept[0] / "HOW.txt").read_text()
    figures = tally.to_json()
    assert (figures["tried"], figures["clean"], figures["broken"]) == (6, 1, 5)
    assert figures["failures"] == {"broken: lost: recipe.json": 5}


def test_half_written_files_are_found_and_unfinished_ones_are_not(tmp_path: Path) -> None:
    (tmp_path / "00-train.partial").mkdir()
    for name in ("manifest.json", "00-train.partial/history.json", ".manifest.json.x.partial", "model.keras"):
        (tmp_path / name).write_text("{")
    (tmp_path / "whole.json").write_text("{}")
    assert sorted(path.name for path in kills.half_written(tmp_path)) == ["manifest.json", "model.keras"]


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("a.html", "<meta content='Content-Security-Policy'><p>x</p>", ""),
        ("a.html", "<meta content='Content-Security-Policy'><img src=x onerror=alert(1)>", "img src"),
        ("a.html", "<p>x</p>", "no Content-Security-Policy"),
        ("a.md", "`<script>` and \\<script\\>\n\n```sh\nedgefm report 'a; touch PWNED'\n```\n", ""),
        ("a.md", "a <script>alert(1)</script>", "script"),
        ("a.md", "[x](javascript:alert(1))", ""),  # the renderer refuses it, as those of sites do
        ("a.md", "```sh\nedgefm report a; touch PWNED\n```\n", "does something else"),
        ("a.csv", "name,p50\r\nm,-1.5\r\n", ""),
        ("a.csv", "name,p50\r\n=cmd|x,1\r\n", "formula"),
        ("a.xml", "<testsuites><testsuite/></testsuites>", ""),
        ("a.xml", "<testsuites><x/></testsuites>", "has x"),
        ("a.xml", "<testsuites>", "no XML"),
    ],
)
def test_what_was_written_is_read_back(name: str, content: str, fault: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    outcome = text._read_back(Outcome(kind="accepted"), tmp_path)
    assert outcome.kind == ("broken" if fault else "accepted") and fault in outcome.detail


def test_control_characters_on_the_terminal_are_found_and_colours_are_not() -> None:
    assert text._read_back(Outcome(kind="clean", text="\x1b[31merror: \x1b[0mx\r\n"), Path("x")).kind == "clean"
    for bad in ("\x1b]0;x\x07", "\x9b2J", "\u202ex", "\x00"):
        assert text._read_back(Outcome(kind="clean", text=bad), Path("x")).kind == "broken"


def test_page_tells_failures_and_what_has_too_few_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = dict.fromkeys(reliability_page._COLUMNS, 0)
    npz = {"kind": "data", "part": "npz", "tried": 100, **counts, "clean": 99, "hang": 1, "failures": {"hang: a|b": 1}}
    disk = {"kind": "disks", "part": "disk-full", "not_run": "no mounts here"}
    value = {
        "runs": [{**_tried(7), "parts": [npz]}, {**_tried(8), "parts": [disk]}],
        "wanted": {
            "npz": {"kind": "data", "tries": 100},
            "disk-full": {"kind": "disks", "tries": 26},
            "disk-read-only": {"kind": "disks", "tries": 20},
        },
    }
    monkeypatch.setattr(reliability_page, "result", lambda name: value)
    page = reliability_page.page()
    assert "n = 100 tries, 1 of them failed" in page and "1 x npz: `hang: a/b`" in page
    assert "- data: short form, seed 7, 5 minutes, 2 at once" in page and "- disk-full: short form, seed 8" in page
    assert "0 (no mounts here)" in page and "not tried" in page
    assert not [line for line in page.splitlines() if line.startswith("| data") and "| npz" in line]


def test_recording_a_part_leaves_the_others_as_they_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(recorded, "RESULTS", tmp_path)
    monkeypatch.setattr(recorded, "HISTORY", tmp_path / "history.jsonl")
    for seed, names in ((1, ("npz", "idx")), (2, ("disk-full",)), (3, ("idx", "disk-full"))):
        command._record({**_tried(seed), "parts": [{"kind": "data", "part": name} for name in names]})
    runs = recorded.result("faults")["runs"]
    assert [(run["seed"], [part["part"] for part in run["parts"]]) for run in runs] == [
        (1, ["npz"]),
        (3, ["idx", "disk-full"]),
    ]


def test_parts_are_tried_by_their_names_or_by_that_of_their_kind() -> None:
    chosen = command._by_kind(["kill-train", "disks", "kill-search"])
    assert chosen == {"kills": ["kill-train", "kill-search"], "disks": ["disk-full", "disk-read-only", "full-output"]}


def _tried(seed: int) -> dict[str, Any]:
    """Return what is recorded of a call beside its parts."""
    return {
        "seed": seed,
        "form": "short",
        "minutes": 5.0,
        "lanes": 2,
        "created": "2026-01-01T00:00:00+00:00",
        "environment": {"cpu": "A", "cores": 2, "python": "3.11", "versions": {}},
    }
