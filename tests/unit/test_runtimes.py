from __future__ import annotations

import importlib.metadata
from pathlib import Path

import numpy as np
import pytest

from edgefm import runtimes
from edgefm.errors import ModelError, RecipeError
from edgefm.runtimes import litert, tflite_file
from edgefm.runtimes.base import Available, Unavailable
from tests.fixtures import tiny_models


def _write(folder: Path, content: bytes) -> Path:
    path = folder / "model.tflite"
    path.write_bytes(content)
    return path


def test_litert_runs_a_linear_model_as_numpy_does(tmp_path: Path) -> None:
    weights = np.random.default_rng(0).standard_normal((10, 16)).astype(np.float32)
    picture = np.random.default_rng(1).random((1, 4, 4, 1)).astype(np.float32)
    with litert.load(_write(tmp_path, tiny_models.dense(weights))) as session:
        assert (session.input.dtype, session.input.shape) == ("float32", (1, 4, 4, 1))
        assert (session.output.scale, session.output.zero_point) == (None, None)
        first = session.run(picture)
        np.testing.assert_allclose(first[0], weights @ picture.reshape(-1), rtol=1e-5, atol=1e-5)
        session.run(2 * picture)  # an output that is kept neither changes nor stops the next invoke
        np.testing.assert_allclose(first[0], weights @ picture.reshape(-1), rtol=1e-5, atol=1e-5)


def test_litert_tells_quantisation_of_input_and_output(tmp_path: Path) -> None:
    content = tiny_models.quantized_dense(np.ones((10, 16), np.int8), output_scale=20.0)
    with litert.load(_write(tmp_path, content)) as session:
        assert (session.input.dtype, session.input.scale, session.input.zero_point) == ("int8", 1.0, -128)
        assert (session.output.scale, session.output.zero_point) == (20.0, 0)


def test_litert_session_is_closed_after_its_block(tmp_path: Path) -> None:
    with litert.load(_write(tmp_path, tiny_models.relu())) as session:
        session.invoke()
    with pytest.raises(RuntimeError, match="closed"):
        session.invoke()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(np.random.default_rng(0).bytes(5000), "not a TFLite file", id="random"),
        pytest.param(b"PK\x03\x04" + bytes(100), "not a TFLite file", id="keras"),
        pytest.param(
            b"\x1c\0\0\0TFL3" + np.random.default_rng(0).bytes(5000), "damaged", id="random-behind-identifier"
        ),
        pytest.param(tiny_models.enhanced_cnn()[:800_000], "cut off or damaged", id="cut"),
        pytest.param(tiny_models.custom("TheirOp"), "custom operator 'TheirOp'", id="custom"),
        pytest.param(tiny_models.add(), "2 inputs", id="two-inputs"),
        pytest.param(tiny_models.dynamic(), r"dynamic shape \(-1, 4\)", id="dynamic"),
        pytest.param(tiny_models.relu((8, 4)), "batch of 8", id="batch"),
    ],
)
def test_litert_refuses_file_with_the_reason(tmp_path: Path, content: bytes, words: str) -> None:
    path = _write(tmp_path, content)
    with pytest.raises(ModelError, match=words) as caught:
        litert.load(path)
    assert str(path) in caught.value.message


def test_litert_refuses_zero_threads(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="threads 0"):
        litert.load(_write(tmp_path, tiny_models.relu()), threads=0)


def test_litert_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model file at"):
        litert.load(tmp_path / "nowhere.tflite")


def test_check_accepts_a_file_with_a_zip_behind_it(tmp_path: Path) -> None:
    tflite_file.check(_write(tmp_path, tiny_models.relu() + b"PK\x05\x06" + bytes(18)))


def test_check_names_what_a_wrong_file_is(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        tflite_file.check(_write(tmp_path, b"PK\x03\x04" + bytes(100)))
    assert caught.value.hint is not None and ".keras" in caught.value.hint


def test_check_every_cut_of_a_small_file_is_refused(tmp_path: Path) -> None:
    content = tiny_models.dense(np.ones((10, 784), np.float32))
    end = len(content)
    # The weights lie at the end; a cut of up to 16 bytes may only take padding.
    for length in range(0, end - 16, 997):
        with pytest.raises(ModelError):
            tflite_file.check(_write(tmp_path, content[:length]))


def test_runtime_by_name_is_the_module() -> None:
    found = runtimes.runtime("litert")
    assert found.name == "litert"
    assert isinstance(found.availability(), Available)
    assert found.version() == importlib.metadata.version("ai-edge-litert")


def test_runtime_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(RecipeError, match="did you mean 'litert'"):
        runtimes.runtime("litrt")


def test_runtimes_of_other_packages_are_found_but_take_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        importlib.metadata.EntryPoint("fake", "tests.fixtures.fake_runtime", runtimes.ENTRY_POINT_GROUP),
        importlib.metadata.EntryPoint("litert", "tests.fixtures.fake_runtime", runtimes.ENTRY_POINT_GROUP),
    ]
    monkeypatch.setattr(runtimes, "entry_points", lambda group: points if group == "edgefm.runtimes" else [])
    assert runtimes.runtime("fake").version() == "1.0"
    assert runtimes.module_of("litert") == "edgefm.runtimes.litert"


def test_litert_availability_says_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise ImportError("libLiteRt.so: cannot open shared object file")

    monkeypatch.setattr("importlib.import_module", broken)
    found = litert.availability()
    assert isinstance(found, Unavailable) and "libLiteRt.so" in found.reason
