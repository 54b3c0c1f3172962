from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgefm.comparison import qualities
from edgefm.comparison.aspects import Aspect, Margins
from edgefm.comparison.compare import compare
from edgefm.comparison.comparison_result import ComparisonResult
from edgefm.comparison.differences import differences, row_differences
from edgefm.comparison.subjects import Subject, open_subject, split_name
from edgefm.comparison.verdicts import conclusion, sentence
from edgefm.core.errors import EdgefmError, RecipeError, RunError
from edgefm.statistics import estimates as statistics
from tests.fixtures.benchmark_records import answers, benchmark_record, failed, row, write


def _subject(name: str, *rows: dict[str, Any], model: str | None = None, **changes: Any) -> Subject:
    return Subject(name=name, record=benchmark_record(rows, **changes), model=model)


def _aspects(found: ComparisonResult, place: int = 0) -> dict[str, Aspect]:
    return {one.name: one for one in found.pairs[place].aspects}


def _verdicts(found: ComparisonResult, place: int = 0) -> dict[str, str]:
    return {name: one.verdict for name, one in _aspects(found, place).items()}


def test_compare_finds_a_slower_model_of_another_record() -> None:
    found = compare(_subject("a", row("m", us=100)), _subject("b", row("m", us=106, seed=5)))
    latency = _aspects(found)["latency"]
    assert latency.verdict == "worse" and found.exit_code == 1
    assert latency.difference is not None and latency.difference.low < 1.06 < latency.difference.high
    assert latency.method is not None and "Mann-Whitney" in latency.method
    assert "B is slower by" in sentence(latency) and "15 rounds" in sentence(latency)
    assert conclusion(found) == "B is worse than A in latency of m"


def test_compare_of_one_record_pairs_the_rounds(tmp_path: Path) -> None:
    path = write(tmp_path, benchmark_record([row("a", us=100), row("b", us=101.5)]))
    found = compare(open_subject(f"{path}::a"), open_subject(f"{path}::b"))
    latency = _aspects(found)["latency"]
    # Rounds differ by 1 %, their ratios by 0.6 %: only the paired test sees 1.5 % this clearly.
    assert latency.verdict == "worse" and latency.p is not None and latency.p < 0.001
    assert latency.method is not None and "signed-rank" in latency.method
    assert not any("different times" in note for note in found.notes)


def test_compare_of_equal_records_sees_no_difference_and_is_exit_code_0() -> None:
    found = compare(_subject("a", row("m")), _subject("b", row("m", seed=3)))
    assert _verdicts(found) == {
        "latency": "no difference seen", "accuracy": "no difference seen", "size_bytes": "the same",
        "size_gzip_bytes": "the same", "peak_memory_bytes": "not judged",
    }  # fmt: skip
    assert found.exit_code == 0
    assert found.pairs[0].judgement == "no difference seen"
    assert "minimum detectable effect" in sentence(_aspects(found)["latency"])
    assert any("measured at different times" in note for note in found.notes)


def test_compare_faster_smaller_and_as_accurate_is_better() -> None:
    found = compare(_subject("a", row("m")), _subject("b", row("m", us=50, size=200_000)))
    assert found.exit_code == 0
    assert _verdicts(found)["latency"] == _verdicts(found)["size_bytes"] == "better"
    assert conclusion(found) == "B is not worse than A in any metric"


@pytest.mark.parametrize(
    ("margin", "us", "code", "verdict"),
    [
        pytest.param(0.0, 103, 1, "worse", id="no-margin"),
        pytest.param(0.10, 103, 0, "equivalent", id="within"),
        pytest.param(0.028, 103, 0, "worse", id="interval-reaches-into-the-margin"),
        pytest.param(0.02, 110, 1, "worse", id="beyond"),
    ],
)
def test_compare_latency_margin_decides_the_exit_code(margin: float, us: float, code: int, verdict: str) -> None:
    found = compare(_subject("a", row("m")), _subject("b", row("m", us=us, seed=5)), margins=Margins(latency=margin))
    assert (_verdicts(found)["latency"], found.exit_code) == (verdict, code)


