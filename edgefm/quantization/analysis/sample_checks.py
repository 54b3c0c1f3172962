"""Whether calibration samples are what the model takes, each check with a verdict in words. numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FEWEST = 64
# A share of the model's range that no real samples are as small as; a second division by 255 leaves 0.4 %.
_NORMALISED_TWICE = 0.05
_COVERED = 0.5
_CONSTANT, _REPEATED = 0.01, 0.1
# Means may lie apart by this many standard deviations of the held-out samples, and spreads by this factor.
_MEAN_APART, _SPREAD_APART = 0.5, 2.0
_NAMED_AT_MOST = 5


@dataclass(frozen=True, kw_only=True)
class SampleCheck:
    """One check.

    Attributes:
      name: what is checked.
      held: None where it could not be made.
      verdict: what was found, what is expected, and where it fails what to do.
    """

    name: str
    held: bool | None
    verdict: str


def sample_check(name: str, finding: str, advice: str | None = None) -> SampleCheck:
    """Return a check that held; with an advice, what to do, one that did not."""
    return SampleCheck(name=name, held=advice is None, verdict=finding if advice is None else f"{finding}: {advice}")


def check_samples(
    inputs: NDArray[np.float32],
    *,
    value_range: tuple[float, float],
    held_out: NDArray[np.float32],
    labels: NDArray[np.int64] | None = None,
    classes: Sequence[str] | None = None,
) -> tuple[SampleCheck, ...]:
    """Return the checks of calibration samples, all of them, whatever they find.

    Args:
      inputs: float32 [n, ...], n >= 1, the samples as they would go into the model.
      value_range: least and greatest input that the model takes.
      held_out: float32 [m, ...], m >= 1, samples of the validation split as the model takes them.
      labels: int64 [n], classes of the samples; None where they are not known.
      classes: names of all classes; None where there are none.
    """
    finite = bool(np.isfinite(inputs).all())
    if not finite:
        bad = int((~np.isfinite(inputs)).sum())
        first = sample_check("finite", f"{bad} values are NaN or infinite", "remove these samples")
        return (first, _number(len(inputs)))
    return (
        sample_check("finite", "all values are finite"),
        _range(inputs, value_range),
        _likeness(inputs, held_out),
        _constant(inputs),
        _repeated(inputs),
        _number(len(inputs)),
        _classes(labels, classes),
    )


def _range(inputs: NDArray[np.float32], value_range: tuple[float, float]) -> SampleCheck:
    low, high = value_range
    least, most = float(inputs.min()), float(inputs.max())
    ranges = f"samples range from {least:g} to {most:g}, the model takes {low:g} to {high:g}"
    slack = 1e-3 * (high - low)
    share = (most - least) / (high - low)
    if least < low - slack or most > high + slack:
        return sample_check("range", ranges, "normalise them as for the training of the model")
    if share < _NORMALISED_TWICE:
        advice = "they look normalised twice. Give uint8 pixels, or inputs in the range of the model"
        return sample_check("range", f"{ranges}, of which they use {100 * share:.2g} %", advice)
    if share < _COVERED:
        return sample_check("range", f"{ranges}, of which they use only {100 * share:.0f} %", "use more varied samples")
    return sample_check("range", ranges)


def _likeness(inputs: NDArray[np.float32], held_out: NDArray[np.float32]) -> SampleCheck:
    mean, spread = float(held_out.mean()), float(held_out.std())
    own_mean, own_spread = float(inputs.mean()), float(inputs.std())
    validation = f"validation samples have {mean:.3g} and {spread:.3g}"
    figures = f"mean {own_mean:.3g} and standard deviation {own_spread:.3g}; {validation}"
    far = abs(own_mean - mean) > _MEAN_APART * spread
    factor = own_spread / spread if spread else 1.0
    if far or not 1 / _SPREAD_APART <= factor <= _SPREAD_APART:
        return sample_check("likeness", figures, "the samples differ from the validation data")
    return sample_check("likeness", figures)


def _constant(inputs: NDArray[np.float32]) -> SampleCheck:
    flat = inputs.reshape(len(inputs), -1)
    count = int((flat.min(axis=1) == flat.max(axis=1)).sum()) if flat.shape[1] > 1 else 0
    return _counted("constant", count, len(inputs), _CONSTANT, "are constant (one value)", "remove them")


def _repeated(inputs: NDArray[np.float32]) -> SampleCheck:
    repeated = len(inputs) - len({sample.tobytes() for sample in inputs})
    advice = "remove them, they add nothing to the ranges"
    return _counted("repeated", repeated, len(inputs), _REPEATED, "are duplicates", advice)


def _counted(name: str, count: int, of: int, most: float, what: str, advice: str) -> SampleCheck:
    """Return a check that at most a share of the samples do something."""
    return sample_check(name, f"{count} of {of} samples {what}", advice if count > most * of else None)


def _number(count: int) -> SampleCheck:
    if count < FEWEST:
        return sample_check("number", f"{count} samples are few", f"give {FEWEST} or more")
    return sample_check("number", f"{count} samples; {FEWEST} or more are expected")


def _classes(labels: NDArray[np.int64] | None, classes: Sequence[str] | None) -> SampleCheck:
    if classes is None:
        return SampleCheck(name="classes", held=None, verdict="not checked: the targets are not classes")
    if labels is None:
        return SampleCheck(name="classes", held=None, verdict="not checked: the samples have no labels")
    counts = np.bincount(labels, minlength=len(classes))
    missing = [name for name, count in zip(classes, counts, strict=False) if count == 0]
    if missing:
        named = ", ".join(missing[:_NAMED_AT_MOST]) + (" …" if len(missing) > _NAMED_AT_MOST else "")
        finding = f"{len(missing)} of {len(classes)} classes have no sample ({named})"
        return sample_check("classes", finding, "add samples of these classes")
    return sample_check("classes", f"each of {len(classes)} classes has {counts.min()} to {counts.max()} samples")
