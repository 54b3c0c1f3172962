"""The agreement matrix: the same inputs through runtimes, kernel sets and targets, and where their answers part.

`edgefm.agreement.matrix.agree` does it; docs/agreement.md says how to read what it finds.
"""
