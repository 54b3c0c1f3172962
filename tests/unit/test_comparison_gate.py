from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from junitparser import JUnitXml

from edgefm.comparison import gate_result, junit
from edgefm.comparison.budget import GateBudget, parse
from edgefm.comparison.gate import gate
from edgefm.comparison.gate_result import GateResult, LimitCheck
from edgefm.comparison.subjects import Subject, open_subject
from tests.fixtures.benchmark_records import answers, benchmark_record, failed, row, write


def _budget(baseline: str | None = None, *, strict: bool = False, model: str = "m", **limits: float) -> GateBudget:
    top: dict[str, Any] = {} if baseline is None else {"baseline": baseline}
    return parse({**top, "strict": strict, "models": {model: limits}}, where="budget.toml")


def _subject(*rows: dict[str, Any], **changes: Any) -> Subject:
    return Subject(name="record", record=benchmark_record(rows, **changes))


def _only(found: GateResult) -> LimitCheck:
    [check] = found.checks
    return check


@pytest.mark.parametrize(
    ("key", "limit", "state"),
    [
        ("accuracy", 0.9, "held"),
        ("accuracy", 0.901, "broken"),
        ("quality", 0.9, "held"),
        ("quality", 0.95, "broken"),
        ("size_bytes", 400_000, "held"),
        ("size_bytes", 399_999, "broken"),
        ("size_gzip_bytes", 399_000, "held"),
        ("size_gzip_bytes", 1, "broken"),
        ("peak_memory_bytes", 1_000_000, "held"),
        ("peak_memory_bytes", 999_999, "broken"),
        ("arena_bytes", 59_440, "held"),
        ("arena_bytes", 50_000, "broken"),
        ("instructions", 1_240_000, "held"),
        ("instructions", 1_000_000, "broken"),
        ("p50_us", 110, "held"),
        ("p50_us", 90, "broken"),
        ("p50_us", 100, "undecided"),
    ],
)
def test_gate_holds_each_limit_against_its_figure(key: str, limit: float, state: str) -> None:
    figure = {"name": "instructions", "value": 1_240_000, "mode": "simulated", "reason": None, "details": {}}
    subject = _subject(row("m", facts={"arena_bytes": 59_440}, figures=[figure]))
    found = gate(subject, _budget(**{key: limit}))
    assert _only(found).state == state
    assert found.exit_code == {"held": 0, "broken": 1, "undecided": 0}[state]
    assert ("one machine" in " ".join(found.notes)) == (key == "p50_us")


@pytest.mark.parametrize(
    ("limit", "strict", "state"),
    [
        pytest.param(0.52, False, "held", id="below"),
        pytest.param(0.48, False, "broken", id="above"),
        pytest.param(0.5, False, "undecided", id="across"),
        pytest.param(0.5, True, "broken", id="across-strict"),
        pytest.param(0.52, True, "held", id="below-strict"),
    ],
)
def test_gate_ratio_goes_by_the_interval_within_one_record(limit: float, strict: bool, state: str) -> None:
    found = gate(_subject(row("base"), row("m", us=50)), _budget("base", strict=strict, p50_ratio=limit))
    check = _only(found)
    assert check.state == state and check.low is not None and check.high is not None
    assert check.low < 0.5 < check.high
    assert gate_result.conclusion(found)


def test_gate_ratio_of_a_baseline_record() -> None:
    baseline = Subject(name="old", record=benchmark_record([row("m", us=100)]))
    slower = gate(_subject(row("m", us=110, seed=4)), _budget(p50_ratio=1.03), baseline=baseline)
    same = gate(_subject(row("m", us=100, seed=4)), _budget(p50_ratio=1.03), baseline=baseline)
    assert (_only(slower).state, _only(same).state) == ("broken", "held")
    assert same.baseline == "old"


def test_gate_ratio_of_a_baseline_of_another_environment_is_not_checked_unless_forced() -> None:
    baseline = Subject(name="old", record=benchmark_record([row("m")], environment={"cpu": "Other CPU"}))
    subject = _subject(row("m"))
    found = gate(subject, _budget(p50_ratio=1.5, size_bytes=500_000), baseline=baseline)
    assert [check.state for check in found.checks] == ["not checked", "held"]
    assert "processor" in str(found.checks[0].reason) and found.exit_code == 2
    forced = gate(subject, _budget(p50_ratio=1.5), baseline=baseline, force=True)
    assert _only(forced).state == "held" and any("Other CPU" in note for note in forced.notes)


