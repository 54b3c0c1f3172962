"""The score of a one-unit classifier is read as the end of the model says, not as its values happen to lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")

BINARY = "binary_crossentropy"


def _model(activation: str, loss: Any = None) -> Any:
    """Return a model of one unit whose answers before the activation are the mean of the pixels: 0 to 1."""
    image = keras.Input((4, 4, 1))
    mean = keras.layers.GlobalAveragePooling2D()(image)
    model = keras.Model(image, keras.layers.Dense(1, activation=activation)(mean))
    model.layers[-1].set_weights([np.ones((1, 1)), np.zeros(1)])
    if loss is not None:
        model.compile(loss=loss)
    return model


@pytest.mark.parametrize(
    ("activation", "loss", "threshold"),
    [
        pytest.param("sigmoid", None, 0.5, id="sigmoid"),
        pytest.param("hard_sigmoid", None, 0.5, id="hard sigmoid"),
        pytest.param("linear", None, 0.0, id="logits within 0 to 1"),
        pytest.param("linear", "logits", 0.0, id="compiled with logits"),
        pytest.param("linear", BINARY, 0.5, id="compiled with probabilities"),
        pytest.param("relu", None, 0.5, id="unknown end, values of a probability"),
    ],
)
def test_threshold_of_one_unit_is_that_of_its_activation(
    activation: str, loss: str | None, threshold: float, tmp_path: Path
) -> None:
    from edgefm.quantization.reading.interpretation import _scores
    from edgefm_converters.readers import model_file

    given = keras.losses.BinaryCrossentropy(from_logits=True) if loss == "logits" else loss
    model = _model(activation, given)
    model.save(tmp_path / "model.keras")
    loaded = model_file.load(tmp_path / "model.keras")
    pictures = np.linspace(0, 1, 9, dtype=np.float32)[:, None, None, None] * np.ones((9, 4, 4, 1), np.float32)
    answers = model.predict(pictures, verbose=0)[:, 0]
    np.testing.assert_array_equal(_scores(loaded, pictures).argmax(axis=1), answers > threshold)
