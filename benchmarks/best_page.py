"""Writes docs/best.md from the record of the best small models; rows that are not recorded say the command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmarks import best_record
from benchmarks.best_rows import DOCUMENT, FAST_ENOUGH, FASTEST, SEEDS, Row, rows
from benchmarks.recorded import provenance

PAGE = Path(__file__).parent.parent / "docs" / "best.md"
NOT_YET = "not recorded yet"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was measured of a row.

    Attributes:
      row: the row.
      accuracies: of each seed, in percent: on the test images, or on the validation images where these are kept apart.
      entries: of the record, one a seed.
      ratio: p50 over that of the document's network in float32; None where it was not measured.
      disturbed: the machine was not quiet while the ratio was measured.
      former: the entries are by a recipe that the row no longer has.
    """

    row: Row
    accuracies: tuple[float, ...]
    entries: tuple[Mapping[str, Any], ...]
    ratio: Mapping[str, float] | None
    disturbed: bool
    former: bool

    @property
    def mean(self) -> float:
        """Mean accuracy over the seeds, in percent, to a millionth: a target that is met exactly is met."""
        return round(best_record.mean_and_spread(self.accuracies)[0], 6)

    def misses(self) -> list[str]:
        """Return what the row was to reach and did not, in words; empty where it met its target."""
        row, found = self.row, []
        if self.mean < row.target:
            found.append(f"accuracy by {row.target - self.mean:.2f} points")
        for limit, key, unit in (
            (row.size_bytes, "size_bytes", "bytes"),
            (row.macs, "macs", "multiply-accumulates"),
            (row.parameters, "parameters", "parameters"),
        ):
            most = max(int(entry.get(key) or 0) for entry in self.entries)
            if limit is not None and most > limit:
                found.append(f"{most - limit:,} {unit} too many")
        if row.p50_ratio is not None and self.ratio is not None and self.ratio["value"] > row.p50_ratio:
            found.append(f"p50 by {self.ratio['value'] - row.p50_ratio:.3f} x")
        return found


def page(record: Mapping[str, Any] | None = None) -> str:
    """Return the page in Markdown, of the recorded result or of another record."""
    record = best_record.read() if record is None else record
    measured = {row.name: one for row in rows() if (one := _measured(row, record)) is not None}
    return (
        "# The best small models\n\n"
        "What each class of models reaches, in percent: the int8 file in LiteRT but for the first and the last row, "
        "weights of the last epoch, mean of the seeds that are recorded (n). Choices are made by the validation "
        "images; the final training then learns these too (60,000 pictures), and the 10,000 test images are answered "
        "once with each seed. The first row keeps the validation images apart, as its source does, and states the "
        "Keras model's accuracy on them; the last is a floating-point model, too. Targets were set before anything "
        "was trained. The recipe `enhanced` is the best of several on the validation images; `half_million` and "
        "`teacher` have its augmentation. `small`, `tiny` and `fastest` have weaker ones of their own, without "
        "cutmix; nobody searched these, nor the learning rates.\n\n"
        f"{_shortened(measured.values())}"
        f"{_table(measured)}\n\n"
        "`±`: standard deviation over seeds (n is their number). One standard error of an accuracy on 10,000 images is "
        "0.2 points. `p50`: of the median time of one inference, int8, over that of the document's network in "
        "float32 in the same benchmark, one thread; `*`: the machine was disturbed meanwhile.\n\n"
        f"{_fastest(measured)}"
        f"## What the files are\n\n{_files(measured)}\n\n"
        f"## What to try next\n\n{_next(measured)}\n"
        "## Again\n\n"
        "One command trains, quantises and measures all rows, or those that are named; after a stop the same command "
        "goes on. It is meant for a machine with a GPU (with `jax[cuda12]` or a CUDA build of `torch` installed). The "
        "epochs of the recipes are chosen so that one H200 would take about 12 minutes at 400,000 pictures/s for the "
        "small networks, 150,000 for `resnet14` and 43,000 for the teacher: an estimate, not a measurement. "
        "`--minutes` sets an end after which no training begins.\n\n"
        "```bash\n"
        "make best\n"
        'make best BEST="--backend jax --precision mixed_bfloat16"\n'
        'make best BEST="--rows small,tiny --seeds 1 --epochs 12"    # a short trial\n'
        "```\n\n"
        "One model alone, with the same recipe:\n\n"
        "```bash\n"
        "edgefm train --preset best --model small_residual --with-validation --run runs/small\n"
        "edgefm quantize runs/small --variant float32 --variant int8_w8a8\n"
        "edgefm benchmark runs/small\n"
        "```\n\n"
        f"{_source(record, measured)}"
    )


def _measured(row: Row, record: Mapping[str, Any]) -> Measured | None:
    found = best_record.shown(record, row)
    if not found:
        return None
    values = [entry["test"]["accuracy"] if row.final else entry["validation_accuracy"] for entry in found]
    latency = (record["latency"] or {}).get("models", {}).get(row.name)
    same = latency is not None and any(latency.get("sha256") == entry.get("sha256") for entry in found)
    return Measured(
        row=row,
        accuracies=tuple(100 * value for value in values),
        entries=tuple(found),
        ratio=latency["ratio"] if same and latency is not None else None,
        disturbed=bool(same and latency is not None and latency.get("disturbed")),
        former=not best_record.is_current(record, row, found[0]),
    )