@pytest.mark.parametrize(
    ("margin", "size", "code", "verdict"),
    [(0.0, 400_001, 1, "worse"), (0.01, 400_001, 0, "equivalent"), (0.01, 420_000, 1, "worse"), (0.0, 1, 0, "better")],
)
def test_compare_sizes_are_exact(margin: float, size: int, code: int, verdict: str) -> None:
    found = compare(_subject("a", row("m")), _subject("b", row("m", size=size)), margins=Margins(size=margin))
    assert (_verdicts(found)["size_bytes"], found.exit_code) == (verdict, code)


@pytest.mark.parametrize(("size", "verdict"), [(12_732, "the same"), (12_750, "worse"), (12_700, "better")])
def test_some_bytes_of_gzip_are_no_difference(size: int, verdict: str) -> None:
    first, second = row("m"), row("m")
    first["size_gzip_bytes"], second["size_gzip_bytes"] = 12_731, size
    assert _verdicts(compare(_subject("a", first), _subject("b", second)))["size_gzip_bytes"] == verdict


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"cpu": "Other CPU"}, id="cpu"),
        pytest.param({"cores": 4}, id="cores"),
        pytest.param({"governor": {"value": None, "reason": "none"}}, id="governor"),
        pytest.param({"cpu_features": ["fma"]}, id="features"),
    ],
)
def test_compare_refuses_latency_of_other_environments_and_says_what_and_what_to_do(changes: dict[str, Any]) -> None:
    first, second = _subject("a", row("m")), _subject("b", row("m", us=200), environment=changes)
    found = compare(first, second)
    assert _verdicts(found)["latency"] == "not compared"
    assert _verdicts(found)["size_bytes"] == "the same" and _verdicts(found)["accuracy"] == "no difference seen"
    assert found.exit_code == 2
    [difference] = found.differences
    assert difference.remedy and difference.first != difference.second
    assert difference.what in sentence(_aspects(found)["latency"])
    forced = compare(first, second, force=True)
    assert forced.exit_code == 1 and forced.forced and _verdicts(forced)["latency"] == "worse"
    assert "latency" not in _verdicts(compare(first, second, latency=False))
    assert compare(first, second, latency=False).exit_code == 0


def test_compare_worse_elsewhere_is_exit_code_1_though_latency_is_refused() -> None:
    found = compare(_subject("a", row("m")), _subject("b", row("m", size=500_000), environment={"cpu": "Other"}))
    assert found.exit_code == 1


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("name", "tflm", "runtime"),
        ("version", "2.4.0", "runtime version"),
        ("options", {"kernels": "reference", "threads": 1}, "kernels"),
        ("options", {"kernels": None, "threads": 2}, "threads"),
    ],
)
def test_row_differences_names_what_differs(name: str, value: Any, what: str) -> None:
    first = row("m")
    assert [one.what for one in row_differences(first, {**first, "runtime": {**first["runtime"], name: value}})] == [
        what
    ]


def test_differences_of_target_protocol_and_old_records() -> None:
    first = benchmark_record([row("m")])
    target = {**first, "target": {"name": "ssh://pi@board", "mode": "measured", "latency": True}}
    params = {**first["protocol"], "params": {**first["protocol"]["params"], "warmup_invokes": 0}}
    assert differences(first, first) == ()
    assert [one.what for one in differences(first, target)] == ["target"]
    assert [one.what for one in differences(first, {**first, "protocol": params})] == ["protocol warmup_invokes"]
    old = benchmark_record([row("m", fresh=False)])
    assert [one.what for one in differences(first, old)] == ["new process for each round"]


