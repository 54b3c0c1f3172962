"""Exact rewrites of int8 .tflite graphs: the same answers bit for bit from layers that XNNPACK's kernels run faster."""
