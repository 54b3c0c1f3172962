"""Compare two records model by model: is the second faster, smaller, better, or none of these?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from edgefm.comparison import aspects, differences
from edgefm.comparison.aspects import Margins
from edgefm.comparison.comparison_result import ComparisonResult, ModelPair
from edgefm.comparison.differences import Difference
from edgefm.comparison.qualities import compare_quality
from edgefm.comparison.subjects import Subject, rounds_of
from edgefm.core.errors import RecipeError, RunError
from edgefm.core.text import command, quoted
from edgefm.statistics.rank_tests import holm

CORRECTIONS = ("holm", "none")


def compare(
    first: Subject,
    second: Subject,
    *,
    margins: Margins | None = None,
    latency: bool = True,
    force: bool = False,
    correction: str = "holm",
) -> ComparisonResult:
    """Return how the models of the second record compare with those of the same names in the first.

    Models are matched by name; a single model on both sides is matched whatever it is called. Latencies are compared
    only where the environments agree. Rounds of one record are paired; those of two are not.

    Args:
      first: the baseline.
      second: what is judged.
      margins: differences that do no harm; none by default.
      latency: compare latencies at all.
      force: compare latencies in spite of different environments.
      correction: 'holm' raises p so that one false alarm among all tests has a chance of 5 %; 'none' leaves 5 % each.
    Raises:
      RecipeError: a negative margin, or an unknown correction.
      RunError: the records have no model in common.
    """
    limits = margins or Margins()
    for name, value in (("latency", limits.latency), ("quality", limits.quality), ("size", limits.size)):
        if not 0 <= value < 1 and not (name == "quality" and value >= 0):
            raise RecipeError(
                f"the margin of {name} is {value}",
                hint="Allowed: a fraction from 0 to below 1, e.g. 0.05; a quality margin may be 1 or more.",
            )
    if correction not in CORRECTIONS:
        raise RecipeError(f"unknown correction '{correction}'", hint=f"Known: {', '.join(CORRECTIONS)}.")
    matched = _matched(first, second)
    together = _same_record(first, second)
    between = () if together else differences.differences(first.record, second.record)
    everywhere = list(between)
    pairs, notes = [], [] if together else differences.worth_telling(first.record, second.record)
    for mine, other in matched:
        if mine["status"] != "ok" or other["status"] != "ok":
            failures = [f"{row['name']}: {row['reason']}" for row in (mine, other) if row["status"] != "ok"]
            pairs.append(ModelPair(first=mine["name"], second=other["name"], failure="; ".join(failures)))
            continue
        # In one record two runtimes stand side by side because that is what is compared.
        of_rows = () if together else differences.row_differences(mine, other)
        everywhere += [difference for difference in of_rows if difference not in everywhere]
        refused = _refusal(first, second, (*between, *of_rows), force=force)
        compared = [
            *(
                [aspects.latency(mine, other, paired=together, margin=limits.latency, refused=refused)]
                if latency and _has_latency(first, second)
                else []
            ),
            compare_quality(first, mine, second, other, margin=limits.quality),
            *aspects.exact_figures(mine, other, margin=limits.size),
        ]
        pairs.append(
            ModelPair(
                first=mine["name"],
                second=other["name"],
                aspects=tuple(aspect for aspect in compared if aspect is not None),
            )
        )
    if (
        latency
        and not together
        and any(aspect.name == "latency" and aspect.p is not None for pair in pairs for aspect in pair.aspects)
    ):
        notes += _of_two_times(first, second)
    for subject, name in ((first, "the benchmark"),) if together else ((first, first.name), (second, second.name)):
        notes += [f"{name} was disturbed: {sentence}" for sentence in _disturbed(subject)]
    judged, tests = _corrected(pairs, correction)
    return ComparisonResult(
        first=first.name,
        second=second.name,
        pairs=judged,
        differences=tuple(everywhere),
        forced=force and bool(everywhere),
        tests=tests,
        correction=correction,
        notes=tuple(notes),
    )


def _matched(first: Subject, second: Subject) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    mine, other = first.rows, second.rows
    if len(mine) == len(other) == 1:
        return [(next(iter(mine.values())), next(iter(other.values())))]
    if len(mine) == 1 and first.model is not None and first.model not in other:
        raise RunError(
            f"{second.name} has no model called {first.model}; it has {', '.join(other)}",
            hint=f"Select a model, e.g. {quoted(f'{second.name}::{next(iter(other))}')}",
        )
    if second.model is not None and second.model not in mine:
        raise RunError(
            f"{first.name} has no model called {second.model}; it has {', '.join(mine)}",
            hint=f"Select a model, e.g. {quoted(f'{first.name}::{next(iter(mine))}')}",
        )
    shared = [name for name in mine if name in other]
    if not shared:
        raise RunError(
            f"the records have no model in common: {first.name} has {', '.join(mine)}; "
            f"{second.name} has {', '.join(other)}",
            hint="Select one model of each: "
            + command(f"{first.name}::{next(iter(mine))}", f"{second.name}::{next(iter(other))}"),
        )
    return [(mine[name], other[name]) for name in shared]


def _same_record(first: Subject, second: Subject) -> bool:
    if first.path is not None and second.path is not None:
        return first.path.resolve() == second.path.resolve()
    return first.record is second.record


def _has_latency(first: Subject, second: Subject) -> bool:
    return all(subject.record.get("target", {}).get("latency", True) for subject in (first, second))


def _refusal(first: Subject, second: Subject, between: tuple[Difference, ...], *, force: bool) -> str | None:
    if force or not between:
        return None
    return f"the measurements differ in {', '.join(difference.what for difference in between)}"


def _disturbed(subject: Subject) -> list[str]:
    session: Mapping[str, Any] = subject.record.get("session", {})
    return [str(sentence) for sentence in session.get("disturbed", [])]


def _of_two_times(first: Subject, second: Subject) -> list[str]:
    """Return what to know of two records that were measured one after the other."""
    notes = [
        f"measured at different times ({first.record['created']} and {second.record['created']}): a change of the "
        "machine in between would look like a change of the model; to rule it out: edgefm compare A.tflite B.tflite"
    ]
    # A file that is in both tells what the machine did.
    mine = {row["sha256"]: row for row in first.record["models"] if row["status"] == "ok" and rounds_of(row)}
    for row in second.record["models"]:
        same = mine.get(row["sha256"])
        if same is None or row["status"] != "ok" or not rounds_of(row):
            continue
        compared = aspects.latency_comparison(same, row, paired=False)
        if compared.verdict in ("faster", "slower"):
            notes.append(
                f"the same file {row['name']} was {abs(compared.round_ratio.value - 1):.1%} {compared.verdict} in "
                f"{second.name} (p {compared.p:.2g}): the machine changed"
            )
    return notes


def _corrected(pairs: list[ModelPair], correction: str) -> tuple[tuple[ModelPair, ...], int]:
    """Return the pairs judged by p raised for all tests, and how many tests there were."""
    places = [
        (i, j)
        for i, pair in enumerate(pairs)
        for j, aspect in enumerate(pair.aspects)
        if aspect.p is not None and aspect.verdict != aspects.TOO_FEW
    ]
    if correction == "none" or len(places) < 2:
        return tuple(pairs), len(places)
    corrected = [list(pair.aspects) for pair in pairs]
    ps = [corrected[i][j].p for i, j in places]
    for (i, j), p in zip(places, holm([p for p in ps if p is not None]), strict=True):
        corrected[i][j] = aspects.raised(corrected[i][j], p)
    return tuple(replace(pair, aspects=tuple(each)) for pair, each in zip(pairs, corrected, strict=True)), len(places)
