"""Measuring model files: each in a process of its own, in interleaved rounds, raw samples kept."""
