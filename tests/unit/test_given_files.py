"""Files of others: what is no regular file is refused, what says too much of itself too, and damage is one message."""

from __future__ import annotations

import gzip
import io
import os
import socket
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgefm.cli.own_data import labels_of
from edgefm.core.errors import DataError, EdgefmError, ModelError, RecipeError
from edgefm.core.given import damage, limits, memory, regular
from edgefm.data.own import tfrecord_frames
from edgefm.data.own.load import load_data
from edgefm.data.own.tfrecord_spec import read_spec
from edgefm.data.picture_file import open_picture
from edgefm.data.reference import idx
from edgefm.quantization.calibration_set import read_samples
from edgefm.tflite import tflite_file
from edgefm.tflite.inspection import inspect
from edgefm_converters.readers import stored_config
from edgefm_converters.readers.stored_config import read_stored
from tests.fixtures import agreement_models, tiny_models

READERS: dict[str, Callable[[Path], object]] = {
    "npz": lambda path: load_data(str(path), input_shape=None),
    "calibration": read_samples,
    "idx": idx.read,
    "picture": open_picture,
    "tfrecord": lambda path: tfrecord_frames.check(path, ""),
    "spec": read_spec,
    "labels": labels_of,
    "tflite": tflite_file.check,
    "inspect": inspect,
    "keras": stored_config.read_stored,
}


def fifo(path: Path) -> str:
    os.mkfifo(path)
    return "a FIFO"


def listening(path: Path) -> str:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    return "a socket"


def device(path: Path) -> str:
    path.symlink_to("/dev/zero")
    return "a device"


@pytest.mark.parametrize("make", [fifo, listening, device])
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_regular_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str, make: Callable[[Path], str]
) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    path = Path("given.npz")
    what = make(path)
    with pytest.raises(EdgefmError, match=f"given.npz is {what}; a file is expected"):
        READERS[reader](path)


