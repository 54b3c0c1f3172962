"""A project's own test of its models. It needs edgefm and pytest-benchmark: `pytest`.

Beside it lie model.tflite and baseline.tflite.
"""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent


def test_model_is_small_and_faster_than_the_baseline(tflite_benchmark):
    """The model keeps to its size, and is not slower than the one that was shipped."""
    result = tflite_benchmark(HERE / "model.tflite", baseline=HERE / "baseline.tflite")
    assert result.size_bytes <= 500_000
    if result.enabled:  # not with --benchmark-disable
        assert result.comparison.verdict != "slower"
        assert result.p50_ratio.low <= 1.0
