"""The page of a reproduction in Markdown: every documented system and experiment, recorded or not yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgefm.core.environment import multiplies_bytes
from edgefm.jobs.reproduce import page_compressed, page_data
from edgefm.jobs.reproduce.page_text import NOT_YET, OTHER_PROCESSOR, how, ratio, table
from edgefm.statistics.claim import figure
from edgefm.zoo.catalogue import Claim
from edgefm.zoo.documented import documented_systems
from edgefm.zoo.documented.system import WHOLE_TRAINING, DocumentedSystem
from edgefm.zoo.experiments import experiments
from edgefm.zoo.experiments.trials import Experiment

SUMMARY = (
    "system", "document", "parameters", "claimed train / val / test", "measured train / val / test", "verdict", "MACs",
    "int8 test", "int8 size", "int8 p50, ratio",
)  # fmt: skip
PICTURES = "data/"
_ONE_SEED = (
    "Of one seed the spread is not known. Seeds of one training differ by up to a point here, more after few epochs: a "
    "row of one seed that misses or exceeds its claim by about a point or less is no finding."
)
_SPLITS = ("train", "validation", "test")
_INT8, _FLOAT32 = "int8_w8a8", "float32"


def page(record: Mapping[str, Any] | None, *, pictures: str = PICTURES) -> str:
    """Return the page of a record; None says of every row that it is not yet recorded.

    Args:
      record: the content of zoo.json.
      pictures: what stands before the names of the data's pictures: their folder, as the page sees it.
    """
    rows = {row["id"]: row for row in record["systems"]} if record else {}
    trials = {entry["id"]: entry for entry in record["experiments"]} if record else {}
    latency = record["latency"] if record else None
    parts = [
        "# The documented systems",
        "Every system that the project's five source documents (S0 to S4) describe or cite, trained as they say, with "
        "what they leave open assumed and marked so: what they claim, how contradictions are read, what came out. "
        "`edgefm zoo reproduce` does it anew, see [edgefm zoo](commands/zoo.md).",
        *(
            [data_line(record), f"Verdicts: {record['rule']} {_ONE_SEED}"]
            if record
            else [f"Nothing is recorded: {how()}"]
        ),
        "Claims are in percent; the training figures are those of the last epoch while weights still changed, as the "
        "documents print them. A figure is the mean over the seeds, its range in brackets. Test accuracy is that of "
        f"the float32 `.tflite` file. {_latency_line(latency)}",
        table(SUMMARY, [_summary(system, rows.get(system.id), latency) for system in documented_systems()]),
        "## The systems, compressed",
        *page_compressed.section(record),
        "## The data",
        *page_data.section(record.get("data") if record else None, pictures),
        "## The systems",
        *(_section(system, rows.get(system.id), latency) for system in documented_systems()),
        "## The documents' experiments",
        "One network, trained in several ways. In a search the trial with the best validation accuracy is chosen, and "
        "it alone is tried on the test images.",
        *(_experiment(entry, trials.get(entry.id)) for entry in experiments()),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def summary_rows(rows: Sequence[Mapping[str, Any]], latency: Mapping[str, Any] | None) -> list[list[str]]:
    """Return the rows of the page's table for systems that were recorded."""
    systems = {system.id: system for system in documented_systems()}
    return [_summary(systems[row["id"]], row, latency) for row in rows]


def verdict_of(row: Mapping[str, Any]) -> str:
    """Return the verdict of a recorded row, with what limits it in short.

    >>> verdict_of({"verdict": {"name": "reproduced", "limits": ["shortened: 1 of 3 epochs"]}})
    'reproduced (shortened)'
    """
    verdict = row["verdict"]
    limits = ", ".join(limit.partition(":")[0] for limit in verdict["limits"])
    return f"{verdict['name']} ({limits})" if limits else str(verdict["name"])


def data_line(record: Mapping[str, Any]) -> str:
    """Return what was learnt, on what, and when, in a sentence."""
    data, machine = record["dataset"], record["environment"]
    versions = ", ".join(f"{name} {machine['versions'][name]}" for name in ("keras",) if name in machine["versions"])
    return (
        f"{data['name']}: {data['train']:,} training, {data['validation']:,} validation, {data['test']:,} test images. "
        f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}{f', {versions}' if versions else ''}; "
        f"{record['created'][:10]}."
    )


_NO_PRODUCTS = "instruction for products of bytes: int8 gains less there than on one that has, or loses."


