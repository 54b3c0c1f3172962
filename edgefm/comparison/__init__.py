"""Comparing two records, and holding records against a budget."""
