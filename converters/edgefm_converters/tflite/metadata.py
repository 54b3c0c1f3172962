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
from flatbuffers import encode, number_types
from flatbuffers.table import Table

from edgefm.core.errors import ModelError
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
        archive.writestr(labels, "\n".join(metadata.labels) + "\n")
    return file.getvalue()


def read_metadata(content: bytes) -> Metadata | None:
    """Return the metadata in a .tflite file, or None where it has none.

    Raises:
      ModelError: metadata of another kind, or labels.txt is missing.
    """
    model = flatbuffer.editable(content)
    found = [entry.buffer for entry in model.metadata or [] if entry.name == _BUFFER_NAME.encode()]
    if not found:
        return None
    packed = bytearray(memoryview(model.buffers[found[0]].data))
    if packed[4:8] != _IDENTIFIER:
        raise ModelError(f"the metadata has identifier {bytes(packed[4:8])!r}; {_IDENTIFIER!r} is expected")
    root = _Table(Table(packed, encode.Get(number_types.UOffsetTFlags.packer_type, packed, 0)))
    graph = root.tables(3)[0]
    source, sink = graph.tables(2)[0], graph.tables(3)[0]
    image = source.table(3).table(1)
    normalization = source.tables(4)[0].table(1)
    colors = {space: channels for channels, space in _COLOR_SPACE.items()}
    try:
        labels = zipfile.ZipFile(io.BytesIO(content)).read(sink.tables(6)[0].text(0)).decode("utf-8")
    except (KeyError, zipfile.BadZipFile) as error:
        raise ModelError(f"the metadata names a file of labels that is not there: {error}") from error
    return Metadata(
        name=root.text(0),
        description=root.text(1),
        version=root.text(2),
        author=root.text(4),
        license=root.text(5),
        input=_note(source),
        height=image.table(1).integer(1),
        width=image.table(1).integer(0),
        channels=colors.get(image.byte(0), 0),
        mean=normalization.floats(0)[0],
        std=normalization.floats(1)[0],
        output=_note(sink),
        labels=tuple(labels.splitlines()),
    )


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


class _Table:
    """Reads the fields of a FlatBuffer table by their numbers; a missing one as its default."""

    def __init__(self, table: Any) -> None:
        self._table = table

    def text(self, number: int) -> str:
        """Return a string field."""
        place = self._place(number)
        return self._table.String(place).decode("utf-8") if place else ""

    def integer(self, number: int) -> int:
        """Return a uint32 field."""
        place = self._place(number)
        return int(self._table.Get(number_types.Uint32Flags, place)) if place else 0

    def byte(self, number: int) -> int:
        """Return an int8 field."""
        place = self._place(number)
        return int(self._table.Get(number_types.Int8Flags, place)) if place else 0

    def table(self, number: int) -> _Table:
        """Return a table field; it must be there."""
        place = self._place(number)
        if not place:
            raise ModelError(f"the metadata lacks a part (field {number})")
        return _Table(Table(self._table.Bytes, self._table.Indirect(place)))

    def tables(self, number: int) -> list[_Table]:
        """Return a field that is a vector of tables; it must hold one at least."""
        start, length = self._vector(number)
        bytes_ = self._table.Bytes
        return [_Table(Table(bytes_, self._table.Indirect(start + 4 * index))) for index in range(length)]

    def floats(self, number: int) -> list[float]:
        """Return a field that is a vector of float32; it must hold one at least."""
        start, length = self._vector(number)
        return [float(self._table.Get(number_types.Float32Flags, start + 4 * index)) for index in range(length)]

    def _vector(self, number: int) -> tuple[int, int]:
        offset = self._table.Offset(4 + 2 * number)
        if not offset or not self._table.VectorLen(offset):
            raise ModelError(f"the metadata lacks a part (field {number})")
        return int(self._table.Vector(offset)), int(self._table.VectorLen(offset))

    def _place(self, number: int) -> int:
        offset = self._table.Offset(4 + 2 * number)
        return int(offset + self._table.Pos) if offset else 0


def _note(tensor: _Table) -> TensorNote:
    stats = tensor.table(5)
    return TensorNote(
        name=tensor.text(0), description=tensor.text(1), minimum=stats.floats(1)[0], maximum=stats.floats(0)[0]
    )
