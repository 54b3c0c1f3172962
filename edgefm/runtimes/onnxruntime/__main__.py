"""`python -m edgefm.runtimes.onnxruntime MODEL.tflite OUT.onnx SECONDS`: convert, see `tflite_to_onnx`."""

import sys

from edgefm.runtimes.onnxruntime.tflite_to_onnx import main

main(sys.argv[1:])
