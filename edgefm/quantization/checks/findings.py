"""What is wrong with a model's or a file's answers, in words: chance level, one answer for all, a lost column."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.data.quality import Quality, predicted_classes
from edgefm.quantization.checks.chance_level import MANY_SAMPLES, TRAINED_SO, chance_level
from edgefm.quantization.checks.columns import Column, by_column
from edgefm.quantization.checks.given_model import GivenModel

GIVEN_MODEL = "given model"
# An int8 output has 256 levels; with fewer than these nothing can be told from it.
LEAST_LEVELS = 8
_GREATEST_ERROR = 0.5
# An even spread over seven levels is rounded by 0.14 of its standard deviation.
_LOST = 0.1
# A class whose score never changes by so much needs no levels of its own.
_LEAST_SCORE = 0.1
# Chance that so few levels of a sound file are seen.
_BY_ACCIDENT = 1e-3
# With so many values it needs no test.
_MANY_VALUES = 4 * LEAST_LEVELS
# Targets of a column that are looked at for different values.
_ROWS = 100_000
# Of fewer values nothing is said. That five of a sound column all meet one of eight levels has a chance of 8^-4, 1 in
# 4,096; that their spread is a tenth of the true one or less, of about 1 in 5,000 (normal values).
LEAST_VALUES = 5


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
    targets = _target_values(given)
    findings = [
        Finding(
            where=GIVEN_MODEL,
            code="constant_output",
            message=f"output {place} is the same for all {len(output)} samples: {TRAINED_SO}",
        )
        for place, output in enumerate(given.outputs)
        if len(output) >= LEAST_VALUES and _constant(output) and not (place == 0 and set(targets or ()) == {1})
    ]
    if findings:
        return findings
    chance = chance_level(given, quality, classes=classes) if given.targets is not None and quality is not None else ""
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
    targets = _target_values(given)
    told = [column for column in compared if _tells(column, classes=classes, targets=targets)]
    constant = [
        place
        for place, (output, wanted) in enumerate(zip(outputs, given.outputs, strict=True))
        if _constant(output)
        and not _constant(wanted)
        and (len(output) >= MANY_SAMPLES or any(column.output == place for column in told))
    ]
    if constant:
        text = f"output {constant[0]} is the same for all {len(outputs[0])} samples; the given model's is not"
        return [Finding(where=variant, code="constant_output", message=text)]
    only = _one_class(outputs, given, several=several, threshold=threshold) if classes else ""
    if only:
        return [Finding(where=variant, code="one_class", message=only)]
    # A sure classifier says little else than 0 and 1: there few levels lose nothing.
    lost = [
        column
        for column in told
        if _too_few(column.levels, column.given_levels) and (column.relative_error or 0) > _LOST
    ]
    if lost:
        column, more = lost[0], f" ({len(lost)} such columns)" if len(lost) > 1 else ""
        text = (
            f"{column} has {column.levels} of the given model's {column.given_levels} distinct levels left on "
            f"{len(given.inputs)} samples{more}. "
            "It shares a scale with larger values."
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
    """Return of each output of the given model the columns that are the same for all samples while others are not.

    Where the targets are the same in a column, too, it is right to be so. With few samples a column is dead only where
    its targets have too many values for that.
    """
    findings = []
    for place, output in enumerate(given.outputs):
        columns = by_column(output)
        dead = np.ptp(columns, axis=1) == 0
        targets = _target_values(given) if place == 0 else None
        if len(output) < MANY_SAMPLES:
            dead &= [_too_few(1, values) for values in targets] if targets is not None else False
        elif targets is not None:
            dead &= [values > 1 for values in targets]
        if dead.any() and not dead.all():
            column, count = int(np.flatnonzero(dead)[0]), int(dead.sum())
            asked = " where the targets differ" if targets is not None else ""
            text = (
                f"column {column} of output {place} is {columns[column, 0]:g} for all {len(output)} samples"
                f"{f' ({count} such columns)' if count > 1 else ''}{asked}: a unit that has died"
            )
            findings.append(Finding(where=GIVEN_MODEL, code="dead_column", message=text))
    return findings


def _target_values(given: GivenModel) -> list[int] | None:
    """Return how many different targets each column of the first output has; None where it has none of its own."""
    output, targets = given.outputs[0], given.targets
    if targets is None:
        return None
    if targets.size == output.size:
        return [_values(column) for column in by_column(targets.reshape(output.shape))]
    if targets.dtype.kind in "iu" and targets.shape == output.shape[:-1]:
        present = np.isin(np.arange(output.shape[-1]), targets)
        return [2 if there and present.sum() > 1 else 1 for there in present]
    return None


def _values(column: NDArray[Any]) -> int:
    if np.ptp(column) == 0:
        return 1
    return max(2, len(np.unique(column[:: max(1, len(column) // _ROWS)])))


def _tells(column: Column, *, classes: bool, targets: list[int] | None) -> bool:
    """Return whether a column varies enough in the given model, and is asked for, so that its loss is one."""
    if column.given_levels < LEAST_VALUES:
        return False
    if column.output > 0:
        return True
    return column.spread >= _LEAST_SCORE if classes else targets is None or targets[column.column] > 1


def _too_few(levels: int, values: int) -> bool:
    """Return whether a column has fewer levels than so many different values of a sound one would show.

    Of eight levels that are met alike, `values` values meet no more than k with a chance of at most
    C(8, k) (k / 8)^values.

    >>> _too_few(1, 4), _too_few(1, 5), _too_few(3, 25), _too_few(5, 10), _too_few(7, 32), _too_few(8, 1000)
    (False, True, True, False, True, False)
    """
    if levels >= LEAST_LEVELS:
        return False
    chance = math.comb(LEAST_LEVELS, levels) * (levels / LEAST_LEVELS) ** values
    return values >= _MANY_VALUES or chance <= _BY_ACCIDENT


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
