"""The interval of a segmentation's mIoU: samples drawn anew are sums of counts, not masks looked at again."""

from __future__ import annotations

import doctest
from typing import Any

import numpy as np
import pytest

from edgefm.benchmarking.scores import score
from edgefm.comparison.shipping.quality import judged, yardstick
from edgefm.data import masks
from edgefm.data.quality import quality


def segmentation(samples: int, size: int, *, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Return scores [n, h, w, c] of which about nine in ten pixels are right, and masks with rare classes."""
    random = np.random.default_rng(samples)
    targets = np.minimum(random.geometric(0.6, (samples, size, size)) - 1, classes - 1)
    said = np.where(random.uniform(size=targets.shape) < 0.9, targets, random.integers(0, classes, targets.shape))
    return np.eye(classes, dtype=np.float32)[said], targets


def iou(scores: np.ndarray, targets: np.ndarray) -> float:
    """Return the mIoU by its definition, class by class."""
    said = scores.argmax(axis=-1) if scores.shape[-1] > 1 else (scores[..., 0] > 0.5).astype(int)
    each = []
    for index in range(max(2, scores.shape[-1])):
        mine, theirs = said == index, targets == index
        if (mine | theirs).any():
            each.append((mine & theirs).sum() / (mine | theirs).sum())
    return float(np.mean(each))


@pytest.mark.parametrize("classes", [1, 2, 3, 21])
def test_values_drawn_anew_are_those_of_the_samples_that_were_drawn(classes: int) -> None:
    scores, targets = segmentation(17, 6, classes=max(2, classes))
    scores = scores[..., :1] if classes == 1 else scores
    measured = score(quality("miou", task="segmentation"), (scores,), targets)
    assert measured.value == pytest.approx(iou(scores, targets), abs=1e-12)
    assert measured.drawn is not None and len(measured.drawn) == 1000
    generator = np.random.default_rng(0)
    for drawn in measured.drawn[:50]:
        places = generator.integers(0, 17, 17)
        assert drawn == pytest.approx(iou(scores[places], targets[places]), abs=1e-12)


def test_large_masks_have_an_interval() -> None:
    scores, targets = segmentation(100, 128)
    measured = score(quality("miou", task="segmentation"), (scores,), targets)
    assert measured.estimate is not None
    assert measured.estimate.low < measured.value < measured.estimate.high


def _judged(n: int, low: float, high: float) -> Any:
    shared = {"name": "miou", "unit": "%", "higher_is_better": True, "value": 0.9, "n": n}
    by = yardstick({"dataset": {"images": n}}, {"name": "float32", "quality": shared}, None, tests=1)
    assert by is not None
    difference = {"value": (low + high) / 2, "low": low, "high": high}
    against = {
        "reference": "float32",
        "only_reference_right": None,
        "only_this_right": None,
        "quality_difference": difference,
    }
    return judged({"against_reference": against}, by, reference="float32")


def test_needed_masks_follow_from_the_standard_error_of_the_bootstrap() -> None:
    # The least number of samples that show a loss below one point, with equal answers on all: Tango's 381.
    assert _judged(40, -0.001, 0.001).needed_samples == 390
    # Standard error 0.01 with 40 masks: ((1.96 + 0.84) / 0.01)^2 * 40 * 0.01^2 = 314, hence 381; of 0.02: 1256.
    assert _judged(40, -0.0196, 0.0196).needed_samples == 390
    assert _judged(40, -0.0392, 0.0392).needed_samples == 1300
    assert _judged(450, -0.001, 0.001).state == "as good"


def test_examples_in_the_documentation() -> None:
    assert doctest.testmod(masks).failed == 0 < doctest.testmod(masks).attempted
