from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgefm_converters.readers.model_file import load
from edgefm_converters.readers.precision import given_precision
from tests.fixtures.notes import Notes


@pytest.fixture(scope="module", autouse=True)
def tensorflow_backend() -> None:
    from edgefm.keras_graph.backend import use_backend

    use_backend("tensorflow")


def saved(path: Path, policy: str, *, last: str | None = None) -> Any:
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    source = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, activation="relu", dtype=policy)(source)
    x = layers.GlobalAveragePooling2D(dtype=policy)(x)
    model = keras.Model(source, layers.Dense(4, activation="softmax", dtype=last or policy)(x))
    model.save(path)
    return model


def inputs() -> NDArray[np.float32]:
    return np.random.default_rng(0).uniform(0, 1, (32, 8, 8, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("policy", "last"),
    [
        ("mixed_float16", None),
        ("mixed_bfloat16", None),
        ("mixed_float16", "float32"),
        ("float16", None),
        ("bfloat16", None),
    ],
)
def test_difference_of_the_recast_from_the_models_own_predict_is_said(
    policy: str, last: str | None, tmp_path: Path
) -> None:
    model = saved(tmp_path / "m.keras", policy, last=last)
    own = np.asarray(model.predict(inputs(), verbose=0), np.float32)
    loaded, notes = load(tmp_path / "m.keras"), Notes()
    recast = loaded.keras.predict(inputs(), verbose=0)
    facts = given_precision(loaded, inputs(), notes)
    assert facts is not None and facts["given"] == [policy] and facts["samples"] == 32
    wanted = np.abs(own - recast).max()
    assert wanted > 0
    assert facts["max_abs_difference"] == pytest.approx(float(wanted), rel=0.2, abs=1e-4)
    assert "float32 recast" in notes.notes[0] and policy in notes.notes[0]


def test_float32_model_has_nothing_to_say(tmp_path: Path) -> None:
    saved(tmp_path / "m.keras", "float32")
    notes = Notes()
    assert given_precision(load(tmp_path / "m.keras"), inputs(), notes) is None and notes.notes == []


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float64"])
def test_model_whose_input_alone_is_of_another_type_computes_in_float32(tmp_path: Path, dtype: str) -> None:
    import keras
    from keras import layers

    source = keras.Input((8, 8, 3), dtype=dtype)
    x = layers.Flatten()(layers.Rescaling(1 / 255)(source))
    keras.Model(source, layers.Dense(4, activation="softmax")(x)).save(tmp_path / "m.keras")
    notes = Notes()
    facts = given_precision(load(tmp_path / "m.keras"), (255 * inputs()).astype(np.uint8).astype(np.float32), notes)
    assert facts is not None and facts["given"] == [f"float32 on {dtype} input"]
    assert f"the given model computes in float32 on {dtype} input" in notes.notes[0]
