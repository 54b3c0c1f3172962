"""The verdict on each cell: its kernel family, the reference of that family, and whether it is within the tolerance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgefm.agreement import families, spread
from edgefm.agreement.arithmetic import ModelTensors
from edgefm.agreement.cells import AgreementCell
from edgefm.agreement.comparison import OutputComparison, Outputs, compare
from edgefm.agreement.layers import FirstDifference
from edgefm.agreement.membership import Membership, membership
from edgefm.agreement.spread import KernelSpread


@dataclass(frozen=True, kw_only=True)
class Row:
    """A cell and what came of it.

    Attributes:
      cell: the cell.
      reason: why it gave no answers; None where it did.
      seconds: that its answers took, process and all.
      version: of the runtime there; None where it is not told.
      family: name of its family; None where it gave no answers.
      limit: largest difference from the family's reference that is allowed.
      share: largest share of the output values that may differ from it.
      evidence: what the limit is known from.
      verdict: 'reference', 'within' or 'alarm'; None where it gave no answers.
      spread: the two kernel sets of LiteRT that lie as far apart, where they alone make it 'within'.
      comparison: with the family's reference; None for the reference itself.
      quality: see `edgefm.benchmarking.scores.quality_json`; None without labelled data.
      first_difference: of an alarm: the first layer that leaves the tolerance, or why none can be named.
    """

    cell: AgreementCell
    reason: str | None = None
    seconds: float | None = None
    version: str | None = None
    family: str | None = None
    limit: float | None = None
    share: float | None = None
    evidence: str | None = None
    verdict: str | None = None
    spread: KernelSpread | None = None
    comparison: OutputComparison | None = None
    quality: Mapping[str, Any] | None = None
    first_difference: FirstDifference | str | None = None

    @property
    def ran(self) -> bool:
        """Whether the cell gave answers."""
        return self.reason is None

    @property
    def tolerance(self) -> tuple[float, float]:
        """Largest difference from the family's reference, and share of values, that were allowed in the end."""
        own = self.limit or 0.0, self.share or 0.0
        return own if self.spread is None else (max(own[0], self.spread.limit), max(own[1], self.spread.share))


def judge(
    rows: Sequence[Row], outputs: Mapping[AgreementCell, Outputs], ends: ModelTensors
) -> tuple[list[Row], dict[str, AgreementCell]]:
    """Return the rows with family and verdict, in the order of the families, and the reference of each."""
    placed: dict[str, list[tuple[Row, Membership]]] = {}
    strangers = []
    for row in rows:
        if not row.ran:
            continue
        belongs = membership(row.cell, ends.arithmetic, ends.rounding)
        if belongs.family is None:
            strangers.append((row, belongs))
        else:
            placed.setdefault(belongs.family, []).append((row, belongs))
    order = [family for family in families.FAMILIES if family.name in placed]
    references = {
        family.name: families.reference_of(family, [row.cell for row, _ in placed[family.name]]) for family in order
    }
    if strangers and not references:
        order.append(families.UNKNOWN)
        references[families.UNKNOWN.name] = strangers[0][0].cell
    for row, belongs in strangers:
        nearest = min(references, key=lambda name: _distance(outputs, row.cell, references[name], ends))
        placed.setdefault(nearest, []).append((row, belongs))
    judged, spreads = [], spread.kernel_spreads(outputs, ends)
    for family in order:
        reference = references[family.name]
        members = sorted(placed[family.name], key=lambda entry: entry[0].cell != reference)
        for row, belongs in members:
            known = replace(
                row, family=family.name, limit=belongs.limit, share=belongs.share, evidence=belongs.evidence
            )
            judged.append(_verdict(known, reference, spreads, outputs, ends))
    return [*judged, *(row for row in rows if not row.ran)], references


def _verdict(
    row: Row,
    reference: AgreementCell,
    spreads: Sequence[KernelSpread],
    outputs: Mapping[AgreementCell, Outputs],
    ends: ModelTensors,
) -> Row:
    if row.cell == reference:
        return replace(row, verdict="reference", limit=0.0, share=0.0)
    comparison = compare(outputs[row.cell], outputs[reference], ends=ends)
    if comparison.within(row.limit or 0.0, share=row.share or 0.0):
        return replace(row, verdict="within", comparison=comparison)
    as_far = None if spread.is_litert_here(row.cell) else spread.covering(comparison, spreads)
    return replace(row, verdict="within" if as_far else "alarm", spread=as_far, comparison=comparison)


def pair_verdict(first: Row, second: Row, comparison: OutputComparison) -> str | None:
    """Return what the difference of two cells means: 'within', 'alarm', or None where they are of two families.

    With the reference of the family it is the verdict of the other. Two members that are within their tolerances are
    within each other's; where one is not, they may be as far apart as both tolerances together allow.
    """
    if first.family is None or first.family != second.family:
        return None
    for reference, other in ((first, second), (second, first)):
        if reference.verdict == "reference":
            return other.verdict
    if first.verdict == second.verdict == "within":
        return "within"
    return "within" if comparison.within_both(first.tolerance, second.tolerance) else "alarm"


def _distance(
    outputs: Mapping[AgreementCell, Outputs], cell: AgreementCell, other: AgreementCell, ends: ModelTensors
) -> float:
    largest = compare(outputs[cell], outputs[other], ends=ends).largest
    return np.inf if largest is None else largest
