"""The live page of a search: one HTML file that holds all it shows, and loads itself anew while the search runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from edgefm.core.errors import missing_extra
from edgefm.core.text import visible_page
from edgefm.searching.live.state import Best, State
from edgefm.searching.picture import front_svgs
from edgefm.searching.result import PAGE_FILE, conclusion
from edgefm.searching.trials import OBJECTIVES, Trial
from edgefm.searching.words import duration, titles

TRIALS, FINALISTS, ENDED, STOPPED = "trials", "finalists", "ended", "stopped"
_REFRESH_SECONDS = 20
_TEMPLATE = "live-search.html.j2"
_STOPPED = "What ended is kept: the same search goes on when it is resumed."


def svgs_of(state: State) -> tuple[str, str] | None:
    """Return the picture of the trials that went through all stages, wide and narrow; None where there is none.

    Raises:
      RuntimeUnavailableError: matplotlib is not installed.
    """
    if not state.front:
        return None
    series = {name: [{"figures": trial.figures} for trial in getattr(state, name)] for name in ("front", "others")}
    try:
        return front_svgs({**series, "finalists": [], "loss_unit": state.searched.unit})
    except ImportError as error:
        raise missing_extra("matplotlib and jinja2", "report") from error


def html(
    state: State,
    *,
    phase: str,
    written: datetime,
    seconds: float,
    svg: tuple[str, str] | None,
    result: Mapping[str, Any] | None = None,
    folder: str = "result",
) -> str:
    """Return the page.

    Args:
      state: of the search.
      phase: 'trials', 'finalists', 'ended' or 'stopped'.
      written: now, with its time zone.
      seconds: within which the page is written again while the search runs.
      svg: see `svgs_of`.
      result: of a search that has ended, see `edgefm.searching.result.document`.
      folder: of the result, beside the page.
    Raises:
      RuntimeUnavailableError: jinja2 is not installed.
    """
    try:
        from markupsafe import Markup

        from edgefm.report.pages.page import css, policy, template_environment
    except ImportError as error:
        raise missing_extra("matplotlib and jinja2", "report") from error
    runs = phase in (TRIALS, FINALISTS)
    title = f"Search of {state.searched.model}"
    context: dict[str, Any] = {
        # The style sheet and the SVG are edgefm's own; texts inside the SVG were escaped when it was drawn.
        "css": Markup(css()),
        "policy": policy(*(svg or ())),
        "svg": svg and tuple(map(Markup, svg)),
        "refresh_seconds": _REFRESH_SECONDS if runs else None,
        "title": title,
        "model": state.searched.model,
        "headline": _headline(state, phase),
        "note": _note(phase),
        "written": written.strftime("%Y-%m-%d %H:%M:%S UTC%z"),
        "age": f"A search that runs writes it at least every {seconds:.0f} s: where that is long ago, it was stopped."
        if runs
        else "It is not written any more.",
        "tiles": _tiles(state, phase),
        "results": _results(result, folder) if result is not None else [],
        "samples": f"{state.searched.validation:,}",
        "heads": [titles(state.searched.unit)[name] for name in OBJECTIVES],
        "budgets": [_budget(state, best) for best in state.best],
        "running": [(trial.index, state.words(trial)) for trial in state.running] if runs else [],
        "latest": [_latest(state, trial) for trial in state.latest],
    }
    return visible_page(template_environment().get_template(_TEMPLATE).render(context))


def _headline(state: State, phase: str) -> str:
    met = sum(best.met for best in state.best)
    kept = f"{met} of {len(state.best)} budgets met on validation samples"
    ended = f"{state.counts['ended']} of at most {state.searched.most} trials ended"
    if phase == TRIALS:
        return f"{ended}, {kept}"
    what = {FINALISTS: "The finalists are trained and measured", ENDED: "The search has ended"}
    return f"{what.get(phase, 'The search was stopped')}: {ended}, {kept}"


def _note(phase: str) -> str:
    if phase == ENDED:
        return "What is proposed was trained to the end and measured."
    return _STOPPED if phase == STOPPED else f"It may be stopped at any time. {_STOPPED}"


def _tiles(state: State, phase: str) -> list[tuple[str, str, str]]:
    counts, left = state.counts, state.left
    how = f"{counts['complete']} through all stages, {counts['stopped early']} stopped early, {counts['failed']} failed"
    tiles = [
        ("Trials ended", f"{counts['ended']} of {state.searched.most}", how),
        ("On the front", str(len(state.front)), ""),
        ("Time of trials", duration(state.elapsed), ""),
    ]
    if phase == TRIALS:
        tiles.insert(1, ("Running", str(len(state.running)), ""))
        trials = "not known yet" if left.trials is None else f"about {duration(left.trials)}"
        finalists = "not known yet" if left.finalists is None else f"about {duration(left.finalists)}"
        tiles.insert(1, ("Left", trials, f"then the finalists: {finalists}" if left.finalists != 0 else ""))
    elif phase == FINALISTS and left.finalists:
        tiles.append(("Finalists take", f"about {duration(left.finalists)}", "in all"))
    return tiles


def _results(result: Mapping[str, Any], folder: str) -> Sequence[tuple[str, str]]:
    """Return what became of each budget, with a link to its file; and the page of the result."""
    lines = [
        (conclusion(entry), f"{quote(folder)}/models/{quote(entry['model'])}/model.tflite" if entry["model"] else "")
        for entry in result["budgets"]
    ]
    return [*lines, (f"{folder}/{PAGE_FILE}", f"{quote(folder)}/{PAGE_FILE}")]


def _budget(state: State, best: Best) -> dict[str, Any]:
    return {
        "name": best.budget,
        "state": best.state,
        "limits": best.limits,
        "best": "none yet" if best.trial is None else f"trial {best.trial}: {best.point}",
        "cells": list(state.figures(best.figures).items()),
        "why": best.impossible or "; ".join(best.missed),
    }


def _latest(state: State, trial: Trial) -> dict[str, Any]:
    outcome = trial.outcome
    if outcome is None:
        how = f"failed: {trial.reason}"
    else:
        epochs = outcome.stages[-1].epochs
        how = "all stages" if outcome.complete else f"stopped after {epochs} epoch{'s' if epochs > 1 else ''}"
    return {
        "index": trial.index,
        "what": state.words(trial),
        "how": how,
        "cells": list(state.figures(trial.figures).items()),
        "took": "-" if outcome is None else duration(outcome.seconds),
    }
