"""Damaged data: .npz files, IDX files, pictures; and bombs, which are small and unpack to much."""

from __future__ import annotations

import gzip
import importlib
import io
import random
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.faults.bench import Bench, Outcome, Part
from tests.faults.damage import bytes_damaged
from tests.faults.documents import _ran

_IDX_FILES = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
_HEADERS = (
    "{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999,)}",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}",
    "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (60, 2**40)}",
    "{'descr': [('a', '<f8')] * 3, 'fortran_order': False, 'shape': (1,)}",
    "{'descr': '<M8[ns]', 'fortran_order': False, 'shape': (8,)}",
    "{'descr': '<U3', 'fortran_order': False, 'shape': (5,)}",
    "{'descr': '<U999999999', 'fortran_order': False, 'shape': (5,)}",
    "{'descr': '<c16', 'fortran_order': False, 'shape': (4,)}",
    "{'descr': '|V8', 'fortran_order': True, 'shape': (8,)}",
    "{'descr': '|u1', 'fortran_order': False, 'shape': ()}",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (0,)}",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (9223372036854775807, 9223372036854775807)}",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (True,)}",
    "(" * 900 + ")" * 900,
    "[" * 5000,
    "-" * 60_000 + "1",
)
_PICTURES = (
    ("PNG", "RGB"), ("PNG", "P"), ("PNG", "RGBA"), ("JPEG", "RGB"), ("GIF", "P"), ("TIFF", "RGB"), ("WEBP", "RGB"),
    ("BMP", "RGB"), ("PNG", "I;16"), ("ICO", "RGBA"), ("PPM", "RGB"),
)  # fmt: skip
_SIZES = ((13_000, 13_000), (20_000, 20_000), (1, 10**6), (10**6, 1), (0, 1), (2**31 - 1, 1), (65_535, 65_535))


def warm() -> None:
    """Import what reads data, before the first fork."""
    for name in (
        "cli.data",
        "cli.predict",
        "jobs.predict",
        "data.own.load",
        "data.own.npz_data",
        "data.picture_file",
        "data.reference.idx",
        "runtimes.litert",
    ):
        importlib.import_module(f"edgefm.{name}")
    importlib.import_module("ai_edge_litert.interpreter")
    importlib.import_module("PIL.Image").init()


def npz(bench: Bench) -> Iterator[Outcome]:
    """Arrays in .npz files, as `--data FILE.npz` reads them."""
    from edgefm.data.own.load import load_data

    r, path = bench.random, bench.folder / "data.npz"
    generator = np.random.default_rng(r.getrandbits(32))
    x, y = generator.integers(0, 255, (60, 8, 8, 1), np.uint8), np.arange(60) % 3
    names = np.array(["a", "b", "c"])
    seeds = [
        _npz(x_train=x, y_train=y),
        _npz(np.savez_compressed, x=x, y=y),
        _npz(images=np.float32(x), labels=y, label_names=names),
    ]

    def read(shape: tuple[int, ...] | None) -> Outcome:
        return bench.forked(
            lambda: _ran(lambda: load_data(str(path), input_shape=shape)), file=path, how=f"--data data.npz  # {how}"
        )

    for data in seeds:
        path.write_bytes(data)
        how = "undamaged"
        bench.control(read((8, 8, 1)))
    while True:
        chosen = r.random()
        if chosen < 0.2:
            data, how = _headed(r.choice(_HEADERS), r), "header of an array"
        elif chosen < 0.4:
            data, how = _odd(x, y, r), "odd arrays"
        else:
            data, how = bytes_damaged(r.choice(seeds), r, r.choice(seeds))
        path.write_bytes(data)
        yield read(r.choice(((8, 8, 1), None)))


def _npz(save: Any = np.savez, **arrays: Any) -> bytes:
    buffer = io.BytesIO()
    save(buffer, **arrays)
    return buffer.getvalue()


