"""Options by which a command measures model files itself, and what they mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgefm.cli import render

if TYPE_CHECKING:
    from edgefm.comparison.subjects import Subject

_PATH = click.Path(path_type=Path)
_OPTIONS = (
    click.option("--target", default=None, help="Of files: where to measure, see: edgefm doctor.  [default: host]"),
    click.option("--runtime", default=None, help="Of files: runtime, see: edgefm doctor.  [default: the target's]"),
    click.option("--threads", type=int, default=None, help="Of files: threads of the runtime.  [default: 1]"),
    click.option("--rounds", type=int, default=None, help="Of files: exactly so many turns each.  [default: 15 to 45]"),
    click.option("--data-dir", type=_PATH, default=None, help="Of files: folder of the Fashion-MNIST files."),
    click.option("--data", "where", metavar="DATA", help="Of files: as edgefm benchmark takes it."),
    click.option("--spec", type=_PATH, default=None, help="Of --data: JSON that says what is in TFRecord files."),
    click.option(
        "--task",
        type=click.Choice(["classification", "regression", "reconstruction"]),
        default=None,
        help="Of --data: what the models are for.",
    ),
    click.option(
        "--quality", metavar="NAME", default=None, help="Of files: accuracy, top5, auc, mse, module:function."
    ),
    click.option("--labels", type=_PATH, default=None, help="Of --data: class names, one a line."),
    click.option("--mean", type=float, default=None, help="Of files without contract: input = (pixel - mean) / std."),
    click.option("--std", type=float, default=None, help="See --mean."),
    click.option("--latency-only", is_flag=True, help="Of files: measure no accuracy; needs no data."),
    click.option("--out", type=_PATH, default=None, help="Of files: folder for the record."),
)


def measuring_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command's function with the options of measuring files."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def refuse_measuring_options(options: Mapping[str, Any], why: str) -> None:
    """Raise a UsageError that names the options of measuring which were given."""
    given = [
        f"--{'data' if name == 'where' else name.replace('_', '-')}"
        for name, value in options.items()
        if value is not None and value is not False  # --mean 0 is given, too
    ]
    if given:
        raise click.UsageError(f"{', '.join(given)} {'is' if len(given) == 1 else 'are'} for model files; {why}")


def measure_now(
    files: Sequence[Path], options: Mapping[str, Any], bars: render.Bars
) -> AbstractContextManager[Subject]:
    """Return a block in which the record of some files is given, measured as the options say."""
    from edgefm.benchmarking.step import sample_shape
    from edgefm.cli.own_data import given_data
    from edgefm.comparison.measuring import measured
    from edgefm.data.quality import quality
    from edgefm.recipes import BenchmarkProtocol

    changes = {name: options[name] for name in ("target", "runtime", "threads") if options[name] is not None}
    if options["rounds"] is not None:
        changes |= {"rounds": options["rounds"], "rounds_at_most": options["rounds"]}
    protocol = BenchmarkProtocol(**changes)
    if options["latency_only"] and (options["where"] or options["quality"]):
        raise click.UsageError("--latency-only measures no quality: leave out --data and --quality")
    dataset, measure = None, None
    if options["where"] is None and options["labels"] is not None:
        raise click.UsageError("--labels goes with --data")
    if options["where"] is None and options["quality"] is not None:
        measure = quality(options["quality"], task="classification")  # of Fashion-MNIST
    elif (source := given_data(options)) is not None:
        dataset = source.load(sample_shape(files), progress=bars)
        measure = source.measure(dataset)
    return measured(
        files,
        protocol=protocol,
        accuracy=not options["latency_only"],
        data_dir=options["data_dir"],
        dataset=dataset,
        quality=measure,
        mean=options["mean"],
        std=options["std"],
        out=options["out"],
        progress=bars,
    )
