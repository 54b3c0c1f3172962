"""`edgefm.verdict`: which file of a benchmark to ship, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgefm.comparison.shipping.of_record import verdict_of
from edgefm.comparison.shipping.verdict import PHONES, Verdict
from edgefm.core.arguments import PathLike, check_number, check_type
from edgefm.jobs.benchmark import BenchmarkRecord
from edgefm.jobs.compare import subject_of

if TYPE_CHECKING:
    from edgefm.jobs.run import Run


def verdict(
    record: BenchmarkRecord | Run | PathLike | Mapping[str, Any],
    *,
    target: str = PHONES,
    margin: float | None = None,
) -> Verdict:
    """Return which file of a benchmark to ship for phones, microcontrollers and the smallest download, and why.

    A file is recommended only where the test samples show that it loses less than the margin against the reference
    (the given model or its float32 file), where it broke no limit, and where the target loads it.

    Args:
      record: a record, its path, or a run, whose newest benchmark is taken; or the content of a record.json.
      target: what `Verdict.file` is for: 'phones', 'microcontrollers' or 'download'.
      margin: loss of quality that does no harm, in the unit of the measure (0.01: one point of accuracy); by default
        one point, and 5 % of the reference's value of a measure that is no share.
    Raises:
      ArgumentError: an argument of another type, an unknown target, or a margin that is not above 0.
      RunError: there is no record, or it is damaged.
    """
    check_type(target, "target", str, "'phones', 'microcontrollers' or 'download'")
    check_number(margin, "margin")
    if isinstance(record, Mapping) and not isinstance(record, BenchmarkRecord):
        return verdict_of(record, target=target, margin=margin)
    subject = subject_of(record, "record")
    return verdict_of(subject.record, path=subject.path, target=target, margin=margin)
