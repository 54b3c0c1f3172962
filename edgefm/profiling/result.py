"""What a profile says: an operator a row, the sum against the whole, and what the machine can do at most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from edgefm import schemas
from edgefm.benchmarking import record
from edgefm.core import artefacts, html
from edgefm.core.arguments import PathLike, as_path
from edgefm.profiling.limits import Limit, Limits
from edgefm.profiling.timing import Turns
from edgefm.statistics.estimates import Estimate

Method = Literal["operators", "prefixes"]

KIND = "operator-profile"
SCHEMA_VERSION = 1
FILE_NAME = "profile.json"
PICTURES = ("profile.png", "profile.svg", "profile-narrow.png", "profile-narrow.svg")
# A sum that is further off than this share of the whole is said to be off.
TOLERANCE = 0.10


@dataclass(frozen=True, kw_only=True)
class ProfiledOperator:
    """An operator and its time.

    Attributes:
      index: place in the order of execution.
      name: e.g. 'CONV_2D'.
      layer: the layer it comes from, or the name of its result.
      time: nanoseconds of one inference, without the call of the model; None where it could not be had.
      reason: why there is no time; None where there is one.
      share: of the whole model's time; None where either is not known.
      macs: multiply-accumulates of one inference.
      dtype: 'int8' or 'float32': the peak that it is held against; None for an operator without MACs.
      weight_bytes: of its constants as the operator reads them (float16 weights that are unpacked: as float32).
      activation_bytes: of its inputs and results.
      gmac_per_s: 1e9 multiply-accumulates a second; None without MACs or time, or where `rate` does not resolve it.
      peak_share: of the measured peak; None without one.
      gb_per_s: 1e9 bytes a second, weights and activations; None without a time, or where `rate` does not resolve it.
      limit: what limits it; None without a time, or where the ends of its interval do not agree on it.
      rounds: raw nanoseconds of each invoke of the cut model, a list a round.
    """

    index: int
    name: str
    layer: str
    time: Estimate | None
    reason: str | None
    share: float | None
    macs: int
    dtype: str | None
    weight_bytes: int
    activation_bytes: int
    gmac_per_s: float | None
    peak_share: float | None
    gb_per_s: float | None
    limit: Limit | None
    rounds: Sequence[Sequence[int]] = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return the operator as a JSON object."""
        value = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in ("time", "rounds")}
        return {
            **value,
            "time_ns": self.time.to_json() if self.time else None,
            "rounds": [{"invoke_ns": list(samples)} for samples in self.rounds],
        }


@dataclass(frozen=True, kw_only=True)
class SumCheck:
    """The operators' times summed, against the whole model's.

    Attributes:
      method: how the times were had.
      sum: of the operators that have a time and of the call, in nanoseconds.
      of_whole: the sum as a share of the whole's time; 1 is perfect.
      missing: operators without a time.
    """

    method: Method
    sum: Estimate
    of_whole: Estimate
    missing: tuple[int, ...]

    @property
    def holds(self) -> bool:
        """Whether all operators are in the sum and it is off by no more than the tolerance."""
        return not self.missing and abs(self.of_whole.value - 1) <= TOLERANCE

    @property
    def off(self) -> bool:
        """Whether the sum is off beyond doubt: all operators are in it, and its whole interval is off."""
        low, high = self.of_whole.low - 1, self.of_whole.high - 1
        return not self.missing and (low > TOLERANCE or high < -TOLERANCE)

    def to_json(self) -> dict[str, Any]:
        """Return the check as a JSON object."""
        return {
            "method": self.method,
            "sum_ns": self.sum.to_json(),
            "of_whole": self.of_whole.to_json(),
            "missing": list(self.missing),
            "holds": self.holds,
        }


