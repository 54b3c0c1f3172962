"""Changes of single weights: magnitude pruning and clustering."""
