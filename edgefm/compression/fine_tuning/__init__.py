"""Training a compressed model on: the loop, its objective, the task it is for."""
