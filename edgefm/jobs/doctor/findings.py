"""One thing that `doctor` looked for: what was found, or why not and what helps."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked for.

    Attributes:
      name: what it is.
      found: its version or place, or None where it cannot be used.
      reason: why it cannot be used, or None.
      remedy: command that makes it usable, or None where there is none.
    """

    name: str
    found: str | None
    reason: str | None = None
    remedy: str | None = None


@dataclass(frozen=True, kw_only=True)
class RuntimeFinding(Finding):
    """A runtime that was looked for; `found` is its version.

    Attributes:
      kernels: names of its kernel sets, the default first: 'litert:reference'; empty where it has but one.
      python: the interpreter that its workers run under; None for the present one.
    """

    kernels: tuple[str, ...] = ()
    python: str | None = None