def _table(measured: Mapping[str, Measured]) -> str:
    lines = []
    for row in rows():
        one = measured.get(row.name)
        moonshot = "-" if row.moonshot is None else f"{row.moonshot:g}"
        target = f">= {row.target:g}"
        if row.p50_ratio is not None:
            target, moonshot = f"{target}, p50 <= {row.p50_ratio:g} x", f"{row.p50_moonshot:g} x"
        head = (row.title, target, moonshot, row.published)
        if one is None:
            command = f'`make best BEST="--rows {row.name}"`'
            lines.append((*head, NOT_YET, "-", "-", "-", command))
            continue
        ratio = "-" if one.ratio is None else f"{one.ratio['value']:.3f} x{' *' if one.disturbed else ''}"
        lines.append((*head, _accuracy(one), ratio, _epochs(one), _device(one), _verdict(one)))
    heads = ("model", "target", "moonshot", "best published", "measured", "p50", "epochs", "trained on", "")
    return tabulate(lines, headers=heads, tablefmt="github", disable_numparse=True)


def _accuracy(one: Measured) -> str:
    mean, spread = best_record.mean_and_spread(one.accuracies)
    return f"{mean:.2f} {'' if spread is None else f'± {spread:.2f} '}(n = {len(one.accuracies)})"


def _epochs(one: Measured) -> str:
    entry = one.entries[0]
    of = f" of {one.row.recipe.epochs}" if entry["shortened"] else ""
    return f"{entry['epochs']}{of}"


def _device(one: Measured) -> str:
    """Return all that the entries were trained on, each once."""
    devices = [entry["device"] for entry in one.entries]
    named = [f"{device['name']}, {device['backend']}, {device['precision']}" for device in devices]
    return "; ".join(dict.fromkeys(named))


def _verdict(one: Measured) -> str:
    missed, former = one.misses(), ", by an earlier recipe" if one.former else ""
    if missed:
        return f"**missed** ({'; '.join(missed)}){former}"
    if one.row.p50_ratio is not None and one.ratio is None:
        return f"latency not measured{former}"
    met = "met, the moonshot too" if _is_record(one) else "met"
    trial = len(one.entries) < SEEDS or any(entry["shortened"] for entry in one.entries)
    return f"{met}{', by a trial' if trial else ''}{former}"


def _is_record(one: Measured) -> bool:
    """Return whether a row that met its target is as accurate, or as fast, as its moonshot says."""
    if one.row.p50_moonshot is not None:
        return one.ratio is not None and one.ratio["value"] <= one.row.p50_moonshot
    return one.row.moonshot is not None and one.mean >= one.row.moonshot


def _shortened(measured: Sequence[Measured] | Any) -> str:
    short = [one for one in measured if any(entry["shortened"] for entry in one.entries)]
    if not short:
        return ""
    names = ", ".join(f"{one.row.name} ({_epochs(one)} epochs)" for one in short)
    return f"**Trained for fewer epochs than the recipes say: {names}.** These figures are a trial, not the result.\n\n"


def _fastest(measured: Mapping[str, Measured]) -> str:
    """Return which model is the fastest of those that are accurate enough, if any was timed."""
    good = [one for one in measured.values() if one.ratio is not None and one.mean >= FAST_ENOUGH and one.row.final]
    if not good:
        return ""
    best = min(good, key=lambda one: (one.ratio or {})["value"])
    also = "" if best.row.name == FASTEST else f"; the row `{FASTEST}` is not it"
    ratio = (best.ratio or {})["value"]
    return f"The fastest model with {FAST_ENOUGH} % or more is {best.row.title}, at {ratio:.3f} x{also}.\n\n"


def _files(measured: Mapping[str, Measured]) -> str:
    lines = []
    for row in rows():
        one = measured.get(row.name)
        entry: Mapping[str, Any] = one.entries[0] if one is not None else {}
        options = entry.get("recipe", row.recipe.to_json())["params"]["model_options"]
        given = " ".join(f"--model-option {name}={value}" for name, value in options.items())
        size = f"{entry['size_bytes'] / 1000:.1f} KB" if entry.get("size_bytes") else "-"
        macs = f"{entry['macs'] / 1e6:.2f} M" if entry.get("macs") else "-"
        parameters = f"{entry['parameters']:,}" if entry else "-"
        preset = "paper" if row.name == DOCUMENT else "best"
        lines.append(
            (row.name, f"`--preset {preset} --model {row.recipe.model}`", f"`{given}`", parameters, macs, size)
        )
    heads = ("row", "recipe", "options of the model", "parameters", "MACs", "int8 file")
    return tabulate(lines, headers=heads, tablefmt="github", disable_numparse=True)


def _next(measured: Mapping[str, Measured]) -> str:
    lines = []
    for row in rows():
        one = measured.get(row.name)
        state = f"{NOT_YET}{_until_then(row, measured)}" if one is None else _verdict(one)
        lines.append(f"- {row.name}: {state}. To try: {row.attempts}.\n")
    return "".join(lines)


def _until_then(row: Row, measured: Mapping[str, Measured]) -> str:
    """Return which recorded model of another row is the best that keeps this row's limits on its int8 file, if any."""
    limits = replace(row, target=0.0)
    keep = [one for one in measured.values() if one.row.final and not replace(one, row=limits).misses()]
    if row.variant is None or not keep:
        return ""
    best = max(keep, key=lambda one: one.mean)
    return f"; of the recorded models that keep its limits {best.row.title} is the best, with {best.mean:.2f} %"


def _source(record: Mapping[str, Any], measured: Mapping[str, Measured]) -> str:
    again = "Written by `python -m benchmarks.figures` from `benchmarks/results/best.json`.\n"
    return f"{provenance(record)} {again}" if measured else f"Nothing is recorded yet. {again}"