def test_what_is_opened_is_what_was_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that becomes a FIFO between the two is refused as well."""
    path = tmp_path / "given"
    fifo(path)
    monkeypatch.setattr(regular, "check", lambda *_, **__: None)
    with pytest.raises(DataError, match="is a FIFO"):
        regular.open_file(path, DataError, missing="missing")


@pytest.mark.parametrize("name", ["x" * 5000, "loop", "zero\0byte", "gone"])
def test_paths_that_lead_nowhere_are_missing(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(DataError, match="it is missing"):
        regular.check(tmp_path / name, DataError, missing="it is missing")


# ---- what a file says that it unpacks to


@pytest.fixture
def one_megabyte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(limits.VARIABLE, "1")


def zeros_npz(folder: Path) -> Path:
    np.savez_compressed(folder / "data.npz", images=np.zeros((2, 1 << 10, 1 << 10), np.uint8))
    return folder / "data.npz"


def zeros_idx(folder: Path) -> Path:
    (folder / "data.gz").write_bytes(gzip.compress(b"\0\0\x08\x01" + struct.pack(">I", 2 << 20) + bytes(2 << 20)))
    return folder / "data.gz"


def black_picture(folder: Path) -> Path:
    Image.new("L", (1024, 1024)).save(folder / "black.png")
    return folder / "black.png"


def zeros_tfrecord(folder: Path) -> Path:
    (folder / "a.tfrecord").write_bytes(gzip.compress(struct.pack("<Q", 2 << 20) + bytes((2 << 20) + 8)))
    return folder / "a.tfrecord"


BOMBS: dict[str, tuple[Callable[[Path], Path], Callable[[Path], object]]] = {
    "npz": (zeros_npz, read_samples),
    "idx": (zeros_idx, idx.read),
    "picture": (black_picture, open_picture),
    "tfrecord": (zeros_tfrecord, lambda path: tfrecord_frames.check(path, "GZIP")),
}


@pytest.mark.usefixtures("one_megabyte")
@pytest.mark.parametrize("kind", BOMBS)
def test_file_that_unpacks_to_more_than_it_may_is_refused_with_the_way_to_raise_it(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, read = BOMBS[kind]
    path = make(tmp_path)
    with pytest.raises(DataError, match=f"{path.name}.* would take .* MB of memory") as caught:
        read(path)
    assert caught.value.hint is not None
    name, _, value = caught.value.hint.rpartition("set ")[2].rstrip(".").partition("=")
    monkeypatch.setenv(name, value)
    read(path)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", "9" * 400])
def test_limit_that_is_no_number_is_an_error(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(limits.VARIABLE, text)
    with pytest.raises(RecipeError, match="a whole number of megabytes"):
        limits.of_file(1)


@pytest.mark.usefixtures("one_megabyte")
def test_pictures_that_are_many_and_large_are_refused_where_their_size_is_their_own(tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / label).mkdir()
        for index in range(8):
            Image.new("L", (512, 512), index).save(tmp_path / label / f"{index}.png")
    with pytest.raises(DataError, match="would take 4 MB of memory"):
        load_data(str(tmp_path), input_shape=None)
    assert load_data(str(tmp_path), input_shape=(4, 4, 1)).labels == ("a", "b")


def test_pictures_of_a_class_that_are_no_files_are_told(tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / label).mkdir()
        for index in range(3):
            Image.new("L", (4, 4), index).save(tmp_path / label / f"{index}.png")
    (tmp_path / "a" / "endless.png").symlink_to("/dev/zero")
    with pytest.raises(DataError, match=r"endless\.png is a device"):
        load_data(str(tmp_path), input_shape=(4, 4, 1))


def test_content_behind_what_the_header_says_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "data.gz"
    path.write_bytes(gzip.compress(b"\0\0\x08\x01" + struct.pack(">I", 3) + bytes(100 << 20), compresslevel=1))
    assert len(idx.read_content(path).data) == 12  # one byte more than the header says
    with pytest.raises(DataError, match="has trailing bytes"):
        idx.read(path)


# ---- damaged .npz files


def with_header(header: bytes, body: bytes = bytes(64), version: tuple[int, int] = (1, 0)) -> bytes:
    size = struct.pack("<H" if version == (1, 0) else "<I", len(header))
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("images.npy", b"\x93NUMPY" + bytes(version) + size + header + body)
    return content.getvalue()


def with_members(*members: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, value in members:
            archive.writestr(name, value)
    return content.getvalue()


def npy(array: object) -> bytes:
    content = io.BytesIO()
    np.save(content, np.asarray(array))
    return content.getvalue()


UINT8 = b"{'descr': '|u1', 'fortran_order': False, 'shape': %s}\n"
DAMAGED_NPZ = {
    "larger than its bytes": with_header(UINT8 % b"(99999999999,)"),
    "beyond 64 bits": with_header(UINT8 % b"(9223372036854775807, 9223372036854775807)"),
    "negative": with_header(UINT8 % b"(-1,)"),
    "not evaluated": with_header(UINT8 % b"(60, 2**40)"),
    "nested": with_header(b"(" * 900 + b")" * 900 + b"\n"),
    "brackets": with_header(b"[" * 5000 + b"\n"),
    "many minus": with_header(b"-" * 60000 + b"1\n"),
    "many of nothing": with_header(b"{'descr': '<U0', 'fortran_order': False, 'shape': (99999999999,)}\n", b""),
    "records of nothing": with_header(b"{'descr': [], 'fortran_order': False, 'shape': (99999999999,)}\n", b""),
    "no tokens": with_header(b"'''\n"),
    "no dictionary": with_header(b"1\n"),
    "no version": with_header(UINT8 % b"(64,)", version=(9, 9)),
    "no text": with_header(b"\xff\xfe\0" * 30, version=(3, 0)),
    "header of gigabytes": with_header(b"", version=(2, 0))[:-200] + b"\xff" * 200,
    "twice": with_members(("images.npy", npy([1])), ("images.npy", npy([2]))),
    "lzma": with_members(("images.npy", npy([1])), method=zipfile.ZIP_LZMA),
    "cut": with_members(("images.npy", npy(np.arange(9000))))[:-900],
    "objects": with_header(b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}\n"),
    "a pickle": b"\x80\x04\x95\x0b\0\0\0\0\0\0\0\x8c\x07builtin\x94.",
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", DAMAGED_NPZ)
def test_damaged_npz_is_one_message(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(DAMAGED_NPZ[name])
    with pytest.raises(DataError, match=r"data\.npz") as caught:
        read_samples(path)
    assert "\n" not in caught.value.message and len(caught.value.message) < 600
    assert capfd.readouterr() == ("", "")


# ---- TFRecord files and their specs

LABEL = b'"label": {"feature": "l"}'
DAMAGED_SPECS = {
    "nested": (b"[" * 100_000, "nested deeper than 64 levels"),
    "no text": (b"\xff\xfe\xff", "is not UTF-8 text"),
    "digits": (b"9" * 5000, "a whole number of thousands of digits"),
    "bool in a shape": (
        b'{"image": {"feature": "i", "encoding": "raw", "shape": [true]}, %s}' % LABEL,
        "a list of lengths",
    ),
    "nested shape": (
        b'{"image": {"feature": "i", "encoding": "raw", "shape": %s}}' % (b"[" * 900 + b"]" * 900),
        "nested deeper than 64 levels",
    ),
    "list for a name": (b'{"image": {"feature": ["i"], "encoding": "png"}}', "a name is expected"),
    "list for an encoding": (b'{"image": {"feature": "i", "encoding": ["png"]}}', r"is \['png'\]"),
    "object for a dtype": (b'{"image": {"feature": "i", "encoding": "png", "dtype": {}}}', "dtype"),
    "object for a pattern": (
        b'{"image": {"feature": "i", "encoding": "png"}, "splits": {"train": {"a": 1}}}',
        "a name is expected",
    ),
    **{
        f"pattern {pattern}": (
            b'{"image": {"feature": "i", "encoding": "png"}, "splits": {"train": "%s"}}' % pattern.encode(),
            "is not allowed",
        )
        for pattern in ("/etc/*", "../private/*", "a/../../b", "**a", "C:/x*", "\\\\\\\\host\\\\x")
    },
}


@pytest.mark.parametrize("name", DAMAGED_SPECS)
def test_spec_of_a_stranger_is_one_message(tmp_path: Path, name: str) -> None:
    content, words = DAMAGED_SPECS[name]
    path = tmp_path / "spec.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        read_spec(path)
    assert len(caught.value.message) < 600


RECORD = struct.pack("<Q", 10) + bytes(4 + 10 + 4)
DAMAGED_FRAMES = {
    "length of exabytes": (struct.pack("<Q", 1 << 62) + bytes(8), ""),
    "cut": (RECORD[:-1], ""),
    "odd bytes behind": (RECORD + b"1", ""),
    "cut gzip": (gzip.compress(RECORD * 3)[:-9], "GZIP"),
    "cut record in gzip": (gzip.compress(RECORD + RECORD[:20]), "GZIP"),
    "plain as gzip": (RECORD, "GZIP"),
    "cut zlib": (zlib.compress(RECORD * 3)[:-6], "ZLIB"),
    "plain as zlib": (RECORD, "ZLIB"),
}


@pytest.mark.parametrize("name", DAMAGED_FRAMES)
def test_damaged_tfrecord_never_reaches_tensorflow(tmp_path: Path, name: str) -> None:
    content, compression = DAMAGED_FRAMES[name]
    path = tmp_path / "a.tfrecord"
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as a TFRecord file"):
        tfrecord_frames.check(path, compression)


@pytest.mark.parametrize(
    ("content", "compression"),
    [(RECORD * 3, ""), (b"", ""), (gzip.compress(RECORD * 3), "GZIP"), (zlib.compress(RECORD * 3), "ZLIB")],
    ids=["plain", "empty", "gzip", "zlib"],  # the content differs from process to process: gzip holds the time
)
def test_whole_tfrecord_passes(tmp_path: Path, content: bytes, compression: str) -> None:
    (tmp_path / "a.tfrecord").write_bytes(content)
    tfrecord_frames.check(tmp_path / "a.tfrecord", compression)


# ---- pictures


def test_picture_of_a_format_that_runs_programs_is_refused(tmp_path: Path) -> None:
    """Pillow reads EPS by running Ghostscript on it."""
    path = tmp_path / "drawing.png"
    Image.new("RGB", (8, 8)).save(path, "EPS")
    with pytest.raises(DataError, match="not a picture that Pillow can read"):
        open_picture(path)


# ---- the boundary and the limit of memory

_FAR_MORE = (os.cpu_count() or 1) * (32 << 20) + (256 << 20)


@pytest.mark.parametrize(
    "raised",
    [RecursionError(), MemoryError(), OverflowError("big"), struct.error("short"), zlib.error("bad"), EOFError()],
    ids=lambda raised: type(raised).__name__,
)
def test_whatever_a_library_raises_is_told(raised: Exception) -> None:
    with pytest.raises(DataError, match="x cannot be read: "), damage.told(DataError, "x cannot be read"):
        raise raised


@pytest.mark.parametrize(
    "raised", [PermissionError(13, "no"), OSError(28, "full"), ModelError("own"), KeyboardInterrupt()]
)
def test_what_is_not_the_files_fault_passes(raised: BaseException) -> None:
    with pytest.raises(type(raised)) as caught, damage.told(DataError, "x cannot be read"):
        raise raised
    assert caught.value is raised


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the limit is Linux's")
@pytest.mark.parametrize("kind", ["npz", "keras", "tflite"])
def test_archive_of_a_million_members_is_refused_before_its_list_is_read(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """20,000 members of long names are enough to say too much; zipfile must not be asked to read the list."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for index in range(20_000):
            archive.writestr(f"{index:0500}.npy", b"")
    path = tmp_path / f"data.{kind}"
    path.write_bytes(agreement_models.steps(1) * (kind == "tflite") + packed.getvalue())

    def refuse(*_: object) -> None:
        raise AssertionError("the whole list was read")

    monkeypatch.setattr(zipfile.ZipFile, "_RealGetContents", refuse)
    if kind == "tflite":
        assert inspect(path).associated_files == ()
        return
    with pytest.raises(EdgefmError, match="10,000 files are allowed in it"):
        (read_stored if kind == "keras" else lambda where: load_data(str(where), input_shape=(4,)))(path)


def test_memory_is_limited_within_the_block_alone() -> None:
    with memory.limited(1 << 20), pytest.raises(MemoryError):
        np.zeros(_FAR_MORE, np.uint8)
    assert len(np.zeros(_FAR_MORE, np.uint8)) == _FAR_MORE


# ---- .tflite files


def test_vectors_that_are_shared_a_million_times_are_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(tiny_models.sharing())
    with pytest.raises(ModelError, match="refer to each other so often"):
        inspect(path)


def test_labels_of_a_windows_editor_have_no_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes("\ufeffÄpfel\r\nBirnen\r\n".encode())
    assert labels_of(path) == ("Äpfel", "Birnen")
