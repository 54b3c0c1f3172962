"""One verdict: decided rightly, and named alike by every command, page and function."""

from __future__ import annotations

import doctest
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import optimize, stats

import edgefm
from edgefm.benchmarking import record as records
from edgefm.cli import benchmark_tables
from edgefm.cli.main import cli
from edgefm.comparison.aspects import latency
from edgefm.comparison.shipping import words
from edgefm.comparison.shipping.of_run import default_variant, run_verdict
from edgefm.comparison.shipping.quality import judged, yardstick
from edgefm.comparison.shipping.verdict import JudgedFile
from edgefm.core.errors import ArgumentError
from edgefm.core.runs import RunDirectory
from edgefm.core.text import markdown as escaped
from edgefm.jobs.export.models import models_meant
from edgefm.jobs.predict import default_model
from edgefm.report.compose import ReportContent
from edgefm.report.content import inputs as report_inputs
from edgefm.report.content.record_facts import facts
from edgefm.report.pages import markdown, page, summary
from edgefm.report.text.answer import answer
from edgefm.statistics import noninferiority
from edgefm.statistics.estimates import paired_difference, percentiles
from edgefm.statistics.round_comparison import time_ratio
from tests.fixtures.shipping_cases import CASES, MadeUp, ShippingCase, made_record, write_run


