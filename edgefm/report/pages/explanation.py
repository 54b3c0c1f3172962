"""The page of an explanation: one HTML file with its style and pictures inside; it loads nothing and runs no script."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from edgefm.report.drawing.pictures import ReportPicture
from edgefm.report.explanation import words
from edgefm.report.explanation.section import section
from edgefm.report.pages.page import css, policy, template_environment


def render(document: Mapping[str, Any], *, figures: Mapping[str, ReportPicture], sheets: Mapping[str, bytes]) -> str:
    """Return the page.

    Args:
      document: the content of explanation.json.
      figures: pictures that are drawn from it, by name.
      sheets: PNG of the others, by name.
    """
    context = {
        "document": document,
        "css": Markup(css()),
        "policy": policy(*(figure.wide for figure in figures.values())),
        "findings": words.findings(document),
        "left_out": words.left_out(document),
        **section(document, figures=figures, sheets=sheets),
    }
    return template_environment().get_template("explanation.html.j2").render(context).lstrip()
