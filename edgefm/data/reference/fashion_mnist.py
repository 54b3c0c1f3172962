"""Fashion-MNIST: found where it is, or fetched; verified; split 48,000 / 12,000 / 10,000.

Only the files of 31 August 2017 or later are accepted: earlier ones repeat training images in the test set.
Source: Xiao, Rasul & Vollgraf 2017, arXiv:1708.07747; github.com/zalandoresearch/fashion-mnist.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgefm.core import artefacts, scratch
from edgefm.core.errors import DataError
from edgefm.core.progress import SILENT, Progress
from edgefm.core.task_names import FASHION_MNIST_LABELS
from edgefm.data.dataset import Dataset, Split
from edgefm.data.reference import idx
from edgefm.data.sampling import stratified_split

LABELS = FASHION_MNIST_LABELS
VALIDATION_IMAGES = 12_000
SPLIT_SEED = 20170831  # the day of the corrected files

OFFICIAL_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
DEBIAN_PACKAGE = "dataset-fashion-mnist"
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
DATA_DIR_VARIABLE = "EDGEFM_DATA_DIR"
CACHE_VARIABLE = "EDGEFM_CACHE_DIR"


@dataclass(frozen=True, kw_only=True)
class _File:
    """One of the four files: sha256 and length of the decompressed content."""

    name: str
    sha256: str
    size_bytes: int


FILES = tuple(
    _File(name=name, sha256=sha256, size_bytes=size_bytes)
    for name, size_bytes, sha256 in (
        ("train-images-idx3-ubyte", 47_040_016, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
        ("train-labels-idx1-ubyte", 60_008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
        ("t10k-images-idx3-ubyte", 7_840_016, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
        ("t10k-labels-idx1-ubyte", 10_008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
    )
)


@dataclass(frozen=True, kw_only=True)
class DatasetFolder:
    """Where the four files lie.

    Attributes:
      folder: holds them, plain or as .gz.
      origin: how the folder was found, in words.
    """

    folder: Path
    origin: str


def load_fashion_mnist(data_dir: Path | None = None, *, download: bool = True, progress: Progress = SILENT) -> Dataset:
    """Return Fashion-MNIST, verified: 48,000 training, 12,000 validation and 10,000 test pictures.

    Pictures are uint8 [n, 28, 28, 1]: 0 is the black background, 255 the brightest cloth. The training file
    is split with equal class counts and the fixed `SPLIT_SEED`; both parts keep the order of the file.

    Args:
      data_dir: folder of the four files; None searches as `find` does.
      download: fetch them where no folder has them.
      progress: told of what is fetched.
    Raises:
      DataError: the files are nowhere, or one is truncated, swapped or of another content.
    """
    folder = find(data_dir, download=download, progress=progress).folder
    train_images, train_labels, test_images, test_labels = (read_verified(folder, file) for file in FILES)
    classes = train_labels.astype(np.int64)
    kept, held_out = stratified_split(classes, held_out=VALIDATION_IMAGES, seed=SPLIT_SEED)
    pictures = train_images[..., np.newaxis]
    return Dataset(
        name="fashion-mnist",
        labels=LABELS,
        train=Split(name="train", images=pictures[kept], labels=classes[kept]),
        validation=Split(name="validation", images=pictures[held_out], labels=classes[held_out]),
        test=Split(name="test", images=test_images[..., np.newaxis], labels=test_labels.astype(np.int64)),
        sha256=artefacts.sha256_json(
            {
                **{file.name: file.sha256 for file in FILES},
                "validation": artefacts.sha256_bytes(held_out.astype("<i8").tobytes()),
            }
        ),
        dark_background=True,
    )


def find(data_dir: Path | None = None, *, download: bool = True, progress: Progress = SILENT) -> DatasetFolder:
    """Return where the four files lie; fetch them into edgefm's cache where they are nowhere.

    Searched in this order: `data_dir`, or the folder in EDGEFM_DATA_DIR (either of them is final); Debian's
    folder; the Keras cache; edgefm's cache; then fetched: the official download, or Debian's package.

    Raises:
      DataError: the named folder lacks a file, or all places failed: each is listed with its reason.
    """
    named = _named_folder(data_dir)
    if named is not None:
        reason = _lacks(named.folder)
        if reason:
            raise DataError(
                f"the folder given with {named.origin} cannot be used: {named.folder}: {reason}",
                hint=f"It must hold {_names()}, plain or as .gz. "
                f"Without {named.origin}, edgefm searches and fetches them.",
            )
        return named
    failures: list[str] = []
    for place in (
        DatasetFolder(folder=DEBIAN_FOLDER, origin="Debian's folder"),
        DatasetFolder(folder=keras_folder(), origin="the Keras cache"),
        DatasetFolder(folder=cache_folder(), origin="edgefm's cache"),
    ):
        reason = _lacks(place.folder)
        if not reason:
            return place
        failures.append(f"{place.origin}, {place.folder}: {reason}")
    if not download:
        failures.append("download: not allowed in this call")
        raise _nowhere(failures)
    return _fetch(cache_folder(), failures=failures, progress=progress)


def read_verified(folder: Path, file: _File) -> NDArray[np.uint8]:
    """Return the array in one of the four files, its decompressed content checked by sha256.

    Raises:
      DataError: names the file, the expected and the found sum, what is wrong, and the way out.
    """
    path = _path(folder, file)
    if path is None:
        raise DataError(f"{folder / file.name}.gz does not exist", hint="Get the files with: edgefm data fetch")
    content = idx.read_content(path, length=max(one.size_bytes for one in FILES))
    checksum = artefacts.sha256_bytes(content.data)
    if checksum != file.sha256 or content.defect:
        raise DataError(
            f"{path} is not Fashion-MNIST's {file.name}: {_diagnosis(file, content, checksum)}\n"
            f"  expected sha256 of the decompressed content: {file.sha256}\n"
            f"  found:                                       {checksum}",
            hint="Remove this file and run: edgefm data fetch; or give another folder (data_dir).",
        )
    return idx.parse(content.data, source=path)


def keras_folder() -> Path:
    """Return where Keras keeps Fashion-MNIST; KERAS_HOME is honoured as Keras does."""
    home = os.environ.get("KERAS_HOME")
    return (Path(home) if home else Path("~/.keras").expanduser()) / "datasets" / "fashion-mnist"


def cache_folder() -> Path:
    """Return edgefm's own cache of the files: below EDGEFM_CACHE_DIR, or the user's cache folder."""
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named).expanduser() / "fashion-mnist"
    import platformdirs

    return Path(platformdirs.user_cache_dir("edgefm")) / "fashion-mnist"


def _named_folder(data_dir: Path | None) -> DatasetFolder | None:
    if data_dir is not None:
        return DatasetFolder(folder=data_dir, origin="data_dir")
    variable = os.environ.get(DATA_DIR_VARIABLE)
    return DatasetFolder(folder=Path(variable).expanduser(), origin=DATA_DIR_VARIABLE) if variable else None


def _fetch(cache: Path, *, failures: list[str], progress: Progress) -> DatasetFolder:
    """Fill the cache from the network and return it; `failures` are the places already tried."""
    from filelock import FileLock

    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / ".lock"):
        if not _lacks(cache):
            return DatasetFolder(folder=cache, origin="edgefm's cache")
        for origin, where, fetch in (
            ("the official download", OFFICIAL_URL, _fetch_official),
            ("Debian's package", DEBIAN_PACKAGE, _fetch_debian),
        ):
            try:
                fetch(cache, progress=progress)
            except DataError as error:
                failures.append(f"{origin}, {where}: {error.message}")
                progress.note(f"{origin} failed: {error.message}")
            else:
                return DatasetFolder(folder=cache, origin=origin)
    raise _nowhere(failures)


def _fetch_official(cache: Path, *, progress: Progress) -> None:
    from edgefm.data.reference import fetch

    fetch.check_libraries()
    fetch.check_reachable(f"{OFFICIAL_URL}{FILES[0].name}.gz")
    for file in FILES:
        if _path(cache, file) is None:
            path = fetch.download(f"{OFFICIAL_URL}{file.name}.gz", cache, progress=progress)
            try:
                read_verified(cache, file)
            except DataError:
                path.unlink()
                raise


def _fetch_debian(cache: Path, *, progress: Progress) -> None:
    from edgefm.data.reference import fetch

    with scratch.folder("deb") as name:
        root = fetch.unpack_debian_package(DEBIAN_PACKAGE, name, progress=progress)
        folder = root / "usr/share/datasets/fashion-mnist"
        for file in FILES:
            read_verified(folder, file)
        for file in FILES:
            artefacts.write_bytes(cache / f"{file.name}.gz", (folder / f"{file.name}.gz").read_bytes())


def _path(folder: Path, file: _File) -> Path | None:
    for name in (f"{file.name}.gz", file.name):
        if (folder / name).is_file():
            return folder / name
    return None


def _lacks(folder: Path) -> str:
    """Return what keeps a folder from being used, or ''."""
    if not folder.is_dir():
        return "no such folder" if not folder.exists() else "not a folder"
    missing = [f"{file.name}.gz" for file in FILES if _path(folder, file) is None]
    return f"{', '.join(missing)} missing" if missing else ""


def _diagnosis(file: _File, content: idx.Decompressed, checksum: str) -> str:
    for other in FILES:
        if checksum == other.sha256 and other is not file:
            return f"the files are swapped, this is the content of {other.name}"
    if content.defect:
        return f"{content.defect} ({len(content.data)} of {file.size_bytes} bytes decompressed)"
    if len(content.data) != file.size_bytes:
        what = "it is truncated" if len(content.data) < file.size_bytes else "it is too long"
        return f"{what}, {len(content.data)} bytes decompressed instead of {file.size_bytes}"
    return (
        "the length is right, the content is not. MNIST's digits have files of the same names, and so has "
        "Fashion-MNIST from before 31 August 2017, with test images repeated in training"
    )


def _names() -> str:
    return ", ".join(file.name for file in FILES)


def _nowhere(failures: list[str]) -> DataError:
    tried = "\n".join(f"  - {failure}" for failure in failures)
    return DataError(
        f"Fashion-MNIST was not found. Places tried:\n{tried}",
        hint=f"Run: sudo apt-get install {DEBIAN_PACKAGE}; or give the folder that holds {_names()} as data_dir.",
    )
