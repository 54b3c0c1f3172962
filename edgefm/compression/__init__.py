"""Passes that make a trained Keras model smaller or ready for int8: weights, channels, QAT, post-training changes."""
