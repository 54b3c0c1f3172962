"""From a Keras model to .tflite: reading what others saved, Keras 3 to tf_keras and back, writing, quantising."""
