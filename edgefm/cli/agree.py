"""`edgefm agree`: the same inputs through runtimes, kernel sets and targets; where their answers part."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgefm.cli import render
from edgefm.cli.exit_codes import exit_codes
from edgefm.core.progress import Bars
from edgefm.core.task_names import TASKS

if TYPE_CHECKING:
    from edgefm.data.dataset import Dataset
    from edgefm.data.source import DataSource

_PATH = click.Path(path_type=Path)
_SAMPLE_SHAPE = (28, 28, 1)  # of Fashion-MNIST


@click.command(
    epilog=exit_codes(
        "all answers are within the tolerance of their kernel family",
        "an answer is outside its tolerance",
        "no two of them ran, or bad input",
    )
)
@click.argument("model", type=_PATH, metavar="MODEL.tflite")
@click.option("--runtime", multiple=True, help="Only this runtime, e.g. litert or litert:builtin; repeatable.")
@click.option("--target", multiple=True, help="Another target; repeatable. 'all': all but ssh, adb and cortex-m.")
@click.option("-n", "--samples", type=click.IntRange(min=1), default=1000, show_default=True, help="Number of inputs.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the drawn samples or random inputs.")
@click.option("--random", "chance", is_flag=True, help="Use random inputs; accuracy is not measured.")
@click.option("--data-dir", type=_PATH, default=None, help="Folder of the Fashion-MNIST files.")
@click.option("--data", "where", metavar="DATA", help="A .npz, class folders, TFRecords, or module:function.")
@click.option("--spec", type=_PATH, default=None, help="JSON that describes the TFRecord files.")
@click.option(
    "--task",
    type=click.Choice(TASKS),
    default=None,
    help="With --data: task of the model.  [default: from the labels]",
)
@click.option("--quality", metavar="NAME", default=None, help="accuracy, map, f1, mse, ... or module:function.")
@click.option("--labels", type=_PATH, default=None, help="With --data: class names, one per line.")
@click.option("--mean", type=float, default=None, help="Without contract: input = (pixel - mean) / std.")
@click.option("--std", type=float, default=None, help="See --mean.")
@click.option("--no-first-difference", is_flag=True, help="Don't search the first layer that differs (at most 40 s).")
@click.option("--out", type=_PATH, default=None, metavar="FOLDER", help="Folder for agreement.json, .png and .svg.")
@click.option("--json", "as_json", is_flag=True, help="Print agreement.json.")
def command(
    model: Path,
    runtime: tuple[str, ...],
    target: tuple[str, ...],
    samples: int,
    seed: int,
    chance: bool,
    data_dir: Path | None,
    where: str | None,
    spec: Path | None,
    task: str | None,
    quality: str | None,
    labels: Path | None,
    mean: float | None,
    std: float | None,
    no_first_difference: bool,
    out: Path | None,
    as_json: bool,
) -> int:
    """Run the same inputs through every installed runtime and kernel set, and through TARGETS.

    A cell is a runtime with one kernel set on a target. Kernels of one family must give the same outputs, to within a
    few quantisation levels. A cell outside the tolerance of its family is an alarm; the first layer that differs is
    shown. Inputs are test images of Fashion-MNIST, test samples of DATA, or random where neither fits the model.
    """
    from edgefm.jobs.agree import agree
    from edgefm.jobs.inspect import tflite_in

    model = tflite_in(model)

    if chance and where is not None:
        raise click.UsageError("--random cannot be combined with --data")
    bars = Bars()
    try:
        options = {"where": where, "spec": spec, "task": task, "quality": quality, "labels": labels}
        data, reason = _data(
            model, options, data_dir, chance=chance, fed=mean is not None or std is not None, bars=bars
        )
        result = agree(
            model,
            runtime=runtime,
            target=target,
            samples=samples,
            seed=seed,
            data=data,
            quality=quality if data is not None else None,
            mean=mean,
            std=std,
            first_difference=not no_first_difference,
            progress=bars,
            reason=reason,
        )
    finally:
        bars.close()
    written = [] if out is None else result.save(out)
    if as_json:
        render.as_json(result.to_json())
    else:
        show(result.document)
        for path in written:
            render.echo(f"written: {path}")
        if len(written) == 1:
            render.echo("no picture: it needs matplotlib; install it with: pip install 'edgefm[report]'")
    return 0 if result.held else 1


def _data(
    model: Path,
    options: Mapping[str, Any],
    data_dir: Path | None,
    *,
    chance: bool,
    fed: bool,
    bars: Bars,
) -> tuple[Dataset | DataSource | None, str]:
    """Return the data that were asked for, Fashion-MNIST where it fits, or None and why the inputs are random."""
    from edgefm.agreement import arithmetic
    from edgefm.cli.own_data import given_data
    from edgefm.core.errors import DataError
    from edgefm.data.reference.fashion_mnist import load_fashion_mnist
    from edgefm.tflite.inspection import inspect

    if options["where"] is not None:
        return given_data(options), ""
    for name in ("spec", "task", "labels"):
        if options[name] is not None:
            raise click.UsageError(f"--{name} goes with --data")
    if chance:
        return None, "--random was given"
    shape = arithmetic.ends(inspect(model)).source.shape[1:]
    if shape != _SAMPLE_SHAPE:
        return None, f"no --data was given, and the model's input {shape} is not that of Fashion-MNIST, {_SAMPLE_SHAPE}"
    try:
        return load_fashion_mnist(data_dir, progress=bars), ""
    except DataError as error:
        if data_dir is not None or fed:
            raise
        return None, error.message


def show(value: Mapping[str, Any]) -> None:
    """Print a document of `edgefm.agreement.document` as a table a family, and its verdict."""
    inputs, model = value["inputs"], value["model"]
    if inputs["source"] == "data":
        given = f"{inputs['samples']:,} of {inputs['available']:,} test samples of {inputs['name']}"
    else:
        given = f"{inputs['samples']:,} random inputs, seed {inputs['seed']} ({inputs['reason']}): no accuracy"
    render.echo(f"{model['name']} ({_ARITHMETIC[model['arithmetic']]}): {given}")
    render.echo(_UNITS[value["unit"]])
    quality = next((cell["quality"] for cell in value["cells"] if cell["quality"]), None)
    name = f"{quality['name']} %" if quality and quality["unit"] == "%" else quality["name"] if quality else None
    versions = {cell["runtime"].partition(":")[0]: cell["version"] for cell in value["cells"] if cell["version"]}
    render.echo("versions: " + ", ".join(f"{runtime} {version}" for runtime, version in versions.items()))
    headers = ["cell", "largest difference", "limit", "equal samples", "argmax changed", "verdict"]
    for family in value["families"]:
        render.echo()
        render.echo(f"{family['title']}, against {family['reference']}", bold=True)
        members = [cell for cell in value["cells"] if cell["family"] == family["name"]]
        rows = [[*_row(cell, value["unit"]), *([_quality(cell["quality"])] if name else [])] for cell in members]
        render.table(rows, headers=[*headers, *([name] if name else [])], right=headers[1:5])
    if value["between_families"]:
        render.echo()
        render.echo("between the references of the families (not judged)", bold=True)
        references = {family["name"]: family["reference"] for family in value["families"]}
        rows = [
            [
                references[pair["first"]],
                references[pair["second"]],
                _largest(pair, value["unit"]),
                _share(pair),
                _count(pair["argmax_changes"]),
            ]
            for pair in value["between_families"]
        ]
        titles = ["cell", "other cell", "largest difference", "equal samples", "argmax changed"]
        render.table(rows, headers=titles, right=titles[2:])
    _show_absent(value)
    render.echo()
    for line in value["verdict"]["lines"]:
        alarm = line.startswith("ALARM")
        render.echo("ALARM" if alarm else "", fg="red", bold=True, nl=False)
        render.echo(line.removeprefix("ALARM"))


_ARITHMETIC = {
    "float": "float32 arithmetic",
    "integer": "integer arithmetic",
    "int16": "16-bit integer arithmetic",
    "dynamic": "integer weights, float activations",
}
_UNITS = {
    "levels": "differences in quantisation levels; limit: largest allowed (share of values that may differ)",
    "relative": "differences relative to the largest magnitude of the output",
}


def _show_absent(value: Mapping[str, Any]) -> None:
    reasons: dict[str, list[str]] = {}
    for missing in (*(cell for cell in value["cells"] if cell["status"] != "ran"), *value["absent"]):
        reasons.setdefault(missing["reason"], []).append(missing["name"])
    if reasons:
        render.echo()
        render.echo("did not run", bold=True)
        for reason, names in reasons.items():
            render.echo(f"  {', '.join(names)}: {reason}")


def _row(cell: Mapping[str, Any], unit: str) -> list[str]:
    comparison = cell["against_reference"]
    if comparison is None:
        return [cell["name"], "", "", "", "", "reference"]
    limit = f"{cell['limit']:g}" if unit == "levels" else f"{cell['limit']:.0e}"
    if cell["limit"] > 0 and cell["share"] < 1:
        limit += f" ({100 * cell['share']:g} %)"
    equal = comparison["equal_samples"] == comparison["samples"]
    spread = cell["spread"]
    verdict = "ALARM" if cell["verdict"] == "alarm" else "equal" if equal else "within"
    if spread is not None:
        verdict = f"as LiteRT's own kernel sets: {spread['largest']:.3g}"
    return [
        cell["name"],
        _largest(comparison, unit),
        limit,
        _share(comparison),
        _count(comparison["argmax_changes"]),
        verdict,
    ]


def _largest(comparison: Mapping[str, Any], unit: str) -> str:
    largest = comparison["largest"]
    if largest is None:
        return "NaN"
    return f"{largest:.3g}" if unit == "levels" or largest == 0 else f"{largest:.1e}"


def _share(comparison: Mapping[str, Any]) -> str:
    return f"{100 * comparison['equal_samples'] / comparison['samples']:.1f} %"


def _count(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"


def _quality(quality: Mapping[str, Any] | None) -> str:
    if quality is None or quality["value"] is None:
        return "-"
    factor, form = (100, "{:.1f}") if quality["unit"] == "%" else (1, "{:.4g}")
    value, *ends = (
        form.format(factor * quality[name]) for name in ("value", "low", "high") if quality[name] is not None
    )
    return f"{value} ({'-'.join(ends)})" if ends else value
