"""`edgefm gate`: hold a project's budget, in CI or by hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgefm.cli import render
from edgefm.cli.exit_codes import exit_codes
from edgefm.cli.measured_now import measuring_arguments, measuring_options, refuse_measuring_options
from edgefm.core.progress import shown

if TYPE_CHECKING:
    from edgefm.comparison.gate_result import GateResult

_COLOURS = {"held": "green", "broken": "red", "undecided": "yellow", "not checked": "yellow"}


@click.command(
    epilog=exit_codes(
        "every limit is held or undecided",
        "a limit is broken",
        "no limit is broken, but one could not be checked; or bad input",
    )
)
@click.argument("what", nargs=-1, metavar="[RUN | record.json | FILES …]")
@click.option(
    "--budget",
    type=click.Path(path_type=Path),
    default=Path("budget.toml"),
    show_default=True,
    help="Budget file (TOML) with the limits.",
)
@click.option(
    "--baseline", metavar="RECORD", default=None, help="Run or record that p50_ratio and accuracy_drop refer to."
)
@click.option("--force", is_flag=True, help="Compare with a baseline of another machine or other settings anyway.")
@click.option("--junit", type=click.Path(path_type=Path), default=None, help="Write JUnit XML, a test case per limit.")
@measuring_options
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    what: tuple[str, ...],
    budget: Path,
    baseline: str | None,
    force: bool,
    junit: Path | None,
    as_json: bool,
    **measuring: Any,
) -> int:
    """Check models against the limits of a budget.

    The figures are those of RUN's newest benchmark (by default of the latest run), of a record, or of model files
    (.tflite; .onnx with --runtime onnxruntime) that are measured now. Ratios refer to the model that the budget names
    as baseline, within one benchmark, or to the --baseline record, of the same machine and settings.
    """
    from edgefm.comparison.subjects import is_model
    from edgefm.core.runs import RunDirectory
    from edgefm.jobs.gate import gate

    if baseline is not None and is_model(baseline):
        raise click.UsageError(
            f"--baseline takes a run or record, not the model file '{baseline}'; "
            "list the file with the others and name it as baseline in the budget"
        )
    models = [is_model(given) for given in what]
    if any(models) and not all(models):
        raise click.UsageError(
            "both a run or record and model files were given; give one run or record, or model files"
        )
    if len(what) > 1 and not any(models):
        raise click.UsageError(f"{len(what)} runs or records were given; give one")
    if not any(models):
        refuse_measuring_options(measuring, "a run or record holds its measurements")
    with shown(True) as progress:
        result = gate(
            list(what) if any(models) else what[0] if what else RunDirectory.latest().path,
            budget,
            baseline=baseline,
            force=force,
            junit=junit,
            **(measuring_arguments(measuring, progress) if any(models) else {}),
        )
    if as_json:
        render.as_json(result.to_json())
    else:
        show(result)
    return result.exit_code


def show(result: GateResult) -> None:
    """Print a table of the limits, the reasons, and the conclusion."""
    from edgefm.comparison import gate_result
    from edgefm.comparison.shipping.verdict import NOTHING

    render.echo(f"{result.record}{f', baseline {result.baseline}' if result.baseline else ''}")
    render.echo()
    rows = [
        [
            check.model,
            check.key,
            gate_result.number(check, check.value),
            gate_result.interval(check),
            gate_result.bound(check),
            render.Coloured(check.state, _COLOURS[check.state]),
        ]
        for check in result.checks
    ]
    render.table(rows, headers=["model", "metric", "value", "95 % interval", "limit", "result"])
    render.echo()
    for check in result.checks:
        if check.reason:
            render.echo(f"{check.model}, {check.key}: {check.state}: {check.reason}")
    for note in result.notes:
        render.echo(f"note: {note}")
    if result.verdict is not None and result.verdict.state != NOTHING:
        render.echo(f"verdict: {result.verdict.headline}")
    render.echo(gate_result.conclusion(result), fg={0: "green", 1: "red"}.get(result.exit_code, "yellow"), bold=True)
