"""Images mirrored, moved, turned and zoomed on the device, with keras.ops."""

from __future__ import annotations

from typing import Any

from keras import ops


def moved(images: Any, moves: Any) -> Any:
    """Return images, each mirrored left to right where asked and then moved by whole pixels; exact.

    Args:
      images: [b, h, w, c], any dtype.
      moves: int32 [b, 3]: the row and the column of the image that come to (0, 0), and 1 where it is mirrored.
    Returns:
      [b, h, w, c] of the same dtype; what is moved in is 0.
    """
    count, height, width, channels = images.shape
    rows = moves[:, 0:1] + ops.reshape(ops.arange(height, dtype="int32"), (1, height))
    columns = moves[:, 1:2] + ops.reshape(ops.arange(width, dtype="int32"), (1, width))
    inside = ops.logical_and(
        ops.reshape(_within(rows, height), (count, height, 1, 1)),
        ops.reshape(_within(columns, width), (count, 1, width, 1)),
    )
    taken = _taken(
        ops.reshape(images, (count * height * width, channels)),
        ops.reshape(ops.clip(rows, 0, height - 1), (count, height, 1)),
        ops.reshape(ops.clip(_mirrored(columns, moves[:, 2:3], width), 0, width - 1), (count, 1, width)),
        height=height,
        width=width,
    )
    return ops.where(inside, ops.reshape(taken, (count, height, width, channels)), ops.zeros_like(images))


def turned(images: Any, moves: Any, turns: Any) -> Any:
    """Return images, each mirrored where asked, then turned and zoomed about its centre, then moved.

    Args:
      images: [b, h, w, c].
      moves: see `moved`.
      turns: float32 [b, 4]: (row, column) of the old image, from the centre, is [[t0, t1], [t2, t3]] times that of the
        new one.
    Returns:
      float32 [b, h, w, c], bilinear between the four nearest pixels; what lies outside is 0.
    """
    count, height, width, channels = images.shape
    flat = ops.cast(ops.reshape(images, (count * height * width, channels)), "float32")
    middle = ((height - 1) / 2, (width - 1) / 2)
    down = ops.cast(moves[:, 0:1], "float32") + ops.reshape(ops.arange(height, dtype="float32"), (1, height))
    right = ops.cast(moves[:, 1:2], "float32") + ops.reshape(ops.arange(width, dtype="float32"), (1, width))
    down = ops.reshape(down - middle[0], (count, height, 1))
    right = ops.reshape(right - middle[1], (count, 1, width))
    parts = [ops.reshape(turns[:, index], (count, 1, 1)) for index in range(4)]
    rows = parts[0] * down + parts[1] * right + middle[0]
    columns = parts[2] * down + parts[3] * right + middle[1]
    columns = _mirrored(columns, ops.cast(ops.reshape(moves[:, 2], (count, 1, 1)), "float32"), width)
    first_row, first_column = ops.floor(rows), ops.floor(columns)
    below, beside = rows - first_row, columns - first_column
    total = 0.0
    for row, row_share in ((first_row, 1 - below), (first_row + 1, below)):
        for column, column_share in ((first_column, 1 - beside), (first_column + 1, beside)):
            inside = ops.cast(ops.logical_and(_within(row, height), _within(column, width)), "float32")
            taken = _taken(
                flat,
                ops.cast(ops.clip(row, 0, height - 1), "int32"),
                ops.cast(ops.clip(column, 0, width - 1), "int32"),
                height=height,
                width=width,
            )
            total = total + taken * ops.expand_dims(inside * row_share * column_share, -1)
    return total


def _within(places: Any, length: int) -> Any:
    return ops.logical_and(places >= 0, places <= length - 1)


def _mirrored(columns: Any, mirrored: Any, width: int) -> Any:
    return columns + mirrored * (width - 1 - 2 * columns)


def _taken(flat: Any, rows: Any, columns: Any, *, height: int, width: int) -> Any:
    """Return the pixels [b, h, w, c] of images [b * h * w, c] at int32 places that broadcast to [b, h, w]."""
    count = rows.shape[0]
    begins = ops.reshape(ops.arange(count, dtype="int32") * (height * width), (count, 1, 1))
    return ops.take(flat, begins + rows * width + columns, axis=0)
