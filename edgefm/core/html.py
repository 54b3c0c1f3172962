"""Tables and pictures as HTML, for notebooks; every text is escaped."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from typing import Any


def table(rows: Sequence[Sequence[Any]], headers: Sequence[str], *, caption: str = "") -> str:
    """Return a table.

    >>> table([["a<b", 1]], ["name", "n"]).count("&lt;")
    1
    """
    from tabulate import tabulate

    text = str(tabulate(rows, headers=headers, tablefmt="html", disable_numparse=True))
    return paragraph(caption) + text if caption else text


def paragraph(text: str) -> str:
    """Return a paragraph of text."""
    return f"<p>{html.escape(text)}</p>"


def picture(png: bytes, *, alt: str) -> str:
    """Return a PNG as an image that needs no file."""
    data = base64.b64encode(png).decode()
    return f'<img alt="{html.escape(alt)}" style="max-width: 100%" src="data:image/png;base64,{data}">'


def page(content: str, *, title: str, height: int = 800) -> str:
    """Return a whole page inside a frame of its own, so that its style does not reach the notebook's."""
    return (
        f'<iframe title="{html.escape(title)}" style="width: 100%; border: 0" height="{height}" '
        f'srcdoc="{html.escape(content)}"></iframe>'
    )