def test_compare_other_operating_system_is_told_not_refused() -> None:
    found = compare(_subject("a", row("m")), _subject("b", row("m"), environment={"os": "Debian 13"}))
    assert found.differences == () and any("Debian 13" in note for note in found.notes)


def test_compare_same_file_of_other_speed_says_that_the_machine_changed() -> None:
    found = compare(
        _subject("a", row("m"), row("reference")), _subject("b", row("m", us=120), row("reference", us=120))
    )
    assert any("the same file reference" in note and "slower" in note for note in found.notes)


def test_compare_accuracy_over_the_same_images_is_mcnemar(tmp_path: Path) -> None:
    records = [benchmark_record([row("m", accuracy=accuracy)]) for accuracy in (0.9, 0.88)]
    predicted = [answers(0.9), answers(0.88)]
    paths = [
        write(tmp_path / str(place), value, predictions={"m": mine})
        for place, (value, mine) in enumerate(zip(records, predicted, strict=True))
    ]
    accuracy = _aspects(compare(*(open_subject(str(path)) for path in paths), correction="none"))["accuracy"]
    # The second errs where the first does, and on 40 images more.
    assert accuracy.details["only_first_right"] == 40 and accuracy.details["only_second_right"] == 0
    assert accuracy.p == statistics.mcnemar(40, 0)
    assert accuracy.difference == statistics.paired_difference(40, 0, 2000)
    assert accuracy.verdict == "worse"
    assert "40 images right in A only, 0 in B only" in sentence(accuracy)


@pytest.mark.parametrize("why", ["no predictions", "other data", "damaged predictions"])
def test_compare_accuracy_that_cannot_be_paired_is_newcombe_and_says_so(tmp_path: Path, why: str) -> None:
    first = write(tmp_path / "a", benchmark_record([row("m", accuracy=0.9)]), predictions={"m": answers(0.9)})
    changed = {"sha256": "e" * 64} if why == "other data" else None
    second = write(
        tmp_path / "b",
        benchmark_record([row("m", accuracy=0.885)], dataset=changed),
        predictions=None if why == "no predictions" else {"m": answers(0.885)},
    )
    if why == "damaged predictions":
        (tmp_path / "b" / "predictions.npz").write_bytes(b"PK\x03\x04 cut")
    accuracy = _aspects(compare(open_subject(str(first)), open_subject(str(second)), correction="none"))["accuracy"]
    assert accuracy.difference == statistics.difference_of_proportions(1770, 2000, 1800, 2000)
    assert accuracy.verdict == "no difference seen"  # 1.5 points, seen if paired, are not seen apart
    assert "independent images" in sentence(accuracy)


def test_compare_z_test_of_proportions_agrees_with_scipy() -> None:
    from scipy import stats

    table = [[1700, 300], [1750, 250]]
    wanted = stats.chi2_contingency(table, correction=False).pvalue
    assert qualities.two_proportions(1700, 2000, 1750, 2000) == pytest.approx(wanted)
    assert qualities.two_proportions(10, 10, 10, 10) == 1.0


@pytest.mark.parametrize(
    ("margin", "verdict", "code"),
    [(0.0, "worse", 1), (0.05, "equivalent", 0), (0.015, "worse", 0), (0.005, "worse", 1)],
)
def test_compare_accuracy_margin_is_in_points(tmp_path: Path, margin: float, verdict: str, code: int) -> None:
    value = benchmark_record([row("a", accuracy=0.9), row("b", accuracy=0.88)])
    path = write(tmp_path, value, predictions={"a": answers(0.9), "b": answers(0.88)})
    found = compare(
        open_subject(f"{path}::a"), open_subject(f"{path}::b"), margins=Margins(quality=margin, latency=0.5)
    )
    assert (_verdicts(found)["accuracy"], found.exit_code) == (verdict, code)


