"""What is wrong with a model's or a file's answers, in words: chance level, one answer for all, a lost column."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.data.label_scores import shares_of_area
from edgefm.data.quality import Quality, predicted_classes
from edgefm.quantization.checks.columns import Column, by_column
from edgefm.quantization.checks.given_model import GivenModel

GIVEN_MODEL = "given model"
# An int8 output has 256 levels; with fewer than these nothing can be told from it.
LEAST_LEVELS = 8
_ASK = "are the order of classes, the value range and the order of channels those of its training?"
# Of fewer samples nothing is said about chance or levels.
_LEAST_SAMPLES = 30
_GREATEST_ERROR = 0.5
# An even spread over seven levels is rounded by 0.14 of its standard deviation.
_LOST = 0.1
# A class whose score never comes near those of the others needs no levels of its own.
_LEAST_SCORE = 0.1
_SIGNIFICANT = 0.05
# Standard errors above chance that are as rare on one side.
_ONE_SIDED = 1.645


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something wrong.

    Attributes:
      where: 'given model', or the name of a variant.
      code: 'chance_level', 'constant_output', 'dead_column', 'one_class', 'few_levels' or 'large_error'.
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
            message=f"output {place} is the same for all {len(output)} samples: {_ASK}",
        )
        for place, output in enumerate(given.outputs)
        if len(output) > 1 and _constant(output)
    ]
    if findings:
        return findings
    if given.targets is not None and quality is not None and len(given.targets) >= _LEAST_SAMPLES:
        chance = _chance(given, quality, classes=classes)
        if chance:
            return [Finding(where=GIVEN_MODEL, code="chance_level", message=chance)]
    return _dead_columns(given)


def of_file(
    variant: str,
    compared: Sequence[Column],
    outputs: Sequence[NDArray[np.float32]],
    given: GivenModel,
    *,
    classes: bool,
    trained: bool,
    several: bool,
    threshold: float,
) -> list[Finding]:
    """Return what a file has lost of the given model's answers.

    Args:
      variant: its name.
      compared: its columns.
      outputs: its outputs for the samples of `given`, float32 [n, ...] each.
      given: what the given model answers.
      classes: the first output has scores of classes or labels.
      trained: passes have trained the model on, so that its answers may differ without being wrong.
      several: a sample may have several labels.
      threshold: a single score above it means yes.
    """
    constant = [
        place
        for place, (output, wanted) in enumerate(zip(outputs, given.outputs, strict=True))
        if len(output) > 1 and _constant(output) and not _constant(wanted)
    ]
    if constant:
        text = f"output {constant[0]} is the same for all {len(outputs[0])} samples; the given model's is not"
        return [Finding(where=variant, code="constant_output", message=text)]
    only = _one_class(outputs, given, several=several, threshold=threshold) if classes else ""
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


def _dead_columns(given: GivenModel) -> list[Finding]:
    """Return of each output of the given model the columns that are the same for all samples while others are not."""
    findings = []
    for place, output in enumerate(given.outputs):
        columns = by_column(output)
        dead = np.flatnonzero(np.ptp(columns, axis=1) == 0)
        if len(given.inputs) >= _LEAST_SAMPLES and 0 < len(dead) < len(columns):
            text = (
                f"column {dead[0]} of output {place} is {columns[dead[0], 0]:g} for all {len(output)} samples"
                f"{f' ({len(dead)} such columns)' if len(dead) > 1 else ''}: a unit that has died"
            )
            findings.append(Finding(where=GIVEN_MODEL, code="dead_column", message=text))
    return findings


def _constant(output: NDArray[np.float32]) -> bool:
    return bool((np.ptp(by_column(output), axis=1) == 0).all()) and bool((output == output[:1]).all())


def _one_class(outputs: Sequence[NDArray[np.float32]], given: GivenModel, *, several: bool, threshold: float) -> str:
    if several:  # each set of labels counts as a class
        both = np.concatenate([outputs[0], given.outputs[0]]).reshape(2 * len(outputs[0]), -1) > threshold
        said, answered = np.split(np.unique(both, axis=0, return_inverse=True)[1].reshape(-1), 2)
    else:
        said, answered = (predicted_classes(tuple(out), threshold=threshold) for out in (outputs, given.outputs))
    wanted = np.bincount(answered)
    others = len(said) - int(wanted.max())
    # The given model must say something else often enough for it to be no accident.
    if len(np.unique(said)) > 1 or others < max(3, 0.02 * len(said)):
        return ""
    answer = "the same labels" if several else f"class {int(said[0])}"
    return f"it answers {answer} for all {len(said)} samples; the given model answers others for {others}"


def _chance(given: GivenModel, quality: Quality, *, classes: bool) -> str:
    """Return in words that the given model is not better than an answer without looking, or ''."""
    assert given.targets is not None and given.quality is not None
    count = len(given.targets)
    if classes and quality.name == "accuracy" and given.targets.ndim == 1:
        commonest = int(np.bincount(given.targets.astype(np.int64)).max())
        hits = round(given.quality * count)
        if _binomial_tail(hits, count, commonest / count) <= _SIGNIFICANT:
            return ""
        return f"{hits} of {count} samples are right; always the commonest class would have {commonest}: {_ASK}"
    if classes and given.targets.ndim == 2 and given.targets.dtype.kind in "iu":
        return _chance_of_labels(given.outputs[0].reshape(count, -1), given.targets)
    if quality.name == "mse" and given.targets.dtype.kind == "f":
        spread = float(np.square(given.targets - given.targets.mean(axis=0, dtype=np.float64)).mean())
        if given.quality < spread:
            return ""
        return (
            f"the mean squared error is {given.quality:.4g} on {count} samples; always the mean target "
            f"has {spread:.4g}. Are its value range and its targets those of its training?"
        )
    return ""


def _chance_of_labels(scores: NDArray[np.float32], targets: NDArray[Any]) -> str:
    """Return in words that the scores of labels are in no better order than chance, or ''.

    Under chance the area of a label with p samples and n others has the mean 0.5 and the variance
    (p + n + 1) / (12 p n). Source: Mann & Whitney 1947.
    """
    areas, variances = [], []
    for score, there in zip(scores.T, targets.T.astype(bool), strict=True):
        hits, others = int(there.sum()), int((~there).sum())
        if hits and others:
            areas.append(float(shares_of_area(score, there).mean()))
            variances.append((hits + others + 1) / (12 * hits * others))
    if not areas:
        return ""
    area, error = float(np.mean(areas)), math.sqrt(sum(variances)) / len(areas)
    if area - 0.5 > _ONE_SIDED * error:
        return ""
    return (
        f"the mean area under the ROC curve of {len(areas)} labels is {area:.2f} on {len(targets)} samples; chance has "
        "0.50. Are the order of labels, the value range and the order of channels those of its training?"
    )


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
