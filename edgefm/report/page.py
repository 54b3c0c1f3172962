"""The HTML page: one file with its style and pictures inside; every text is escaped by the template engine."""

from __future__ import annotations

import re
from importlib import resources
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup

from edgefm.report import details, findings, reproduce, style, tables, wording
from edgefm.report.facts import confusions
from edgefm.report.galleries import Tile, data_uri
from edgefm.report.pictures import confusion_models

# Of quantize.json: the recipe stands with the others, the rest says nothing to a reader.
_NOT_SHOWN = ("key", "kind", "schema_version", "recipe")

if TYPE_CHECKING:
    from edgefm.report.build import Content
    from edgefm.report.facts import Facts


def render(content: Content) -> str:
    """Return the page."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_template),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"size": wording.size, "data_uri": data_uri, "groupby_order": _groups}
    held, facts = content.inputs, content.facts
    made = {name: one for name, one in (held.quantize or {}).items() if name not in _NOT_SHOWN}
    made, grids = details.grids(made)
    context: dict[str, Any] = {
        "content": content,
        "run_id": held.run_id,
        "facts": facts,
        # The style sheet and the SVG are edgefm's own; texts inside the SVG were escaped when it was drawn.
        "css": Markup(_css()),
        "svg": {name: (Markup(one.wide), Markup(one.narrow)) for name, one in content.pictures.items()},
        "commands": reproduce.commands(held.steps),
        "recipes": [(step, details.rows(step.recipe.get("params", {}))) for step in held.steps],
        "quantize": details.rows(made),
        "grids": grids,
        "device": details.rows((held.history or {}).get("device") or {}),
    }
    if facts is not None:
        context |= _benchmark(facts)
    return environment.get_template("report.html.j2").render(context).lstrip()


def _benchmark(facts: Facts) -> dict[str, Any]:
    return {
        "headline": _asides(findings.headline(facts)),
        "table_notes": findings.table_notes(facts),
        "basis": findings.basis(facts),
        "advice": findings.advice(facts),
        "warnings": findings.warnings(facts),
        "heads": tables.headers(facts),
        "rows": [(model, tables.row(facts, model)) for model in facts.models],
        "mistakes": [(model, confusions(model, facts.labels)) for model in confusion_models(facts)],
        "environment": details.rows(facts.environment),
        "protocol": details.rows(facts.protocol.get("params", facts.protocol)),
        "flip_text": {model.name: findings.flip_text(model, facts) for model in facts.models},
    }


def _asides(sentence: str) -> list[tuple[str, bool]]:
    """Return the parts of a sentence, each with whether it stands in parentheses."""
    parts = re.split(r"(\([^()]*\))", sentence)
    return [(part, part.startswith("(")) for part in parts if part]


def _groups(tiles: list[Tile], attribute: str) -> list[tuple[str, list[Tile]]]:
    """Return tiles by the value of an attribute, in the order in which the values come first."""
    found: dict[str, list[Tile]] = {}
    for tile in tiles:
        found.setdefault(getattr(tile, attribute), []).append(tile)
    return list(found.items())


def _css() -> str:
    def variables(palette: dict[str, str]) -> str:
        return "".join(f"--{name}:{colour};" for name, colour in palette.items())

    text = _template("report.css")
    return text.replace("/* light */", variables(style.LIGHT)).replace("/* dark */", variables(style.DARK))


def _template(name: str) -> str:
    return resources.files("edgefm.report").joinpath("templates").joinpath(name).read_text(encoding="utf-8")
