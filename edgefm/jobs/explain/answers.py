"""The parts of an explanation that are read from answers: confusion, single pictures, calibration, label noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.data.origins import Origins
from edgefm.jobs.explain.subject import Answers
from edgefm.statistics.estimates import confusion, proportion
from edgefm.statistics.label_noise import label_noise
from edgefm.statistics.reliability import reliability

MOST_PAIRS = 10
MOST_PICTURES = 18
MOST_CANDIDATES = 200
_LEAST_FOR_NOISE = 20


def confusion_part(answers: Answers, truth: NDArray[np.int64], labels: Sequence[str]) -> dict[str, Any]:
    """Return the confusion matrix, the accuracy with its interval, and the most confused pairs."""
    matrix = confusion(truth, answers.predicted, classes=len(labels))
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_PAIRS]
    pairs = [divmod(int(place), len(labels)) for place in order if wrong.flat[place]]
    hits = int(np.trace(matrix))
    return {
        "reason": None,
        "accuracy": proportion(hits, len(truth)).to_json(),
        "right": hits,
        "n": len(truth),
        "matrix": matrix.tolist(),
        "pairs": [
            {
                "true": labels[true],
                "predicted": labels[guess],
                "count": int(wrong[true, guess]),
                "n": int(matrix[true].sum()),
            }
            for true, guess in pairs
        ],
    }


def pictures_part(
    answers: Answers,
    truth: NDArray[np.int64],
    labels: Sequence[str],
    places: NDArray[np.int64],
    *,
    origins: Origins | None = None,
) -> dict[str, Any]:
    """Return the samples that are most surely wrong, and those whose two best classes lie nearest together."""
    sure = answers.probabilities
    predicted = answers.predicted
    wrong = np.flatnonzero(predicted != truth)
    most_wrong = wrong[np.argsort(-answers.confidence[wrong], kind="stable")][:MOST_PICTURES]
    ranked = np.argsort(-sure, axis=1, kind="stable")[:, :2]
    rows = np.arange(len(sure))
    margins = sure[rows, ranked[:, 0]] - sure[rows, ranked[:, 1]]
    uncertain = np.argsort(margins, kind="stable")[:MOST_PICTURES]

    def described(chosen: NDArray[np.int64]) -> list[dict[str, Any]]:
        return [
            {
                "index": int(places[place]),
                **({} if origins is None else origins.of(int(places[place]))),
                "true": labels[truth[place]],
                "predicted": labels[ranked[place, 0]],
                "confidence": round(float(sure[place, ranked[place, 0]]), 6),
                "second": labels[ranked[place, 1]],
                "second_confidence": round(float(sure[place, ranked[place, 1]]), 6),
            }
            for place in map(int, chosen)
        ]

    return {
        "reason": None,
        "wrong": len(wrong),
        "n": len(truth),
        "most_wrong": described(most_wrong),
        "most_uncertain": described(uncertain),
    }


def calibration_part(
    models: Sequence[Answers], truth: NDArray[np.int64], left_out: Mapping[str, str], *, seed: int
) -> dict[str, Any]:
    """Return the calibration curve of each model, and why others have none."""
    return {
        "reason": None,
        "models": [
            {"name": answers.name, **reliability(answers.confidence, answers.predicted == truth, seed=seed).to_json()}
            for answers in models
        ],
        "left_out": [{"name": name, "reason": reason} for name, reason in left_out.items()],
    }


def noise_part(
    probabilities: NDArray[np.floating],
    truth: NDArray[np.int64],
    labels: Sequence[str],
    where: Sequence[tuple[str, int]],
    *,
    basis: str,
    origins: Mapping[str, Origins | None] | None = None,
) -> dict[str, Any]:
    """Return the candidates for wrong labels.

    Args:
      probabilities: [n, classes] of samples that the model was not trained on.
      truth: int64 [n].
      labels: class names.
      where: the split and the place in it of each sample.
      basis: 'validation', 'out of fold', or 'out of fold, possibly seen' by what the models of the folds began with or
        were taught by.
      origins: of the samples of each split.
    """
    least = max(_LEAST_FOR_NOISE, 2 * len(labels))
    if len(truth) < least:
        return {"reason": f"{len(truth)} samples of {len(labels)} classes are too few; at least {least} are needed"}
    noise = label_noise(np.asarray(probabilities, np.float64), truth)
    candidates = [
        {
            "split": where[place][0],
            "index": where[place][1],
            **(known.of(where[place][1]) if (known := (origins or {}).get(where[place][0])) is not None else {}),
            "label": labels[truth[place]],
            "suggested": labels[suggested],
            "label_probability": round(float(probabilities[place, truth[place]]), 6),
            "suggested_probability": round(float(probabilities[place, suggested]), 6),
        }
        for place, suggested in zip(map(int, noise.candidates), map(int, noise.suggested), strict=True)
    ]
    return {
        "reason": None,
        "basis": basis,
        "n": len(truth),
        "count": len(candidates),
        "candidates": candidates[:MOST_CANDIDATES],
    }
