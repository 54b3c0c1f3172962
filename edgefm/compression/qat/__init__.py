"""Quantisation-aware training: the fake-quant graph, its layers and ranges, its parity with the file."""
