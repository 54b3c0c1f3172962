import numpy as np
import pytest

from edgefm.quantization.assets import readme
from edgefm.tflite.contract import Contract, Tensor


def contract(*, dtype: str) -> Contract:
    quantised = dtype == "uint8"
    return Contract(
        name="enhanced_cnn",
        variant="int8_w8a8" if quantised else "float32",
        file="model.tflite",
        sha256="ab" * 32,
        size_bytes=443_210,
        input=Tensor(
            name="image",
            dtype=dtype,
            shape=(1, 28, 28, 1),
            scale=1.0 if quantised else None,
            zero_point=0 if quantised else None,
            value_range=(0, 255),
        ),
        outputs=(
            Tensor(
                name="probabilities",
                dtype=dtype,
                shape=(1, 10),
                scale=1 / 256 if quantised else None,
                zero_point=0 if quantised else None,
                value_range=(0, 1),
            ),
        ),
        mean=0.0,
        std=1.0,
        labels=tuple("abcdefghij"),
    )


@pytest.mark.parametrize(
    ("dtype", "wanted", "unwanted"),
    [
        (
            "uint8",
            ["q = pixel", "allocateDirect(784)", "ByteArray", "443.2 KB", "* 0.00390625f"],
            ["putFloat"],
        ),
        ("float32", ["x = pixel", "allocateDirect(3136)", "FloatArray", "putFloat"], ["ByteArray"]),
    ],
)
def test_readme_says_what_the_contract_says(dtype: str, wanted: list[str], unwanted: list[str]) -> None:
    page = readme(contract(dtype=dtype), accuracy="Measured: 93.1 %.")
    for text in [*wanted, "Measured: 93.1 %.", "ab" * 32]:
        assert text in page
    for text in unwanted:
        assert text not in page


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_contract_round_trip_gives_the_same_contract(dtype: str) -> None:
    given = contract(dtype=dtype)
    assert Contract.from_json(given.to_json()) == given


def test_contract_encodes_raw_pixels_unchanged_for_a_uint8_model_and_as_floats_for_a_float_model() -> None:
    pixels = np.arange(784, dtype=np.uint16).reshape(1, 28, 28, 1).astype(np.uint8)
    assert contract(dtype="uint8").encode(pixels) is pixels
    encoded = contract(dtype="float32").encode(pixels)
    assert encoded.dtype == np.float32
    np.testing.assert_array_equal(encoded, pixels.astype(np.float32))
