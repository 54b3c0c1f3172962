"""The HTML page: one file with its style and pictures inside; every text is escaped by the template engine."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup

from edgefm.core.text import visible_page
from edgefm.report.content import forecast, promises, wording
from edgefm.report.content.facts import confusions
from edgefm.report.drawing import style
from edgefm.report.drawing.galleries import data_uri
from edgefm.report.drawing.pictures import confusion_models
from edgefm.report.explanation import words
from edgefm.report.explanation.section import section
from edgefm.report.pages import steps_table, tables
from edgefm.report.text import details, findings, reproduce
from edgefm.report.text.answer import answer

# Of quantize.json: what has a place of its own on the page, or says nothing to a reader.
_NOT_SHOWN = ("key", "kind", "schema_version", "recipe", "variants", "skipped")
# Of its variants: a row each.
_OF_VARIANTS = ("variant", "description", "max_abs_difference", "same_top1", "seconds")

if TYPE_CHECKING:
    from edgefm.report.compose import ReportContent
    from edgefm.report.content.facts import Facts
    from edgefm.report.content.inputs import ReportInputs


def render(content: ReportContent, *, files: str = "") -> str:
    """Return the page.

    Args:
      content: all that it shows.
      files: address of the run's folder as seen from the page, for links to its files; '' for none.
    """
    environment = template_environment()
    environment.filters |= {"data_uri": data_uri, "groupby_order": _groups, "soft": _soft}
    inputs, facts = content.inputs, content.facts
    conditions = {name: value for name, value in (inputs.quantize or {}).items() if name not in _NOT_SHOWN}
    after = {
        variant["variant"]: variant["post_training"] for variant in _variants(inputs) if variant.get("post_training")
    }
    conditions, grids = details.grids(conditions | ({"post_training": after} if after else {}))
    variants = [_shown(variant) for variant in _variants(inputs)]
    grids = [*details.grids({"variants": variants})[1], *grids]
    unit = facts.unit if facts else wording.MICROSECONDS
    steps = content.waterfall
    context: dict[str, Any] = {
        "content": content,
        "files": files,
        "run_id": inputs.run_id,
        "facts": facts,
        # The style sheet and the SVG are edgefm's own; texts inside the SVG were escaped when it was drawn.
        "css": Markup(css()),
        "policy": policy(*(picture.wide for picture in (*content.pictures.values(), *content.explained.values()))),
        "svg": {name: (Markup(picture.wide), Markup(picture.narrow)) for name, picture in content.pictures.items()},
        "commands": reproduce.commands(inputs.steps),
        "recipes": [(step, details.rows(step.recipe.get("params", {}))) for step in inputs.steps],
        "quantize": details.rows(conditions),
        "grids": grids,
        "forecasted": content.forecasted,
        "forecast_summary": forecast.summary(content.forecasted),
        "gates": content.gates,
        "gates_summary": promises.summary(content.gates),
        "stories": content.stories,
        "step_heads": steps_table.headers(steps, unit) if steps else [],
        "step_rows": [(step, steps_table.row(step, steps.measure, unit)) for step in steps.steps] if steps else [],
        "device": details.rows((inputs.history or {}).get("device") or {}),
    }
    if inputs.explanation is not None:
        figures = {name.removeprefix("explained-"): figure for name, figure in content.explained.items()}
        context |= section(inputs.explanation, figures=figures, sheets=inputs.sheets)
        context["explained_findings"] = words.findings(inputs.explanation)
    if facts is not None:
        context |= _benchmark(facts)
        context["answer"] = answer(facts, run_id=inputs.run_id if inputs.steps else None)
    return visible_page(environment.get_template("report.html.j2").render(context).lstrip())


def _benchmark(facts: Facts) -> dict[str, Any]:
    return {
        "headline": _asides(findings.headline(facts)),
        "table_notes": findings.table_notes(facts),
        "basis": findings.basis(facts),
        "advice": findings.advice(facts),
        "comparison": _asides(findings.comparison(facts)),
        "unfit": findings.unfit(facts),
        "warnings": findings.warnings(facts),
        "heads": tables.headers(facts),
        "first_columns": tables.FIRST_COLUMNS,
        "rows": [(model, tables.row(facts, model)) for model in facts.models],
        "mistakes": [(model, confusions(model, facts.labels)) for model in confusion_models(facts)],
        "environment": details.rows(facts.environment),
        "protocol": details.rows(facts.protocol.get("params", facts.protocol)),
        "flip_text": {model.name: findings.flip_text(model, facts) for model in facts.models},
    }


def _variants(inputs: ReportInputs) -> list[Mapping[str, Any]]:
    variants: list[Mapping[str, Any]] = (inputs.quantize or {}).get("variants", [])
    return variants


def _shown(variant: Mapping[str, Any]) -> dict[str, Any]:
    shown = {name: variant[name] for name in _OF_VARIANTS if variant.get(name)}
    for index, finished in enumerate(variant.get("passes", [])):
        kept = ", kept from before" if finished.get("cached") else ""
        shown[f"pass {index + 1}"] = f"{finished['recipe']['kind']}, {finished['seconds']:.0f} s{kept}"
    return shown


def _asides(sentence: str) -> list[tuple[str, bool]]:
    """Return the parts of a sentence, each with whether it stands in parentheses."""
    parts = re.split(r"(\([^()]*\))", sentence)
    return [(part, part.startswith("(")) for part in parts if part]


def _groups(things: list[Any], attribute: str) -> list[tuple[str, list[Any]]]:
    """Return things by the value of an attribute, in the order in which the values come first."""
    groups: dict[str, list[Any]] = {}
    for thing in things:
        groups.setdefault(getattr(thing, attribute), []).append(thing)
    return list(groups.items())


def _soft(name: str) -> Markup:
    """Return a name, escaped, that may be broken behind each underscore."""
    return Markup("_<wbr>").join(name.split("_"))


def template_environment() -> jinja2.Environment:
    """Return what renders the templates of `edgefm/report/templates`; texts are escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_template),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"size": wording.size}
    return environment


def policy(*svgs: str) -> str:
    """Return a page's Content-Security-Policy: it loads nothing and runs no script, whatever gets into it.

    Of style elements only `css` and those of the pictures count, which are told by their sha256; the attributes by
    which matplotlib colours a picture cannot be told so.

    Args:
      svgs: pictures on the page, as `edgefm.report.drawing.style.svg` returns them.
    """
    own = {css(), *(text for svg in svgs for text in re.findall(r"<style[^>]*>(.*?)</style>", svg, re.DOTALL))}
    hashes = sorted(base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in own)
    styles = " ".join(f"'sha256-{text}'" for text in hashes)
    return (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; style-src-elem {styles}; "
        "base-uri 'none'; form-action 'none'"
    )


def css() -> str:
    """Return the style sheet of every page, with the palettes of `edgefm.report.drawing.style`."""
    text = _template("report.css").replace("/* light */", style.css_variables(style.LIGHT))
    return text.replace("/* dark */", style.css_variables(style.DARK))


def _template(name: str) -> str:
    return resources.files("edgefm.report").joinpath("templates").joinpath(name).read_text(encoding="utf-8")
