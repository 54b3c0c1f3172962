"""What a comparison of two records found, pair by pair of models: as JSON, as a table, in one sentence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from edgefm.comparison import aspects
from edgefm.comparison.aspects import Aspect
from edgefm.comparison.differences import Difference
from edgefm.core import html
from edgefm.core.results import JsonResult

KIND = "comparison"
SCHEMA_VERSION = 1


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
        if not any(aspects.is_compared(aspect) for aspect in self.aspects):
            return "nothing could be compared"
        return "; ".join(parts) or "no difference seen"


@dataclass(frozen=True, kw_only=True)
class ComparisonResult(JsonResult):
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
    pairs: tuple[ModelPair, ...] = field(hash=False)
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
        """0: no metric is worse beyond the margins; 1: one is; 2: none of those that could be compared."""
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
        headers = ["model", "baseline", "metric", "baseline value", "model value", "difference (95 %)", "p", "verdict"]
        explained = [aspect for pair in self.pairs for aspect in pair.aspects if aspect.reason]
        reasons = dict.fromkeys(f"{aspects.title(aspect)}: {aspect.reason}" for aspect in explained)
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
