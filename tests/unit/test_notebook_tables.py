"""What results show in a notebook: the figures that their command prints, not the verdict alone."""

from edgefm.comparison.aspects import BETTER, SAME, Aspect
from edgefm.comparison.comparison_result import ComparisonResult, ModelPair
from edgefm.comparison.gate_result import BROKEN, HELD, GateResult, LimitCheck
from edgefm.jobs.agree import AgreementResult
from edgefm.jobs.compress import AppliedPass, CompressionResult
from edgefm.recipes import Prune, Slim
from edgefm.statistics.estimates import Estimate


def test_comparison_shows_both_figures_the_difference_and_p() -> None:
    latency = Aspect(
        name="latency",
        first=100_000.0,
        second=50_000.0,
        verdict=BETTER,
        difference=Estimate(0.5, 0.48, 0.52),
        p=0.001,
        p_raised=0.002,
    )
    quality = Aspect(
        name="accuracy",
        first=0.9,
        second=0.91,
        verdict=BETTER,
        difference=Estimate(0.01, 0.005, 0.015),
        p=0.01,
        details={"unit": "%", "higher_is_better": True},
    )
    size = Aspect(name="size_bytes", first=200_000, second=200_000, verdict=SAME, difference=Estimate(1.0, 1.0, 1.0))
    comparison = ComparisonResult(
        first="record",
        second="record",
        pairs=(ModelPair(first="a", second="b", aspects=(latency, quality, size)),),
        differences=(),
        forced=False,
        tests=2,
        correction="holm",
        notes=(),
    )
    page = comparison._repr_html_()
    for text in ("100.0 us", "50.0 us", "x 0.500 (0.480 to 0.520)", "0.002", "91.00 %", "+1 points (+0.5 to +1.5)"):
        assert text in page, text
    assert "x 1.000" in page and "x 1.000 (" not in page, "an exact figure has no interval"


def test_gate_shows_the_figure_beside_its_limit() -> None:
    held = LimitCheck(model="int8", key="size_bytes", limit=460_000, state=HELD, value=446_066)
    broken = LimitCheck(
        model="int8", key="p50_ratio", limit=0.6, state=BROKEN, value=0.7, low=0.65, high=0.75, reason="too slow"
    )
    page = GateResult(record="record.json", baseline="float32", checks=(held, broken))._repr_html_()
    for text in ("446,066 bytes", "at most 460,000 bytes", "0.65 to 0.75", "too slow", "baseline float32"):
        assert text in page, text


def test_agreement_shows_the_differences_between_kernel_families() -> None:
    pair = {"largest": 1.0, "equal_samples": 98, "samples": 100, "argmax_changes": 0}
    ran = {"status": "ran", "against_reference": None, "spread": None}
    cell = {"name": "litert:xnnpack", "verdict": "reference", **ran}
    absent = {"name": "tflm", "status": "failed", "reason": "int4", "against_reference": None, "verdict": None}
    document = {
        "unit": "levels",
        "cells": [cell, absent],
        "between_families": [{"first": "xnnpack", "second": "builtin", **pair}],
        "inputs": {"samples": 100},
        "verdict": {"held": True, "lines": ["all agree"]},
    }
    page = AgreementResult(document=document)._repr_html_()
    for text in ("xnnpack and builtin", "98 of 100", "did not run: int4", "on 100 samples"):
        assert text in page, text


def test_compression_shows_what_was_measured_before_and_after() -> None:
    parameters = {"before": 105_524, "after": 26_524, "share": 0.25}
    passes = (
        AppliedPass(recipe=Slim(), facts={"parameters": parameters}, history=(), seconds=1.0),
        AppliedPass(recipe=Prune(), facts={"sparsity": 0.6}, history=(), seconds=1.0),
    )
    page = CompressionResult(model=None, passes=passes)._repr_html_()
    assert "parameters 105,524 to 26,524" in page and "sparsity 0.6" in page
