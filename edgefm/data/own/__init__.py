"""A user's own data: arrays, folders of pictures, TFRecords, or what a Python function returns."""
