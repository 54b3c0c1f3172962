"""Whether a file answers as well as the reference, within a margin: a paired test of non-inferiority."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgefm.comparison.shipping.verdict import AS_GOOD, UNJUDGED, UNSURE, WORSE
from edgefm.comparison.shipping.words import amount, change, interval
from edgefm.statistics import noninferiority
from edgefm.statistics.chance import BETTER, NO_BETTER, UNCLEAR, against_chance
from edgefm.statistics.estimates import Estimate, Z, paired_difference

DEFAULT_MARGIN = 0.01  # of shares: one point
# An area under the ROC curve of no use; an interval that reaches further up is of too few samples.
_USELESS_AREA = 0.6
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
      tests: how many files are tested, which share the chance of a wrong recommendation.
    """

    name: str
    unit: str
    higher_is_better: bool
    value: float
    samples: int
    margin: float
    stated: str
    tests: int

    @property
    def z(self) -> float:
        """The normal point that each test goes by."""
        return noninferiority.normal_point(self.tests)

    @property
    def confidence(self) -> float:
        """Level of the intervals, 0 to 1."""
        return 1 - 2 * noninferiority.error(self.tests)

    @property
    def interval_name(self) -> str:
        """What the intervals are called."""
        return f"{100 * self.confidence:.3g} % interval"

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


@dataclass(frozen=True, kw_only=True)
class ChanceLevel:
    """A model that is not shown to answer better than chance.

    Attributes:
      shown: the samples show that it is hardly better; else they are too few to tell.
      said: the figures, in words.
      needed_samples: about how many would show that it is better, were its quality what was seen; None where it is not.
    """

    shown: bool
    said: str
    needed_samples: int | None = None


def yardstick(
    record: Mapping[str, Any], reference: Mapping[str, Any], margin: float | None, *, tests: int
) -> Yardstick | None:
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
        tests=tests,
    )


def judged(row: Mapping[str, Any], by: Yardstick, *, reference: str) -> QualityJudgement:
    """Return whether a file loses less than the margin against the reference, on the same samples.

    The accuracy is judged by Tango's interval of paired shares, which holds with few samples and without any
    discordant pair; other measures by the paired bootstrap interval of the record, widened for few samples.
    """
    against = row["against_reference"]
    if against is None or against["reference"] != reference:
        return QualityJudgement(state=UNJUDGED, reason=f"it was not compared with {reference}")
    difference = _difference(against, by)
    if isinstance(difference, str):
        return QualityJudgement(state=UNJUDGED, reason=difference)
    gain = difference if by.higher_is_better else Estimate(-difference.value, -difference.high, -difference.low)
    than = f"{change(difference.value, unit=by.unit)} {'than' if difference.value else 'as'} {reference}'s"
    said = f"{by.word} {than} ({by.interval_name} {interval(difference, unit=by.unit)}, n = {by.samples:,})"
    if gain.low > -by.margin or gain.low >= 0:
        return QualityJudgement(
            state=AS_GOOD, reason=f"{said}: a loss of {by.stated} is ruled out", difference=difference
        )
    if gain.high < -by.margin:
        return QualityJudgement(
            state=WORSE, reason=f"{said}: a loss of more than {by.stated} is shown", difference=difference
        )
    needed = _needed(against, gain.value, by)
    end = f"about {needed:,} test samples are needed" if needed else "the loss is too near to the margin to decide"
    return QualityJudgement(
        state=UNSURE,
        reason=f"{said}: a loss of {by.stated} is neither shown nor ruled out; {end}",
        difference=difference,
        needed_samples=needed,
    )


def _paired(against: Mapping[str, Any], by: Yardstick) -> bool:
    """Return whether right and wrong answers can be counted pair by pair."""
    return by.name == "accuracy" and None not in (against["only_reference_right"], against["only_this_right"])


