"""agreement.json: what was found as a JSON document, checked against its schema; and the verdict in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from edgefm import schemas
from edgefm.agreement import families
from edgefm.agreement.comparison import OutputComparison
from edgefm.agreement.layers import FirstDifference
from edgefm.agreement.matrix import Agreement
from edgefm.agreement.verdicts import Row, pair_verdict
from edgefm.core import artefacts, runs
from edgefm.core.environment import environment

SCHEMA_VERSION = 1
FILE_NAME = "agreement.json"
PICTURES = ("agreement.png", "agreement.svg")


def to_json(agreement: Agreement) -> dict[str, Any]:
    """Return what was found as a JSON document of the schema `edgefm/schemas/agreement-1.schema.json`."""
    rows = agreement.rows
    value = {
        "kind": "agreement",
        "schema_version": SCHEMA_VERSION,
        "created": runs.now(),
        "environment": environment(),
        "model": {
            "name": agreement.model.stem,
            "file": str(agreement.model),
            "sha256": artefacts.sha256_file(agreement.model),
            "size_bytes": agreement.model.stat().st_size,
            "arithmetic": agreement.ends.arithmetic,
            "rounding": asdict(agreement.ends.rounding),
            "input": agreement.ends.source.to_json(),
            "outputs": [sink.to_json() for sink in agreement.ends.sinks],
        },
        "inputs": agreement.inputs.to_json(),
        "unit": agreement.ends.unit,
        "families": [
            {
                "name": name,
                "title": families.family(name).title,
                "reference": cell.name,
                "members": [row.cell.name for row in rows if row.family == name],
            }
            for name, cell in agreement.references.items()
        ],
        "cells": [_row(row) for row in rows],
        "between_families": [
            {"first": first, "second": second, **comparison.to_json()}
            for (first, second), comparison in agreement.between.items()
        ],
        "pairs": [
            {
                "first": rows[first].cell.name,
                "second": rows[second].cell.name,
                "verdict": pair_verdict(rows[first], rows[second], comparison),
                **comparison.to_json(),
            }
            for (first, second), comparison in agreement.pairs.items()
        ],
        "absent": [{"name": absent.name, "reason": absent.reason} for absent in agreement.absent],
        "verdict": {
            "held": not agreement.alarms,
            "alarms": len(agreement.alarms),
            "lines": list(verdict_lines(agreement)),
        },
    }
    check(value)
    return value


def check(value: Mapping[str, Any]) -> None:
    """Raise a ValueError that names the place where a document breaks its schema."""
    schemas.validate(value, f"agreement-{SCHEMA_VERSION}")


def verdict_lines(agreement: Agreement) -> Iterator[str]:
    """Yield the verdict in words: each alarm with its first differing layer, then the rest, and of how many samples."""
    for row in agreement.alarms:
        yield _alarm(row, agreement)
    judged, samples = agreement.judged, len(agreement.inputs)
    if not judged:
        yield (
            "no two cells belong to one kernel family, so no limit applies; differences between families are "
            "information"
        )
        return
    well = [row for row in judged if row.verdict == "within"]
    if well:
        equal = [row for row in well if row.comparison is not None and row.comparison.equal]
        bit_exact = f", {len(equal)} of them bit-exact" if equal else ""
        yield f"{len(well)} of {len(judged)} compared cells are within the tolerance of their kernel family{bit_exact}"
        yield from (_as_far(row, agreement) for row in well if row.spread is not None)
        if equal:
            bound = equal[0].comparison.differing.high if equal[0].comparison else 0.0
            yield (
                f"0 differing samples in {samples:,}: with 95 % confidence fewer than {_percent(bound)} of samples "
                "like these differ (rule of three)"
            )


def difference(comparison: OutputComparison) -> str:
    """Return the largest difference with its unit."""
    if comparison.largest is None:
        return "NaN or infinity on one side only"
    if comparison.unit == "relative":
        return f"{comparison.largest:.1e} of the output's largest value"
    levels = f"{comparison.largest:.3g}"
    return f"{levels} {'level' if levels == '1' else 'levels'}"


def _alarm(row: Row, agreement: Agreement) -> str:
    comparison = row.comparison
    assert comparison is not None and row.family is not None and row.limit is not None and row.share is not None
    reference = agreement.references[row.family]
    limit = f"{row.limit:g}" if comparison.unit == "levels" else f"{row.limit:.0e}"
    if row.share < 1:
        limit += f" in at most {_percent(row.share)} of values" if row.limit else ""
    differ = comparison.samples - comparison.equal_samples
    first = row.first_difference
    if isinstance(first, FirstDifference):
        where = f"first exceeded at operator {first.operator}, {first.name} '{first.tensor}' "
        where += f"({difference(first.comparison)}, sample {first.sample}"
        where += ")" if first.verified else f"; not all operators before it were compared: {first.reason})"
    else:
        where = f"first operator not identified: {first}"
    return (
        f"ALARM {row.cell.name}: differs from {reference.name} by {difference(comparison)} (limit: {limit}), "
        f"in {differ:,} of {comparison.samples:,} samples; {where}"
    )


def _as_far(row: Row, agreement: Agreement) -> str:
    comparison, spread = row.comparison, row.spread
    assert comparison is not None and spread is not None and row.family is not None
    reference, sets = agreement.references[row.family], difference(spread.comparison)
    return (
        f"{row.cell.name}: differs from {reference.name} by {difference(comparison)}: as far apart as LiteRT's own "
        f"kernel sets: {sets}, in {_percent(spread.share)} of values ({spread.first} and {spread.second})"
    )


def _row(row: Row) -> dict[str, Any]:
    first = row.first_difference
    return {
        "name": row.cell.name,
        "runtime": row.cell.runtime,
        "target": row.cell.target,
        "mode": row.cell.mode,
        "status": "ran" if row.ran else "did not run",
        "reason": row.reason,
        "version": row.version,
        "seconds": row.seconds,
        "family": row.family,
        "limit": row.limit,
        "share": row.share,
        "evidence": row.evidence,
        "verdict": row.verdict,
        "spread": row.spread.to_json() if row.spread else None,
        "against_reference": row.comparison.to_json() if row.comparison else None,
        "quality": dict(row.quality) if row.quality else None,
        "first_difference": first.to_json() if isinstance(first, FirstDifference) else None,
        "no_first_difference": first if isinstance(first, str) else None,
    }


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
