"""Making a trained Keras model smaller: removing channels, pruning, clustering, quantisation-aware training."""
