"""Compare two records model by model: is the second faster, smaller, better, or none of these?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from edgefm.comparison import aspects, differences
from edgefm.comparison.aspects import Aspect, Margins
from edgefm.comparison.differences import Difference
from edgefm.comparison.subjects import Subject, rounds_of
from edgefm.core import html
from edgefm.core.errors import RecipeError, RunError
from edgefm.statistics.rank_tests import holm

KIND = "comparison"
SCHEMA_VERSION = 1
CORRECTIONS = ("holm", "none")


@dataclass(frozen=True, kw_only=True)
class ModelPair:
    """Two models that were compared.

    Attributes:
      first: name of the first's row.
      second: of the second's.
      aspects: in which they were compared; empty where one of them failed.
      failure: why they could not be compared at all.
    """

    first: str
    second: str
    aspects: tuple[Aspect, ...] = ()
    failure: str | None = None

    @property
    def judgement(self) -> str:
        """What it says of the second model, in a few words: 'better in latency and size; worse in accuracy'."""
        if self.failure:
            return f"could not be compared: {self.failure}"
        parts = []
        for verdict in (aspects.BETTER, aspects.WORSE):
            names = [aspects.title(aspect) for aspect in self.aspects if aspect.verdict == verdict]
            if names:
                parts.append(f"{verdict} in {' and '.join(names)}")
        return "; ".join(parts) or "no difference seen"


@dataclass(frozen=True, kw_only=True)
class ComparisonResult:
    """What a comparison of two records found; 'first' and 'second' are the records A and B.

    Attributes:
      first: name of the first record as it was given.
      second: of the second.
      pairs: of models.
      differences: of the environments and protocols.
      forced: latencies were compared in spite of them.
      tests: how many tests were made.
      correction: 'holm' or 'none'.
      notes: what else a reader should know.
    """

    first: str
    second: str
    pairs: tuple[ModelPair, ...]
    differences: tuple[Difference, ...]
    forced: bool
    tests: int
    correction: str
    notes: tuple[str, ...]

    @property
    def worse(self) -> tuple[tuple[ModelPair, Aspect], ...]:
        """Where the second is worse beyond the margins."""
        return tuple((pair, aspect) for pair in self.pairs for aspect in pair.aspects if aspects.beyond_margin(aspect))

    @property
    def not_compared(self) -> tuple[tuple[ModelPair, Aspect | None], ...]:
        """What should have been compared and could not be: refused, too few rounds, a quality without interval."""
        missing: list[tuple[ModelPair, Aspect | None]] = [(pair, None) for pair in self.pairs if pair.failure]
        missing += [(pair, aspect) for pair in self.pairs for aspect in pair.aspects if aspects.is_missing(aspect)]
        return tuple(missing)

    @property
    def exit_code(self) -> int:
        """0: the second is nowhere worse beyond the margins; 1: somewhere it is; 2: not where it could be compared."""
        return 1 if self.worse else 2 if self.not_compared else 0

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as a JSON object (schemas/comparison-1.schema.json)."""
        return {
            "kind": KIND,
            "schema_version": SCHEMA_VERSION,
            "first": self.first,
            "second": self.second,
            "exit_code": self.exit_code,
            "forced": self.forced,
            "tests": self.tests,
            "correction": self.correction,
            "differences": [item.to_json() for item in self.differences],
            "notes": list(self.notes),
            "pairs": [
                {
                    "first": pair.first,
                    "second": pair.second,
                    "failure": pair.failure,
                    "aspects": [
                        {**item.to_json(), "beyond_margin": aspects.beyond_margin(item)} for item in pair.aspects
                    ],
                }
                for pair in self.pairs
            ],
        }

    @property
    def verdict(self) -> str:
        """What follows, in one sentence a pair of models."""
        return " ".join(f"{pair.second} against {pair.first}: {pair.judgement}." for pair in self.pairs)

    def _repr_html_(self) -> str:
        rows = [_row(pair, aspect) for pair in self.pairs for aspect in pair.aspects]
        headers = ["model", "baseline", "what", "baseline's", "model's", "difference (95 %)", "p", "the model is"]
        given = [aspect for pair in self.pairs for aspect in pair.aspects if aspect.reason]
        reasons = dict.fromkeys(f"{aspects.title(aspect)}: {aspect.reason}" for aspect in given)
        return html.table(rows, headers, caption=self.verdict) + "".join(html.paragraph(line) for line in reasons)


def _row(pair: ModelPair, aspect: Aspect) -> list[str]:
    p = aspect.p if aspect.p_raised is None else aspect.p_raised
    return [
        pair.second,
        pair.first,
        aspects.title(aspect),
        aspects.figure(aspect, aspect.first),
        aspects.figure(aspect, aspect.second),
        _difference(aspect),
        "" if p is None else f"{p:.2g}",
        aspect.verdict,
    ]


def _difference(aspect: Aspect) -> str:
    """Return a ratio or a difference with its interval, '' where there is none."""
    if aspect.difference is None:
        return ""
    value, low, high = aspect.difference.value, aspect.difference.low, aspect.difference.high
    if "higher_is_better" not in aspect.details:
        return f"x {value:.3f}" + (f" ({low:.3f} to {high:.3f})" if low != high else "")
    scale, unit = (100, " points") if aspect.details["unit"] == "%" else (1, "")
    return f"{scale * value:+.3g}{unit} ({scale * low:+.3g} to {scale * high:+.3g})"


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
            raise RecipeError(f"the margin of {name} is {value}", hint="A margin is a share from 0 to below 1.")
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
            aspects.quality(first, mine, second, other, margin=limits.quality),
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
            hint=f"Name the one that is meant: {second.name}::{next(iter(other))}",
        )
    if second.model is not None and second.model not in mine:
        raise RunError(
            f"{first.name} has no model called {second.model}; it has {', '.join(mine)}",
            hint=f"Name the one that is meant: {first.name}::{next(iter(mine))}",
        )
    shared = [name for name in mine if name in other]
    if not shared:
        raise RunError(
            f"no model is in both: {first.name} has {', '.join(mine)}; {second.name} has {', '.join(other)}",
            hint=f"Name one of each: {first.name}::{next(iter(mine))} {second.name}::{next(iter(other))}",
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
    return f"the measurements differ in {', '.join(one.what for one in between)}"


def _disturbed(subject: Subject) -> list[str]:
    session: Mapping[str, Any] = subject.record.get("session", {})
    return [str(sentence) for sentence in session.get("disturbed", [])]


def _of_two_times(first: Subject, second: Subject) -> list[str]:
    """Return what to know of two records that were measured one after the other."""
    notes = [
        f"measured at different times ({first.record['created']} and {second.record['created']}): what changed on the "
        "machine in between looks like a change of the model; to rule that out: edgefm compare A.tflite B.tflite"
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
                f"the very same file {row['name']} was {abs(compared.round_ratio.value - 1):.1%} {compared.verdict} in "
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
