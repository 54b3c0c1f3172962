"""Networks that take the place of a model."""
