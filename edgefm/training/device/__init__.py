"""What runs on the device in each step of a training, on any backend of Keras; one idea a module."""