@pytest.fixture
def case_run(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[ShippingCase, Path]:
    return request.param, write_run(request.param, tmp_path)


each_case = pytest.mark.parametrize("case_run", CASES, indirect=True, ids=[case.name for case in CASES])


@each_case
def test_verdict_of_a_contradictory_record_is_the_right_one(case_run: tuple[ShippingCase, Path]) -> None:
    case, run = case_run
    verdict = edgefm.verdict(run)
    assert (verdict.state, verdict.file) == (case.state, case.file)
    assert case.says in verdict.headline
    assert {file.name for file in verdict.files} == set(case.files)
    assert json.loads(json.dumps(verdict.to_json(), allow_nan=False))["file"] == case.file


@each_case
def test_every_output_names_the_same_file(case_run: tuple[ShippingCase, Path], tmp_path: Path) -> None:
    case, run = case_run
    verdict = edgefm.verdict(run)
    headline, record = verdict.headline, edgefm.BenchmarkRecord.open(run)
    assert record.verdict == edgefm.Run(run).verdict == edgefm.verdict(record) == verdict
    # The terminal's table.
    runner = CliRunner()
    with runner.isolation() as (out, *_):
        benchmark_tables.show_verdict(verdict)
        assert headline in out.getvalue().decode()
    # gate, in the terminal, as JSON and in a notebook.
    budget = tmp_path / "budget.toml"
    budget.write_text('[models."*"]\nsize_bytes = 10_000_000\n')
    gate = edgefm.gate(run, budget)
    assert gate.verdict == verdict and gate.to_json()["verdict"]["headline"] == headline
    shown = runner.invoke(cli, ["gate", str(run), "--budget", str(budget)]).output
    assert (f"verdict: {headline}" in shown) == (verdict.state != "nothing to decide")
    # The report: JSON, Markdown, page.
    content = _content(run)
    found = summary.summary(content)
    assert (found["finding"], found["proposed"], found["verdict"]["file"]) == (headline, case.file, case.file)
    assert {item["model"] for item in found["advice"]} <= {choice.file or "none" for choice in verdict.choices}
    assert escaped(headline) in markdown.render(content)
    html = page.render(content)
    title = re.search("<h1>(.*?)</h1>", html, re.DOTALL)
    assert title is not None and _plain(title[1]) == headline
    coloured = re.findall(r'<tr class="proposed"><th scope="row">(.*?)\n', html)
    assert [name.replace("<wbr>", "") for name in coloured] == ([] if case.file is None else [case.file])
    # export and predict: the file, or the reference as long as none is recommended.
    expected = case.file or verdict.fallback or "int8_w8a8"
    assert default_variant(run_verdict(RunDirectory.open(run))) == expected
    assert default_model(run) == run / "01-quantize" / expected / "model.tflite"
    meant = models_meant(run, "android", None)[""]
    assert (meant.variant, meant.path) == (expected, run / "01-quantize" / expected / "model.tflite")
    assert meant.advice.startswith(headline) if verdict.fallback is not None else meant.advice == ""


def _drifting(record: dict[str, Any]) -> None:
    """Let the machine be half as fast from round 7 on, and the fast rounds of int8_w8a8 have the more samples."""
    for value in record["models"]:
        us = 40 if value["name"] == "int8_w8a8" else 100
        for turn in value["rounds"]:
            slow = turn["index"] >= 7
            turn["invoke_ns"] = [1000 * us * (1 + slow)] * (9 if slow or us == 100 else 90)
        turns = [turn["invoke_ns"] for turn in value["rounds"]]
        value["latency_ns"] = {name: one.to_json() for name, one in percentiles(turns).items()}


def test_every_output_shows_one_ratio_of_times(tmp_path: Path) -> None:
    case = ShippingCase(
        name="drift", state="ship", file="int8_w8a8", says="", edit=_drifting,
        files={"float32": MadeUp(), "int8_w8a8": MadeUp(us=40, size=100_000, lost=10, won=10)},
    )  # fmt: skip
    run = write_run(case, tmp_path)
    record = edgefm.BenchmarkRecord.open(run).record
    base, row = record["models"]
    assert row["latency_ns"]["p50"]["value"] / base["latency_ns"]["p50"]["value"] == 0.2, "of all samples"
    verdict = edgefm.verdict(run)
    (judged,) = (file for file in verdict.files if file.name == "int8_w8a8")
    ratio = time_ratio(row, base)
    assert ratio is not None and ratio.value == pytest.approx(0.4) and judged.time_ratio == ratio
    assert verdict.choices[0].file == "int8_w8a8" and "2.5 times faster" in verdict.choices[0].reason
    assert benchmark_tables._row(row, base)[3] == "0.400"
    # The report: first screen and sentences in the page and in Markdown, tables, JSON, steps.
    content = _content(run)
    (figure,) = (figure for figure in answer(content.facts, run_id="run").figures if figure.name == "Time (p50)")
    assert figure.against.startswith("2.5 times faster")
    html, text = page.render(content), markdown.render(content)
    for shown in (html, text):
        assert "0.400" in shown and "2.5" in shown and "5.0 times" not in shown and "0.200" not in shown
    (found,) = (model for model in summary.summary(content)["models"] if model["name"] == "int8_w8a8")
    assert found["latency_ratio"] == {"value": ratio.value, "low": ratio.low, "high": ratio.high}
    # Comparisons and limits.
    assert latency(base, row, paired=True, margin=0.0, refused=None).difference == ratio
    budget = tmp_path / "budget.toml"
    budget.write_text('baseline = "float32"\n[models.int8_w8a8]\np50_ratio = 0.39\n')
    (checked,) = edgefm.gate(run, budget).checks
    assert checked.value == ratio.value and checked.state == "broken"


def _plain(html: str) -> str:
    import html as escapes

    return escapes.unescape(re.sub("<[^>]+>", "", html)).strip()


def _content(run: Path) -> ReportContent:
    """Return the content of a run's report without its pictures, which take seconds to draw."""
    read = report_inputs.read(RunDirectory.open(run))
    assert read.record is not None and read.record_path is not None
    measured = facts(read.record, edgefm.verdict(run))
    return ReportContent(
        inputs=read, facts=measured, waterfall=None, stories=[], gates=[], skipped=[], pictures={}, flips=[],
        mistakes=None, explained={}, forecasted=[],
    )  # fmt: skip


# What the verdict said of another benchmark holds for its files alone.
def test_verdict_on_files_that_were_written_anew_is_not_taken(tmp_path: Path) -> None:
    case = next(case for case in CASES if case.name == "a-limit-broken")
    run = write_run(case, tmp_path)
    path = run / "02-benchmark" / "record.json"
    record = json.loads(path.read_text())
    for row in record["models"]:
        row["sha256"] = "0" * 64
    path.write_text(json.dumps(record))
    assert run_verdict(RunDirectory.open(run)) is None
    assert default_model(run).parent.name == "int8_w8a8"


def _by_counts(n: int, lost: int, won: int) -> Any:
    case = ShippingCase(name="", files={}, state="", file=None, says="", n=n)
    against = {"reference": "float32", "only_reference_right": lost, "only_this_right": won}
    base = {
        "name": "float32",
        "quality": {"name": "accuracy", "unit": "%", "higher_is_better": True, "value": 0.9, "n": n},
    }
    by = yardstick({"dataset": {"images": case.n}}, base, None, tests=1)
    assert by is not None
    return judged({"against_reference": against}, by, reference="float32")


def _tango_z(n: int, lost: int, won: int, loss: float) -> float:
    """Return Tango's statistic for a supposed loss by its restricted maximum likelihood, found by search."""

    # Source: Tango 1998: p01 = q, p10 = q + loss; the likelihood of (won, lost, rest) is maximised over q.
    def minus_log(q: float) -> float:
        p_lost, p_won = q + loss, q
        rest = 1 - p_lost - p_won
        return -sum(
            count * math.log(max(p, 1e-300)) for count, p in ((lost, p_lost), (won, p_won), (n - lost - won, rest))
        )

    q = optimize.minimize_scalar(minus_log, bounds=(0, (1 - loss) / 2), method="bounded", options={"xatol": 1e-12}).x
    return float((won - lost + n * loss) / math.sqrt(n * (2 * q + loss * (1 - loss))))


@pytest.mark.parametrize("module", [noninferiority, words], ids=lambda module: module.__name__)
def test_examples_in_docstrings_hold(module: Any) -> None:
    outcome = doctest.testmod(module)
    assert outcome.attempted > 0 and outcome.failed == 0


@pytest.mark.parametrize(
    ("n", "lost", "won"),
    [(18, 0, 0), (380, 0, 0), (386, 0, 0), (500, 1, 1), (2000, 10, 10), (2000, 25, 20), (10_000, 90, 40),
     (10_000, 40, 90), (1000, 60, 10), (60, 9, 0), (10_000, 300, 290)],
)  # fmt: skip
def test_judgement_of_accuracy_is_tangos_test_at_one_sided_2_5_percent(n: int, lost: int, won: int) -> None:
    found = _by_counts(n, lost, won)
    z, critical = _tango_z(n, lost, won, 0.01), stats.norm.ppf(0.975)
    expected = "as good" if z > critical else "worse" if z < -critical else "undecided"
    assert found.state == expected


@pytest.mark.parametrize("share", [0.004, 0.02, 0.08])
def test_named_number_of_samples_decides_in_80_percent(share: float) -> None:
    n = noninferiority.paired_samples_needed(share, 0.01)
    assert n is not None
    generator = np.random.default_rng(3)
    draws = generator.multinomial(n, [share / 2, share / 2, 1 - share], size=600)
    shown = [paired_difference(int(lost), int(won), n).low > -0.01 for lost, won, _ in draws]
    # 80 % of 600 within four standard errors; a handful of discordant pairs makes coarse steps.
    assert np.mean(shown) == pytest.approx(0.8, abs=0.065 if share > 0.01 else 0.1)


def test_planning_share_is_wilsons_one_sided_limit() -> None:
    for hits, n in ((0, 18), (3, 50), (200, 9000)):
        z = stats.norm.ppf(0.8)
        limit = noninferiority.discordant_share(hits, n)
        assert (hits / n - limit) / math.sqrt(limit * (1 - limit) / n) == pytest.approx(-z)


def test_least_samples_are_those_of_equal_answers() -> None:
    least = noninferiority.least_samples(0.01)
    assert paired_difference(0, 0, least).low > -0.01 >= paired_difference(0, 0, least - 1).low


@pytest.mark.parametrize("degrees", [5, 9, 17, 99, 5000])
@pytest.mark.parametrize("tests", [1, 4, 12])
def test_students_t_agrees_with_scipy(degrees: int, tests: int) -> None:
    point = stats.t.ppf(1 - min(0.025, 0.05 / tests), degrees)
    assert noninferiority.student_t(degrees, z=noninferiority.normal_point(tests)) == pytest.approx(point, rel=5e-3)


def test_widened_interval_covers_a_mean_of_few_samples() -> None:
    generator = np.random.default_rng(0)
    inside = 0
    for _ in range(400):
        sample = generator.normal(size=8)
        drawn = generator.choice(sample, (400, 8)).mean(axis=1)
        low, high = np.quantile(drawn, (0.025, 0.975))
        plain = noninferiority.Estimate(float(sample.mean()), float(low), float(high))
        wide = noninferiority.widened(plain, 8, share=False)
        inside += wide.low <= 0 <= wide.high
    assert inside / 400 > 0.925


def test_share_without_any_difference_keeps_a_width() -> None:
    same = noninferiority.widened(noninferiority.Estimate(0.0, 0.0, 0.0), 18, share=True)
    assert (same.low, same.high) == pytest.approx((-0.1759, 0.1759), abs=1e-3)
    assert noninferiority.widened(noninferiority.Estimate(0.0, 0.0, 0.0), 18, share=False).low == 0


def _files(run: Path) -> dict[str, JudgedFile]:
    return {file.name: file for file in edgefm.verdict(run).files}


def test_microcontrollers_get_integer_files_alone(tmp_path: Path) -> None:
    case = next(case for case in CASES if case.name == "faster-by-5-percent")
    files = _files(write_run(case, tmp_path))
    assert files["float32"].not_on_microcontrollers is not None
    assert "float32" in files["float32"].not_on_microcontrollers
    assert files["int8_w8a8"].not_on_microcontrollers is None
    assert all(file.not_on_phones is None for file in files.values())


@pytest.mark.parametrize(
    ("contents", "says"),
    [
        pytest.param({"dtypes": ["float32", "int8"]}, "float32", id="dynamic-range"),
        pytest.param({"dtypes": ["float16", "float32"]}, "float16", id="float16"),
        pytest.param({"dtypes": ["int32", "int4", "int8"]}, "int4", id="int4-weights"),
        pytest.param({"end_dtypes": ["float32"]}, "float32", id="float-ends"),
        pytest.param({"dtypes": ["uint8"]}, "uint8", id="old-uint8"),
        pytest.param({"batch": 8}, "batch is 8", id="batch"),
        pytest.param({"custom_operators": ["CUSTOM:FlexErf"]}, "FlexErf", id="custom"),
        pytest.param({"dtypes": ["int16", "int64", "int8"]}, None, id="int16x8"),
        pytest.param({"end_dtypes": ["uint8"]}, None, id="pixels"),
    ],
)
def test_microcontroller_refuses_what_it_has_no_kernels_for(contents: dict[str, Any], says: str | None) -> None:
    from edgefm.comparison.shipping.loading import not_on_microcontrollers, not_on_phones
    from tests.fixtures.benchmark_records import row

    whole = {"dtypes": ["int8", "int32"], "end_dtypes": ["int8"], "custom_operators": [], "batch": 1, **contents}
    found = not_on_microcontrollers(row("m"), whole)
    assert found is None if says is None else found is not None and says in found
    assert (not_on_phones(row("m"), whole) is None) == (not whole["custom_operators"])


def test_record_measured_now_holds_what_the_verdict_needs(tmp_path: Path) -> None:
    from tests.fixtures import tiny_models

    path = tmp_path / "m.tflite"
    path.write_bytes(tiny_models.dense(np.ones((10, 16), np.float32)))
    record = edgefm.benchmark([path], rounds=1, rounds_at_most=1, budget_seconds=5)
    (row,) = record.record["models"]
    assert row["file_facts"]["contents"]["dtypes"] == ["float32"]
    path.unlink()
    assert record.verdict.files[0].not_on_microcontrollers == (
        "it holds float32 tensors; integer kernels take int8, int16 and int32 alone"
    )


@pytest.mark.parametrize(
    ("target", "file"),
    [("phones", "int8_w8a8"), ("microcontrollers", "pruned50_qat_int8"), ("download", "pruned50_qat_int8")],
)
def test_target_chooses_what_the_file_is_for(target: str, file: str, tmp_path: Path) -> None:
    case = next(case for case in CASES if case.name == "faster-by-5-percent")
    assert edgefm.verdict(write_run(case, tmp_path), target=target).file == file


def test_margin_decides(tmp_path: Path) -> None:
    case = next(case for case in CASES if case.name == "a-loss-as-great-as-the-margin")
    run = write_run(case, tmp_path)
    assert edgefm.verdict(run, margin=0.02).file == "int8_w8a8"
    assert edgefm.verdict(run, margin=0.002).state == "keep the reference"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"target": "watches"}, "'watches'; one of phones, microcontrollers, download"),
        ({"target": 3}, "target is 3"),
        ({"margin": 0}, "margin is 0"),
        ({"margin": 1.5}, "margin is 1.5"),
        ({"margin": "1"}, "a number is expected"),
    ],
)
def test_verdict_refuses_wrong_arguments(arguments: dict[str, Any], says: str, tmp_path: Path) -> None:
    run = write_run(CASES[3], tmp_path)
    with pytest.raises(ArgumentError, match=re.escape(says)):
        edgefm.verdict(run, **arguments)


