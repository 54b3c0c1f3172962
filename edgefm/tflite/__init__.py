"""Reading .tflite files: the FlatBuffer, what is in it, its contract, its metadata, its weights."""
