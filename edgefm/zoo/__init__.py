"""The zoo: one architecture a file, each with what its source claims for it."""

from edgefm.zoo.catalogue import Architecture, Claim, architecture, architectures, build, check_options, learn_from

__all__ = ["Architecture", "Claim", "architecture", "architectures", "build", "check_options", "learn_from"]
