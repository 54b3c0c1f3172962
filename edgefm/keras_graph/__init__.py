"""Keras 3 models as graphs of layers: reading, inference, exact folding, the backend."""
