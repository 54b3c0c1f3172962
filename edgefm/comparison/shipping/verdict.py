"""The verdict: which of a record's files to ship for what, and why, or why the record cannot decide it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from edgefm.core import html
from edgefm.core.results import JsonResult
from edgefm.statistics.estimates import Estimate

KIND = "verdict"
SCHEMA_VERSION = 1

# What a verdict says.
SHIP, KEEP, UNDECIDED, AT_CHANCE, NOTHING = (
    "ship",
    "keep the reference",
    "cannot decide",
    "no better than chance",
    "nothing to decide",
)
STATES = (SHIP, KEEP, UNDECIDED, AT_CHANCE, NOTHING)
# What it says of a file.
REFERENCE, AS_GOOD, UNSURE, WORSE, BROKEN, FAILED, UNJUDGED = (
    "reference",
    "as good",
    "undecided",
    "worse",
    "limit broken",
    "failed",
    "not judged",
)
# Files that are not recommended, for a reason that a reader wants.
NOT_RECOMMENDED = (UNSURE, WORSE, BROKEN, UNJUDGED)
# What a file is shipped for.
PHONES, MICROCONTROLLERS, DOWNLOAD = TARGETS = ("phones", "microcontrollers", "download")


@dataclass(frozen=True, kw_only=True)
class JudgedFile:
    """One file of a record, judged.

    Attributes:
      name: of its row.
      state: 'reference', 'as good' (shown to lose less than the margin), 'undecided', 'worse' (shown to lose more),
        'limit broken', 'failed' or 'not judged'.
      reason: in a sentence.
      difference: quality of this file minus the reference's on the same samples, in the unit of the measure, with the
        interval that decides (`Verdict.confidence`); None where it is not known.
      needed_samples: about how many test samples would decide it; None where it is decided, or none would.
      time_ratio: time of one inference over the reference's, with its 95 % interval; None where it is not known.
      size_bytes: of the file.
      size_gzip_bytes: of the file compressed with gzip.
      not_on_phones: why a phone does not load it; None where it does.
      not_on_microcontrollers: why a microcontroller does not load it; None where it does.
    """

    name: str
    state: str
    reason: str
    difference: Estimate | None = None
    needed_samples: int | None = None
    time_ratio: Estimate | None = None
    size_bytes: int = 0
    size_gzip_bytes: int = 0
    not_on_phones: str | None = None
    not_on_microcontrollers: str | None = None


@dataclass(frozen=True, kw_only=True)
class ShippingChoice:
    """What to ship for one need.

    Attributes:
      target: 'phones', 'microcontrollers' or 'download' (the smallest one).
      file: name of the file; None where none is recommended.
      reason: in a sentence.
    """

    target: str
    file: str | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class Verdict(JsonResult):
    """Which file to ship, and why.

    Attributes:
      state: 'ship', 'keep the reference', 'cannot decide', 'no better than chance' or 'nothing to decide'.
      headline: the answer in a sentence or two.
      target: what `file` is for.
      reference: name of the row that the others are compared with; None where there is none.
      fallback: the file to use as long as none is recommended: the reference; None where there is none.
      measure: name of the quality measure, '' where none was measured.
      unit: of the measure: '%' for shares of 1, else ''.
      samples: number of test samples.
      margin: loss of quality that does no harm, in the unit of the measure (0.01: one point); None without quality.
      confidence: level of the intervals of differences, 0 to 1: 95 %, and more where so many files are tested that
        one in twenty records would recommend a wrong one; None without quality.
      needed_samples: where it cannot decide: about how many test samples would.
      choices: one a target, in the order phones, microcontrollers, download.
      files: each file of the record, judged.
    """

    state: str
    headline: str
    target: str
    reference: str | None
    fallback: str | None
    measure: str
    unit: str
    samples: int
    margin: float | None
    confidence: float | None
    needed_samples: int | None
    choices: tuple[ShippingChoice, ...]
    files: tuple[JudgedFile, ...]

    @property
    def choice(self) -> ShippingChoice:
        """The choice for `target`."""
        return next(choice for choice in self.choices if choice.target == self.target)

    @property
    def file(self) -> str | None:
        """Name of the file to ship for `target`; None where none is recommended."""
        return self.choice.file

    @property
    def default_file(self) -> str | None:
        """Name of the file that commands take where none is named: the recommended one, else the fallback."""
        return self.file if self.file is not None else self.fallback

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as a JSON object."""
        value = asdict(self) | {"choices": [asdict(choice) for choice in self.choices]}
        value["files"] = [asdict(file) for file in self.files]
        return {"kind": KIND, "schema_version": SCHEMA_VERSION, "file": self.file, **value}

    def __str__(self) -> str:
        return self.headline

    def _repr_html_(self) -> str:
        rows = [[choice.target, choice.file or "-", choice.reason] for choice in self.choices]
        judged = [[file.name, file.state, file.reason] for file in self.files]
        return html.table(rows, ["ship for", "file", "why"], caption=self.headline) + html.table(
            judged, ["file", "verdict", "why"]
        )