@pytest.mark.parametrize(
    ("values", "verdict"), [((0.5, 0.3), "better"), ((0.3, 0.5), "worse"), ((0.3, 0.31), "no difference seen")]
)
def test_compare_of_an_error_less_is_better(values: tuple[float, float], verdict: str) -> None:
    rows = [
        row("m", quality={
            "name": "mse", "unit": "", "higher_is_better": False, "n": 100, "value": value, "low": value - 0.05,
            "high": value + 0.05, "reason": None,
        }) for value in values
    ]  # fmt: skip
    task = {"task": "regression", "labels": []}
    found = compare(_subject("a", rows[0], dataset=task), _subject("b", rows[1], dataset=task))
    mse = _aspects(found)["mse"]
    assert mse.verdict == verdict and mse.difference is not None
    assert mse.difference.high - mse.difference.value == pytest.approx(np.hypot(0.05, 0.05))


def test_compare_of_an_error_within_one_record_takes_its_paired_difference(tmp_path: Path) -> None:
    def mse(value: float) -> dict[str, Any]:
        return {
            "name": "mse", "unit": "", "higher_is_better": False, "n": 100, "value": value, "low": value - 0.05,
            "high": value + 0.05, "reason": None,
        }  # fmt: skip

    missing = {"value": None, "reason": "the task is a regression"}
    against = {
        "reference": "a", "only_reference_right": None, "only_this_right": None, "flipped": [], "mcnemar_p": None,
        "accuracy_difference": missing, "quality_difference": {"value": 0.01, "low": 0.005, "high": 0.015},
        "latency_ratio": missing, "latency_test": None,
    }  # fmt: skip
    rows = [row("a", quality=mse(0.3)), row("b", quality=mse(0.31), against_reference=against)]
    path = write(tmp_path, benchmark_record(rows, dataset={"task": "regression", "labels": []}))
    found = _aspects(compare(open_subject(f"{path}::a"), open_subject(f"{path}::b")))["mse"]
    # The intervals of both overlap widely; that of the difference over the same samples leaves out 0.
    assert found.verdict == "worse" and found.difference == statistics.Estimate(0.01, 0.005, 0.015)
    assert "+0.01 (+0.005 to +0.015)" in sentence(found)


def test_compare_of_different_data_refuses_quality_only() -> None:
    found = compare(_subject("a", row("m")), _subject("b", row("m"), dataset={"name": "other"}))
    assert _verdicts(found)["accuracy"] == "not compared" and found.exit_code == 2
    assert "test data differ" in str(_aspects(found)["accuracy"].reason)


def test_compare_where_one_has_no_accuracy_says_which() -> None:
    found = compare(_subject("a", row("m")), _subject("b", row("m", accuracy=None)))
    assert "b has no quality measurement" in str(_aspects(found)["accuracy"].reason)
    neither = compare(_subject("a", row("m", accuracy=None)), _subject("b", row("m", accuracy=None)))
    assert "accuracy" not in _verdicts(neither)


def _figure(name: str, value: float, mode: str = "simulated", **details: Any) -> dict[str, Any]:
    return {"name": name, "value": value, "mode": mode, "reason": None, "details": details}


def test_compare_counts_and_estimates_are_exact_figures() -> None:
    first = row(
        "m",
        facts={"arena_bytes": 59_440},
        figures=[_figure("instructions", 1e6), _figure("latency_ns", 1e5, "estimated", memory_mode="Shared_Sram")],
    )
    second = row(
        "m",
        facts={"arena_bytes": 60_000},
        figures=[_figure("instructions", 1e6 + 20), _figure("latency_ns", 1e5, "estimated", memory_mode="Sram_Only")],
    )
    found = compare(_subject("a", first), _subject("b", second))
    assert _verdicts(found)["arena_bytes"] == "worse"
    assert _verdicts(found)["instructions"] == "the same"  # they repeat to 0.003 %
    assert _verdicts(found)["latency_ns"] == "not compared"
    assert "Sram_Only" in sentence(_aspects(found)["latency_ns"])


