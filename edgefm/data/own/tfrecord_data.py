"""Data in TFRecord files of `tf.train.Example`, with a JSON spec that says what stands where.

A spec, as JSON; `label`, `labels`, `splits` and `compression` may be left out:

    {
      "image": {"feature": "image_raw", "encoding": "png"},
      "label": {"feature": "label", "dtype": "int64"},
      "labels": ["cat", "dog"],
      "splits": {"train": "train-*", "test": "test-*"},
      "compression": "GZIP"
    }

The encoding is 'png' or 'jpeg' (one encoded picture in bytes, resized as those of `edgefm.data.own.image_folders`),
'raw' (the bytes of an array, with "shape" and "dtype": 'uint8' or 'float32', little-endian), or 'floats' (a list of
floats, with "shape"). A label is 'int64', 'float32' (with "shape" where it is more than one number) or 'string'.
`splits` names the files of each split by patterns; without it files named train*, val* and test* are these splits,
and other files are all split anew.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import DataError, missing_extra
from edgefm.core.given import limits
from edgefm.core.given.damage import reason
from edgefm.core.progress import SILENT, Progress
from edgefm.core.text import few
from edgefm.data.own import tfrecord_frames
from edgefm.data.own.arrays import SPLIT_WORDS, SPLITS, Arrays
from edgefm.data.own.image_folders import Sizes, damage, picture_shape, sizes_of
from edgefm.data.own.tfrecord_spec import EXAMPLE, Feature, Spec, read_spec
from edgefm.data.picture_file import GREY, open_picture, picture_header, pixels_of

_STEP = 100
_NO_RECORDS = "Check the files, and 'compression' in the spec."


def read(
    path: Path,
    *,
    spec: Path | None,
    input_shape: tuple[int, ...] | None,
    task: str | None = None,
    progress: Progress = SILENT,
) -> Arrays:
    """Return the samples of a TFRecord file, or of all in a folder.

    Args:
      path: file whose name holds '.tfrecord', or a folder of such files.
      spec: says what is in them, see the module.
      input_shape: pictures are resized to it; None takes the first one's, which all others must have.
      task: 'reconstruction' needs no labels.
      progress: receives steps of records read.
    Raises:
      DataError: no files, no or a wrong spec, a record without a feature, damaged pictures or files.
      RuntimeUnavailableError: TensorFlow (or Pillow, for pictures) is not installed.
    """
    description = _described(path, spec)
    if description.label is None and task != "reconstruction":
        raise DataError(f"the spec {spec} names no label", hint='Add "label": {"feature": …}.')
    splits = {
        split: _samples(files, description, input_shape, source=f"{path}, {split}", progress=progress)
        for split, files in _files(path, description).items()
    }
    return Arrays(splits=splits, source=str(path), labels=description.labels, fresh=True)


def holds_pictures(path: Path, *, spec: Path | None) -> bool:
    """Return whether TFRecords hold encoded pictures, which `read` gives any size, and no arrays.

    Raises:
      DataError: no or a wrong spec.
    """
    return _described(path, spec).image.shape is None


def sizes(path: Path, *, spec: Path | None, progress: Progress = SILENT) -> Sizes:
    """Return the sizes of the encoded pictures in all splits of TFRecords; their pixels are not read.

    Raises:
      DataError, RuntimeUnavailableError: see `read`; or there is no picture that can be read.
    """
    description = _described(path, spec)
    known, damaged = [], []
    for split, files in _files(path, description).items():
        for index, example in enumerate(_examples(files, description.compression)):
            where = f"record {index} of {path}, {split}"
            content = _values(example, description.image, where=where)[0]
            try:
                known.append(picture_header(content, name=where))
            except DataError as error:
                damaged.append(error.message)
            if (done := len(known) + len(damaged)) % _STEP == 0:
                progress.step("sizes of pictures", done, done + _STEP)
    total = len(known) + len(damaged)
    progress.step("sizes of pictures", total, total)
    if not total:
        raise DataError(f"{path} holds no records", hint=_NO_RECORDS)
    if not known:
        raise DataError(damage(damaged, of=total, source=str(path)), hint="Write these records again.")
    return sizes_of(known)


def _described(path: Path, spec: Path | None) -> Spec:
    if spec is None:
        raise DataError(
            f"{path} holds TFRecords without a description", hint=f"Give a spec, a JSON file such as: {EXAMPLE}"
        )
    return read_spec(spec)


def _samples(
    files: list[Path], spec: Spec, input_shape: tuple[int, ...] | None, *, source: str, progress: Progress
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    images, labels, damaged = [], [], []
    shape = input_shape
    taken, packed = 0, sum(file.stat().st_size for file in files if file.is_file())
    for index, example in enumerate(_examples(files, spec.compression)):
        where = f"record {index} of {source}"
        try:
            image = _image(_values(example, spec.image, where=where), spec.image, shape, where=where)
        except _DamagedError as error:
            damaged.append(str(error))
        else:
            shape = shape or image.shape
            if image.shape != shape and spec.image.shape is None:
                raise DataError(f"{where} is {image.shape}, the records before it {shape}")
            images.append(image)
            taken += image.nbytes
            if input_shape is None:  # the size is the pictures' own
                limits.check(taken, DataError, size_bytes=packed, what=source)
        if spec.label is not None:
            labels.append(_label(_values(example, spec.label, where=where), spec.label, where=where))
        if (index + 1) % _STEP == 0:
            # The number of records stands nowhere in a TFRecord file.
            progress.step(f"read {source}", index + 1, index + 1 + _STEP, {"records": str(index + 1)})
    total = len(images) + len(damaged)
    progress.step(f"read {source}", total, total, {"records": str(total)})
    if damaged:
        raise DataError(damage(damaged, of=total, source=source), hint="Write these records again.")
    if not images:
        raise DataError(f"{source} holds no records", hint=_NO_RECORDS)
    return np.stack(images), np.stack(labels) if labels else None


class _DamagedError(Exception):
    """A picture in a record cannot be decoded."""


def _image(values: Any, feature: Feature, shape: tuple[int, ...] | None, *, where: str) -> NDArray[Any]:
    if feature.kind == "floats":
        assert feature.shape is not None
        return _shaped(np.array(values, np.float32), feature.shape, where=where)
    content = values[0]
    if feature.kind == "raw":
        assert feature.shape is not None
        dtype = np.dtype(feature.dtype).newbyteorder("<")
        if len(content) % dtype.itemsize:
            raise DataError(f"'{feature.name}' in {where} holds {len(content)} bytes: no multiple of {feature.dtype}")
        return _shaped(np.frombuffer(content, dtype).astype(feature.dtype), feature.shape, where=where)
    try:
        picture = open_picture(content, name=where)
    except DataError as error:
        raise _DamagedError(error.message) from error
    if shape is None:
        shape = (picture.height, picture.width, 1 if picture.mode in GREY else 3)
        return pixels_of(picture, picture_shape(shape))
    return pixels_of(picture, picture_shape(shape)).reshape(shape)


def _label(values: Any, feature: Feature, *, where: str) -> NDArray[Any]:
    if feature.dtype == "string":
        return np.array(values[0].decode("utf-8", "replace"))
    return _shaped(np.array(values, feature.dtype), feature.shape or (), where=where)


def _shaped(values: NDArray[Any], shape: tuple[int, ...], *, where: str) -> NDArray[Any]:
    if values.size != math.prod(shape):
        raise DataError(
            f"{where} holds {values.size} values, the spec says {'x'.join(map(str, shape)) or 'one'}",
            hint="Correct 'shape' or 'dtype' in the spec.",
        )
    return values.reshape(shape)


def _values(example: Any, feature: Feature, *, where: str) -> Any:
    """Return the values of a feature, at least one, of the kind that the spec says."""
    features = example.features.feature
    if feature.name not in features:
        raise DataError(f"{where} has no feature '{feature.name}'", hint=f"It has: {', '.join(sorted(features))}.")
    kind = {"floats": "float_list", "label": {"int64": "int64_list", "float32": "float_list"}.get(feature.dtype)}
    wanted = kind.get(feature.kind) or "bytes_list"
    value = features[feature.name]
    values = getattr(value, wanted).value
    if not values:
        raise DataError(
            f"the feature '{feature.name}' of {where} is {value.WhichOneof('kind') or 'empty'}; {wanted} is expected",
            hint="Correct the encoding or the dtype in the spec.",
        )
    return values


def _examples(files: Iterable[Path], compression: str) -> Iterator[Any]:
    """Return the records of some files, each parsed."""
    try:
        import tensorflow as tf
    except ImportError:
        raise missing_extra("TensorFlow", "compress") from None
    for file in files:
        tfrecord_frames.check(file, compression)
        try:
            for record in tf.data.TFRecordDataset(str(file), compression_type=compression).as_numpy_iterator():
                yield tf.train.Example.FromString(record)
        except (tf.errors.OpError, ValueError) as error:
            raise DataError(
                f"{file} cannot be read as a TFRecord file: {reason(error)}", hint=tfrecord_frames.HINT
            ) from error
        except Exception as error:  # protobuf's DecodeError, without importing protobuf here
            if type(error).__name__ != "DecodeError":
                raise
            raise DataError(f"a record of {file} is not a tf.train.Example: {error}") from error


def _files(path: Path, spec: Spec) -> dict[str, list[Path]]:
    """Return the files of each split."""
    if not path.is_dir():
        return {"train": [path]}
    files = sorted(entry for entry in path.iterdir() if not entry.is_dir() and ".tfrecord" in entry.name)
    if spec.splits is not None:
        files_of = {
            split: sorted(file for file in path.glob(pattern) if not file.is_dir())
            for split, pattern in spec.splits.items()
        }
        for split, chosen in files_of.items():
            if not chosen:
                raise DataError(
                    f"no file of {path} matches '{spec.splits[split]}', the {split} split of the spec",
                    hint=f"Files: {few([file.name for file in files])}.",
                )
        return {split: files_of[split] for split in SPLITS if split in files_of}
    words = ("train", "val", "test")
    named = {file: next((SPLIT_WORDS[word] for word in words if file.name.startswith(word)), "") for file in files}
    if not any(named.values()):
        return {"train": files}
    odd = [file.name for file, split in named.items() if not split]
    if odd:
        raise DataError(
            f"some files of {path} are named like a split, others are not: {few(odd)}",
            hint='Say which is which in the spec: "splits": {"train": "a*", "test": "b*"}.',
        )
    by_split = {split: [file for file in files if named[file] == split] for split in SPLITS}
    return {split: chosen for split, chosen in by_split.items() if chosen}