def _difference(against: Mapping[str, Any], by: Yardstick) -> Estimate | str:
    """Return the paired difference of the qualities at the level of the test, or why there is none."""
    if _paired(against, by):
        return paired_difference(against["only_reference_right"], against["only_this_right"], by.samples, z=by.z)
    if by.samples < noninferiority.LEAST_SAMPLES_OF_A_MEAN:
        return f"{by.samples} test samples are too few to judge its {by.word}"
    recorded = against["quality_difference"]
    if recorded["value"] is None:
        return f"its {by.word} was not compared: {recorded['reason']}"
    return noninferiority.widened(Estimate(**recorded), by.samples, share=by.unit == "%", z=by.z)


def _needed(against: Mapping[str, Any], gain: float, by: Yardstick) -> int | None:
    """Return about how many samples decide: planned for no loss, and where so many were had, for the loss seen."""
    if _paired(against, by):
        discordant = against["only_reference_right"] + against["only_this_right"]
        share = noninferiority.discordant_share(discordant, by.samples)
        planned = [noninferiority.paired_samples_needed(share, by.margin, loss=loss, z=by.z) for loss in (0.0, -gain)]
    else:
        # The variance of a difference within a pair, from the standard error that the bootstrap shows.
        drawn = against["quality_difference"]
        variance = ((drawn["high"] - drawn["low"]) / (2 * Z)) ** 2 * by.samples
        distances = (by.margin, abs(gain + by.margin))
        planned = [noninferiority.samples_needed(variance, distance, z=by.z) for distance in distances]
        if by.unit == "%":  # as many as show something of equal answers
            least = noninferiority.least_samples(by.margin, z=by.z)
            planned = [n if n is None else max(n, least) for n in planned]
    return next((noninferiority.two_digits(n) for n in planned if n is not None and n > by.samples), None)


def at_chance(record: Mapping[str, Any], row: Mapping[str, Any], by: Yardstick) -> ChanceLevel | None:
    """Return what says that the reference's own answers are worth nothing; None where they are better than chance.

    Args:
      record: of the newest schema.
      row: of the reference.
      by: the measure.
    """
    if _answered_alike(row):
        return ChanceLevel(shown=True, said=f"it gives the same class for all {by.samples:,} test samples")
    quality, chance = row["quality"], _chance(by.name, row, classes=len(record["dataset"]["labels"]))
    if chance is None or quality["low"] is None:
        return None
    if by.name == "auc":
        found = BETTER if quality["low"] > chance else NO_BETTER if quality["high"] <= _USELESS_AREA else UNCLEAR
    else:
        found = against_chance(round(by.value * by.samples), by.samples, round(chance * by.samples))
    if found == BETTER:
        return None
    guess = "always the commonest class has" if by.name == "accuracy" else "chance gives"
    said = (
        f"{by.word} {100 * by.value:.1f} % (95 % interval {100 * quality['low']:.1f} to "
        f"{100 * quality['high']:.1f}, n = {by.samples:,}); {guess} {100 * chance:.1f} %"
    )
    gain = by.value - chance
    needed = noninferiority.samples_needed(by.value * (1 - by.value), gain) if gain > 0 else None
    return ChanceLevel(
        shown=found != UNCLEAR, said=said, needed_samples=None if needed is None else max(needed, by.samples + 1)
    )


def _chance(measure: str, row: Mapping[str, Any], *, classes: int) -> float | None:
    """Return the quality of answers without a look at the input; None where the measure says nothing of it.

    Of the accuracy it is the share of the commonest class, of top 5 that of the five commonest ones.
    """
    if classes < 2 or measure not in ("accuracy", "top5", "auc"):
        return None
    if measure == "auc":
        return 0.5
    guesses = 1 if measure == "accuracy" else 5
    counts = sorted((sum(line) for line in row["confusion"]), reverse=True)
    return sum(counts[:guesses]) / sum(counts) if sum(counts) else min(1.0, guesses / classes)


def _answered_alike(row: Mapping[str, Any]) -> bool:
    """Return whether a classifier gave one class for samples of several classes."""
    matrix = row["confusion"]
    classes = [any(line) for line in matrix]
    answers = [any(line[place] for line in matrix) for place in range(len(matrix))]
    return sum(answers) == 1 < sum(classes)