def test_compare_target_without_latency_compares_none() -> None:
    target = {"name": "qemu-aarch64", "mode": "simulated", "latency": False}
    found = compare(*(_subject(name, row("m"), target=target) for name in "ab"))
    assert "latency" not in _verdicts(found) and found.exit_code == 0


def test_compare_failed_row_is_not_compared_and_the_others_are() -> None:
    found = compare(_subject("a", row("m"), row("n")), _subject("b", failed("m"), row("n")))
    assert found.pairs[0].failure is not None and "SIGSEGV" in found.pairs[0].failure
    assert found.pairs[1].aspects and found.exit_code == 2
    assert "SIGSEGV" in found.pairs[0].judgement


def test_compare_without_a_common_model_names_those_there_are() -> None:
    with pytest.raises(RunError, match="the records have no model in common") as caught:
        compare(_subject("a", row("m"), row("n")), _subject("b", row("x"), row("y")))
    assert caught.value.hint == "Select one model of each: a::m b::x"


def test_compare_single_models_are_matched_whatever_they_are_called() -> None:
    found = compare(_subject("a", row("m")), _subject("b", row("x")))
    assert (found.pairs[0].first, found.pairs[0].second) == ("m", "x")


def test_compare_unknown_model_names_the_nearest() -> None:
    with pytest.raises(RecipeError, match="did you mean 'int8_w8a8'"):
        compare(_subject("a", row("int8_w8a8"), model="int8_w8a"), _subject("b", row("int8_w8a8")))
    with pytest.raises(RunError, match="has no model called"):
        compare(_subject("a", row("m"), row("n"), model="m"), _subject("b", row("n"), row("o")))


@pytest.mark.parametrize("margins", [Margins(latency=-0.1), Margins(size=1.5), Margins(quality=-1)])
def test_compare_margin_out_of_range_is_an_error(margins: Margins) -> None:
    with pytest.raises(RecipeError, match="the margin of"):
        compare(_subject("a", row("m")), _subject("b", row("m")), margins=margins)


def test_compare_several_models_raises_p_by_holm() -> None:
    names = ["m", "n", "o"]
    first = _subject("a", *(row(name, accuracy=None) for name in names))
    second = _subject("b", *(row(name, accuracy=None, us=101, seed=4) for name in names))
    plain, raised = (compare(first, second, correction=how) for how in ("none", "holm"))
    ps = [_aspects(plain, place)["latency"].p for place in range(3)]
    assert all(p is not None for p in ps) and raised.tests == 3
    found = [_aspects(raised, place)["latency"].p_raised for place in range(3)]
    assert max(p for p in found if p is not None) >= max(p for p in ps if p is not None)
    assert min(p for p in found if p is not None) == pytest.approx(min(1, 3 * min(p for p in ps if p is not None)))
    assert "(Holm, 3 tests)" in sentence(_aspects(raised)["latency"], tests=3)
    with pytest.raises(RecipeError, match="unknown correction"):
        compare(first, second, correction="bonferoni")


def test_compare_too_few_rounds_are_not_compared_however_slow() -> None:
    found = compare(_subject("a", row("m", rounds=3)), _subject("b", row("m", rounds=3, us=300)))
    assert _verdicts(found)["latency"] == "too few rounds" and found.exit_code == 2
    assert "too few" in sentence(_aspects(found)["latency"])
    assert conclusion(found) == ("B is not worse than A in accuracy, size and gzipped size; not compared: latency of m")


def test_compare_a_quality_without_interval_is_not_compared() -> None:
    auc = {
        "name": "auc", "unit": "", "higher_is_better": True, "n": 100, "value": 0.9, "low": None, "high": None,
        "reason": "no confidence interval: the measure is too slow to bootstrap",
    }  # fmt: skip
    found = compare(_subject("a", row("m", quality=auc)), _subject("b", row("m", quality={**auc, "value": 0.5})))
    assert _verdicts(found)["auc"] == "not judged" and found.exit_code == 2
    assert conclusion(found).endswith("not compared: auc of m")


