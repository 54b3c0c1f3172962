"""Source code for apps, written from a model's contract."""
