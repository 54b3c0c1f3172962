"""Keras -> PyTorch -> ExecuTorch or Core ML, by their own libraries, in a process of its own (`beside`)."""