def test_gate_accuracy_drop_is_that_of_the_same_images(tmp_path: Path) -> None:
    value = benchmark_record([row("base", accuracy=0.9), row("m", accuracy=0.89)])
    subject = open_subject(str(write(tmp_path, value, predictions={"base": answers(0.9), "m": answers(0.89)})))
    held, broken = (gate(subject, _budget("base", accuracy_drop=limit)) for limit in (0.01, 0.009))
    assert (_only(held).state, _only(broken).state) == ("held", "broken")
    assert _only(held).value == pytest.approx(0.01)
    gain = gate(subject, _budget("m", model="base", accuracy_drop=0.0))
    assert _only(gain).state == "held"


@pytest.mark.parametrize(
    ("rows", "budget", "words"),
    [
        pytest.param([row("m")], _budget(p50_ratio=1), "no baseline", id="no-baseline"),
        pytest.param([row("m")], _budget(accuracy_drop=0.1), "no baseline", id="no-baseline-drop"),
        pytest.param([row("m")], _budget("base", p50_ratio=1), "base is not in the record", id="baseline-missing"),
        pytest.param([row("m"), failed("b")], _budget("b", p50_ratio=1), "baseline b failed", id="baseline-failed"),
        pytest.param([row("x")], _budget(size_bytes=9), "the record has no such model; it has x", id="model"),
        pytest.param([failed("m")], _budget(size_bytes=10**9), "it failed: the runtime crashed", id="failed"),
        pytest.param([row("m", accuracy=None)], _budget(accuracy=0.1), "it was not measured", id="no-accuracy"),
        pytest.param([row("m", accuracy=None)], _budget(quality=0.1), "without data", id="no-quality"),
        pytest.param([row("m")], _budget(arena_bytes=10**6), "no arena_bytes in the record", id="no-arena"),
        pytest.param([row("m", memory=None)], _budget(peak_memory_bytes=1), "memory was not measured", id="no-memory"),
        pytest.param([row("m", latency_ns=None)], _budget(p50_us=1), "latency was not measured", id="no-latency"),
    ],
)
def test_gate_what_cannot_be_checked_is_exit_code_2_with_the_reason(
    rows: list[dict[str, Any]], budget: GateBudget, words: str
) -> None:
    found = gate(_subject(*rows), budget)
    assert _only(found).state == "not checked" and found.exit_code == 2
    assert words in str(_only(found).reason)


def test_gate_broken_and_unchecked_is_exit_code_1() -> None:
    assert gate(_subject(row("m")), _budget(size_bytes=1, arena_bytes=1)).exit_code == 1


def test_gate_pattern_holds_for_every_match_and_patterns_add_up() -> None:
    subject = _subject(row("int8_a"), row("int8_b", size=10**6), row("float32"))
    tables = {"int8_*": {"size_bytes": 500_000}, "int8_a": {"accuracy": 0.5}}
    found = gate(subject, parse({"models": tables}, where="b"))
    assert [(check.model, check.key, check.state) for check in found.checks] == [
        ("int8_a", "size_bytes", "held"),
        ("int8_b", "size_bytes", "broken"),
        ("int8_a", "accuracy", "held"),
    ]


def test_gate_error_measure_is_at_most() -> None:
    quality = {
        "name": "mse", "unit": "", "higher_is_better": False, "n": 10, "value": 0.3, "low": None, "high": None,
        "reason": None,
    }  # fmt: skip
    subject = _subject(row("m", quality=quality), dataset={"task": "regression", "labels": []})
    assert [_only(gate(subject, _budget(quality=limit))).state for limit in (0.4, 0.2)] == ["held", "broken"]


def test_gate_ratio_with_few_rounds_is_undecided() -> None:
    subject = _subject(row("base", rounds=3), row("m", us=10, rounds=3))
    assert _only(gate(subject, _budget("base", p50_ratio=0.5))).state == "undecided"
    assert _only(gate(subject, _budget("base", strict=True, p50_ratio=0.5))).state == "broken"


@pytest.mark.parametrize("key", ["p50_ratio", "accuracy_drop"])
def test_gate_pattern_that_matches_the_baseline_is_not_held_against_it(key: str) -> None:
    subject = _subject(row("base"), row("m", us=50), row("n", us=50))
    found = gate(subject, parse({"baseline": "base", "models": {"*": {key: 0.6}}}, where="b"))
    assert [(check.model, check.state) for check in found.checks] == [("m", "held"), ("n", "held")]
    assert f"{key} of '*' is not checked for base, the baseline" in found.notes and found.exit_code == 0


