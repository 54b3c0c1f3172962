"""Texts of figures: one way to write a size, a time, an interval, a p-value, in every output of a report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from edgefm.statistics.estimates import Estimate

MINUS = "\N{MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"
DASH = "\N{EN DASH}"


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A figure with its 95 % interval, in the record's own unit."""

    value: float
    low: float
    high: float

    @classmethod
    def alone(cls, value: float) -> Interval:
        """Return a figure of which no interval is known."""
        return cls(value=value, low=value, high=value)

    @classmethod
    def of(cls, estimate: Mapping[str, Any] | None) -> Interval | None:
        """Return an estimate of a record as a figure; None where there is none, or it has no value."""
        if estimate is None or estimate["value"] is None:
            return None
        low, high = estimate.get("low"), estimate.get("high")
        if low is None or high is None:
            return cls.alone(estimate["value"])
        return cls(value=estimate["value"], low=low, high=high)

    @classmethod
    def of_estimate(cls, estimate: Estimate | None) -> Interval | None:
        """Return an estimate as a figure; None where there is none."""
        return None if estimate is None else cls(value=estimate.value, low=estimate.low, high=estimate.high)

    @property
    def bare(self) -> bool:
        """Whether there is no interval to write: none is known, or it is of no width."""
        return self.low == self.high

    def scaled(self, factor: float) -> Interval:
        """Return the interval in another unit; `factor` > 0."""
        return Interval(value=self.value * factor, low=self.low * factor, high=self.high * factor)

    def inverse(self) -> Interval:
        """Return the interval of 1 / value, for figures above 0."""
        return Interval(value=1 / self.value, low=1 / self.high, high=1 / self.low)


@dataclass(frozen=True, kw_only=True)
class TimeUnit:
    """The unit that all latencies of one report are written in."""

    name: str
    nanoseconds: float
    decimals: int

    def text(self, nanoseconds: float) -> str:
        """Return a time without its unit."""
        return number(nanoseconds / self.nanoseconds, self.decimals)


MICROSECONDS = TimeUnit(name="µs", nanoseconds=1e3, decimals=1)
FINE_MICROSECONDS = TimeUnit(name="µs", nanoseconds=1e3, decimals=2)
MILLISECONDS = TimeUnit(name="ms", nanoseconds=1e6, decimals=2)


def time_unit(nanoseconds: Iterable[float]) -> TimeUnit:
    """Return milliseconds where any time is 10 ms or more, else microseconds; finer ones below 10 us."""
    times = list(nanoseconds)
    if max(times, default=0.0) >= 1e7:
        return MILLISECONDS
    return FINE_MICROSECONDS if min(times, default=1e6) < 1e4 else MICROSECONDS


def number(value: float, decimals: int) -> str:
    """Return a number with thousands separated and a true minus sign.

    >>> number(-1234.56, 1).replace("\N{MINUS SIGN}", "-")
    '-1,234.6'
    """
    text = f"{value:,.{decimals}f}"
    if text.startswith("-"):
        return MINUS + text[1:] if float(text.replace(",", "")) else text[1:]
    return text


def signed(value: float, decimals: int) -> str:
    """Return a number with its sign, zero without one.

    >>> signed(0.05, 2), signed(0.0001, 2)
    ('+0.05', '0.00')
    """
    text = number(value, decimals)
    return text if text.startswith(MINUS) or not float(text.replace(",", "")) else f"+{text}"


def percent(share: float, decimals: int = 2) -> str:
    """Return a share of 1 as a percentage without its sign."""
    return number(100 * share, decimals)


def size(size_bytes: float) -> str:
    """Return a size in decimal kilobytes, or megabytes from 1 MB.

    >>> size(447_000), size(1_703_400)
    ('447 KB', '1.70 MB')
    """
    if abs(size_bytes) >= 1e6:
        return f"{number(size_bytes / 1e6, 2)} MB"
    return f"{number(size_bytes / 1e3, 0 if abs(size_bytes) >= 1e5 else 1)} KB"


def byte_count(size_bytes: int) -> str:
    """Return a size to the byte below 1,000 bytes, and like `size` above.

    >>> byte_count(0), byte_count(1), byte_count(96), byte_count(252_300)
    ('0 bytes', '1 byte', '96 bytes', '252 KB')
    """
    if abs(size_bytes) < 1000:
        return f"{size_bytes} byte" if size_bytes == 1 else f"{number(size_bytes, 0)} bytes"
    return size(size_bytes)


def count(things: int) -> str:
    """Return a large number in thousands or millions.

    >>> count(7_780_096), count(41_300), count(512)
    ('7.78 M', '41.3 k', '512')
    """
    if things >= 1e6:
        return f"{things / 1e6:,.2f} M"
    return f"{things / 1e3:,.1f} k" if things >= 1e4 else f"{things:,}"


def ascii_number(text: str) -> str:
    """Return a number that this module wrote as one that Python reads."""
    return text.replace(MINUS, "-").replace(",", "")


def p_value(p: float) -> str:
    """Return a p-value with its relation sign.

    >>> p_value(0.6), p_value(0.0312), p_value(0.00001)
    ('p = 0.60', 'p = 0.031', 'p < 0.001')
    """
    if p < 0.001:
        return "p < 0.001"
    return f"p = {p:.2f}" if p >= 0.1 else f"p = {p:.3f}"


def times(factor: float) -> str:
    """Return a factor, e.g. '3.4×'."""
    return f"{factor:.1f}{TIMES}" if factor < 9.95 else f"{factor:,.0f}{TIMES}"


def join(parts: list[str]) -> str:
    """Return parts as a list in a sentence.

    >>> join(["a"]), join(["a", "b"]), join(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