def test_compare_worse_within_the_margin_is_told_as_such() -> None:
    first, second = _subject("a", row("m")), _subject("b", row("m", us=103, seed=5))
    found = compare(first, second, margins=Margins(latency=0.028))
    assert _verdicts(found)["latency"] == "worse" and found.exit_code == 0
    assert conclusion(found) == "B is not worse than A in any metric beyond the margins"


def test_compare_of_one_record_pairs_rounds_where_each_model_lost_others(tmp_path: Path) -> None:
    # Of 15 rounds, each model has 8 undisturbed, and one of them in common.
    rows = [row("a", us=100), row("b", us=110)]
    for one, calm in zip(rows, (range(8), range(7, 15)), strict=True):
        for turn in one["rounds"]:
            turn["used"] = turn["index"] in calm
            turn["disturbed"] = [] if turn["used"] else ["another program ran"]
    path = write(tmp_path, benchmark_record(rows))
    latency = _aspects(compare(open_subject(f"{path}::a"), open_subject(f"{path}::b")))["latency"]
    assert latency.details["rounds"] == [15, 15] and latency.verdict == "worse"


def test_compare_never_takes_a_turn_that_the_device_refused(tmp_path: Path) -> None:
    rows = [row("a", us=100), row("b", us=110)]
    for turn in rows[1]["rounds"][:4]:
        turn |= {"used": False, "refused": True, "disturbed": ["throttled"]}
    path = write(tmp_path, benchmark_record(rows))
    latency = _aspects(compare(open_subject(f"{path}::a"), open_subject(f"{path}::b")))["latency"]
    assert latency.details["rounds"] == [11, 11]


def test_compare_measures_with_an_interval_alone_take_part_in_holm_s_correction() -> None:
    def auc(value: float) -> dict[str, Any]:
        return {
            "name": "auc", "unit": "", "higher_is_better": True, "n": 100, "value": value, "low": value - 0.05,
            "high": value + 0.05, "reason": None,
        }  # fmt: skip

    # Joined, the half-width is 0.0707: a loss of 0.08 is 2.2 standard errors, which alone is a difference.
    names = ["m", "n", "o", "p"]
    first = _subject("a", *(row(name, quality=auc(0.9)) for name in names))
    second = _subject("b", *(row(name, quality=auc(0.82)) for name in names))
    plain, raised = (compare(first, second, correction=how, latency=False) for how in ("none", "holm"))
    assert [_verdicts(plain, place)["auc"] for place in range(4)] == ["worse"] * 4
    assert [_verdicts(raised, place)["auc"] for place in range(4)] == ["no difference seen"] * 4
    assert (raised.tests, raised.exit_code) == (4, 0)
    assert "(Holm, 4 tests)" in sentence(_aspects(raised)["auc"], tests=4)


@pytest.mark.parametrize(
    ("value", "low", "high", "below"),
    [(0.1, 0.001, 0.2, True), (0.1, -0.001, 0.2, False), (-0.1, -0.4, -0.001, True), (-0.1, -0.4, 0.001, False)],
)
def test_p_of_an_interval_is_below_5_percent_exactly_where_it_leaves_out_0(
    value: float, low: float, high: float, below: bool
) -> None:
    assert (qualities.p_of_interval(statistics.Estimate(value, low, high)) < 0.05) == below


def test_p_of_an_interval_is_that_of_the_normal_test_it_came_from() -> None:
    from scipy import stats

    p = qualities.p_of_interval(statistics.Estimate(2.5, 2.5 - 1.959964, 2.5 + 1.959964))
    assert p == pytest.approx(2 * stats.norm.sf(2.5), rel=1e-5)
    assert qualities.p_of_interval(statistics.Estimate(0, 0, 0)) == 1.0


