"""The page of a search's result in Markdown, and the picture of its front."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tabulate import tabulate

from edgefm.core.text import markdown
from edgefm.searching.result import PICTURE_FILE, conclusion, titles_in, unit_in
from edgefm.searching.trials import OBJECTIVES
from edgefm.searching.words import POINTS, amount, row, titles


def page(result: Mapping[str, Any], *, picture: bool) -> str:
    """Return the page of a result, see `edgefm.searching.result.document`."""
    trials = result["trials"]
    parts = [
        f"# Search of {markdown(result['model'])}",
        "\n".join(f"- **{markdown(conclusion(entry))}**" for entry in result["budgets"]),
        *(f"Not measured on {markdown(on)}: {markdown(why)}" for on, why in result.get("waiting", {}).items()),
        f"{trials['ended']} trials in {trials['seconds'] / 60:.0f} minutes; {trials['complete']} went through all "
        f"stages, {trials['failed']} failed. Chosen on {result['validation_samples']:,} validation samples.",
        "## Files",
        f"Measured side by side, once; {_lost(unit_in(result))} against float32 on "
        f"{result['test_samples']:,} test samples, which nothing was chosen by. p50 ratio: to int8_w8a8.",
        _table(_files(result)),
        "## Seeds of the finalists",
        f"Each trained to the end with every seed; figures on {result['validation_samples']:,} validation samples; "
        "p50 is predicted by the cost model. The file is of the seed that exceeds the budget's limits least, of equals "
        "the one that lost least.",
        _table(_seeds(result)),
        "## The front",
        "Of the trials that went through all stages those that no other one beats in loss, p50 and download at once; "
        "on validation samples, p50 predicted.",
        *([f"![Loss against p50 of all trials]({PICTURE_FILE})"] if picture else []),
        _table(_front(result)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _files(result: Mapping[str, Any]) -> list[dict[str, str]]:
    unit, names = unit_in(result), titles_in(result)
    entries = [("", name, name, figures) for name, figures in result["references"].items()]
    entries += [(one["budget"], one["budget"], one["words"], one["figures"]) for one in result["finalists"]]
    return [
        {"file": name, "what": words, **dict(zip(names.values(), row(figures, names, unit), strict=True))}
        for _, name, words, figures in entries
    ]


def _seeds(result: Mapping[str, Any]) -> list[dict[str, str]]:
    return [
        {
            "budget": finalist["budget"],
            "seed": f"{one['seed']}{' (the file)' if one['seed'] == finalist['seed'] else ''}",
            **_shown(one["figures"], unit_in(result)),
        }
        for finalist in result["finalists"]
        for one in finalist["seeds"]
    ]


def _front(result: Mapping[str, Any]) -> list[dict[str, str]]:
    ordered = sorted(result["front"], key=lambda entry: entry["figures"]["p50_ratio"])
    return [
        {
            "trial": str(entry["trial"]),
            **_shown(entry["figures"], unit_in(result)),
            "what": entry["words"],
        }
        for entry in ordered
    ]


def _shown(figures: Mapping[str, Any], unit: str) -> dict[str, str]:
    return {titles(unit)[name]: amount(name, figures[name], unit) for name in OBJECTIVES}


def _lost(unit: str) -> str:
    return "accuracy lost" if unit == POINTS else f"increase of {unit}"


def _table(rows: list[dict[str, str]]) -> str:
    if not rows:
        return "None."
    # A column that says nothing in any row is left out.
    names = [name for name in rows[0] if any(one[name] not in ("", "-") for one in rows)]
    cells = [[markdown(one[name]) for name in names] for one in rows]
    return str(tabulate(cells, headers=names, tablefmt="github", disable_numparse=True))
