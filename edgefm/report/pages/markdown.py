"""report.md: the findings, the table and the pictures for a repository or a wiki."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from edgefm.core.text import code, fenced, markdown
from edgefm.report.content import forecast, promises
from edgefm.report.content.wording import MICROSECONDS
from edgefm.report.explanation import words
from edgefm.report.pages import steps_table, tables
from edgefm.report.pages.tables import TableCell
from edgefm.report.text import findings, reproduce

if TYPE_CHECKING:
    from edgefm.report.compose import ReportContent
    from edgefm.report.content.waterfall import Waterfall

_TITLES = {
    "tradeoff": "Quality against latency",
    "steps": "What each step costs and gains",
    "latency": "Latency",
    "sizes": "File size",
    "layers": "Where the bytes are",
    "weights": "Weights before and after",
    "confusion": "Confusion",
    "flipped": "Images whose prediction changed",
    "misclassified": "Most confident mistakes",
    "curves": "Training",
    "tuning": "Fine-tuning",
}


def render(content: ReportContent) -> str:
    """Return the report as Markdown (GitHub's dialect); pictures are linked beside it."""
    facts = content.facts
    lines = [f"# Report of {markdown(content.inputs.run_id)}", ""]
    if facts is not None:
        lines += [f"**{markdown(findings.headline(facts))}**", ""]
        lines += [markdown(text) + "\n" for text in (findings.comparison(facts), findings.basis(facts)) if text]
        lines += [f"> {markdown(warning)}\n>" for warning in findings.warnings(facts)]
        rows = [(model.name, tables.row(facts, model)) for model in facts.models]
        lines += ["", *_table("Model", tables.headers(facts), rows), ""]
        lines += [f"The latencies are {markdown(facts.mode)}; all intervals are 95 % intervals.", ""]
        if facts.failures:
            lines += ["## Not measured", ""]
            lines += [f"- {markdown(failure.name)}: {markdown(failure.reason)}" for failure in facts.failures]
            lines.append("")
        if facts.models:
            lines += ["## What to ship", "", markdown(findings.headline(facts)), ""]
            lines += [
                f"- {markdown(item.need)}: **{markdown(item.model)}**. {markdown(item.why)}."
                for item in findings.advice(facts)
            ]
            lines += [f"- Not recommended: {markdown(name)}: {markdown(why)}." for name, why in findings.unfit(facts)]
            lines.append("")
    for name, picture in content.pictures.items():
        title = markdown(_TITLES[name])
        if name == "tradeoff" and facts is not None:
            title = markdown(f"{facts.measure.title} against latency")
        lines += [f"## {title}", "", f"![{title}]({name}.png)", "", markdown(picture.caption), ""]
        if name == "steps" and content.waterfall is not None:
            lines += _steps(content.waterfall, content)
    if content.inputs.explanation is not None:
        lines += ["## Understanding the model", ""]
        lines += [f"- {markdown(line)}" for line in words.findings(content.inputs.explanation)]
        lines.append("")
    lines += _gates(content)
    if content.forecasted:
        lines += ["## Forecast and outcome", "", markdown(forecast.summary(content.forecasted)), ""]
        lines += [_line(["File", "Figure", "Forecast", "Outcome", "Verdict"]), _line(["---"] * 5, plain=True)]
        for one in content.forecasted:
            lines.append(_line([one.variant, one.what, one.forecast, one.outcome, one.verdict]))
        lines.append("")
    if content.inputs.missing:
        lines += ["## Missing", ""]
        for missing in content.inputs.missing:
            command = f" Make it with: {code(missing.command)}" if missing.command else ""
            lines.append(f"- {markdown(missing.what)}: {markdown(missing.why)}.{command}")
        lines.append("")
    commands = reproduce.commands(content.inputs.steps)
    if commands:
        lines += ["## Reproduce", "", fenced("\n".join(commands), "sh"), ""]
    return "\n".join(lines)


def _steps(waterfall: Waterfall, content: ReportContent) -> list[str]:
    unit = content.facts.unit if content.facts else MICROSECONDS
    rows = [(step.name, steps_table.row(step, waterfall.measure, unit)) for step in waterfall.steps]
    lines = _table("File", steps_table.headers(waterfall, unit), rows)
    lines += ["", "In parentheses: the change against the file that each was made from.", ""]
    for story in content.stories:
        lines.append(f"- **{markdown(story.name)}**, {markdown(story.start)}. {markdown(' '.join(story.sentences))}")
    return [*lines, ""]


def _gates(content: ReportContent) -> list[str]:
    lines: list[str] = []
    if content.gates:
        lines += ["## Checks and limits", "", markdown(promises.summary(content.gates)), ""]
        lines += [_line(["File", "Promise", "Wanted", "Found", "Verdict", "Where"])]
        lines += [_line(["---"] * 6, plain=True)]
        for gate in content.gates:
            lines.append(_line([gate.variant, gate.promise, gate.wanted, gate.found, gate.verdict, gate.where]))
        lines.append("")
    if content.skipped:
        lines += ["## Left out", ""]
        lines += [f"- {markdown(name)}: {markdown(reason)}" for name, reason in content.skipped]
        lines.append("")
    return lines


def _table(first: str, heads: Sequence[TableCell], rows: Iterable[tuple[str, Sequence[TableCell]]]) -> list[str]:
    """Return a table whose first column is called `first`; a cell's detail stands in parentheses behind its value."""

    def texts(cells: Sequence[TableCell]) -> list[str]:
        return [f"{cell.value} ({cell.detail})" if cell.detail else cell.value for cell in cells]

    lines = [_line([first, *texts(heads)]), _line(["---", *["---:"] * len(heads)], plain=True)]
    return [*lines, *(_line([name, *texts(cells)]) for name, cells in rows)]


def _line(cells: Sequence[str], *, plain: bool = False) -> str:
    return f"| {' | '.join(cell if plain else markdown(cell) for cell in cells)} |"
