"""`edgefm compare`: say whether the second of two runs, records or files is faster, smaller, better."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from edgefm.cli import render
from edgefm.cli.exit_codes import exit_codes
from edgefm.cli.measured_now import measuring_arguments, measuring_options, refuse_measuring_options
from edgefm.core.progress import shown

if TYPE_CHECKING:
    from edgefm.comparison.comparison_result import ComparisonResult, ModelPair


@click.command(
    epilog=exit_codes(
        "B is not worse than A in any metric beyond the margins",
        "B is worse than A in a metric",
        "a metric could not be compared, e.g. too few rounds; or bad input",
    )
)
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option("--model", metavar="NAME", default=None, help="Records: compare only this model.")
@click.option(
    "--margin-latency",
    type=float,
    default=1.0,
    metavar="PERCENT",
    help="Latency increase that is accepted.  [default: 1]",
)
@click.option(
    "--margin-accuracy",
    type=float,
    default=0.0,
    metavar="POINTS",
    help="Quality loss that is accepted, in the unit of the measure where that is not percent.  [default: 0]",
)
@click.option(
    "--margin-size", type=float, default=0.0, metavar="PERCENT", help="Size increase that is accepted.  [default: 0]"
)
@click.option("--no-latency", is_flag=True, help="Compare sizes and quality only.")
@click.option("--force", is_flag=True, help="Compare latencies even if the environments differ.")
@click.option(
    "--correction",
    type=click.Choice(["holm", "none"]),
    default="holm",
    show_default=True,
    help="Multiple tests: Holm's correction keeps the family-wise error rate at 5 %.",
)
@measuring_options
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
def command(
    first: str,
    second: str,
    model: str | None,
    margin_latency: float,
    margin_accuracy: float,
    margin_size: float,
    no_latency: bool,
    force: bool,
    correction: str,
    as_json: bool,
    **measuring: Any,
) -> int:
    """Compare B with A, the baseline.

    A and B are runs (their newest benchmark), record.json files, or model files (.tflite; .onnx with --runtime
    onnxruntime), which are measured now in interleaved rounds. Models of records are matched by name; RECORD::NAME
    selects one, so RUN::float32 RUN::int8_w8a8 compares two models of one run. Latencies of different machines,
    runtimes or settings are not compared.
    """
    from edgefm.comparison.subjects import is_model
    from edgefm.jobs.compare import compare

    files = [is_model(given) for given in (first, second)]
    if any(files) and not all(files):
        raise click.UsageError(
            f"'{first}' and '{second}' are a model file and a record; give two model files, or two runs or records"
        )
    if all(files) and model is not None:
        raise click.UsageError("--model applies to runs and records only; leave it out for two model files")
    if not any(files):
        refuse_measuring_options(measuring, "runs and records hold their measurements")
    with shown(True) as progress:
        comparison = compare(
            first,
            second,
            model=model,
            margin_latency=margin_latency,
            margin_accuracy=margin_accuracy,
            margin_size=margin_size,
            latency=not no_latency,
            force=force,
            correction=correction,
            **(measuring_arguments(measuring, progress) if all(files) else {}),
        )
    if as_json:
        render.as_json(comparison.to_json())
    else:
        show(comparison)
    return comparison.exit_code


def show(comparison: ComparisonResult) -> None:
    """Print a comparison: differing environments, a table of verdicts, a sentence on each metric, the conclusion."""
    from edgefm.comparison import verdicts

    render.echo(f"A: {comparison.first}")
    render.echo(f"B: {comparison.second}")
    if comparison.differences:
        handling = "compared (--force)" if comparison.forced else "not compared"
        render.echo()
        render.echo(f"latencies are {handling}; the environments differ:", fg="yellow")
        for difference in comparison.differences:
            render.echo(f"  {difference.what}: A {difference.first}, B {difference.second}. {difference.remedy}")
        if not comparison.forced:
            render.echo("  Or leave out latency with --no-latency, or compare it anyway with --force.")
    render.echo()
    rows = [row for pair in comparison.pairs for row in _rows(pair)]
    render.table(rows, headers=["model", "metric", "A", "B", "B vs A"], right=("A", "B"))
    for pair in comparison.pairs:
        render.echo()
        render.echo(f"{_title(pair)}: {pair.judgement}")
        for aspect in pair.aspects:
            render.echo(f"  {verdicts.sentence(aspect, tests=comparison.tests)}")
    render.echo()
    for note in comparison.notes:
        render.echo(f"note: {note}")
    render.echo(
        verdicts.conclusion(comparison), fg={0: "green", 1: "red"}.get(comparison.exit_code, "yellow"), bold=True
    )


def _title(pair: ModelPair) -> str:
    return pair.first if pair.first == pair.second else f"{pair.second} against {pair.first}"


def _rows(pair: ModelPair) -> list[list[str]]:
    from edgefm.comparison import aspects

    if pair.failure:
        return [[_title(pair), "all", "-", "-", "not compared"]]
    return [
        [
            _title(pair) if place == 0 else "",
            aspect.name,
            aspects.figure(aspect, aspect.first),
            aspects.figure(aspect, aspect.second),
            aspect.verdict,
        ]
        for place, aspect in enumerate(pair.aspects)
    ]
