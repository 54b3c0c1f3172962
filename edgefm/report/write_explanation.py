"""Makes all files of an explanation but its JSON: the pictures and the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.progress import SILENT, Progress
from edgefm.report.content.explanation import PAGE
from edgefm.report.drawing import style
from edgefm.report.drawing.galleries import RIGHT, WRONG
from edgefm.report.explanation.figures import explanation_figures
from edgefm.report.explanation.sheets import SheetPicture, maps_png, sheet_png
from edgefm.report.explanation.words import TILES, origin, share
from edgefm.report.pages import explanation as page


def shown_pictures(document: Mapping[str, Any]) -> set[tuple[str, int]]:
    """Return the samples that are shown as pictures, by their split and place in it."""
    images = document["images"]
    places = {("validation", entry["index"]) for entry in (*images["most_wrong"], *images["most_uncertain"])}
    noise = document["label_noise"]
    if noise["reason"] is None:
        places |= {(entry["split"], entry["index"]) for entry in noise["candidates"][:TILES]}
    return places


def build(
    document: Mapping[str, Any],
    *,
    pictures: Mapping[tuple[str, int], NDArray[np.uint8]],
    maps: Mapping[str, NDArray[Any]],
    progress: Progress = SILENT,
) -> dict[str, bytes]:
    """Return the content of each file by name.

    Args:
      document: the content of explanation.json.
      pictures: uint8 [height, width, channels] of the samples in `shown_pictures`; {} where they are no pictures.
      maps: see `edgefm.report.explanation.sheets.maps_png`; {} without.
      progress: receives progress.
    """
    progress.step("pictures", 0, 3)
    figures = explanation_figures(document)
    progress.step("pictures", 1, 3)
    sheets = _sheets(document, pictures)
    if maps:
        title = f"Where the model looks: the picture, the answer, the true class{_of(document)}"
        sheets["class-maps"] = maps_png(title, document["class_maps"], maps)
    progress.step("pictures", 2, 3)
    files = {f"{name}.png": figure.png for name, figure in figures.items()}
    files |= {f"{name}.png": png for name, png in sheets.items()}
    files[PAGE] = page.render(document, figures=figures, sheets=sheets).encode(errors="backslashreplace")
    progress.step("pictures", 3, 3)
    return files


def _sheets(document: Mapping[str, Any], pictures: Mapping[tuple[str, int], NDArray[np.uint8]]) -> dict[str, bytes]:
    images, noise, sheets = document["images"], document["label_noise"], {}
    for name, key, title in (
        ("most-wrong", "most_wrong", f"Most surely wrong, of {images['wrong']:,} mistakes"),
        ("most-uncertain", "most_uncertain", "Most uncertain"),
    ):
        tiles = [
            _tile(entry, pictures["validation", entry["index"]])
            for entry in images[key]
            if ("validation", entry["index"]) in pictures
        ]
        if tiles:
            sheets[name] = sheet_png(title + _of(document), tiles)
    if noise["reason"] is None:
        tiles = [
            _doubtful(entry, pictures[entry["split"], entry["index"]])
            for entry in noise["candidates"][:TILES]
            if (entry["split"], entry["index"]) in pictures
        ]
        if tiles:
            title = (
                f"The {len(tiles)} most doubtful labels of {noise['count']:,}; n = {noise['n']:,} ({noise['basis']})"
            )
            sheets["label-noise"] = sheet_png(title, tiles)
    return sheets


def _of(document: Mapping[str, Any]) -> str:
    return f"; n = {document['data']['n']:,} {document['data']['split']} samples"


def _tile(entry: Mapping[str, Any], pixels: NDArray[np.uint8]) -> SheetPicture:
    lines = [(entry["predicted"], entry["confidence"]), (entry["second"], entry["second_confidence"])]
    below = tuple(
        (
            f"{RIGHT if label == entry['true'] else WRONG} {label} {share(value)}",
            style.BLUE if label == entry["true"] else style.ORANGE,
        )
        for label, value in lines
    )
    return SheetPicture(pixels=pixels, above=entry["true"], below=(*below, (_short(entry), style.MUTED)))


def _doubtful(entry: Mapping[str, Any], pixels: NDArray[np.uint8]) -> SheetPicture:
    below = (
        (f"rather {entry['suggested']} {share(entry['suggested_probability'])}", style.ORANGE),
        (_short(entry), style.MUTED),
    )
    return SheetPicture(pixels=pixels, above=entry["label"], below=below)


def _short(entry: Mapping[str, Any]) -> str:
    """Return where a sample comes from, of a path the file's name alone: the tables of the page have all of it."""
    return origin(entry).rpartition("/")[2]