def _latency_line(latency: Mapping[str, Any] | None) -> str:
    if not latency:
        return ""
    disturbed = (
        f" **The machine was disturbed while {', '.join(latency['disturbed'])} were measured.**"
        if latency["disturbed"]
        else ""
    )
    sessions = [
        f" Earlier rows were measured beside the same reference on {session['cpu']}, {session['created'][:10]}."
        + (f" **Disturbed: {', '.join(session['disturbed'])}.**" if session["disturbed"] else "")
        for session in latency.get("others", ())
    ]
    others = "".join(dict.fromkeys(sessions))
    if not multiplies_bytes(latency["environment"]):
        others += f" These processors have no {_NO_PRODUCTS}"
    others += _apart_line(latency["apart"]) if latency.get("apart") else ""
    return (
        f"Latencies are p50 of one inference over that of {latency['reference']}, all files in one benchmark of up to "
        f"{latency['rounds']} rounds on {latency['environment']['cpu']}.{disturbed}{others}"
    )


def _apart_line(apart: Mapping[str, Any]) -> str:
    has = "an instruction for products of bytes." if multiplies_bytes(apart["environment"]) else f"no {_NO_PRODUCTS}"
    sessions = [apart, *apart.get("others", ())]
    names = [name for session in sessions for name in session["disturbed"] if name in apart["models"]]
    disturbed = f" **Disturbed there: {', '.join(dict.fromkeys(names))}.**" if names else ""
    return (
        f" {OTHER_PROCESSOR}: over the same reference on another processor ({apart['environment']['cpu']}, "
        f"{apart['created'][:10]}), which has {has}{disturbed}"
    )


def _summary(system: DocumentedSystem, row: Mapping[str, Any] | None, latency: Mapping[str, Any] | None) -> list[str]:
    known = system.architecture
    parameters = f"{known.trainable:,}" + (f" + {known.non_trainable:,}" if known.non_trainable else "")
    start = [f"`{system.id}`", system.document, parameters, _claims(system.claim)]
    if row is None:
        return [*start, NOT_YET, "", "", "", "", ""]
    int8 = row["files"].get(_INT8)
    macs = next((file["macs"] for file in row["files"].values() if file["macs"] is not None), None)
    return [
        *start,
        " / ".join(_mean(row["measured"][split]) for split in _SPLITS),
        verdict_of(row),
        "-" if macs is None else f"{macs / 1e6:.2f} M",
        _mean(row["measured"]["int8"]),
        f"{int8['size_bytes'] / 1000:,.1f} KB" if int8 else "-",
        ratio(latency, f"{system.id} {_INT8}"),
    ]


def _section(system: DocumentedSystem, row: Mapping[str, Any] | None, latency: Mapping[str, Any] | None) -> str:
    known, recipe = system.architecture, system.recipe
    cited = f", citing {system.cites}" if system.cites else ""
    lines = [
        f"- {system.document}{cited}: {known.title}: {known.summary}",
        f"- trained: {_training(recipe, system.assumed_training)}; model `{recipe.model}`",
        f"- claimed: {_claims(system.claim)}{_losses(system.claim)}",
        *([f"- reading: {system.reading}"] if system.reading else []),
        *(f"- assumed: {sentence}" for sentence in system.assumed),
        *([f"- not credible: {system.doubt}"] if system.doubt else []),
        *(_details(row, latency, system.id) if row else [f"- {NOT_YET}: {how(system.id)}"]),
    ]
    return f"### {system.id}\n\n" + "\n".join(lines)


def _details(row: Mapping[str, Any], latency: Mapping[str, Any] | None, name: str) -> list[str]:
    """Return what was measured of a system, a line each."""
    verdict = row["verdict"]
    lines = [f"- verdict: **{verdict_of(row)}**, by the {verdict['by']} images: {verdict['reason']}"]
    if not verdict["by"]:
        lines = [f"- verdict: **{verdict_of(row)}**"]
    lines += [f"- {limit}" for limit in verdict["limits"]]
    if any(limit.startswith("shortened") for limit in verdict["limits"]):
        lines.append(f"- whole: {NOT_YET}: {how(name)}")
    for split, judged in row["verdicts"].items():
        if split != verdict["by"] and judged["name"] not in ("no claim", "not measured"):
            lines.append(f"- {split}: {judged['name']}: {judged['reason']}")
    seeds = row["seeds"]
    if seeds:
        losses = ", ".join(f"{seed['train']['loss']:.4f} / {seed['validation']['loss']:.4f}" for seed in seeds)
        fits = ", ".join(dict.fromkeys(seed["fit"] for seed in seeds))
        devices = ", ".join(dict.fromkeys(seed["device"] for seed in seeds))
        seconds = sum(seed["seconds"] for seed in seeds) / len(seeds)
        lines.append(
            f"- {len(seeds)} seed{'s' if len(seeds) > 1 else ''} on {devices}, {seconds:.0f} s each; loss train / "
            f"validation: {losses}; fit: {fits}{_earlier(row)}"
        )
    lines += [f"- seed {seed} diverged: {message}" for seed, message in row["diverged"].items()]
    for variant, file in row["files"].items():
        accuracy = _mean(row["measured"]["int8" if variant == _INT8 else "test"])
        lines.append(
            f"- `{variant}`: test {accuracy}, {file['size_bytes'] / 1000:,.1f} KB, p50 over the reference "
            f"{ratio(latency, f'{name} {variant}')}"
        )
    lines += [f"- `{variant}` was left out: {reason}" for variant, reason in row["left_out"].items()]
    return lines


