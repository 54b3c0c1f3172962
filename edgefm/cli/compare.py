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
        "B is nowhere worse than A beyond the margins",
        "B is worse somewhere",
        "something could not be compared, e.g. too few rounds; or bad input",
    )
)
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option("--model", metavar="NAME", default=None, help="Records: compare only this model.")
@click.option(
    "--margin-latency",
    type=float,
    default=0.0,
    metavar="PERCENT",
    help="Accept this much more latency.  [default: 0]",
)
@click.option(
    "--margin-accuracy",
    type=float,
    default=0.0,
    metavar="POINTS",
    help="Accept this loss; for a quality that is not a percentage, in its own unit.  [default: 0]",
)
@click.option(
    "--margin-size", type=float, default=0.0, metavar="PERCENT", help="Accept this much more size.  [default: 0]"
)
@click.option("--no-latency", is_flag=True, help="Compare sizes and quality alone.")
@click.option("--force", is_flag=True, help="Compare latencies even if the environments differ.")
@click.option(
    "--correction",
    type=click.Choice(["holm", "none"]),
    default="holm",
    show_default=True,
    help="Several tests: limit any false alarm among them to 5 % (holm), or each test's (none).",
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
    onnxruntime), which are measured now, side by side. Models of records are matched by name; RECORD::NAME means one of
    them, so that RUN::float32 RUN::int8_w8a8 compares two of one run. Latencies of different machines, runtimes or
    settings are not compared.
    """
    from edgefm.comparison.subjects import is_model
    from edgefm.jobs.compare import compare

    files = [is_model(given) for given in (first, second)]
    if any(files) and not all(files):
        raise click.UsageError("give two model files, or two runs or records: one of each was not measured together")
    if all(files) and model is not None:
        raise click.UsageError("--model is for runs and records; two files are two models")
    if not any(files):
        refuse_measuring_options(measuring, "runs and records are measured already")
    with shown(True) as progress:
        found = compare(
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
        render.as_json(found.to_json())
    else:
        show(found)
    return found.exit_code


def show(found: ComparisonResult) -> None:
    """Print a comparison: what differs, a table of verdicts, the sentences, and what follows."""
    from edgefm.comparison import verdicts

    click.echo(f"A: {found.first}\nB: {found.second}")
    if found.differences:
        told = "compared although" if found.forced else "latencies are not compared, because"
        click.secho(f"\n{told} the environments differ:", fg="yellow")
        for one in found.differences:
            click.echo(f"  {one.what}: A {one.first}, B {one.second}. {one.remedy}")
        if not found.forced:
            click.echo("  Or compare the rest with --no-latency, or everything with --force.")
    click.echo()
    rows = [row for pair in found.pairs for row in _rows(pair)]
    render.table(rows, headers=["model", "what", "A", "B", "B is"], right=("A", "B"))
    for pair in found.pairs:
        click.echo(f"\n{_title(pair)}: {pair.judgement}")
        for aspect in pair.aspects:
            click.echo(f"  {verdicts.sentence(aspect, tests=found.tests)}")
    click.echo()
    for note in found.notes:
        click.echo(f"note: {note}")
    click.secho(verdicts.conclusion(found), fg={0: "green", 1: "red"}.get(found.exit_code, "yellow"), bold=True)


def _title(pair: ModelPair) -> str:
    return pair.first if pair.first == pair.second else f"{pair.second} against {pair.first}"


def _rows(pair: ModelPair) -> list[list[str]]:
    from edgefm.comparison import aspects

    if pair.failure:
        return [[_title(pair), "all", "-", "-", "not compared"]]
    return [
        [
            _title(pair) if place == 0 else "",
            one.name,
            aspects.figure(one, one.first),
            aspects.figure(one, one.second),
            one.verdict,
        ]
        for place, one in enumerate(pair.aspects)
    ]
