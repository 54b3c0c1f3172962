"""Whether a file answers as well as the reference, within a margin: a paired test of non-inferiority."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgefm.comparison.shipping.verdict import AS_GOOD, UNJUDGED, UNSURE, WORSE
from edgefm.comparison.shipping.words import amount, change, interval
from edgefm.statistics import noninferiority
from edgefm.statistics.estimates import Estimate, Z, paired_difference

DEFAULT_MARGIN = 0.01  # of shares: one point
DEFAULT_SHARE = 0.05  # of the reference's value, for measures in another unit


@dataclass(frozen=True, kw_only=True)
class Yardstick:
    """What a record's files are judged by.

    Attributes:
      name: of the measure.
      unit: '%' for a share of 1.
      higher_is_better: False for an error.
      value: the reference's.
      samples: number of test samples.
      margin: loss that does no harm, > 0 unless the reference's own value is 0.
      stated: the margin in words.
    """

    name: str
    unit: str
    higher_is_better: bool
    value: float
    samples: int
    margin: float
    stated: str

    @property
    def word(self) -> str:
        """Name of the measure in a sentence."""
        return {"mse": "MSE", "auc": "AUC", "top5": "top-5 accuracy"}.get(self.name, self.name.replace("_", " "))

    @property
    def sign(self) -> int:
        """1 where a higher value is better, else -1."""
        return 1 if self.higher_is_better else -1


@dataclass(frozen=True, kw_only=True)
class QualityJudgement:
    """What the samples say of a file's quality; see `edgefm.comparison.shipping.verdict.JudgedFile`."""

    state: str
    reason: str
    difference: Estimate | None = None
    needed_samples: int | None = None


def yardstick(record: Mapping[str, Any], reference: Mapping[str, Any], margin: float | None) -> Yardstick | None:
    """Return what a record's files are judged by; None where the reference's quality was not measured."""
    quality = reference["quality"]
    if quality is None or quality["value"] is None or record["dataset"] is None:
        return None
    share, value = quality["unit"] == "%", float(quality["value"])
    if margin is not None:
        taken = margin
        stated = amount(taken, unit=quality["unit"])
    elif share:
        taken, stated = DEFAULT_MARGIN, amount(DEFAULT_MARGIN, unit="%")
    else:
        taken = DEFAULT_SHARE * abs(value)
        stated = f"{taken:.3g} ({100 * DEFAULT_SHARE:.0f} % of {reference['name']}'s)"
    return Yardstick(
        name=quality["name"],
        unit=quality["unit"],
        higher_is_better=bool(quality["higher_is_better"]),
        value=value,
        samples=int(quality["n"]),
        margin=taken,
        stated=stated,
    )


def judged(row: Mapping[str, Any], by: Yardstick, *, reference: str) -> QualityJudgement:
    """Return whether a file loses less than the margin against the reference, on the same samples.

    The accuracy is judged by Tango's interval of paired shares, which holds with few samples and without any
    discordant pair; other measures by the paired bootstrap interval of the record, widened for few samples.
    """
    against = row["against_reference"]
    if against is None or against["reference"] != reference:
        return QualityJudgement(state=UNJUDGED, reason=f"it was not compared with {reference}")
    lost, won = against["only_reference_right"], against["only_this_right"]
    paired = by.name == "accuracy" and lost is not None and won is not None
    if paired:
        difference = paired_difference(lost, won, by.samples)
    elif by.samples < 2:
        return QualityJudgement(state=UNJUDGED, reason=f"one test sample says nothing of its {by.word}")
    elif (recorded := against["quality_difference"])["value"] is None:
        return QualityJudgement(state=UNJUDGED, reason=f"its {by.word} was not compared: {recorded['reason']}")
    else:
        difference = noninferiority.widened(Estimate(**recorded), by.samples, share=by.unit == "%")
    gain = difference if by.higher_is_better else Estimate(-difference.value, -difference.high, -difference.low)
    said = (
        f"{by.word} {change(difference.value, unit=by.unit)} than {reference}'s"
        if difference.value
        else f"{by.word} the same as {reference}'s"
    )
    said += f" (95 % interval {interval(difference, unit=by.unit)}, n = {by.samples:,})"
    if gain.low > -by.margin or gain.low >= 0:
        return QualityJudgement(
            state=AS_GOOD, reason=f"{said}: a loss of {by.stated} is ruled out", difference=difference
        )
    if gain.high < -by.margin:
        return QualityJudgement(
            state=WORSE, reason=f"{said}: a loss of more than {by.stated} is shown", difference=difference
        )
    if paired:
        share = noninferiority.discordant_share(lost + won, by.samples)
        planned = [noninferiority.paired_samples_needed(share, by.margin, loss=loss) for loss in (0.0, -gain.value)]
    else:
        # The variance of a difference within a pair, from the standard error of the mean.
        variance = ((difference.high - difference.low) / (2 * Z)) ** 2 * by.samples
        planned = [
            noninferiority.samples_needed(variance, distance) for distance in (by.margin, abs(gain.value + by.margin))
        ]
    # Planned for no loss; where so many samples were had, for the loss that was seen.
    needed = next((noninferiority.two_digits(n) for n in planned if n is not None and n > by.samples), None)
    end = f"about {needed:,} test samples are needed" if needed else "the loss is too near to the margin to decide"
    return QualityJudgement(
        state=UNSURE,
        reason=f"{said}: a loss of {by.stated} is neither shown nor ruled out; {end}",
        difference=difference,
        needed_samples=needed,
    )


def at_chance(record: Mapping[str, Any], row: Mapping[str, Any], by: Yardstick) -> str | None:
    """Return why the reference's own answers are worth nothing; None where nothing says so.

    Args:
      record: of the newest schema.
      row: of the reference.
      by: the measure.
    """
    labels = record["dataset"]["labels"]
    quality = row["quality"]
    chance = _chance(by.name, len(labels))
    if chance is not None and quality["low"] is not None:
        low, high = 100 * quality["low"], 100 * quality["high"]
        if low <= 100 * chance:
            return (
                f"{by.word} {100 * by.value:.1f} % (95 % interval {low:.1f} to {high:.1f}, n = {by.samples:,}); "
                f"chance gives {100 * chance:.1f} %"
            )
    if answered_alike(row):
        return f"it gives the same class for all {by.samples:,} test samples"
    return None


def _chance(measure: str, classes: int) -> float | None:
    """Return the quality of answers without a look at the input; None where the measure says nothing of it."""
    if classes < 2:
        return None
    return {"accuracy": 1 / classes, "top5": min(1.0, 5 / classes), "auc": 0.5}.get(measure)


def answered_alike(row: Mapping[str, Any]) -> bool:
    """Return whether a classifier gave one class for samples of several classes."""
    matrix = row["confusion"]
    classes = [any(line) for line in matrix]
    answers = [any(line[place] for line in matrix) for place in range(len(matrix))]
    return sum(answers) == 1 < sum(classes)
