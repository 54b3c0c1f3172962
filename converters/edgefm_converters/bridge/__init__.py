"""Keras 3 models to tf_keras and back."""
