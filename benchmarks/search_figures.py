"""What a search finds in an hour, and what kills do to it: a section of docs/figures.md."""

from __future__ import annotations

import statistics

from tabulate import tabulate

from benchmarks import recorded

SEARCH, KILLS, CLUSTER = "search", "search_kills", "cluster_kills"
_HEADERS = ("figure", "target", "measured", "")
# Of a target that is held, one that is not, and one that was not measured.
_MARKS = {True: "reached", False: "**missed**", None: ""}


def section() -> str:
    """Return the section in Markdown: all targets, recorded or not."""
    rows, sources = [], []
    for name, of in ((SEARCH, _search_rows), (KILLS, _kill_rows), (CLUSTER, _cluster_rows)):
        again = f"`python -m benchmarks.{name}{' --run RUN' if name == SEARCH else ''}`"
        if name not in recorded.names():
            sources.append(f"{name} is not recorded yet: {again}.")
            continue
        value = recorded.result(name)
        rows += [(what, wanted, told, _MARKS[held]) for what, wanted, told, held in of(value)]
        sources.append(f"{name}: {recorded.provenance(value)} Again: {again}.")
    table = tabulate(rows, headers=_HEADERS, tablefmt="github", disable_numparse=True) + "\n\n" if rows else ""
    return f"## Search\n\n{table}{' '.join(sources)}"


def _search_rows(value: dict[str, object]) -> list[tuple[str, str, str, bool | None]]:
    searches = [one for one in value["searches"] if one["sampler"] == "tpe"]  # type: ignore[attr-defined]  # JSON
    rows: list[tuple[str, str, str, bool | None]] = []
    longest = max(float(one["seconds"]) for one in searches)
    for place, budget in enumerate(searches[0]["budgets"]):
        entries = [one["budgets"][place] for one in searches]
        met = sum(entry["met"] for entry in entries)
        losses = [entry["figures"].get("accuracy_loss") for entry in entries if entry["figures"]]
        told = f"met by {met} of {len(entries)} searches"
        told += f", loss {statistics.median(losses):.2f} points (median)" if losses else ""
        told += f", {longest / 60:.0f} minutes with finalists"
        limits = ", ".join(f"{key} {limit:g}" for key, limit in budget["limits"].items())
        held = met == len(entries) and longest <= 60 * float(value["minutes"])  # type: ignore[arg-type]  # JSON
        rows.append((f"{value['minutes']:g} minutes, {budget['name']}: {limits}", "met", told, held))
    what, wanted = "volume of the front over random search's", ">= 1.3 x, 3 seeds"
    if "ratio" not in value:
        return [*rows, (what, wanted, "not recorded yet", None)]
    ratio, seeds = float(value["ratio"]), len(value["volumes"]["random"])  # type: ignore[arg-type,index]  # JSON
    return [*rows, (what, wanted, f"{ratio:.2f} x, {seeds} seeds", ratio >= 1.3 and seeds >= 3)]


def _cluster_rows(value: dict[str, object]) -> list[tuple[str, str, str, bool]]:
    kills: dict[str, int] = value["kills"]  # type: ignore[assignment]  # JSON
    kinds = ", ".join(f"{count} {kind}" for kind, count in kills.items())
    rows = _kill_rows({**value, "kills": f"{sum(kills.values())} ({kinds})"})
    return [(f"{what}, on a Ray cluster", *rest) for what, *rest in rows]


def _kill_rows(value: dict[str, object]) -> list[tuple[str, str, str, bool]]:
    told = f"{value['lost']} lost, {value['double']} double, {value['kills']} kills, {value['trials']} trials"
    same, wrong = bool(value["same_as_undisturbed"]), bool(value["lost"] or value["double"])
    return [
        ("trials of a search that is killed", "0 lost, 0 double, 50 kills", told, not wrong),
        ("its trials are those of an undisturbed one", "yes", "yes" if same else "no", same),
    ]
