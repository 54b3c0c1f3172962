"""Explanations of a classifier: their file, their pictures, their page, and their part of a report."""
