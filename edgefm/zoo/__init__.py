"""The zoo: one architecture a file, each with what its source claims for it."""

from edgefm.zoo.catalogue import (
    Architecture,
    Claim,
    architecture,
    architectures,
    build,
    by,
    check_options,
    check_shape,
    is_sized,
    names,
)

__all__ = [
    "Architecture",
    "Claim",
    "architecture",
    "architectures",
    "build",
    "by",
    "check_options",
    "check_shape",
    "is_sized",
    "names",
]
