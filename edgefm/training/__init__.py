"""Training of zoo models with Keras 3 on TensorFlow, JAX or PyTorch."""