@dataclass(frozen=True, kw_only=True)
class Disturbed:
    """The turns in which other load on the machine was noticed.

    Attributes:
      turns: disturbed ones.
      of_turns: all turns of the whole model and the cut ones.
      kinds: how often each kind of disturbance was noticed.
    """

    turns: int
    of_turns: int
    kinds: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class ProfileResult:
    """The profile of a model.

    Attributes:
      model: name, sha256 and size_bytes of the file.
      created: UTC, ISO 8601.
      runtime: name, with its kernel set where one is given.
      version: of the runtime.
      environment: of the machine, as in a benchmark record.
      turns: how long each cut model was timed.
      method: where the operators' times come from: models of one operator, or differences of prefixes.
      whole: nanoseconds of the whole model; None where it could not be timed.
      whole_reason: why not.
      whole_rounds: raw nanoseconds of each invoke, a list a round.
      call: nanoseconds of an invoke without operators.
      checks: the sum against the whole for each method that was tried, that of `method` last; () without a whole.
      limits: what the runtime reaches here.
      operators: in the order of execution.
      unpacking: operators on constants alone; they belong to those that use their results.
      disturbed: how many turns other load disturbed; medians over rounds bear much of it.
      notes: what else a reader must know.
    """

    model: Mapping[str, Any] = field(hash=False)
    created: str
    runtime: str
    version: str
    environment: Mapping[str, Any] = field(hash=False)
    turns: Turns
    method: Method
    whole: Estimate | None
    whole_reason: str | None
    whole_rounds: Sequence[Sequence[int]] = field(repr=False, hash=False)
    call: Estimate
    checks: tuple[SumCheck, ...]
    limits: Limits = field(hash=False)
    operators: tuple[ProfiledOperator, ...] = field(hash=False)
    unpacking: tuple[int, ...]
    disturbed: Disturbed = field(hash=False)
    notes: tuple[str, ...]

    @property
    def check(self) -> SumCheck | None:
        """The check of the method that the operators' times come from; None without a whole."""
        return self.checks[-1] if self.checks else None

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all operators."""
        return sum(operator.macs for operator in self.operators)

    def to_json(self) -> dict[str, Any]:
        """Return the profile as a JSON object; see schemas/operator-profile-1.schema.json."""
        return {
            "kind": KIND,
            "schema_version": SCHEMA_VERSION,
            "created": self.created,
            "mode": "measured",
            "model": dict(self.model),
            "runtime": {"name": self.runtime, "version": self.version, "threads": 1},
            "environment": dict(self.environment),
            "turns": asdict(self.turns),
            "method": self.method,
            "tolerance": TOLERANCE,
            "whole": {
                "time_ns": self.whole.to_json() if self.whole else None,
                "reason": self.whole_reason,
                "rounds": [{"invoke_ns": list(samples)} for samples in self.whole_rounds],
            },
            "call_ns": self.call.to_json(),
            "checks": [check.to_json() for check in self.checks],
            "limits": self.limits.to_json(),
            "operators": [operator.to_json() for operator in self.operators],
            "unpacking": list(self.unpacking),
            "disturbed": asdict(self.disturbed),
            "notes": list(self.notes),
        }

    def save(self, folder: PathLike) -> Path:
        """Write profile.json with all raw samples into a folder, which is made, and return its path."""
        return artefacts.write_bytes(as_path(folder, "folder") / FILE_NAME, content(self))

    def _repr_html_(self) -> str:
        rows = [
            [
                operator.index,
                operator.name,
                f"{operator.time.value / 1000:,.2f}" if operator.time else operator.reason,
                "" if operator.share is None else f"{100 * operator.share:.1f} %",
                operator.limit or "",
            ]
            for operator in self.operators
        ]
        caption = f"{self.model['name']}, {self.runtime} {self.version}, one thread of {self.environment['cpu']}"
        return html.table(rows, ["op", "name", "time µs", "share", "limited by"], caption=caption)


def content(profile: ProfileResult) -> bytes:
    """Return profile.json, with all raw samples."""
    value = profile.to_json()
    schemas.validate(value, f"{KIND}-{SCHEMA_VERSION}")
    return record.dumps(value).encode()


def rate(amount: int, time: Estimate) -> float | None:
    """Return 1e9 units a second; None where there is nothing, or the least that the time may be is not half of it.

    >>> rate(3_612_672, Estimate(17_400.0, 17_350.0, 17_450.0))
    207.6...
    >>> rate(32_768, Estimate(20.0, 1.0, 300.0))
    """
    return amount / time.value if amount and 0 < time.value <= 2 * time.low else None