def test_verdict_takes_a_record_in_memory_of_any_version(tmp_path: Path) -> None:
    for case in CASES:
        if case.version != 3:
            run = write_run(case, tmp_path / case.name)
            assert edgefm.verdict(made_record(case, run)).state == case.state


def test_finding_on_the_given_model_stops_every_recommendation(tmp_path: Path) -> None:
    run = write_run(CASES[3], tmp_path)
    path = run / "01-quantize" / "quantize.json"
    described = json.loads(path.read_text())
    message = "output 0 of the given model is the same for all 12 samples"
    described["findings"] = [{"where": "given model", "code": "constant_output", "message": message}]
    path.write_text(json.dumps(described))
    assert edgefm.verdict(run).state == "no better than chance"
    described["findings"] = [{"where": "pruned50_qat_int8", "code": "few_levels", "message": "3 levels are left"}]
    path.write_text(json.dumps(described))
    assert _files(run)["pruned50_qat_int8"].reason == "3 levels are left"
    assert edgefm.verdict(run).file == "float32"


def test_chance_level_found_on_validation_samples_stops_it_too(tmp_path: Path) -> None:
    run = write_run(CASES[3], tmp_path)
    path = run / "01-quantize" / "quantize.json"
    described = json.loads(path.read_text())
    described["given"] = {"samples": 400, "labelled": True, "quality": 0.72, "name": "accuracy"}
    message = "289 of 400 samples are right; always the commonest class would have 356"
    described["findings"] = [{"where": "given model", "code": "chance_level", "message": message}]
    path.write_text(json.dumps(described))
    verdict = edgefm.verdict(run)
    assert (verdict.state, verdict.file) == ("no better than chance", None) and message in verdict.headline