def _headed(header: str, r: random.Random) -> bytes:
    """Return a .npz whose first array has a header of one's own."""
    version = r.choice(((1, 0), (2, 0), (3, 0), (9, 9)))
    line = header.encode() + b"\n"
    size = struct.pack("<H" if version == (1, 0) else "<I", len(line))
    buffer, labels = io.BytesIO(), io.BytesIO()
    np.save(labels, np.arange(60) % 3)
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY" + bytes(version) + size + line + bytes(64))
        archive.writestr("y.npy", labels.getvalue())
    return buffer.getvalue()


def _odd(x: Any, y: Any, r: random.Random) -> bytes:
    """Return a .npz of whole arrays of kinds that are no pictures and no labels."""
    odd = (
        np.array(3),
        np.array([]),
        np.zeros((60, 0, 8, 1), np.uint8),
        np.array(["a"] * 60),
        np.array([b"\xff"] * 60),
        np.full(60, np.nan),
        np.full(60, 2**62),
        -y,
        y.astype(bool),
        y.astype(complex),
        np.zeros(60, "M8[s]"),
        np.zeros(60, [("a", "i4")]),
        np.eye(60)[:, :3],
        np.zeros((60, 8, 8), np.uint16),
        np.full((60, 8, 8, 1), np.inf),
        y[:59],
        np.full(60, 10**7),
        np.zeros((2, 1, 1, 1, 1, 1, 1, 1)),
    )
    named = {"label_names": r.choice(odd)} if r.random() < 0.3 else {}
    return _npz(x=r.choice((x, *odd)), y=r.choice((y, *odd)), **named)


def idx(bench: Bench) -> Iterator[Outcome]:
    """IDX files, packed and plain."""
    from edgefm.data.reference import idx

    r, path = bench.random, bench.folder / "x.gz"
    plain = b"\0\0\x08\x03" + struct.pack(">3I", 20, 28, 28) + r.randbytes(20 * 784)
    packed = gzip.compress(plain, mtime=0)

    def read(how: str) -> Outcome:
        return bench.forked(
            lambda: _ran(lambda: idx.read(path)), file=path, how=f"edgefm.data.reference.idx.read  # {how}"
        )

    for data in (plain, packed):
        path.write_bytes(data)
        bench.control(read("undamaged"))
    while True:
        data, how = bytes_damaged(r.choice((plain, packed, packed)), r, plain)
        if r.random() < 0.1:
            extents = r.choice((0, 1, 3, 64, 255))
            data = bytes((0, 0, 8, extents)) + b"".join(
                struct.pack(">I", r.choice((0, 1, 2**31, 2**32 - 1))) for _ in range(extents)
            )
            data, how = r.choice((data, gzip.compress(data))), f"{extents} dimensions"
        path.write_bytes(data)
        outcome = read(how)
        if (
            outcome.kind == "accepted"
            and path.suffix == ".gz"
            and data[:2] == b"\x1f\x8b"
            and _unpacked(data) != plain
            and data[-8:] == packed[-8:]
        ):
            outcome = broken(outcome, "another content than the file's CRC says was accepted")
        yield outcome


def _unpacked(data: bytes) -> bytes:
    try:
        return zlib.decompress(data, wbits=16 + zlib.MAX_WBITS)
    except zlib.error:
        return b""


def broken(outcome: Outcome, detail: str) -> Outcome:
    """Return an outcome as a failure with a reason of its own."""
    from dataclasses import replace

    return replace(outcome, kind="broken", detail=detail)


def reference_data(bench: Bench) -> Iterator[Outcome]:
    """The four files of the reference data set, whose sha256 are known: whatever differs must be refused."""
    r = bench.random
    folder = bench.folder / "data"
    folder.mkdir()
    images = gzip.compress(b"\0\0\x08\x03" + struct.pack(">3I", 50, 28, 28) + r.randbytes(50 * 784), mtime=0)
    labels = gzip.compress(b"\0\0\x08\x01" + struct.pack(">I", 50) + bytes(50), mtime=0)
    while True:
        for name in _IDX_FILES:
            data, how = bytes_damaged(images if "images" in name else labels, r)
            (folder / f"{name}-ubyte.gz").write_bytes(data)
        outcome = bench.command(
            "data", "info", "--data-dir", folder, "--out", bench.folder / "info", file=folder, how=how
        )
        yield (
            broken(outcome, "other files than the known ones were accepted") if outcome.kind == "accepted" else outcome
        )


