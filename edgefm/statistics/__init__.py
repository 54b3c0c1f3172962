"""Estimates with intervals, exact rank tests and the comparison of rounds."""
