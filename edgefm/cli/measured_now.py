"""Options by which a command measures model files itself, and what they mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgefm.core.task_names import TASKS

if TYPE_CHECKING:
    from edgefm.core.progress import Progress

_PATH = click.Path(path_type=Path)
_OPTIONS = (
    click.option("--target", default=None, help="Model files: where to measure, see: edgefm doctor.  [default: host]"),
    click.option("--runtime", default=None, help="Model files: runtime, see: edgefm doctor.  [default: the target's]"),
    click.option("--threads", type=int, default=None, help="Model files: threads of the runtime.  [default: 1]"),
    click.option("--rounds", type=int, default=None, help="Model files: minimum number of rounds.  [default: 15]"),
    click.option(
        "--rounds-at-most", type=int, default=None, help="Model files: maximum number of rounds.  [default: 45]"
    ),
    click.option("--data-dir", type=_PATH, default=None, help="Model files: folder of the Fashion-MNIST files."),
    click.option("--data", "where", metavar="DATA", help="Model files: test data, see: edgefm benchmark --help."),
    click.option("--spec", type=_PATH, default=None, help="With --data: JSON that describes the TFRecord files."),
    click.option(
        "--task",
        type=click.Choice(TASKS),
        default=None,
        help="With --data: task of the models.",
    ),
    click.option(
        "--quality",
        metavar="NAME",
        default=None,
        help="Model files: quality measure: accuracy, map, f1, mse, ... or module:function.",
    ),
    click.option("--labels", type=_PATH, default=None, help="With --data: class names, one per line."),
    click.option(
        "--mean", type=float, default=None, help="Model files: input = (pixel - mean) / std, without a contract."
    ),
    click.option("--std", type=float, default=None, help="See --mean."),
    click.option("--latency-only", is_flag=True, help="Model files: measure no accuracy; needs no data."),
    click.option("--out", type=_PATH, default=None, help="Model files: folder for the record."),
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
        raise click.UsageError(
            f"{', '.join(given)} {'applies' if len(given) == 1 else 'apply'} to model files only; {why}"
        )


def measuring_arguments(options: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Return the arguments of `edgefm.benchmark` and the like that the options ask for.

    Without --data, and unless --latency-only was given, the data are Fashion-MNIST.
    """
    from edgefm.cli.own_data import given_data
    from edgefm.data.reference.fashion_mnist import load_fashion_mnist
    from edgefm.jobs.benchmark import benchmark_protocol

    if options["latency_only"] and (options["where"] or options["quality"]):
        raise click.UsageError("--latency-only was given with --data or --quality; leave out one or the other")
    if options["where"] is None and options["labels"] is not None:
        raise click.UsageError("--labels goes with --data")
    names = ("target", "runtime", "threads", "rounds", "rounds_at_most", "budget_seconds")
    given = {name: options.get(name) for name in names}
    protocol = benchmark_protocol(**{name: value for name, value in given.items() if value is not None})
    data: Any = None
    if not options["latency_only"]:
        # Of Fashion-MNIST the measure may be chosen, too.
        data = given_data({**options, "quality": options["quality"] if options["where"] else None})
        if data is None:
            data = load_fashion_mnist(options["data_dir"], progress=progress)
    return {
        "data": data,
        "quality": options["quality"],
        "protocol": protocol,
        "mean": options["mean"],
        "std": options["std"],
        "out": options["out"],
        "progress": progress,
    }
