"""The tables of a FlatBuffer, read where they lie, in pure Python: what is not asked for is not looked at.

A board's worker needs nothing else, and a memory map is read page by page. Errors of a damaged file are struct.error,
IndexError and UnicodeDecodeError; who reads a file says in words what is wrong with it.

Source: https://flatbuffers.dev/internals.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Sequence
from dataclasses import dataclass

# A number in each position of a format of `struct` has this many bytes.
_WIDTHS = {form: struct.calcsize(form) for form in ("<b", "<B", "<i", "<I", "<q", "<Q", "<f")}
DAMAGES = (struct.error, IndexError, UnicodeDecodeError)


@dataclass(frozen=True)
class Table:
    """A table, by the place of its first byte; fields have the numbers of their order in the schema.

    Attributes:
      content: of the whole FlatBuffer.
      place: of the table.
    """

    content: bytes | mmap.mmap
    place: int

    @classmethod
    def root(cls, content: bytes | mmap.mmap) -> Table:
        """Return the outermost table."""
        return cls(content, _number(content, 0, "<I"))

    def field(self, number: int) -> int | None:
        """Return the place of a field, or None where it is absent."""
        vtable = self.place - _number(self.content, self.place, "<i")
        size = _number(self.content, vtable, "<H")
        slot = 4 + 2 * number
        if slot + 2 > size:
            return None
        offset = _number(self.content, vtable + slot, "<H")
        return self.place + offset if offset else None

    def number(self, number: int, form: str) -> int | None:
        """Return the number in a field, or None where it is absent; `form` is of `struct`, e.g. '<Q'."""
        place = self.field(number)
        return None if place is None else _number(self.content, place, form)

    def reference(self, number: int) -> int | None:
        """Return the place that a field refers to, or None where it is absent."""
        place = self.field(number)
        return None if place is None else place + _number(self.content, place, "<I")

    def table(self, number: int) -> Table | None:
        """Return the table that a field refers to, or None where it is absent."""
        place = self.reference(number)
        return None if place is None else Table(self.content, place)

    def tables(self, number: int) -> TableVector:
        """Return the tables in a vector; it is empty where the field is absent."""
        return TableVector(self.content, self.reference(number))

    def numbers(self, number: int, form: str) -> tuple[int, ...] | None:
        """Return the whole numbers in a vector, or None where it is absent."""
        values = self._vector(number, form)
        return None if values is None else tuple(int(value) for value in values)

    def floats(self, number: int) -> tuple[float, ...]:
        """Return the float32 numbers in a vector, () where it is absent."""
        return self._vector(number, "<f") or ()

    def extent(self, number: int) -> tuple[int, int] | None:
        """Return (start, length) of a vector of bytes, or None where it is absent."""
        place = self.reference(number)
        return None if place is None else (place + 4, _number(self.content, place, "<I"))

    def text(self, number: int, *, errors: str = "strict") -> str:
        """Return a string, '' where it is absent."""
        start, length = self.extent(number) or (0, 0)
        return self.content[start : start + length].decode("utf-8", errors)

    def _vector(self, number: int, form: str) -> tuple[float, ...] | None:
        start, length = self.extent(number) or (None, 0)
        if start is None:
            return None
        if start + length * _WIDTHS[form] > len(self.content):
            raise struct.error("a vector reaches beyond the end of the file")
        return struct.unpack_from(f"<{length}{form[1]}", self.content, start)


@dataclass(frozen=True)
class TableVector(Sequence[Table]):
    """The tables in a vector, each made when it is asked for.

    Attributes:
      content: of the whole FlatBuffer.
      place: of the vector; None where it is absent.
    """

    content: bytes | mmap.mmap
    place: int | None

    def __len__(self) -> int:
        return 0 if self.place is None else _number(self.content, self.place, "<I")

    def __getitem__(self, index: int) -> Table:  # type: ignore[override]  # no slices
        if self.place is None or not 0 <= index < len(self):
            raise IndexError(f"table {index} is not in its vector")
        entry = self.place + 4 + 4 * index
        return Table(self.content, entry + _number(self.content, entry, "<I"))


def _number(content: bytes | mmap.mmap, place: int, form: str) -> int:
    """Return one number at a place; struct.error where it lies outside the file."""
    if place < 0:  # struct would count it from the end
        raise struct.error("before the start of the file")
    value: int = struct.unpack_from(form, content, place)[0]
    return value