def pictures(bench: Bench) -> Iterator[Outcome]:
    """Pictures of all formats, through `predict`; and those that unpack to much."""
    from PIL import Image

    r, path = bench.random, bench.folder / "p.png"
    for name in ("model.tflite", "contract.json"):
        shutil.copyfile(bench.models / "int8_w8a8" / name, bench.folder / name)
    argv = ("predict", path, "--model", bench.folder / "model.tflite")
    generator = np.random.default_rng(r.getrandbits(32))
    coloured = Image.fromarray(generator.integers(0, 255, (40, 50, 3), np.uint8))
    deep = Image.fromarray(generator.integers(0, 65_535, (40, 50)).astype(np.uint16))
    seeds = []
    for form, mode in _PICTURES:
        buffer = io.BytesIO()
        (deep if mode == "I;16" else coloured.convert(mode)).save(buffer, form)
        seeds.append(buffer.getvalue())
    path.write_bytes(r.choice(seeds))
    bench.control(bench.command(*argv))
    for width, height in r.sample(_SIZES, len(_SIZES)):
        path.write_bytes(_png(width, height))
        yield bench.command(*argv, file=path, how=f"PNG of {width} x {height}", seconds=60)
        for _ in range(30):
            data, how = bytes_damaged(r.choice(seeds), r, r.choice(seeds))
            path.write_bytes(data)
            yield bench.command(*argv, "--invert", r.choice(("auto", "yes", "no")), file=path, how=how)
    while True:
        data, how = bytes_damaged(r.choice(seeds), r, r.choice(seeds))
        path.write_bytes(data)
        yield bench.command(*argv, file=path, how=how)


def _png(width: int, height: int) -> bytes:
    """Return a grey PNG of zeros; its lines are fewer than it says where that would be too much to write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    lines = zlib.compress(bytes((1 + min(width, 10**6)) * min(height, 20_000 if width < 10**5 else 1)), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", lines) + chunk(b"IEND", b"")


def bombs(bench: Bench) -> Iterator[Outcome]:
    """Small files that unpack to gigabytes."""
    from edgefm.data.own.load import load_data
    from edgefm.data.reference import idx

    r, packed, arrays = bench.random, bench.folder / "bomb.gz", bench.folder / "bomb.npz"
    while True:
        gigabytes = r.choice((3, 4))
        with gzip.open(packed, "wb", compresslevel=1) as file:
            file.write(b"\0\0\x08\x03" + struct.pack(">3I", *r.choice(((10, 28, 28), (gigabytes << 10, 1024, 1024)))))
            _zeros(file, gigabytes)
        yield bench.forked(
            lambda: _ran(lambda: idx.read(packed)), file=packed, how=f"gzip of {gigabytes} GB", seconds=60
        )
        with zipfile.ZipFile(arrays, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            shape = r.choice((f"({gigabytes}000, 1000, 1000)", "(60, 8, 8, 1)"))
            line = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
            with archive.open("x.npy", "w", force_zip64=True) as member:
                member.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(line)) + line)
                _zeros(member, gigabytes)
        yield bench.forked(
            lambda: _ran(lambda: load_data(str(arrays), input_shape=None)),
            file=arrays,
            how=f"npz of {gigabytes} GB",
            seconds=60,
        )
        arrays.unlink()


def _zeros(file: Any, gigabytes: int) -> None:
    block = bytes(1 << 24)
    for _ in range(gigabytes << 6):
        file.write(block)


PARTS = (
    Part(name="npz", count=2000, tries=npz),
    Part(name="idx", count=2000, weight=0.7, tries=idx),
    Part(name="reference-data", count=300, weight=0.5, tries=reference_data),
    Part(name="picture", count=2000, weight=2.0, tries=pictures),
    Part(name="bomb", slow=True, count=12, weight=1.5, tries=bombs),
)
