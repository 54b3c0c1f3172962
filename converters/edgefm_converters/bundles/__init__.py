"""Bundles: a model with its contract, golden vectors and code that feeds it and checks itself on the target."""
