"""Pictures in folders, a folder a class: FOLDER/<class>/*.png, or FOLDER/{train,validation,test}/<class>/*.png.

The names of the folders are the class names, in the order of their characters: capitals before small letters, as Python
sorts (in the order of the numbers where all are numbers). 'val', 'valid' and 'training' are understood too. Each
picture is turned upright (EXIF), made grey or RGB as the model takes it, and resized to the model's size (bilinear with
antialiasing); its aspect changes where it is not the model's. Transparent parts count as white. Of an animation the
first frame is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import DataError
from edgefm.core.given import free_memory, limits
from edgefm.core.progress import SILENT, Progress
from edgefm.core.text import few, visible
from edgefm.data.own.arrays import SPLIT_WORDS, SPLITS, Arrays
from edgefm.data.picture_file import GREY, MODES, open_picture, picture_header, pixels_of

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".gif", ".webp", ".avif", ".jp2", ".tif", ".tiff", ".pgm", ".ppm"),
)
# What file managers put into folders that hold pictures.
_OF_THE_SYSTEM = ("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx")
_DAMAGED_SHOWN = 5
_STEP = 50


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """The sizes of encoded pictures, as their headers say.

    Attributes:
      least: (height, width) of the picture with the fewest pixels.
      greatest: (height, width) of the one with the most.
      channels: 3 where any picture may have colours, else 1.
    """

    least: tuple[int, int]
    greatest: tuple[int, int]
    channels: int


def sizes(folder: Path, *, progress: Progress = SILENT) -> Sizes:
    """Return the sizes of the pictures in class folders; their pixels are not read.

    Raises:
      DataError: no class folders, one without pictures, or no picture that can be read.
      RuntimeUnavailableError: Pillow is not installed.
    """
    classes = [_classes(place, needs_classes=True) for place in _by_split(folder).values()]
    paths = [path for files in classes for inside in files.values() for path in inside]
    known: list[tuple[int, int, int]] = []
    damaged: list[str] = []
    for done, path in enumerate(paths, start=1):
        try:
            known.append(picture_header(path))
        except DataError as error:
            damaged.append(error.message)
        if done % _STEP == 0 or done == len(paths):
            progress.step("sizes of pictures", done, len(paths))
    if not known:
        raise DataError(damage(damaged, of=len(paths), source=str(folder)), hint="Remove or replace these files.")
    return sizes_of(known)


def sizes_of(headers: Iterable[tuple[int, int, int]]) -> Sizes:
    """Return the sizes of pictures from the (height, width, channels) of each, of one or more."""
    known = set(headers)
    by_pixels = sorted({(height, width) for height, width, _ in known}, key=lambda size: (size[0] * size[1], size))
    return Sizes(least=by_pixels[0], greatest=by_pixels[-1], channels=max(channels for _, _, channels in known))


def read(
    folder: Path,
    *,
    input_shape: tuple[int, ...] | None,
    labels: tuple[str, ...] | None = None,
    task: str | None = None,
    progress: Progress = SILENT,
) -> Arrays:
    """Return the pictures in class folders as uint8 [n, height, width, channels] with their classes.

    Args:
      folder: see above.
      input_shape: (height, width, channels) that all pictures are resized to, channels 1 (grey), 3 (RGB) or 4
        (RGBA); None takes the first picture's, which all others must have.
      labels: class names in another order than that of the folders' names.
      task: 'reconstruction' needs no classes: pictures may lie in the folder itself.
      progress: receives steps of pictures read.
    Raises:
      DataError: no class folders, one without pictures, classes that differ between splits, damaged pictures, of
        which the first are named, or pictures that take more memory than they may.
      RuntimeUnavailableError: Pillow is not installed.
    """
    by_split = _by_split(folder)
    files = {split: _classes(place, needs_classes=task != "reconstruction") for split, place in by_split.items()}
    names = _class_names(folder, files, labels)
    _say_left_out(folder, by_split, files, progress)
    everything = [path for classes in files.values() for paths in classes.values() for path in paths]
    shape = input_shape or _shape_of(everything[0])
    height, width, channels = picture_shape(shape)
    if input_shape is None:  # the size is the files' own
        packed = sum(path.stat().st_size for path in everything if path.is_file())
        limits.check(len(everything) * height * width * channels, DataError, size_bytes=packed, what=str(folder))
    # Twice: the splits that are cut are copies of what was read.
    free_memory.check_fits(
        2 * len(everything) * height * width * channels,
        what=f"the {len(everything):,} pictures of {folder}, at {height} x {width} x {channels},",
        hint="Give fewer pictures, or a smaller image size of the model.",
    )
    damaged: list[str] = []
    count_read = 0
    splits: dict[str, tuple[NDArray[Any], NDArray[Any] | None]] = {}
    for split, classes in files.items():
        count = sum(map(len, classes.values()))
        images = np.empty((count, height, width, channels), np.uint8)
        targets = np.empty(count, np.int64)
        place = 0
        for name, paths in classes.items():
            for path in paths:
                try:
                    picture = open_picture(path)
                except DataError as error:
                    damaged.append(error.message)
                else:
                    if input_shape is None:
                        _check_size(picture, path, like=everything[0], size=(width, height))
                    images[place] = pixels_of(picture, (height, width, channels))
                targets[place] = names.index(name) if names else 0
                place += 1
                count_read += 1
                if count_read % _STEP == 0 or count_read == len(everything):
                    progress.step("read pictures", count_read, len(everything), {"damaged": str(len(damaged))})
        splits[split] = (images.reshape(count, *shape), targets if names else None)
    if damaged:
        raise DataError(damage(damaged, of=len(everything), source=str(folder)), hint="Remove or replace these files.")
    return Arrays(splits=splits, source=str(folder), labels=names or None, files=_relative(files, folder))


def _relative(files: Mapping[str, Mapping[str, Sequence[Path]]], folder: Path) -> dict[str, list[str]]:
    """Return the paths of each split's pictures below the folder, in the order in which they are read."""
    return {
        split: [path.relative_to(folder).as_posix() for paths in classes.values() for path in paths]
        for split, classes in files.items()
    }


