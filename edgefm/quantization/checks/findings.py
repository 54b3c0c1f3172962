"""What is wrong with a model's or a file's answers, in words: chance level, one answer for all, a lost column."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.data.quality import Quality, predicted_classes
from edgefm.quantization.checks.columns import Column, by_column
from edgefm.quantization.checks.given_model import GivenModel

GIVEN_MODEL = "given model"
# An int8 output has 256 levels; with fewer than these nothing can be told from it.
LEAST_LEVELS = 8
# Of fewer samples nothing is said about chance or levels.
_LEAST_SAMPLES = 30
_GREATEST_ERROR = 0.5
# An even spread over seven levels is rounded by 0.14 of its standard deviation.
_LOST = 0.1
# A class whose score never comes near those of the others needs no levels of its own.
_LEAST_SCORE = 0.1
_SIGNIFICANT = 0.05


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something wrong.

    Attributes:
      where: 'given model', or the name of a variant.
      code: 'chance_level', 'constant_output', 'one_class', 'few_levels' or 'large_error'.
      message: what was measured, on how many samples, and what it means.
    """

    where: str
    code: str
    message: str

    def to_json(self) -> dict[str, Any]:
        """Return the finding as a JSON object."""
        return asdict(self)


def of_given_model(given: GivenModel, *, quality: Quality | None, classes: bool) -> list[Finding]:
    """Return what is wrong with the given model's own answers.

    Args:
      given: what it answers on labelled data; without data nothing is said of chance.
      quality: how good it is measured.
      classes: its first output tells classes apart.
    """
    findings = [
        Finding(
            where=GIVEN_MODEL,
            code="constant_output",
            message=f"output {place} is the same for all {len(output)} samples",
        )
        for place, output in enumerate(given.outputs)
        if len(output) > 1 and _constant(output)
    ]
    if findings or given.targets is None or quality is None or len(given.targets) < _LEAST_SAMPLES:
        return findings
    chance = _chance(given, quality, classes=classes)
    return [Finding(where=GIVEN_MODEL, code="chance_level", message=chance)] if chance else []


def of_file(
    variant: str,
    compared: Sequence[Column],
    outputs: Sequence[NDArray[np.float32]],
    given: GivenModel,
    *,
    classes: bool,
    trained: bool,
) -> list[Finding]:
    """Return what a file has lost of the given model's answers.

    Args:
      variant: its name.
      compared: its columns.
      outputs: its outputs for the samples of `given`, float32 [n, ...] each.
      given: what the given model answers.
      classes: the first output tells classes apart.
      trained: passes have trained the model on, so that its answers may differ without being wrong.
    """
    constant = [
        place
        for place, (output, wanted) in enumerate(zip(outputs, given.outputs, strict=True))
        if len(output) > 1 and _constant(output) and not _constant(wanted)
    ]
    if constant:
        text = f"output {constant[0]} is the same for all {len(outputs[0])} samples; the given model's is not"
        return [Finding(where=variant, code="constant_output", message=text)]
    only = _one_class(outputs, given) if classes else ""
    if only:
        return [Finding(where=variant, code="one_class", message=only)]
    if len(given.inputs) < _LEAST_SAMPLES:
        return []
    told = [column for column in compared if not (classes and column.output == 0) or column.greatest >= _LEAST_SCORE]
    # A sure classifier says little else than 0 and 1: there few levels lose nothing.
    lost = [
        column
        for column in told
        if column.levels < LEAST_LEVELS <= column.given_levels / 4 and (column.relative_error or 0) > _LOST
    ]
    if lost:
        column, more = lost[0], f" ({len(lost)} such columns)" if len(lost) > 1 else ""
        text = (
            f"{column} has {column.levels} distinct levels left on {len(given.inputs)} samples{more}; the given "
            f"model has {column.given_levels}. It shares a scale with larger values."
        )
        return [Finding(where=variant, code="few_levels", message=text)]
    wrong = [column for column in told if not trained and (column.relative_error or 0) > _GREATEST_ERROR]
    if wrong:
        column = max(wrong, key=lambda column: column.relative_error or 0)
        text = (
            f"{column} differs from the given model by {column.relative_error:.2f} of its standard deviation (root "
            f"mean square, {len(given.inputs)} samples; at most {_GREATEST_ERROR:g} is taken as sound)"
        )
        return [Finding(where=variant, code="large_error", message=text)]
    return []


def _constant(output: NDArray[np.float32]) -> bool:
    return bool((np.ptp(by_column(output), axis=1) == 0).all()) and bool((output == output[:1]).all())


def _one_class(outputs: Sequence[NDArray[np.float32]], given: GivenModel) -> str:
    said = predicted_classes(tuple(outputs))
    wanted = np.bincount(predicted_classes(given.outputs))
    others = len(said) - int(wanted.max())
    # The given model must say something else often enough for it to be no accident.
    if len(np.unique(said)) > 1 or others < max(3, 0.02 * len(said)):
        return ""
    return f"it answers class {int(said[0])} for all {len(said)} samples; the given model answers others for {others}"


def _chance(given: GivenModel, quality: Quality, *, classes: bool) -> str:
    """Return in words that the given model is not better than an answer without looking, or ''."""
    assert given.targets is not None and given.quality is not None
    count = len(given.targets)
    if classes and quality.name == "accuracy" and given.targets.ndim == 1:
        commonest = int(np.bincount(given.targets.astype(np.int64)).max())
        hits = round(given.quality * count)
        if _binomial_tail(hits, count, commonest / count) <= _SIGNIFICANT:
            return ""
        return (
            f"{hits} of {count} samples are right; always the commonest class would have {commonest}. Are the "
            "order of classes, the value range and the order of channels those of its training?"
        )
    if quality.name == "mse" and given.targets.dtype.kind == "f":
        spread = float(np.square(given.targets - given.targets.mean(axis=0, dtype=np.float64)).mean())
        if given.quality < spread:
            return ""
        return (
            f"the mean squared error is {given.quality:.4g} on {count} samples; always the mean target "
            f"has {spread:.4g}. Are its value range and its targets those of its training?"
        )
    return ""


def _binomial_tail(hits: int, count: int, share: float) -> float:
    """Return the chance of `hits` or more of `count` at a share each.

    >>> round(_binomial_tail(8, 10, 0.5), 4)
    0.0547
    """
    if share >= 1:
        return 1.0
    logs = [
        math.lgamma(count + 1)
        - math.lgamma(k + 1)
        - math.lgamma(count - k + 1)
        + k * math.log(share)
        + (count - k) * math.log1p(-share)
        for k in range(hits, count + 1)
    ]
    return min(1.0, sum(math.exp(value) for value in logs))
