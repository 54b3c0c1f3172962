"""What each step costs and gains: lineage, differences, sentences, gates, fine-tuning courses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgefm.benchmarking import record_versions
from edgefm.comparison.shipping.of_record import verdict_of
from edgefm.recipes import PostTraining, Prune, Quantization, Variant, variant_named
from edgefm.recipes.files import load
from edgefm.report.content import inputs, lineage, promises
from edgefm.report.content.facts import Facts
from edgefm.report.content.inputs import ModelAnswers, ReportInputs
from edgefm.report.content.lineage import Growth, Ingredient
from edgefm.report.content.measure import Measure
from edgefm.report.content.record_facts import facts
from edgefm.report.content.waterfall import Change, Figures, Waterfall, WaterfallStep, paired, waterfall
from edgefm.report.content.weights import Inside
from edgefm.report.content.wording import MICROSECONDS, MINUS, Interval
from edgefm.report.drawing import tuning
from edgefm.report.pages import steps_table
from edgefm.report.text import reasons
from edgefm.statistics import estimates as statistics
from tests.fixtures import sample_run

MSE = Measure(name="mse", unit="", higher_is_better=False)
PRUNED, CLUSTERED, QAT = "pruned80_qat_int8", "pruned80_clustered16_qat_int8", "qat_int8"


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> ReportInputs:
    record = sample_run.record(images=1500, rounds=4, variants=sample_run.ALL)
    made = sample_run.write(tmp_path_factory.mktemp("run") / "a", record=record, variants=sample_run.ALL, train=False)
    return inputs.read(made)


@pytest.fixture(scope="module")
def known(held: ReportInputs) -> Facts:
    assert held.record is not None
    return facts(held.record, verdict_of(held.record))


@pytest.fixture(scope="module")
def found(held: ReportInputs, known: Facts) -> Waterfall:
    steps = waterfall(held, known)
    assert steps is not None
    return steps


def _parents(*names: str) -> dict[str, str | None]:
    plans = {name: lineage.plan(variant_named(name)) for name in names}
    return {growth.name: growth.parent for growth in lineage.tree(plans, names)}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param(
            ("float32", "int8_w8a8", QAT, PRUNED, "clustered16_qat_int8", CLUSTERED, "slim50_qat_int8"),
            {
                "float32": None, "int8_w8a8": "float32", QAT: "int8_w8a8", PRUNED: QAT, CLUSTERED: PRUNED,
                "clustered16_qat_int8": QAT, "slim50_qat_int8": QAT,
            },
            id="each-lacks-one-thing",
        ),
        pytest.param(("float32", CLUSTERED), {"float32": None, CLUSTERED: "float32"}, id="all-at-once"),
        pytest.param(
            ("float32", QAT, PRUNED, "pruned90_qat_int8"),
            {"float32": None, QAT: "float32", PRUNED: QAT, "pruned90_qat_int8": QAT},
            id="other-sparsity-is-no-step-between",
        ),
        pytest.param(
            ("float32", "float16", "drq_w8", "int16x8", "int8_w8a8_fc4"),
            dict.fromkeys(("float16", "drq_w8", "int16x8", "int8_w8a8_fc4"), "float32") | {"float32": None},
            id="after-training",
        ),
        pytest.param((QAT, PRUNED), {QAT: None, PRUNED: QAT}, id="without-float32"),
    ],
)  # fmt: skip
def test_variant_grew_from_the_one_that_lacks_its_last_ingredient(
    names: tuple[str, ...], expected: dict[str, str | None]
) -> None:
    assert _parents(*names) == expected


def test_tree_puts_each_variant_behind_its_parent_one_step_deeper() -> None:
    variants = load("default").variants
    plans = {variant.name: lineage.plan(variant) for variant in variants}
    order = lineage.tree(plans, [variant.name for variant in variants])
    seen: dict[str, int] = {}
    for growth in order:
        assert growth.depth == (0 if growth.parent is None else seen[growth.parent] + 1)
        assert bool(growth.added) == (growth.parent is not None)
        seen[growth.name] = growth.depth
    assert len(seen) == len(variants)
    words = {growth.name: [one.words for one in growth.added] for growth in order}
    assert words[CLUSTERED] == ["16 levels for the weights of each kernel"]
    assert words[PRUNED][0] == "80 % of the weights made zero"


def test_fine_tuning_alone_makes_no_other_ingredient() -> None:
    long = replace(Prune(sparsity=0.8), fine_tuning=replace(Prune().fine_tuning, epochs=9))
    variant = Variant(name="long", passes=(long,), quantization=PostTraining())
    short = variant_named("pruned80_clustered16_int8_w8a8")
    plans = {one.name: lineage.plan(one) for one in (variant, short)}
    assert {one.name: one.parent for one in lineage.tree(plans, list(plans))} == {"long": None, short.name: "long"}


def test_options_of_a_quantisation_are_ingredients() -> None:
    plain, corrected = (
        Variant(name=name, quantization=PostTraining(equalize=equal, correct_bias=equal))
        for name, equal in (("plain", False), ("corrected", True))
    )
    growth = lineage.tree({one.name: lineage.plan(one) for one in (plain, corrected)}, ["plain", "corrected"])[1]
    assert (growth.parent, [one.kind for one in growth.added]) == ("plain", ["equalize", "correct_bias"])


def test_recipe_that_is_not_understood_gives_no_plans() -> None:
    assert lineage.plans({"kind": "quantize", "version": 99}) == {}
    assert lineage.plans({"kind": "quantize", "version": 1, "params": {"variants": ["float32", "drq_w8"]}}).keys() == {
        "float32", "drq_w8",
    }  # fmt: skip


def test_change_is_later_minus_earlier_and_time_is_paired_by_rounds(found: Waterfall, known: Facts) -> None:
    variants = {variant.name: variant for variant in sample_run.ALL}
    pairs = np.triu_indices(known.rounds)
    for step in found.grown:
        change, parent = step.change, step.growth.parent
        assert change is not None and parent is not None and change.time is not None
        one, two = variants[parent], variants[step.name]
        assert change.size_bytes == two.size_bytes - one.size_bytes
        assert change.gzip_bytes == two.gzip_bytes - one.gzip_bytes
        assert change.macs == two.macs - one.macs
        before, after = known.model(parent), known.model(step.name)
        assert before is not None and after is not None
        logs = np.log(after.round_medians_ns / before.round_medians_ns)
        expected = np.exp(np.median(((logs[:, None] + logs) / 2)[pairs]))  # the middle of the means of two rounds each
        assert change.time.value == pytest.approx(expected, rel=1e-9)
        assert change.time.low <= change.time.value <= change.time.high


def test_quality_of_a_step_is_compared_image_by_image_with_its_parent(found: Waterfall, held: ReportInputs) -> None:
    step = found.step(CLUSTERED)
    assert step is not None and step.change is not None and step.change.quality is not None and held.truth is not None
    before = held.predictions[PRUNED].predicted == held.truth
    after = held.predictions[CLUSTERED].predicted == held.truth
    assert step.change.quality.value == pytest.approx(after.mean() - before.mean())
    assert (step.change.won, step.change.lost) == (int((after & ~before).sum()), int((before & ~after).sum()))
    assert step.change.p == statistics.mcnemar(step.change.lost or 0, step.change.won or 0)
    assert step.total is not None and step.total.quality is not None
    first = held.predictions["float32"].predicted == held.truth
    assert step.total.quality.value == pytest.approx(after.mean() - first.mean())


def test_equal_answers_show_no_difference() -> None:
    truth = np.array([0, 1, 1, 0])
    answers = ModelAnswers(predicted=np.array([0, 1, 0, 0]), confidence=np.ones(4, np.float32))
    change = paired(truth, answers, answers)
    assert (change["won"], change["lost"], change["quality_shown"], change["quality"].value) == (0, 0, False, 0)


def test_figures_of_another_file_are_not_taken_for_this_one(held: ReportInputs, known: Facts) -> None:
    assert held.quantize is not None
    others = [{**one, "sha256": "f" * 64} for one in held.quantize["variants"]]
    steps = waterfall(replace(held, quantize={**held.quantize, "variants": others}), known)
    assert steps is not None
    assert all(step.figures.p50 is None for step in steps.steps)
    assert steps.split == "validation"


def test_without_a_benchmark_quality_is_that_on_validation(held: ReportInputs) -> None:
    steps = waterfall(replace(held, record=None, predictions={}, truth=None), None)
    assert steps is not None
    assert (steps.split, steps.samples) == ("validation", 12_000)
    step = steps.step(PRUNED)
    assert step is not None and step.change is not None and step.change.quality is not None
    assert step.change.quality.value == pytest.approx(-0.05 * (0.03 - 0.014))
    assert step.change.quality.bare and step.change.quality_shown is None and step.change.time is None
    assert "without an interval" in reasons.cost(step.change, steps.measure, steps.samples)


def test_one_file_alone_is_no_waterfall(held: ReportInputs) -> None:
    assert held.quantize is not None
    alone = {**held.quantize, "variants": held.quantize["variants"][:1]}
    assert waterfall(replace(held, quantize=alone), None) is None
    assert waterfall(replace(held, quantize=None), None) is None


def _ingredient(kind: str) -> Ingredient:
    return Ingredient(kind=kind, key=kind, short=kind, words=kind)


def _step(*kinds: str, **change: Any) -> WaterfallStep:
    before = Figures(size_bytes=446_000, gzip_bytes=400_000, macs=7_780_096)
    values: dict[str, Any] = {
        "size_bytes": 0, "gzip_bytes": -252_000, "zstd_bytes": None, "macs": 0, "memory_bytes": None,
        "activation_bytes": None, "quality": Interval(value=-0.001, low=-0.003, high=0.001), "quality_shown": False,
        "p": 0.4, "won": 10, "lost": 20, "time": Interval(value=1.003, low=0.98, high=1.02),
    }  # fmt: skip
    made = Change(**(values | change))
    after = Figures(size_bytes=446_000 + made.size_bytes, gzip_bytes=400_000 + made.gzip_bytes, macs=7_780_096)
    growth = Growth(name="later", parent="earlier", depth=1, added=tuple(_ingredient(kind) for kind in kinds))
    return WaterfallStep(growth=growth, figures=after, before=before, change=made)


def test_pruning_that_bought_no_bytes_and_no_time_says_why() -> None:
    step = _step("prune")
    assert reasons.bought(step) == (
        "It saved 0 bytes of the file, 252 KB (63 %) of the download (gzip) and no measurable time (1.00 of "
        "earlier's, 95 % interval 0.98 to 1.02)."
    )
    assert reasons.why(step) == (
        "Why: the file stores a zero like any other weight; only compression makes it smaller; LiteRT has no fast "
        "sparse int8 kernel, so all 7.78 M multiply-accumulates are still done."
    )


FASTER = Interval(value=0.6, low=0.58, high=0.62)
SLOWER = Interval(value=1.3, low=1.2, high=1.4)


@pytest.mark.parametrize(
    ("kinds", "change", "says"),
    [
        pytest.param(("prune",), {"time": FASTER, "size_bytes": -200_000}, "", id="bought-all"),
        pytest.param(("prune",), {"time": FASTER}, "only compression makes it smaller", id="time-but-no-bytes"),
        pytest.param(("cluster",), {}, "no kernel of LiteRT computes with shared values", id="cluster"),
        pytest.param(("qat",), {}, "quantisation-aware training can gain accuracy only", id="qat"),
        pytest.param(("float16",), {"size_bytes": -200_000}, "computes in float32", id="float16"),
        pytest.param(("float16",), {"size_bytes": -200_000, "time": FASTER}, "", id="float16-faster"),
        pytest.param(("drq_w8",), {"size_bytes": -200_000}, "quantised again in every inference", id="drq"),
        pytest.param(("int16x8",), {"time": SLOWER, "size_bytes": -9}, "no fast kernel for int16", id="int16"),
        pytest.param(("int8_w8a8_fc4",), {"size_bytes": -99_000}, "int4 weights are unpacked", id="int4"),
        pytest.param(("correct_bias",), {}, "changes only values", id="bias"),
        pytest.param(("slim",), {"macs": -5_000_000, "size_bytes": -9, "time": FASTER}, "", id="slim"),
        pytest.param(("prune",), {"time": None}, "only compression makes it smaller", id="time-unknown"),
    ],
)
def test_reasons_follow_what_was_not_bought(kinds: tuple[str, ...], change: Mapping[str, Any], says: str) -> None:
    text = reasons.why(_step(*kinds, **change))
    assert says in text
    assert bool(text) == bool(says)


def test_share_of_dense_layers_is_given_where_it_is_small() -> None:
    step = _step("int8_w8a8_fc4", size_bytes=-99_000)
    before = Inside(zeros=0.01, levels=200, dense_macs=0.04, dtype="int8")
    assert "do 4 % of the multiply-accumulates" in reasons.why(step, before=before)
    assert "multiply-accumulates" not in reasons.why(step, before=replace(before, dense_macs=1.0))


@pytest.mark.parametrize(
    ("features", "says"),
    [
        pytest.param(["avx2"], True, id="none"),
        pytest.param(["avx512_vnni"], False, id="vnni"),
        pytest.param([], False, id="unknown"),
        pytest.param(None, False, id="not-recorded"),
    ],
)
def test_missing_byte_products_are_a_reason_only_where_the_processor_was_asked(features: Any, says: bool) -> None:
    text = reasons.why(_step("int8_w8a8", size_bytes=-300_000), environment={"cpu_features": features})
    assert ("reports no instructions" in text) == says


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param({"time": FASTER}, "40 % of the time (0.60 of earlier's", id="faster"),
        pytest.param({"time": SLOWER}, "; it takes more time (1.30 of earlier's", id="slower"),
        pytest.param({"time": None}, "; time was not measured.", id="unknown"),
        pytest.param({"size_bytes": 672}, "and added 672 bytes to the file", id="larger"),
        pytest.param({"size_bytes": 16}, "It saved nothing of the file (16 bytes more), 252 KB", id="hardly-larger"),
        pytest.param({"macs": -3_890_048}, "50 % of the multiply-accumulates", id="less-work"),
        pytest.param({"size_bytes": 999, "gzip_bytes": 999, "time": None}, "It saved nothing and added", id="nothing"),
        pytest.param({"time": Interval(value=1.0, low=0.998, high=1.001)}, "0.998 to 1.001", id="narrow"),
        pytest.param({"time": Interval(value=1.2, low=1.002, high=1.4)}, "1.002 to 1.400", id="just-slower"),
    ],
)
def test_words_of_what_was_bought(change: Mapping[str, Any], says: str) -> None:
    assert says in reasons.bought(_step("prune", **change))


@pytest.mark.parametrize(
    ("measure", "change", "says"),
    [
        pytest.param(
            Measure(), {"quality_shown": True, "p": 0.001},
            f"It cost 0.10 points of accuracy (95 % interval {MINUS}0.30 to +0.10; McNemar p = 0.001).", id="cost",
        ),
        pytest.param(
            Measure(), {}, f"No difference in accuracy is shown: {MINUS}0.10 points (95 %", id="no-difference"
        ),
        pytest.param(
            Measure(), {"won": 0, "lost": 0}, "Of 1,000 answers, none became right or wrong.", id="same-answers"
        ),
        pytest.param(Measure(), {"quality": None}, "Its accuracy was not measured.", id="unknown"),
        pytest.param(
            MSE, {"quality": Interval.alone(0.02), "quality_shown": None, "p": None},
            "It raised MSE by 0.02 (without an interval).", id="error-rose",
        ),
        pytest.param(
            MSE, {"quality": Interval(value=-0.02, low=-0.03, high=-0.01), "quality_shown": True, "p": None},
            f"It lowered MSE by 0.02 (95 % interval {MINUS}0.03 to {MINUS}0.01).", id="error-fell",
        ),
        pytest.param(
            Measure(), {"quality": Interval(value=0.01, low=0.002, high=0.02), "quality_shown": True},
            "It gained 1.00 points of accuracy", id="gained",
        ),
    ],
)  # fmt: skip
def test_words_of_what_it_cost(measure: Measure, change: Mapping[str, Any], says: str) -> None:
    made = _step("prune", **change).change
    assert made is not None
    assert reasons.cost(made, measure, 1000).startswith(says)


def test_stories_count_in_the_file_and_sum_up(found: Waterfall, held: ReportInputs) -> None:
    inside = {name: counted for name, one in held.weights.items() if (counted := one.inside()) is not None}
    told = {story.name: story for story in reasons.stories(found, inside=inside)}
    assert set(told) == {variant.name for variant in sample_run.ALL} - {"float32"}
    assert told[PRUNED].bought.startswith("Counted in the file: 80.0 % of all weights are zero. It saved 0 bytes")
    assert told[CLUSTERED].bought.startswith("Counted in the file: at most ")
    assert told[PRUNED].total.startswith("In all, against float32: 10")
    assert told["int8_w8a8"].total == ""
    assert "74 % of the multiply-accumulates" in told["slim50_qat_int8"].bought


def test_table_of_steps_has_a_cell_for_every_heading(found: Waterfall) -> None:
    heads = steps_table.headers(found, MICROSECONDS)
    rows = {step.name: steps_table.row(step, found.measure, MICROSECONDS) for step in found.steps}
    assert {len(row) for row in rows.values()} == {len(heads)}
    place = [head.value for head in heads].index("gzip")
    assert rows[PRUNED][place].value == "149.8"
    assert rows[PRUNED][place].detail == f"{MINUS}252.1, {MINUS}63\N{NO-BREAK SPACE}%"
    assert rows["float32"][place].detail == ""
    file = [head.value for head in heads].index("File")
    assert rows[PRUNED][file].detail == "0"


def test_gates_name_promise_parity_and_loss_with_a_verdict(held: ReportInputs) -> None:
    assert held.quantize is not None
    gates = [gate for gate in promises.gates(held.quantize) if gate.variant == PRUNED]
    assert [(gate.promise, gate.wanted, gate.found, gate.verdict) for gate in gates] == [
        ("sparsity", "0.8", "0.8004", "held"),
        ("dtype of weights", "int8", "int8", "held"),
        ("same class from the training graph and the file", "99.7 % or more", "99.84 %", "held"),
        ("loss of accuracy on validation", "at most 0.5 points", "0.15 points", "held"),
    ]
    assert gates[0].where == "furthest from it: dense1"
    assert "largest difference 3 LSB; the first layer to diverge is conv2, by 2 LSB (sample 17)" in gates[2].where
    assert promises.summary(promises.gates(held.quantize)).startswith("All ")


def test_broken_gates_are_said() -> None:
    variant = {
        "variant": "a",
        "promises": [
            {"promise": "clusters", "wanted": 16, "found": 17, "held": False, "where": "net/conv1/Conv2D"},
            {"promise": "clusters", "wanted": 16, "found": 16, "held": True, "where": "net/conv2/Conv2D"},
        ],
        "passes": [
            {
                "facts": {
                    "images": 50, "argmax_agreement": None, "within_two_levels": 0.91, "max_abs_difference": 0.1,
                    "max_difference_lsb": 9.0, "first_divergence": None, "held": False,
                }
            }
        ],
        "validation": {
            "quality": "mse", "unit": "", "higher_is_better": False, "value": 0.5, "float32": 0.1, "loss": 0.4,
            "limit": None, "held": None, "samples": 50,
        },
    }  # fmt: skip
    clusters, parity, loss = promises.gates({"variants": [variant]})
    assert (clusters.verdict, clusters.found, clusters.where) == ("broken", "17", "broken in 1 of 2: conv1")
    assert (parity.verdict, parity.found) == ("broken", "91.00 %")
    assert (loss.verdict, loss.wanted) == ("no limit", "")
    assert promises.summary([clusters, parity, loss]) == (
        "0 of 2 checks passed; failed: clusters of a and outputs of the training graph and the file within two levels "
        "of a."
    )


def test_files_of_version_1_have_no_gates_and_no_courses() -> None:
    old = {"variants": [{"variant": "float32", "size_bytes": 1, "gzip_bytes": 1}]}
    assert promises.gates(old) == []
    assert tuning.courses(old)[1] == []
    assert promises.summary([]) == "No limit was stated."


def test_courses_join_the_epochs_of_all_passes(held: ReportInputs) -> None:
    assert held.quantize is not None
    measure, courses = tuning.courses(held.quantize)
    assert measure == Measure()
    course = next(course for course in courses if course.variant == CLUSTERED)
    passes = variant_named(CLUSTERED).passes
    shipped = next(variant for variant in load("default").variants if variant.name == CLUSTERED).passes
    assert [leg.kind for leg in course.legs] == [done.kind for done in passes]
    assert [len(leg.qualities) for leg in course.legs] == [done.fine_tuning.epochs for done in shipped]
    assert (course.start, course.end) == (0.934, pytest.approx(0.934 - 0.05 * 0.06))


def test_benchmark_of_another_measure_speaks_of_it(tmp_path: Path) -> None:
    record = record_versions.upgraded(sample_run.record(images=400, rounds=2, variants=sample_run.VARIANTS[:2]))
    for model, value in zip(record["models"], (0.10, 0.13), strict=True):
        reason = {"value": None, "reason": "the task is a regression, which has no accuracy"}
        quality = {"name": "mse", "unit": "", "higher_is_better": False, "n": 400, "reason": None}
        model |= {"accuracy": reason, "classes": [], "confusion": []}
        model["quality"] = quality | {"value": value, "low": value - 0.01, "high": value + 0.01}
    against = {"only_reference_right": None, "only_this_right": None, "mcnemar_p": None, "flipped": []}
    difference = {"value": 0.03, "low": 0.02, "high": 0.04}
    record["models"][1]["against_reference"] |= against | {"quality_difference": difference}
    known = facts(record, verdict_of(record))
    assert known.measure == MSE
    worse = known.models[1]
    assert worse.quality == Interval(value=0.13, low=0.13 - 0.01, high=0.13 + 0.01)
    assert known.models[0].on_front, "nothing has a lower error"
    assert known.chosen is known.models[0], "the other file is shown to be worse, so the reference is kept"
    from edgefm.report.text import findings

    assert findings.headline(known) == (
        f"Ship float32, the reference: every other file is worse; the best, {worse.name}, is 0.03 higher (n = 400) in "
        "MSE."
    )
    assert dict(findings.unfit(known))[worse.name].endswith("a loss of more than 0.005 (5 % of float32's) is shown")


def test_default_recipe_has_plans_for_all_its_variants() -> None:
    recipe = load("default")
    assert set(lineage.plans(recipe.to_json())) == set(recipe.names)
    assert isinstance(recipe, Quantization)
