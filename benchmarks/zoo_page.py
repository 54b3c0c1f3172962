"""Writes docs/zoo.md from the recorded reproduction of the documented systems."""

from __future__ import annotations

from pathlib import Path

from benchmarks.recorded import names, result
from edgefm.jobs.reproduce import page as pages

PAGE = Path(__file__).parent.parent / "docs" / "zoo.md"
# What the names of the data's pictures in docs/images begin with, as the page sees it.
PICTURES = "images/zoo-"
_NAME = "zoo"


def page() -> str:
    """Return the page in Markdown; of rows that were not recorded it says so."""
    return pages.page(result(_NAME) if _NAME in names() else None, pictures=PICTURES)
