"""The JSON spec that says what stands where in TFRecord files, see `edgefm.data.own.tfrecord_data`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgefm.core.documents import read_json
from edgefm.core.errors import DataError, unknown_name
from edgefm.data.own.arrays import SPLIT_WORDS

ENCODINGS = ("png", "jpeg", "raw", "floats")
_RAW_TYPES = ("uint8", "float32")
_LABEL_TYPES = ("int64", "float32", "string")
_COMPRESSIONS = ("", "GZIP", "ZLIB")
_SHOWN = 80
EXAMPLE = '{"image": {"feature": "image_raw", "encoding": "png"}, "label": {"feature": "label"}}'


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One feature of a record: its name, how it is stored, and the shape of the array, None where it is a picture."""

    name: str
    kind: str
    shape: tuple[int, ...] | None
    dtype: str


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What a spec file says; see `edgefm.data.own.tfrecord_data`."""

    image: Feature
    label: Feature | None
    labels: tuple[str, ...] | None
    splits: Mapping[str, str] | None
    compression: str


def read_spec(path: Path) -> Spec:
    """Return what a spec file says.

    Raises:
      DataError: it is missing, no JSON, or has an unknown, missing or mistyped key.
    """
    value = read_json(path, what="spec", error=DataError, hint=f"Write one such as: {EXAMPLE}")
    _keys(value, ("image", "label", "labels", "splits", "compression"), needed=("image",), where=f"the spec {path}")
    where = f"of the spec {path}"
    _keys(
        value["image"],
        ("feature", "encoding", "shape", "dtype"),
        needed=("feature", "encoding"),
        where=f"'image' {where}",
    )
    encoding = _one_of(value["image"]["encoding"], ENCODINGS, f"encoding {where}")
    shape = _shape(value["image"].get("shape"), where=where)
    if encoding in ("raw", "floats") and shape is None:
        raise DataError(f"'image' {where} has no shape", hint='Add the shape of one sample, "shape": [28, 28, 1].')
    label = None
    if value.get("label") is not None:
        _keys(value["label"], ("feature", "dtype", "shape"), needed=("feature",), where=f"'label' {where}")
        label = Feature(
            name=_text(value["label"]["feature"], f"feature of 'label' {where}"),
            kind="label",
            shape=_shape(value["label"].get("shape"), where=where) or (),
            dtype=_one_of(value["label"].get("dtype", "int64"), _LABEL_TYPES, f"dtype of 'label' {where}"),
        )
    splits = value.get("splits")
    if splits is not None:
        _keys(splits, tuple(SPLIT_WORDS), needed=(), where=f"'splits' {where}")
        splits = {SPLIT_WORDS[name]: _pattern(pattern, where=where) for name, pattern in splits.items()}
    labels = value.get("labels")
    if labels is not None and not (isinstance(labels, list) and all(isinstance(name, str) for name in labels)):
        raise DataError(f"'labels' {where} is not a list of names")
    return Spec(
        image=Feature(
            name=_text(value["image"]["feature"], f"feature of 'image' {where}"),
            kind=encoding,
            shape=shape if encoding in ("raw", "floats") else None,
            dtype=_one_of(value["image"].get("dtype", "uint8"), _RAW_TYPES, f"dtype of 'image' {where}"),
        ),
        label=label,
        labels=None if labels is None else tuple(labels),
        splits=splits,
        compression=_one_of(value.get("compression", ""), _COMPRESSIONS, f"compression {where}"),
    )


def _keys(value: Any, allowed: tuple[str, ...], *, needed: tuple[str, ...], where: str) -> None:
    if not isinstance(value, dict):
        raise DataError(f"{where} is not a JSON object", hint=f"Keys: {', '.join(allowed)}.")
    for key in value:
        if key not in allowed:
            error = unknown_name(f"key in {where}:", key, allowed)
            raise DataError(error.message, hint=error.hint)
    for key in needed:
        if key not in value:
            raise DataError(f"{where} has no '{key}'", hint=f"Such as: {EXAMPLE}")


def _one_of(value: Any, allowed: tuple[str, ...], what: str) -> str:
    if value not in allowed:
        raise DataError(f"the {what} is {_shown(value)}", hint=f"Allowed: {', '.join(repr(name) for name in allowed)}.")
    return str(value)


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise DataError(f"the {what} is {_shown(value)}; a name is expected", hint=f"Such as: {EXAMPLE}")
    return value


def _pattern(value: Any, *, where: str) -> str:
    """Return a pattern of file names, or raise a DataError: it stays below its folder."""
    pattern = _text(value, f"pattern of a split {where}")
    parts = pattern.replace("\\", "/").split("/")
    if parts[0] == "" or ":" in parts[0] or ".." in parts or any("**" in part and part != "**" for part in parts):
        raise DataError(
            f"the pattern {_shown(pattern)} of a split {where} is not allowed",
            hint="Name files below the folder of the data: 'train-*', 'part-?.tfrecord' or 'train/*'.",
        )
    return pattern


def _shape(value: Any, *, where: str) -> tuple[int, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not value or not all(type(x) is int and x > 0 for x in value):
        raise DataError(f"a shape {where} is {_shown(value)}; a list of lengths is expected, e.g. [28, 28, 1]")
    return tuple(value)


def _shown(value: Any) -> str:
    """Return a value of a spec, shortened; of nested ones the kind alone."""
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(x, list | dict) for x in value)):
        return "nested"
    text = repr(value)
    return text if len(text) < _SHOWN else text[:_SHOWN] + "…"
