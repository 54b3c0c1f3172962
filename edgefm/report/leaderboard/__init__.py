"""One page of models on runtimes and targets, from benchmark records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgefm.core import artefacts, whole_folders
from edgefm.core.errors import RunError
from edgefm.report.drawing import style
from edgefm.report.leaderboard import page, picture
from edgefm.report.leaderboard.entries import Leaderboard, board

PAGE, MARKDOWN, DATA = "leaderboard.html", "leaderboard.md", "leaderboard.json"


def write_leaderboard(records: Sequence[Path], out: Path) -> Leaderboard:
    """Write leaderboard.html, .md, .json and a picture of each model into a folder, all or none; return what they say.

    Args:
      records: files that `edgefm benchmark` wrote, or folders in which they are looked for.
      out: folder.
    Raises:
      RunError: no record is found, or one cannot be read.
    """
    leaderboard = board(_files(records))
    pictures: dict[str, tuple[str, str]] = {}
    files: dict[str, bytes] = {}
    with style.drawing():
        for model in leaderboard.models:
            if not model.timed:
                continue
            pictures[model.sha256] = picture.svgs(model)
            files[picture.file_name(model)] = picture.png(model)
    files[PAGE] = page.html(leaderboard, pictures).encode(errors="backslashreplace")
    files[MARKDOWN] = page.markdown(leaderboard).encode(errors="backslashreplace")
    files[DATA] = artefacts.json_bytes(leaderboard.to_json())
    whole_folders.write(out, files)
    return leaderboard


def _files(records: Sequence[Path]) -> list[Path]:
    """Return the record files among what was given, each once."""
    files: list[Path] = []
    for path in records:
        inside = sorted(path.rglob("*.json")) if path.is_dir() else [path]
        files += [file for file in inside if file.resolve() not in {other.resolve() for other in files}]
    if not files:
        places = ", ".join(str(path) for path in records) or "nothing"
        raise RunError(
            f"no benchmark record was found in: {places}",
            hint="Write records with: edgefm benchmark FILES --out FOLDER",
        )
    return files
