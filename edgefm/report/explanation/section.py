"""What the template of an explanation's pictures needs, on a page of its own and in a report."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from edgefm.report.drawing.pictures import ReportPicture
from edgefm.report.explanation import words


def section(
    document: Mapping[str, Any], *, figures: Mapping[str, ReportPicture], sheets: Mapping[str, bytes]
) -> dict[str, Any]:
    """Return the context of `explanation-parts.html.j2`.

    Args:
      document: the content of explanation.json.
      figures: pictures that are drawn from it, by name.
      sheets: PNG of the others, by name.
    """
    # Texts inside the SVG were escaped when it was drawn.
    return {
        "explained": document,
        "explained_figures": {
            name: (Markup(figure.wide), Markup(figure.narrow), figure.caption) for name, figure in figures.items()
        },
        "explained_sheets": {
            name: ("data:image/png;base64," + base64.b64encode(png).decode("ascii"), words.caption(name, document))
            for name, png in sheets.items()
        },
        "explained_titles": words.TITLES,
        "explained_origin": words.origin,
        "explained_fold_remarks": words.fold_remarks(document["folds"]),
    }
