"""The answer on a report's first screen: what to ship, three figures of it, where it lies, and what comes next."""

from __future__ import annotations

from dataclasses import dataclass

from edgefm.comparison.shipping import words
from edgefm.comparison.shipping.verdict import DOWNLOAD, MICROCONTROLLERS, PHONES
from edgefm.core.text import command
from edgefm.report.content import wording
from edgefm.report.content.facts import Facts, Model

NEEDS = {PHONES: "Phones", MICROCONTROLLERS: "Microcontrollers", DOWNLOAD: "Smallest download"}


@dataclass(frozen=True, kw_only=True)
class AnswerFigure:
    """One figure of the recommended file beside the reference's.

    Attributes:
      name: e.g. 'Size'.
      value: with its unit.
      against: how it compares with the reference; n beside a quality.
    """

    name: str
    value: str
    against: str


@dataclass(frozen=True, kw_only=True)
class ReportAnswer:
    """What a reader must know to ship a file.

    Attributes:
      ship: (need, file or 'none') of each need.
      model: the file that the figures are of: the one for phones, else the reference; None where neither was measured.
      recommended: it is recommended.
      path: of that file, below the run.
      figures: size, time and quality.
      command: that writes the files for an app; '' where the report is on no run.
    """

    ship: tuple[tuple[str, str], ...]
    model: str | None
    recommended: bool
    path: str
    figures: tuple[AnswerFigure, ...]
    command: str


def answer(facts: Facts, *, run_id: str | None) -> ReportAnswer:
    """Return the answer of a report on a run of this name, or on a record that is part of none."""
    verdict = facts.verdict
    model = facts.chosen or facts.model(verdict.fallback or "")
    return ReportAnswer(
        ship=tuple((NEEDS[choice.target], choice.file or "none") for choice in verdict.choices),
        model=None if model is None else model.name,
        recommended=facts.chosen is not None,
        path="" if model is None else model.file,
        figures=() if model is None else _figures(facts, model),
        command=""
        if model is None or run_id is None
        else command("edgefm", "export", "android", f"runs/{run_id}", "--out", "app"),
    )


def _figures(facts: Facts, model: Model) -> tuple[AnswerFigure, ...]:
    """Return size, time and quality of a model; the reference's beside them, where it is another."""
    base = facts.reference if facts.reference is not model else None
    judged = next((file for file in facts.verdict.files if file.name == model.name), None)
    figures = [
        AnswerFigure(
            name="Size",
            value=wording.size(model.size_bytes),
            against=""
            if base is None
            else f"{words.smaller(model.size_bytes, base.size_bytes)}; {base.name}: {wording.size(base.size_bytes)}",
        )
    ]
    if model.p50 is not None:
        against = ""
        ratio = None if judged is None else judged.time_ratio
        if base is not None and base.p50 is not None and ratio is not None:
            against = f"{words.faster(ratio)}; {base.name}: {facts.unit.text(base.p50.value)} {facts.unit.name}"
        figures.append(
            AnswerFigure(
                name="Time (p50)", value=f"{facts.unit.text(model.p50.value)} {facts.unit.name}", against=against
            )
        )
    if model.quality is not None:
        measure = facts.measure
        unit = " %" if measure.unit == "%" else ""
        difference = None if judged is None else judged.difference
        against = f"n = {facts.images:,}"
        if base is not None and base.quality is not None and difference is not None:
            change = words.change(difference.value, unit=measure.unit)
            against = f"{change}; {base.name}: {measure.text(base.quality.value)}{unit}, {against}"
        figures.append(
            AnswerFigure(name=measure.title, value=f"{measure.text(model.quality.value)}{unit}", against=against)
        )
    return tuple(figures)
