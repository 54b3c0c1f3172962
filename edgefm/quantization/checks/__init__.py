"""Whether a file answers as the given model does, measured on labelled data and on every column of its outputs."""
