"""Event files that TensorBoard reads, written without TensorFlow: scalars of each epoch.

A file is a sequence of records, each with its length and two checksums (TFRecord); a record is an Event message of
protocol buffers. Source: tensorflow/core/util/event.proto and tensorflow/core/framework/summary.proto.
"""

from __future__ import annotations

import functools
import os
import socket
import struct
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# Names in a history, by the folder that TensorBoard shows as a curve of its own, and the name that Keras gives them.
_SCALARS = {
    "train": {"loss": "epoch_loss", "accuracy": "epoch_accuracy", "learning_rate": "epoch_learning_rate"},
    "validation": {"val_loss": "epoch_loss", "val_accuracy": "epoch_accuracy"},
}
_CRC32C = 0x82F63B78


class EventFiles:
    """Writes the history of a training for TensorBoard, into `train/` and `validation/` of a folder."""

    def __init__(self, folder: Path) -> None:
        self._paths: dict[str, Path] = {}
        name = f"events.out.tfevents.{_seconds():.6f}.{socket.gethostname()}.{os.getpid()}.v2"
        for part in _SCALARS:
            (folder / part).mkdir(parents=True, exist_ok=True)
            self._paths[part] = folder / part / name
            self._append(part, _string(3, b"brain.Event:2"))

    def epoch(self, entry: Mapping[str, Any]) -> None:
        """Add an entry of a history; its epoch, counted from 0 as Keras counts, is the step."""
        for part, scalars in _SCALARS.items():
            values = [
                _string(1, _string(1, tag.encode()) + _float(2, float(entry[name])))
                for name, tag in scalars.items()
                if name in entry
            ]
            self._append(part, _varint(2, int(entry["epoch"]) - 1) + _string(5, b"".join(values)))

    def _append(self, part: str, event: bytes) -> None:
        with self._paths[part].open("ab") as file:
            file.write(record(b"\x09" + struct.pack("<d", _seconds()) + event))


def _seconds() -> float:
    """Return the time of day, in seconds since 1970 (UTC), as event files hold it."""
    return datetime.now(UTC).timestamp()


def record(content: bytes) -> bytes:
    """Return content as one TFRecord."""
    length = struct.pack("<Q", len(content))
    return length + struct.pack("<I", _masked(length)) + content + struct.pack("<I", _masked(content))


def _masked(content: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in content:
        crc = _table()[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


@functools.cache
def _table() -> tuple[int, ...]:
    values = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (_CRC32C if byte & 1 else 0)
        values.append(byte)
    return tuple(values)


def _varint(field: int, value: int) -> bytes:
    digits = bytearray([field << 3])
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])


def _string(field: int, content: bytes) -> bytes:
    return bytes([field << 3 | 2]) + _varint(0, len(content))[1:] + content


def _float(field: int, value: float) -> bytes:
    return bytes([field << 3 | 5]) + struct.pack("<f", value)