def test_records_of_the_cases_are_valid(tmp_path: Path) -> None:
    for case in CASES:
        run = write_run(case, tmp_path / case.name)
        records.read(run / "02-benchmark" / "record.json")
    assert MadeUp().lost == 0


def test_time_within_1_percent_is_no_news() -> None:
    from edgefm.report.content.waterfall import Change
    from edgefm.report.content.wording import Interval

    def change(value: float, low: float, high: float) -> Change:
        return Change(
            size_bytes=0, gzip_bytes=0, zstd_bytes=None, macs=0, memory_bytes=None, activation_bytes=None, quality=None,
            quality_shown=None, p=None, won=None, lost=None, time=Interval(value=value, low=low, high=high),
        )  # fmt: skip

    assert not change(1.001, 1.0005, 1.0015).slower and not change(0.995, 0.991, 0.999).faster
    assert change(1.02, 1.015, 1.025).slower and change(0.9, 0.88, 0.93).faster
    test = {"verdict": "slower", "p": 0.001, "round_ratio": {"value": 1.001, "low": 1.0005, "high": 1.0015}}
    assert benchmark_tables._verdict(test) == "equal within 1 %"
    assert benchmark_tables._verdict({**test, "round_ratio": {"value": 1.1}}) == "slower, p 0.001"


@pytest.mark.parametrize(
    ("features", "target", "doubted"),
    [
        (["fma", "avx2"], "host", True),
        (["asimd"], "host", True),
        (["fma", "avx2", "avx512_vnni"], "host", False),
        (["asimd", "asimddp"], "host", False),
        ([], "host", False),
        (["asimd"], "ssh", False),
    ],
)
def test_choice_for_phones_says_where_times_are_of_another_kind_of_processor(
    features: list[str], target: str, doubted: bool, tmp_path: Path
) -> None:
    case = next(case for case in CASES if case.name == "small-files-are-slower")
    record = made_record(case, write_run(case, tmp_path))
    record["environment"]["cpu_features"] = features
    record["target"]["name"] = target
    reasons = {choice.target: choice.reason for choice in edgefm.verdict(record).choices}
    assert [need for need, reason in reasons.items() if "measure on the phone" in reason] == ["phones"] * doubted