def test_compare_leaves_disturbed_rounds_out() -> None:
    disturbed = row("m", us=100)
    for turn in disturbed["rounds"][:5]:
        turn["invoke_ns"] = [10 * x for x in turn["invoke_ns"]]
        turn["used"] = False
    found = compare(_subject("a", row("m", us=100)), _subject("b", disturbed))
    assert _aspects(found)["latency"].details["rounds"] == [15, 10]
    assert _verdicts(found)["latency"] == "no difference seen"


def test_comparison_json_keeps_its_schema() -> None:
    from jsonschema import Draft202012Validator

    schema = json.loads(resources.files("edgefm.schemas").joinpath("comparison-1.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    for found in (
        compare(_subject("a", row("m"), row("n")), _subject("b", failed("m"), row("n", us=120))),
        compare(_subject("a", row("m")), _subject("b", row("m"), environment={"cpu": "Other"})),
    ):
        value = json.loads(json.dumps(found.to_json(), allow_nan=False))
        Draft202012Validator(schema).validate(value)
    broken = {**value, "exit_code": 3}
    assert not Draft202012Validator(schema).is_valid(broken)


def test_open_subject_takes_record_folder_and_named_row(tmp_path: Path) -> None:
    path = write(tmp_path / "out", benchmark_record([row("m"), row("n")]))
    assert set(open_subject(str(path)).rows) == set(open_subject(str(tmp_path / "out")).rows) == {"m", "n"}
    assert set(open_subject(f"{tmp_path / 'out'}::n").rows) == {"n"}
    assert split_name("nowhere::x") == (Path("nowhere"), "x")


def _empty(folder: Path) -> str:
    (folder / "empty").mkdir()
    return str(folder / "empty")


def _newer(folder: Path) -> str:
    path = write(folder, benchmark_record([row("m")]))
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 99}))
    return str(path)


def _cut(folder: Path) -> str:
    path = write(folder, benchmark_record([row("m")]))
    path.write_text(path.read_text()[:500])
    return str(path)


def _binary(folder: Path) -> str:
    (folder / "record.json").write_bytes(bytes(range(200, 256)))
    return str(folder / "record.json")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(lambda folder: str(folder / "nowhere"), "does not exist", id="nothing"),
        pytest.param(_empty, "is not a run and has no record.json", id="empty-folder"),
        pytest.param(_newer, "schema version 99", id="newer"),
        pytest.param(_cut, "is damaged", id="cut"),
        pytest.param(_binary, "damaged", id="binary"),
    ],
)
def test_open_subject_of_bad_input_says_what_to_give(tmp_path: Path, make: Any, words: str) -> None:
    with pytest.raises(EdgefmError, match=words) as caught:
        open_subject(make(tmp_path))
    assert caught.value.hint


def test_open_subject_reads_a_record_of_an_older_version(tmp_path: Path) -> None:
    value = benchmark_record([row("m")])
    old = {name: found for name, found in value.items() if name not in ("target", "session")}
    dropped = ("cold_start_ns", "energy_j", "facts", "figures", "disturbed")
    models = [{name: found for name, found in one.items() if name not in dropped} for one in value["models"]]
    for one in models:
        kept = ("index", "position", "warmup_ns", "invoke_ns", "end_to_end_ns")
        one["rounds"] = [{name: turn[name] for name in kept} for turn in one["rounds"]]
    path = tmp_path / "record.json"
    path.write_text(json.dumps({**old, "schema_version": 2, "models": models}))
    found = compare(open_subject(str(path)), Subject(name="new", record=value))
    assert [one.what for one in found.differences] == ["new process for each round"]


def test_compare_says_where_nothing_could_be_compared() -> None:
    found = compare(_subject("a", failed("m")), _subject("b", failed("m")))
    assert found.exit_code == 2
    assert conclusion(found) == "nothing could be compared: m"
    assert "not worse" not in found.verdict
