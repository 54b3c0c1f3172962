"""TFRecords written by TensorFlow, read back by a spec."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from edgefm.core.errors import DataError
from edgefm.data.own.load import load_data

RANDOM = np.random.default_rng(0)
PNG: dict[str, Any] = {"image": {"feature": "image_raw", "encoding": "png"}, "label": {"feature": "label"}}


def picture(level: int, *, form: str = "PNG", size: tuple[int, int] = (6, 5)) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", size, (level, 0, 255 - level)).save(content, form)
    return content.getvalue()


def feature(value: Any) -> Any:
    if isinstance(value, bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
    values = np.atleast_1d(value)
    if values.dtype.kind == "f":
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def write(path: Path, records: list[dict[str, Any]], *, compression: str = "") -> str:
    with tf.io.TFRecordWriter(str(path), compression or None) as writer:
        for record in records:
            features = tf.train.Features(feature={name: feature(value) for name, value in record.items()})
            writer.write(tf.train.Example(features=features).SerializeToString())
    return str(path)


def spec(folder: Path, value: dict[str, Any]) -> Path:
    path = folder / "spec.json"
    path.write_text(json.dumps(value))
    return path


def labelled(count: int, **changes: Any) -> list[dict[str, Any]]:
    return [{"image_raw": picture(200 * (i % 2), **changes), "label": i % 2} for i in range(count)]


@pytest.mark.parametrize("form", ["png", "jpeg"])
def test_encoded_pictures_are_resized_to_the_model(tmp_path: Path, form: str) -> None:
    where = write(tmp_path / "all.tfrecord", labelled(20, form=form.upper()))
    said = {**PNG, "image": {"feature": "image_raw", "encoding": form}, "labels": ["blue", "red"]}
    found = load_data(where, input_shape=(3, 4, 3), spec=spec(tmp_path, said))
    assert found.labels == ("blue", "red") and [len(split) for split in found.splits] == [16, 2, 2]
    assert found.train.images.shape[1:] == (3, 4, 3) and found.train.images.dtype == np.uint8
    for image, label in zip(found.train.images, found.train.labels, strict=True):
        np.testing.assert_allclose(image[..., 0], 200 * label, atol=3)  # JPEG is lossy


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_raw_arrays_are_read_as_they_were_written(tmp_path: Path, dtype: str) -> None:
    arrays = (RANDOM.random((12, 2, 3, 1)) * 255).astype(dtype)
    records = [{"x": array.tobytes(), "y": float(i)} for i, array in enumerate(arrays)]
    said = {
        "image": {"feature": "x", "encoding": "raw", "shape": [2, 3, 1], "dtype": dtype},
        "label": {"feature": "y", "dtype": "float32"},
        "compression": "GZIP",
    }
    where = write(tmp_path / "a.tfrecords", records, compression="GZIP")
    found = load_data(where, input_shape=(2, 3, 1), spec=spec(tmp_path, said))
    assert found.task == "regression"
    for split in found.splits:
        np.testing.assert_array_equal(split.images, arrays[split.labels.astype(int)])


def test_lists_of_floats_and_several_targets_are_read(tmp_path: Path) -> None:
    x, y = RANDOM.normal(size=(10, 4)).astype(np.float32), RANDOM.normal(size=(10, 2)).astype(np.float32)
    said = {
        "image": {"feature": "x", "encoding": "floats", "shape": [4]},
        "label": {"feature": "y", "dtype": "float32", "shape": [2]},
    }
    where = write(tmp_path / "a.tfrecord", [{"x": one, "y": target} for one, target in zip(x, y, strict=True)])
    found = load_data(where, input_shape=(4,), spec=spec(tmp_path, said))
    order = [int(np.flatnonzero((x == one).all(axis=1))[0]) for one in found.train.images]
    np.testing.assert_array_equal(found.train.labels, y[order])


@pytest.mark.parametrize("by_spec", [True, False], ids=["spec", "names"])
def test_files_of_splits_are_these_splits(tmp_path: Path, by_spec: bool) -> None:
    names = {"train": ("a-0", "a-1"), "validation": ("b",), "test": ("c",)}
    if not by_spec:
        names = {"train": ("train-0", "train-1"), "validation": ("val",), "test": ("test-0",)}
    for place, name in enumerate(name for group in names.values() for name in group):
        records = [{"image_raw": picture(40 * place + i), "label": i % 2} for i in range(4)]
        write(tmp_path / f"{name}.tfrecord-00000-of-00001", records)
    said = {**PNG, "splits": {"train": "a-*", "val": "b*", "test": "c*"}} if by_spec else PNG
    found = load_data(str(tmp_path), input_shape=(5, 6, 3), spec=spec(tmp_path, said))
    levels = [sorted(split.images[:, 0, 0, 0].tolist()) for split in found.splits]
    assert levels == [[0, 1, 2, 3, 40, 41, 42, 43], [80, 81, 82, 83], [120, 121, 122, 123]]


def test_labels_may_be_words(tmp_path: Path) -> None:
    records = [{"image_raw": picture(i), "label": [b"cat", b"dog"][i % 2]} for i in range(12)]
    said = {**PNG, "label": {"feature": "label", "dtype": "string"}}
    found = load_data(write(tmp_path / "a.tfrecord", records), input_shape=(5, 6, 3), spec=spec(tmp_path, said))
    assert found.labels == ("cat", "dog")
    assert (found.train.labels == found.train.images[:, 0, 0, 0] % 2).all()


def test_reconstruction_needs_no_label(tmp_path: Path) -> None:
    where = write(tmp_path / "a.tfrecord", labelled(6))
    said = spec(tmp_path, {"image": PNG["image"]})
    with pytest.raises(DataError, match="names no label"):
        load_data(where, input_shape=(5, 6, 3), spec=said)
    assert load_data(where, input_shape=(5, 6, 3), spec=said, task="reconstruction").task == "reconstruction"


BAD_SPECS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown-key": ({**PNG, "lable": {"feature": "label"}}, "'lable'; did you mean 'label'"),
    "no-image": ({"label": {"feature": "label"}}, "has no 'image'"),
    "encoding": ({**PNG, "image": {"feature": "image_raw", "encoding": "gif"}}, "is 'gif'"),
    "no-shape": ({**PNG, "image": {"feature": "image_raw", "encoding": "raw"}}, "has no shape"),
    "shape": ({**PNG, "image": {"feature": "x", "encoding": "raw", "shape": [0, 3]}}, "a list of lengths"),
    "mistyped": ({**PNG, "image": "image_raw"}, "is not a JSON object"),
    "labels": ({**PNG, "labels": "cat"}, "not a list of names"),
    "split": ({**PNG, "splits": {"trian": "a*"}}, "'trian'; did you mean 'train'"),
    "compression": ({**PNG, "compression": "BZIP"}, "is 'BZIP'"),
    "feature": ({**PNG, "image": {"feature": "pixels", "encoding": "png"}}, "no feature 'pixels'"),
    "kind": ({**PNG, "label": {"feature": "label", "dtype": "float32"}}, "is int64_list; float_list is expected"),
    "size": (
        {**PNG, "image": {"feature": "image_raw", "encoding": "raw", "shape": [2, 2, 1]}},
        "values, the spec says 2x2x1",
    ),
    "wrong-compression": ({**PNG, "compression": "GZIP"}, "cannot be read as a TFRecord file"),
}


@pytest.mark.parametrize("name", BAD_SPECS)
def test_spec_that_is_wrong_says_what(tmp_path: Path, name: str) -> None:
    said, words = BAD_SPECS[name]
    where = write(tmp_path / "a.tfrecord", labelled(4))
    with pytest.raises(DataError) as caught:
        load_data(where, input_shape=(5, 6, 3), spec=spec(tmp_path, said))
    assert words in caught.value.message


def test_records_without_a_spec_or_a_spec_without_records_are_errors(tmp_path: Path) -> None:
    where = write(tmp_path / "a.tfrecord", labelled(4))
    with pytest.raises(DataError, match="holds TFRecords without a description"):
        load_data(where, input_shape=(5, 6, 3))
    with pytest.raises(DataError, match="no spec at"):
        load_data(where, input_shape=(5, 6, 3), spec=tmp_path / "gone.json")
    with pytest.raises(DataError, match="is for TFRecords"):
        load_data(str(tmp_path / "x.npz"), input_shape=(5, 6, 3), spec=tmp_path / "gone.json")
    with pytest.raises(DataError, match="holds no records"):
        empty = write(tmp_path / "empty.tfrecord", [])
        load_data(empty, input_shape=(5, 6, 3), spec=spec(tmp_path, PNG))
    with pytest.raises(DataError, match="no TFRecords at"):
        load_data(str(tmp_path / "gone.tfrecord"), input_shape=(5, 6, 3), spec=spec(tmp_path, PNG))


def test_damaged_records_are_told(tmp_path: Path) -> None:
    records = labelled(8)
    for place in (2, 5):
        records[place]["image_raw"] = records[place]["image_raw"][:30]
    where = write(tmp_path / "a.tfrecord", records)
    with pytest.raises(DataError, match="2 of the 8 pictures") as caught:
        load_data(where, input_shape=(5, 6, 3), spec=spec(tmp_path, PNG))
    assert "record 2 of" in caught.value.message and "record 5 of" in caught.value.message
    content = bytearray(Path(where).read_bytes())
    content[40] ^= 1
    Path(where).write_bytes(bytes(content))
    with pytest.raises(DataError, match="cannot be read as a TFRecord file"):
        load_data(where, input_shape=(5, 6, 3), spec=spec(tmp_path, PNG))


def test_records_that_are_no_examples_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(b"\xff\xff not an example")
    with pytest.raises(DataError, match=r"not a tf\.train\.Example"):
        load_data(str(path), input_shape=(5, 6, 3), spec=spec(tmp_path, PNG))


def test_some_files_named_like_splits_are_an_error(tmp_path: Path) -> None:
    write(tmp_path / "train.tfrecord", labelled(4))
    write(tmp_path / "other.tfrecord", labelled(4))
    with pytest.raises(DataError, match=r"others are not: other\.tfrecord"):
        load_data(str(tmp_path), input_shape=(5, 6, 3), spec=spec(tmp_path, PNG))