def picture_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return (height, width, channels) of pictures for an input's shape, (height, width) meaning grey.

    Raises:
      DataError: no picture has this shape.
    """
    if len(shape) == 2:
        return shape[0], shape[1], 1
    if len(shape) != 3 or shape[2] not in MODES:
        raise DataError(
            f"pictures do not fit a model whose input is {' x '.join(map(str, shape))}",
            hint="Height x width x channels is expected, with 1 (grey), 3 (RGB) or 4 (RGBA) channels. Give other data "
            "as .npz.",
        )
    return shape[0], shape[1], shape[2]


def damage(messages: Sequence[str], *, of: int, source: str) -> str:
    """Return what to say of damaged pictures: how many, and the first of them."""
    first = "\n".join(f"  - {message}" for message in messages[:_DAMAGED_SHOWN])
    more = f"\n  and {len(messages) - _DAMAGED_SHOWN} more" if len(messages) > _DAMAGED_SHOWN else ""
    return f"{len(messages)} of the {of} pictures of {source} cannot be read:\n{first}{more}"


def _by_split(folder: Path) -> dict[str, Path]:
    """Return the folder of each split; all in 'train' where there are no folders of splits."""
    names = _folders(folder)
    words = {name: SPLIT_WORDS[name.lower()] for name in names if name.lower() in SPLIT_WORDS}
    if not words:
        return {"train": folder}
    others = [name for name in names if name not in words]
    if others:
        raise DataError(
            f"{folder} holds folders of splits ({', '.join(words)}) beside others: {few(others)}",
            hint="Use class folders only, or train, validation and test with class folders in each.",
        )
    if len(set(words.values())) < len(words):
        raise DataError(f"two folders of {folder} are the same split: {', '.join(words)}")
    folders = {split: folder / name for name, split in words.items()}
    return {split: folders[split] for split in SPLITS if split in folders}


def _classes(folder: Path, *, needs_classes: bool) -> dict[str, list[Path]]:
    """Return the pictures of each class folder, sorted by name; under '' those in no class folder."""
    names = _folders(folder)
    if not names and not needs_classes:
        pictures = _pictures(folder)
        if not pictures:
            raise DataError(f"{folder} holds no pictures", hint=f"Allowed: {', '.join(SUFFIXES)}.")
        return {"": pictures}
    if not names:
        raise DataError(
            f"{folder} holds no class folders",
            hint="Put the pictures of each class into a folder of its own, named like the class: "
            f"{folder / 'cat'}, {folder / 'dog'}.",
        )
    files = {name: _pictures(folder / name) for name in names}
    for name, paths in files.items():
        if not paths:
            raise DataError(
                f"the class folder {folder / name} holds no pictures",
                hint=f"Put pictures there ({', '.join(SUFFIXES)}; not in folders of their own), or remove the folder.",
            )
    return files


def _say_left_out(
    folder: Path,
    by_split: Mapping[str, Path],
    files: Mapping[str, Mapping[str, Sequence[Path]]],
    progress: Progress,
) -> None:
    """Note what lies in class folders beside the pictures: it would have been learnt if it were one."""
    left_out = []
    for split, classes in files.items():
        for name, paths in classes.items():
            if not name:
                continue  # pictures without classes may lie beside anything
            there = {entry for entry in (by_split[split] / name).iterdir() if not entry.name.startswith(".")}
            left_out += [
                str(entry.relative_to(folder))
                for entry in sorted(there - set(paths))
                if entry.name.lower() not in _OF_THE_SYSTEM
            ]
    if left_out:
        what = "1 entry is" if len(left_out) == 1 else f"{len(left_out):,} entries are"
        progress.note(
            f"in the class folders of {folder} {what} left out, since their names are not those of pictures "
            f"({', '.join(SUFFIXES)}): {few(list(map(visible, left_out)))}"
        )


def _class_names(
    folder: Path, files: Mapping[str, Mapping[str, Sequence[Path]]], labels: tuple[str, ...] | None
) -> tuple[str, ...]:
    """Return the class names in their order; none where pictures lie in no class folder."""
    if any("" in classes for classes in files.values()):
        return ()
    known = set(files.get("train", next(iter(files.values()))))
    for split, classes in files.items():
        new = sorted(set(classes) - known)
        if new:
            raise DataError(
                f"the class '{new[0]}' is in the {split} pictures of {folder}, but not in the training pictures"
            )
    if labels is not None:
        if set(labels) != known:
            odd = sorted(set(labels) ^ known)
            raise DataError(
                f"the class folders of {folder} do not match the given labels; they differ in: {few(odd)}",
                hint=f"Folders: {few(sorted(known))}.",
            )
        return labels
    by_number = all(name.isdecimal() for name in known)
    return tuple(sorted(known, key=(lambda name: (int(name), name)) if by_number else (lambda name: (0, name))))


def _shape_of(path: Path) -> tuple[int, int, int]:
    picture = open_picture(path)
    grey = picture.mode in GREY
    return picture.height, picture.width, 1 if grey else 3


def _check_size(picture: Image, path: Path, *, like: Path, size: tuple[int, int]) -> None:
    if picture.size != size:
        raise DataError(
            f"{path} is {picture.width} x {picture.height}, {like} is {size[0]} x {size[1]}",
            hint="Give pictures of one size: without a model there is no size to resize them to.",
        )


def _folders(folder: Path) -> list[str]:
    names = sorted(
        entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith((".", "__MACOSX"))
    )
    for name in names:
        try:
            name.encode("utf-8")
        except UnicodeEncodeError:
            raise DataError(
                f"the name of the folder {visible(folder / name)} is no UTF-8 text, and it would be a class name",
                hint="Rename it; or use a locale of UTF-8, such as LANG=C.UTF-8, where the name is right.",
            ) from None
    return names


def _pictures(folder: Path) -> list[Path]:
    return sorted(
        entry
        for entry in folder.iterdir()
        if entry.suffix.lower() in SUFFIXES and not entry.name.startswith(".") and not entry.is_dir()
    )
