"""What fine-tuning made of files that were measured before it: written by `python -m benchmarks.forecast_outcomes`."""

from __future__ import annotations

from typing import NamedTuple


class Outcome(NamedTuple):
    """One file before and after its training; losses in percentage points of accuracy on validation images."""

    model: str
    variant: str
    untrained_loss: float
    loss: float
    untrained_gzip_bytes: int
    gzip_bytes: int


OUTCOMES: tuple[Outcome, ...] = (
    Outcome("strided_cnn", "qat_int8", 0.025, -0.025, 66792, 66768),
    Outcome("strided_cnn", "pruned80_qat_int8", 66.925, 2.275, 23668, 23760),
    Outcome("strided_cnn", "clustered16_qat_int8", 2.25, 0.775, 38141, 38193),
    Outcome("strided_cnn", "pruned80_clustered16_qat_int8", 76.175, 2.4, 16143, 16257),
    Outcome("strided_cnn", "slim50_qat_int8", 74.05, 0.775, 19513, 19251),
    Outcome("strided_cnn", "pruned90_qat_int8", 76.1, 5.35, 14608, 14847),
    Outcome("strided_cnn", "slim25_qat_int8", 78.075, 3.45, 7171, 7108),
    Outcome("separable_tiny", "qat_int8", 0.125, -0.275, 13875, 13875),
    Outcome("separable_tiny", "pruned80_qat_int8", 65.75, 9.625, 8326, 8273),
    Outcome("separable_tiny", "clustered16_qat_int8", 4.625, 0.75, 10335, 10339),
    Outcome("separable_tiny", "pruned80_clustered16_qat_int8", 68.4, 9.35, 7761, 7758),
    Outcome("separable_tiny", "slim50_qat_int8", 71.225, 2.625, 7366, 7350),
    Outcome("separable_tiny", "pruned90_qat_int8", 72.825, 33.3, 7420, 7381),
    Outcome("separable_tiny", "slim25_qat_int8", 73.125, 3.7, 5575, 5578),
    Outcome("lenet5", "qat_int8", 0.0, -0.075, 59345, 59292),
    Outcome("lenet5", "pruned80_qat_int8", 5.175, -0.05, 22039, 22231),
    Outcome("lenet5", "clustered16_qat_int8", 0.4, -0.15, 36209, 36086),
    Outcome("lenet5", "pruned80_clustered16_qat_int8", 5.975, -0.075, 14913, 15076),
    Outcome("lenet5", "slim50_qat_int8", 32.05, -0.025, 18183, 17462),
    Outcome("lenet5", "pruned90_qat_int8", 23.725, 1.0, 13783, 14049),
    Outcome("lenet5", "slim25_qat_int8", 44.95, 1.075, 10339, 9950),
    Outcome("ann", "qat_int8", -0.025, -0.275, 203442, 203318),
    Outcome("ann", "pruned80_qat_int8", 2.6, 0.325, 70672, 71628),
    Outcome("ann", "clustered16_qat_int8", -0.025, -0.225, 114960, 114950),
    Outcome("ann", "pruned80_clustered16_qat_int8", 3.125, 0.225, 44880, 45239),
    Outcome("ann", "slim50_qat_int8", 2.4, -0.525, 96788, 92686),
    Outcome("ann", "pruned90_qat_int8", 24.55, 0.875, 41311, 42433),
    Outcome("ann", "slim25_qat_int8", 25.375, 0.175, 48374, 46656),
    Outcome("tiny_vgg", "qat_int8", 0.025, 0.025, 10028, 10035),
    Outcome("tiny_vgg", "pruned80_qat_int8", 37.375, 1.875, 4812, 4860),
    Outcome("tiny_vgg", "clustered16_qat_int8", 1.575, 0.05, 6861, 6869),
    Outcome("tiny_vgg", "pruned80_clustered16_qat_int8", 40.725, 2.375, 4056, 4074),
    Outcome("tiny_vgg", "slim50_qat_int8", 8.975, -0.3, 8121, 8072),
    Outcome("tiny_vgg", "pruned90_qat_int8", 68.9, 6.2, 3773, 3789),
    Outcome("tiny_vgg", "slim25_qat_int8", 8.975, -0.3, 8121, 8073),
    Outcome("two_conv_cnn", "qat_int8", 0.075, -0.05, 324954, 325095),
    Outcome("two_conv_cnn", "pruned80_qat_int8", 0.525, -0.5, 119768, 122104),
    Outcome("two_conv_cnn", "clustered16_qat_int8", 0.725, 0.075, 199900, 199958),
    Outcome("two_conv_cnn", "pruned80_clustered16_qat_int8", 1.275, -0.275, 78852, 79010),
    Outcome("two_conv_cnn", "slim50_qat_int8", 4.875, -0.475, 87966, 87671),
    Outcome("two_conv_cnn", "pruned90_qat_int8", 2.925, -0.225, 68901, 70321),
    Outcome("two_conv_cnn", "slim25_qat_int8", 34.05, 1.45, 26026, 25758),
)
