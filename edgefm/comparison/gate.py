"""Hold a record against a budget: which limits held, which are broken, which could not be checked."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from typing import Any

from edgefm.comparison import aspects, differences
from edgefm.comparison.budget import KEYS, GateBudget, Limit
from edgefm.comparison.gate_result import BROKEN, HELD, UNCHECKED, UNDECIDED, GateResult, LimitCheck
from edgefm.comparison.qualities import compare_quality
from edgefm.comparison.shipping.of_record import verdict_of
from edgefm.comparison.subjects import Subject, figures_of, rounds_of
from edgefm.statistics.estimates import Estimate
from edgefm.statistics.round_comparison import TOO_FEW


def gate(subject: Subject, budget: GateBudget, *, baseline: Subject | None = None, force: bool = False) -> GateResult:
    """Return which limits of a budget the models of a record keep.

    Sizes, counts and the accuracy on given images have no chance in them: the figure decides. Of a latency the
    interval does: below the limit as a whole it is held, above it broken, else undecided (broken where the budget is
    strict). A model that is in the budget and not in the record, or failed, is not checked, and that is no success.

    Args:
      subject: the record.
      budget: the limits.
      baseline: another record: each model is compared with the one of its name there, or with the one it names.
        Else the model that the budget calls its baseline, in the same record.
      force: compare latencies with a baseline of another environment.
    """
    notes: list[str] = []
    if baseline is not None and budget.baseline is not None:
        notes.append(f"the baseline record {baseline.name} replaces the budget's baseline '{budget.baseline}'")
    between = () if baseline is None else differences.differences(baseline.record, subject.record)
    checks: list[LimitCheck] = []
    for limit in budget.limits:
        rows = [row for name, row in subject.rows.items() if _matches(name, limit.models)]
        if not rows:
            names = ", ".join(subject.rows)
            reason = f"the record has no such model; it has {names}"
            checks.append(
                LimitCheck(model=limit.models, key=limit.key, limit=limit.value, state=UNCHECKED, reason=reason)
            )
        if KEYS[limit.key].baseline and baseline is None:
            # A ratio of the baseline to itself is 1, whatever the model.
            others = [row for row in rows if row["name"] != budget.baseline]
            if rows and not others:
                reason = f"{budget.baseline} is the baseline itself; {limit.key} needs another model"
                checks.append(_unchecked(rows[0], limit, reason))
            elif len(others) < len(rows):
                notes.append(f"{limit.key} of '{limit.models}' is not checked for {budget.baseline}, the baseline")
            rows = others
        for row in rows:
            if row["status"] != "ok":
                verdict = _unchecked(row, limit, f"it failed: {row['reason']}")
            elif KEYS[limit.key].baseline:
                verdict = _against_baseline(subject, row, limit, budget, baseline, between, force=force)
            else:
                verdict = _alone(row, limit, strict=budget.strict)
            checks.append(verdict)
    if any(check.key == "p50_us" for check in checks):
        notes.append("p50_us holds on one machine only; p50_ratio is comparable between machines")
    if force:
        notes += [
            f"compared by force: {difference.what} of the baseline is {difference.first}, here {difference.second}"
            for difference in between
        ]
    session: Mapping[str, Any] = subject.record.get("session", {})
    notes += [f"the benchmark was disturbed: {sentence}" for sentence in session.get("disturbed", [])]
    return GateResult(
        record=subject.name,
        baseline=budget.baseline if baseline is None else baseline.name,
        checks=tuple(checks),
        notes=tuple(notes),
        verdict=verdict_of(subject.record, path=subject.path),
    )


def _matches(name: str, pattern: str) -> bool:
    return name == pattern or fnmatch.fnmatchcase(name, pattern)


def _alone(row: Mapping[str, Any], limit: Limit, *, strict: bool) -> LimitCheck:
    """Check a limit that takes no baseline."""
    key = limit.key
    if key in ("size_bytes", "size_gzip_bytes"):
        return _exact(row, limit, float(row[key]))
    if key == "accuracy":
        figure = row["accuracy"]
        return _quality(row, limit, figure, higher_is_better=True)
    if key == "quality":
        figure = row["quality"] or {
            "value": None,
            "reason": "no quality in the record: it was measured without data",
        }
        return _quality(row, limit, figure, higher_is_better=figure.get("higher_is_better", True))
    if key == "p50_us":
        latency = row["latency_ns"]
        if latency is None or latency["p50"]["value"] is None:
            return _unchecked(row, limit, "latency was not measured")
        us = Estimate(*(latency["p50"][name] / 1e3 for name in ("value", "low", "high")))
        return _by_interval(row, limit, us, strict=strict, few=len(rounds_of(row)) < 2)
    if key == "peak_memory_bytes":
        if row["memory"] is None:
            return _unchecked(row, limit, "memory was not measured")
        return _exact(row, limit, float(row["memory"]["above_bare_bytes"]))
    figures = figures_of(row)
    if key not in figures:
        reason = next(
            (figure["reason"] for figure in row.get("figures", []) if figure["name"] == key and figure["reason"]),
            None,
        )
        return _unchecked(
            row, limit, reason or f"no {key} in the record: measure with a runtime or target that reports it"
        )
    value, mode, _ = figures[key]
    return _exact(row, limit, value, reason=None if mode == "measured" else mode)


def _against_baseline(
    subject: Subject,
    row: Mapping[str, Any],
    limit: Limit,
    budget: GateBudget,
    baseline: Subject | None,
    between: tuple[differences.Difference, ...],
    *,
    force: bool,
) -> LimitCheck:
    base: Mapping[str, Any] | None
    other = baseline or subject
    if baseline is None:
        if budget.baseline is None:
            return _unchecked(
                row, limit, 'no baseline: set baseline = "NAME" in the budget, or give a record as baseline'
            )
        named = budget.baseline
        base = next((item for item in subject.record["models"] if item["name"] == named), None)
    else:
        rows = baseline.rows
        base = next(iter(rows.values())) if baseline.model is not None else rows.get(row["name"])
        named = f"{row['name']} in {baseline.name}"
    if base is None:
        return _unchecked(row, limit, f"the baseline {named} is not in the record")
    if base["status"] != "ok":
        return _unchecked(row, limit, f"the baseline {named} failed: {base['reason']}")
    if limit.key == "accuracy_drop":
        data, others = (item.record["dataset"] for item in (subject, other))
        if data is not None and others is not None and data["sha256"] != others["sha256"]:
            return _unchecked(row, limit, f"the baseline {named} was measured on other images")
        aspect = compare_quality(other, base, subject, row, margin=0.0)
        if aspect is None or aspect.name != "accuracy" or aspect.difference is None:
            why = "accuracy was not measured" if aspect is None or aspect.reason is None else aspect.reason
            return _unchecked(row, limit, why)
        return _exact(row, limit, -aspect.difference.value, low=-aspect.difference.high, high=-aspect.difference.low)
    if not rounds_of(row) or not rounds_of(base):
        return _unchecked(row, limit, "latency was not measured for the model and the baseline")
    if baseline is not None and not force:
        what = [item.what for item in (*between, *differences.row_differences(base, row))]
        if what:
            return _unchecked(row, limit, f"the baseline differs in {', '.join(what)} (force compares anyway)")
    compared = aspects.latency_comparison(base, row, paired=baseline is None)
    return _by_interval(row, limit, compared.round_ratio, strict=budget.strict, few=compared.verdict == TOO_FEW)


def _exact(
    row: Mapping[str, Any],
    limit: Limit,
    value: float,
    *,
    low: float | None = None,
    high: float | None = None,
    reason: str | None = None,
    higher_is_better: bool = False,
) -> LimitCheck:
    # 0.91 - 0.90 is 0.010000000000000009: no limit of 0.01 is broken by that.
    within = value >= limit.value - 1e-12 if higher_is_better else value <= limit.value + 1e-12
    return _check(row, limit, HELD if within else BROKEN, value=value, low=low, high=high, reason=reason)


def _quality(row: Mapping[str, Any], limit: Limit, quality: Mapping[str, Any], *, higher_is_better: bool) -> LimitCheck:
    if quality["value"] is None:
        return _unchecked(row, limit, str(quality["reason"]))
    low, high = quality.get("low"), quality.get("high")
    return _exact(row, limit, quality["value"], low=low, high=high, higher_is_better=higher_is_better)


def _by_interval(row: Mapping[str, Any], limit: Limit, estimate: Estimate, *, strict: bool, few: bool) -> LimitCheck:
    reason = None
    if not few and estimate.high <= limit.value:
        state = HELD
    elif not few and estimate.low > limit.value:
        state = BROKEN
    else:
        state = BROKEN if strict else UNDECIDED
        reason = "too few rounds" if few else "the 95 % interval includes the limit"
        reason += "; the budget is strict" if strict else ""
    return _check(row, limit, state, reason=reason, **estimate.to_json())


def _unchecked(row: Mapping[str, Any], limit: Limit, reason: str) -> LimitCheck:
    return _check(row, limit, UNCHECKED, reason=reason)


def _check(row: Mapping[str, Any], limit: Limit, state: str, **figures: Any) -> LimitCheck:
    """Return the check of a limit; `figures` are further fields of `LimitCheck`."""
    return LimitCheck(model=row["name"], key=limit.key, limit=limit.value, state=state, **figures)