def _earlier(row: Mapping[str, Any]) -> str:
    """Say when and on what a row was recorded that comes from an earlier record."""
    recorded = row.get("recorded")
    return f"; recorded on {recorded['cpu']}, {recorded['created'][:10]}" if recorded else ""


def _origins(trials: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Say when and on what trials were recorded that come from earlier records, a line for each."""
    origins: dict[str, list[str]] = {}
    for label, row in trials.items():
        if row.get("recorded"):
            origins.setdefault(_earlier(row).removeprefix("; "), []).append(label)
    return [
        f"- {origin}: {'all trials' if len(labels) == len(trials) else '; '.join(labels)}"
        for origin, labels in origins.items()
    ]


def _experiment(entry: Experiment, recorded: Mapping[str, Any] | None) -> str:
    """Return the section of an experiment, with all trials."""
    found = {trial["label"]: trial for trial in recorded["trials"]} if recorded else {}
    rows = []
    for trial in entry.trials:
        row = found.get(trial.label)
        measured = " / ".join(_mean(row["measured"][split]) for split in _SPLITS) if row else NOT_YET
        rows.append([trial.label, _claims(trial.claim), measured, verdict_of(row) if row else ""])
    reasons = [
        f"- {label}: {row['verdict']['reason']}" for label, row in found.items() if row["verdict"]["by"] is not None
    ]
    reasons += [f"- {limit}" for limit in sorted({one for row in found.values() for one in row["verdict"]["limits"]})]
    whole = len(found) == len(entry.trials)
    chosen = f"Chosen by the validation images{'' if whole else ', of the trials that are recorded'}: "
    chosen = f"{chosen}{recorded['chosen']}." if recorded and recorded["chosen"] else ""
    again = "" if whole else f"{NOT_YET}: {how(entry.id)}"
    reasons += _origins(found)
    headers = ("trial", "claimed train / val / test", "measured train / val / test", "verdict")
    parts = [f"### {entry.id}", f"{entry.document}: {entry.title}. {entry.reading}", table(headers, rows), chosen]
    crossed = [_folds(row) for row in found.values() if any("accuracies" in seed for seed in row["seeds"])]
    return "\n\n".join(part for part in [*parts, *crossed, "\n".join(reasons), again] if part)


def _folds(row: Mapping[str, Any]) -> str:
    """Return the table of a cross-validation: the validation accuracy of each fold, mean and spread of each seed."""
    seeds = row["seeds"]
    headers = ("seed", *(f"fold {place + 1}" for place in range(len(seeds[0]["accuracies"]))), "mean", "spread")
    rows = [
        [f"{seed['seed']}", *(f"{value:.2f}" for value in (*seed["accuracies"], seed["mean"], seed["spread"]))]
        for seed in seeds
    ]
    return (
        f"Validation accuracy of each fold in percent, {seeds[0]['n']:,} images in all, {seeds[0]['epochs']} epochs; "
        f"the spread is the standard deviation over the folds.\n\n{table(headers, rows)}"
    )


def _claims(claim: Claim) -> str:
    figures = (claim.train_accuracy, claim.validation_accuracy, claim.test_accuracy)
    return " / ".join(map(figure, figures)) if any(value is not None for value in figures) else "-"


def _losses(claim: Claim) -> str:
    if claim.train_loss is None and claim.validation_loss is None:
        return ""
    return f"; loss {figure(claim.train_loss)} / {figure(claim.validation_loss)}"


def _training(recipe: Any, assumed: Sequence[str]) -> str:
    """Return how a system is trained, with what its document does not state marked."""
    mark = {name: " (assumed)" if name in assumed else "" for name in WHOLE_TRAINING}
    optimizer = {"adam": "Adam", "adamw": "AdamW", "sgd": "SGD", "rmsprop": "RMSprop"}[recipe.optimizer]
    return (
        f"{optimizer}{mark['optimizer']} at {recipe.learning_rate:g}{mark['learning_rate']}, "
        f"batch {recipe.batch_size}{mark['batch_size']}, {recipe.epochs} epochs{mark['epochs']}"
    )


def _mean(spread: Mapping[str, Any] | None) -> str:
    if spread is None:
        return "-"
    if spread["seeds"] == 1:
        return f"{spread['mean']:.2f}"
    return f"{spread['mean']:.2f} ({spread['least']:.2f} to {spread['greatest']:.2f})"
