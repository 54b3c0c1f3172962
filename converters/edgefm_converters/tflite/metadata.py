"""TFLite metadata: what a model takes and gives, inside its file, for tools that read no contract.json.

A file with metadata is the FlatBuffer of the model, in it a buffer named TFLITE_METADATA that holds a FlatBuffer of
its own, and behind it a zip archive with labels.txt. Runtimes ignore both. Google's writer of it no longer installs
beside today's TensorFlow; the format is small and fixed, so it is written here with `flatbuffers` alone.

Source: metadata_schema.fbs, version 1.1.0, identifier M001, of github.com/tensorflow/tflite-support; the numbers of
the fields below are their places in its tables.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from edgefm.core.errors import ModelError
from edgefm.core.text import one_a_line
from edgefm.tflite import flatbuffer

LABELS_FILE = "labels.txt"
_BUFFER_NAME = "TFLITE_METADATA"
_IDENTIFIER = b"M001"
_MIN_PARSER_VERSION = "1.0.0"
_TENSOR_AXIS_LABELS = 2
_COLOR_SPACE = {1: 2, 3: 1}  # channels -> GRAYSCALE or RGB
_FEATURE, _IMAGE = 1, 2  # of the union ContentProperties
_NORMALIZATION = 1  # of the union ProcessUnitOptions
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the zip format's earliest: equal content gives equal bytes


@dataclass(frozen=True, kw_only=True)
class TensorNote:
    """What the metadata says of one end of the model.

    Attributes:
      name: of the tensor.
      description: in words.
      minimum: least real value.
      maximum: greatest real value.
    """

    name: str
    description: str
    minimum: float
    maximum: float


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """The metadata of an image classifier.

    Attributes:
      name: of the model.
      description: in words.
      version: of the model.
      author: who made it.
      license: of the model.
      input: a picture.
      height: of the picture, pixels.
      width: of the picture, pixels.
      channels: 1 for grey, 3 for RGB; the colour space of other numbers is unknown.
      mean: real input = (pixel - mean) / std.
      std: see `mean`.
      output: one probability a label.
      labels: class names in the order of the output; labels.txt in the archive.
    """

    name: str
    description: str
    version: str
    author: str
    license: str
    input: TensorNote
    height: int
    width: int
    channels: int
    mean: float
    std: float
    output: TensorNote
    labels: tuple[str, ...]


def with_metadata(content: bytes, metadata: Metadata) -> bytes:
    """Return a model with metadata and labels.txt in its file; metadata that it has already is replaced.

    Args:
      content: a .tflite file with one input and one output.
      metadata: what to say of it.
    Raises:
      ModelError: a label holds a line break, or is empty: labels.txt has one label a line.
    """
    for label in metadata.labels:
        if not label.strip() or len(label.splitlines()) != 1:
            raise ModelError(f"label {label!r} cannot stand in {LABELS_FILE}: one line, not empty, is expected")
    model = flatbuffer.editable(content)
    present = [entry.buffer for entry in model.metadata or [] if entry.name == _BUFFER_NAME.encode()]
    if present:
        model.buffers[present[0]].data = _pack(metadata)
    else:
        model.buffers.append(schema.BufferT(data=_pack(metadata)))
        entry = schema.MetadataT(name=_BUFFER_NAME, buffer=len(model.buffers) - 1)
        model.metadata = [*(model.metadata or []), entry]
    file = io.BytesIO(flatbuffer.write(model))
    with zipfile.ZipFile(file, "a", zipfile.ZIP_STORED) as archive:
        labels = zipfile.ZipInfo(LABELS_FILE, date_time=_ZIP_TIME)
        labels.external_attr = 0o644 << 16
        archive.writestr(labels, one_a_line(metadata.labels))
    return file.getvalue()


def _pack(metadata: Metadata) -> bytes:
    """Return the FlatBuffer of a ModelMetadata table."""
    builder = flatbuffers.Builder(1024)
    write = _FlatBufferWriter(builder)
    size = write.table({0: ("uint32", metadata.width), 1: ("uint32", metadata.height)})
    color = _COLOR_SPACE.get(metadata.channels, 0)
    image = write.table({0: ("int8", color), 1: ("offset", size)})
    picture = write.table({0: ("uint8", _IMAGE), 1: ("offset", image)})
    normalization = write.table(
        {0: ("offset", write.floats([metadata.mean])), 1: ("offset", write.floats([metadata.std]))}
    )
    unit = write.table({0: ("uint8", _NORMALIZATION), 1: ("offset", normalization)})
    source = _pack_tensor(write, metadata.input, picture, {4: ("offset", write.offsets([unit]))})
    labels = write.table(
        {
            0: ("offset", write.text(LABELS_FILE)),
            1: ("offset", write.text("Names of the classes in the order of the output, one a line.")),
            2: ("int8", _TENSOR_AXIS_LABELS),
        }
    )
    feature = write.table({0: ("uint8", _FEATURE), 1: ("offset", write.table({}))})
    sink = _pack_tensor(write, metadata.output, feature, {6: ("offset", write.offsets([labels]))})
    graph = write.table({2: ("offset", write.offsets([source])), 3: ("offset", write.offsets([sink]))})
    root = write.table(
        {
            0: ("offset", write.text(metadata.name)),
            1: ("offset", write.text(metadata.description)),
            2: ("offset", write.text(metadata.version)),
            3: ("offset", write.offsets([graph])),
            4: ("offset", write.text(metadata.author)),
            5: ("offset", write.text(metadata.license)),
            7: ("offset", write.text(_MIN_PARSER_VERSION)),
        }
    )
    builder.Finish(root, file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


def _pack_tensor(write: _FlatBufferWriter, note: TensorNote, content: int, more: dict[int, tuple[str, int]]) -> int:
    stats = write.table({0: ("offset", write.floats([note.maximum])), 1: ("offset", write.floats([note.minimum]))})
    name, description = write.text(note.name), write.text(note.description)
    return write.table(
        {0: ("offset", name), 1: ("offset", description), 3: ("offset", content), 5: ("offset", stats), **more}
    )


class _FlatBufferWriter:
    """Writes the parts of a FlatBuffer, inner ones first; each method returns the part's place."""

    def __init__(self, builder: Any) -> None:
        self._builder = builder
        self._slots: dict[str, Callable[[int, int, int], None]] = {
            "offset": builder.PrependUOffsetTRelativeSlot,
            "uint8": builder.PrependUint8Slot,
            "int8": builder.PrependInt8Slot,
            "uint32": builder.PrependUint32Slot,
        }

    def table(self, fields: dict[int, tuple[str, int]]) -> int:
        """Write a table: {number of a field: (type, value)}."""
        self._builder.StartObject(max(fields, default=-1) + 1)
        for number, (kind, value) in fields.items():
            self._slots[kind](number, value, 0)
        return int(self._builder.EndObject())

    def text(self, value: str) -> int:
        """Write a string."""
        return int(self._builder.CreateString(value))

    def offsets(self, places: Sequence[int]) -> int:
        """Write a vector of tables."""
        self._builder.StartVector(4, len(places), 4)
        for place in reversed(places):
            self._builder.PrependUOffsetTRelative(place)
        return int(self._builder.EndVector())

    def floats(self, values: Sequence[float]) -> int:
        """Write a vector of float32."""
        self._builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            self._builder.PrependFloat32(value)
        return int(self._builder.EndVector())
