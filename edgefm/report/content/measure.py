"""The measure of a report's quality column: accuracy, or whatever a user's own models are judged by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgefm.report.content import wording
from edgefm.report.content.wording import Interval

_DIGITS = 4
_WORDS = {
    "mse": "MSE",
    "auc": "AUC",
    "top5": "top-5 accuracy",
    "map": "mean average precision",
    "f1": "F1 (mean of the labels)",
    "f1_micro": "F1 (of all labels together)",
    "label_accuracy": "label accuracy",
}


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What the quality of a model's answers is measured by.

    Attributes:
      name: e.g. 'accuracy', 'mse'.
      unit: '%' where a value is a share of 1 that is shown in percent, '' otherwise.
      higher_is_better: False for an error.
    """

    name: str = "accuracy"
    unit: str = "%"
    higher_is_better: bool = True

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Measure:
        """Return the measure of a variant's validation."""
        return cls(name=value["quality"], unit=value["unit"], higher_is_better=value.get("higher_is_better", True))

    @property
    def factor(self) -> float:
        """What a value is multiplied with to be shown."""
        return 100.0 if self.unit == "%" else 1.0

    @property
    def word(self) -> str:
        """The name in a sentence."""
        return _WORDS.get(self.name, self.name)

    @property
    def title(self) -> str:
        """The name at the beginning of a line."""
        return self.word[:1].upper() + self.word[1:]

    @property
    def axis(self) -> str:
        """The label of an axis."""
        unit = f" ({self.unit})" if self.unit else ""
        return f"{self.word}{unit}, {'more' if self.higher_is_better else 'less'} is better"

    @property
    def points(self) -> str:
        """The unit of a difference with a space before it, or nothing."""
        return " points" if self.unit == "%" else ""

    def text(self, value: float) -> str:
        """Return a value without its unit.

        >>> Measure().text(0.92583), Measure(name="mse", unit="", higher_is_better=False).text(0.0123456)
        ('92.58', '0.01235')
        """
        return wording.percent(value) if self.unit == "%" else _plain(value)

    def change(self, value: float) -> str:
        """Return a difference of two values with its sign, without its unit.

        >>> Measure().change(0.0005)
        '+0.05'
        """
        if self.unit == "%":
            return wording.signed(100 * value, 2)
        text = _plain(value)
        return f"+{text}" if value > 0 else text

    def amount(self, value: float) -> str:
        """Return the size of a difference with its unit, without its sign."""
        text = wording.number(abs(100 * value), 2) if self.unit == "%" else _plain(abs(value))
        return text + self.points

    def interval(self, interval: Interval) -> str:
        """Return the ends of an interval, e.g. '92.05 to 93.08'; '' where none is known."""
        return "" if interval.bare else f"{self.text(interval.low)} to {self.text(interval.high)}"

    def change_interval(self, interval: Interval) -> str:
        """Return the ends of a difference's interval with their signs; '' where none is known."""
        return "" if interval.bare else f"{self.change(interval.low)} to {self.change(interval.high)}"

    def better(self, difference: float) -> bool:
        """Return whether a difference (later minus earlier) is for the better."""
        return difference > 0 if self.higher_is_better else difference < 0


ACCURACY = Measure()


def _plain(value: float) -> str:
    return f"{value:.{_DIGITS}g}".replace("-", wording.MINUS)
