"""What a file answers is [n, ...] for each output, also where the file's output has no batch of 1."""

from __future__ import annotations

import numpy as np

from edgefm_converters.tflite.keras_to_tflite import Given, converted
from edgefm_converters.tflite.tflite_outputs import tflite_outputs


def test_outputs_without_a_batch_of_1_get_one() -> None:
    import tensorflow as tf

    content = converted(
        lambda x: {"a": x * 2, "b": tf.reshape(x, (3, 2)), "c": tf.reduce_sum(x)},
        inputs={"image": Given((1, 6))},
        holds=[],
    )
    samples = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    answers = {answer.shape: answer for answer in tflite_outputs(content, samples)}
    assert set(answers) == {(5, 6), (5, 3, 2), (5,)}
    np.testing.assert_allclose(answers[5, 6], samples * 2, rtol=1e-6)
    np.testing.assert_allclose(answers[5, 3, 2], samples.reshape(5, 3, 2), rtol=1e-6)
    np.testing.assert_allclose(answers[(5,)], samples.sum(axis=1), rtol=1e-5)