def test_gate_baseline_alone_against_itself_is_not_checked() -> None:
    found = gate(_subject(row("base"), row("m")), _budget("base", model="base", p50_ratio=0.6))
    assert _only(found).state == "not checked" and "is the baseline itself" in str(_only(found).reason)
    # What takes no baseline is checked of it as of the others.
    found = gate(_subject(row("base"), row("m")), _budget("base", model="*", size_bytes=500_000))
    assert [check.state for check in found.checks] == ["held", "held"]
    # Against a record, the row of the same name is another measurement.
    baseline = Subject(name="old", record=benchmark_record([row("base")]))
    assert (
        _only(gate(_subject(row("base")), _budget("base", model="base", p50_ratio=1.5), baseline=baseline)).state
        == "held"
    )


def test_gate_accuracy_drop_of_other_images_is_not_checked() -> None:
    baseline = Subject(name="old", record=benchmark_record([row("m")], dataset={"sha256": "e" * 64}))
    found = gate(_subject(row("m")), _budget(accuracy_drop=0.5), baseline=baseline)
    assert _only(found).state == "not checked" and "other images" in str(_only(found).reason)
    assert found.exit_code == 2


def test_junit_has_a_test_case_a_limit(tmp_path: Path) -> None:
    subject = _subject(row("base"), row("m", us=50))
    budget = _budget("base", size_bytes=1, accuracy=0.5, p50_ratio=0.5, arena_bytes=3)
    found = gate(subject, budget)
    [suite] = JUnitXml.fromfile(str(junit.write(tmp_path / "out" / "junit.xml", found)))
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (4, 1, 1, 0)
    cases = {case.name.split(",")[0]: case for case in suite}
    assert list(cases) == ["size_bytes", "accuracy", "p50_ratio", "arena_bytes"]
    assert cases["size_bytes"].result[0].type == "broken" and "400,000 bytes" in cases["size_bytes"].result[0].message
    assert cases["arena_bytes"].result[0].type == "not checked"
    assert cases["p50_ratio"].result == [] and cases["p50_ratio"].system_out.startswith("undecided")
    assert {one.name: one.value for one in suite.properties()} == {"record": "record", "baseline": "base"}


def test_junit_of_texts_that_xml_cannot_hold_is_read_again(tmp_path: Path) -> None:
    bad = "\x1b[31mred\x1b[0m \x00\x08\x0b\x1b \ud800 \ufffe \uffff end\ttab <&>\U0001f600"
    good = "red \ufffd\ufffd\ufffd\ufffd \ufffd \ufffd \ufffd end\ttab <&>\U0001f600"
    states = ("held", "broken", "undecided", "not checked")
    checks = tuple(LimitCheck(model=f"m{bad}", key="size_bytes", limit=1, state=state, reason=bad) for state in states)
    found = GateResult(record=bad, baseline=bad, checks=checks, notes=(bad,))
    [suite] = JUnitXml.fromfile(str(junit.write(tmp_path / "junit.xml", found)))
    assert {one.name: one.value for one in suite.properties()} == {"record": good, "baseline": good, "note 1": good}
    assert {case.classname for case in suite} == {f"edgefm.gate.m{good}"}
    told = [case.result[0].message if case.result else case.system_out for case in suite]
    assert all(good in text for text in told) and len(told) == 4


def test_junit_keeps_to_the_elements_and_order_that_ci_systems_take(tmp_path: Path) -> None:
    # Of the schema that Jenkins publishes: properties first; a case holds its result, then system-out.
    from xml.etree import ElementTree

    found = gate(_subject(row("m")), _budget(size_bytes=1, accuracy=0.5, arena_bytes=3))
    root = ElementTree.parse(junit.write(tmp_path / "junit.xml", found)).getroot()
    assert root.tag == "testsuites" and [child.tag for child in root] == ["testsuite"]
    assert [child.tag for child in root[0]] == ["properties", "testcase", "testcase", "testcase"]
    for case in root.iter("testcase"):
        assert case.get("name") and case.get("classname")
        assert all(child.tag in ("failure", "error", "system-out") for child in case)
        assert all(child.get("message") for child in case if child.tag != "system-out")


def test_gate_json_names_every_check() -> None:
    import json

    value = json.loads(json.dumps(gate(_subject(row("m")), _budget(size_bytes=1)).to_json(), allow_nan=False))
    assert (value["kind"], value["schema_version"], value["exit_code"]) == ("gate", 1, 1)
    assert value["checks"][0] == {
        "model": "m", "key": "size_bytes", "limit": 1.0, "state": "broken", "value": 400_000.0, "low": None,
        "high": None, "reason": None,
    }  # fmt: skip
