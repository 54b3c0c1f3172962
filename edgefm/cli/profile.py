"""`edgefm profile`: which operator costs the time, and how near it is to what the machine can do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgefm.cli import render
from edgefm.cli.exit_codes import exit_codes

if TYPE_CHECKING:
    from edgefm.profiling.result import ProfiledOperator, ProfileResult, SumCheck

_LIMITS = {
    "compute": "its MACs at the peak take at least half of its time",
    "memory": "its bytes at the measured bandwidth take at least half of its time",
    "call": "the fixed overhead of an operator takes at least half of its time",
    "kernel": "none of these takes half of its time: the kernel does not suit its shape",
    "elided": "faster than its bytes allow: fused into another operator, or skipped",
}


@click.command(
    epilog=exit_codes(
        "every operator has a time, and their sum is within 10 % of the whole",
        "an operator has no time, or the sum is further off",
        "nothing could be timed",
    )
)
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--runtime", default="litert", show_default=True, help="Runtime, e.g. litert:builtin; see: edgefm doctor."
)
@click.option(
    "--method",
    type=click.Choice(["auto", "operators", "prefixes"]),
    default="auto",
    show_default=True,
    help="Time each operator by itself, or take differences of prefixes of the model.",
)
@click.option("--rounds", type=int, default=None, help="Exact number of rounds of every operator.  [default: 9]")
@click.option("--seconds", type=float, default=None, help="Time limit of each cut model.  [default: 60]")
@click.option("--out", type=click.Path(path_type=Path), default=None, help="Folder for profile.json, .png and .svg.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole profile as JSON, raw samples included.")
def command(
    model: Path, runtime: str, method: str, rounds: int | None, seconds: float | None, out: Path | None, as_json: bool
) -> int:
    """Show where the time of MODEL (.tflite) goes, operator by operator, on one thread of this machine.

    Each operator is cut out of the file and timed by itself, beside the whole model, and the sum is compared with the
    whole. Where it is off by more than 10 %, differences between prefixes of the model (the graph up to an operator)
    are used instead. The peak of this machine is measured too, with the same runtime.
    """
    from edgefm.jobs.profile import profile, write_profile

    result = profile(model, runtime=runtime, method=method, rounds=rounds, seconds=seconds, progress=True)  # type: ignore[arg-type]  # one of the choices
    written = [] if out is None else write_profile(result, out)
    if out is not None and len(written) == 1:
        render.complain("no picture: matplotlib is not installed; pip install 'edgefm[report]'")
    if as_json:
        from edgefm.benchmarking import record

        render.json_text(record.dumps(result.to_json()))
    else:
        _show(result)
        for path in written:
            render.echo(f"written: {path}")
    return 0 if result.check is not None and result.check.holds else 1


def _show(result: ProfileResult) -> None:
    render.echo(f"{result.model['name']}, {result.runtime} {result.version}, one thread of {result.environment['cpu']}")
    peaks = ", ".join(f"{dtype} {peak.gmac_per_s:,.1f} GMAC/s" for dtype, peak in result.limits.peaks.items())
    render.echo(f"peak of one core, measured now: {peaks or 'not resolved'}")
    render.echo()
    rows = [_row(operator) for operator in result.operators]
    numbers = ["time us", "95 % interval", "share", "MACs", "bytes", "GMAC/s", "of peak", "GB/s"]
    render.table(rows, headers=["op", "name", "layer", *numbers, "limited by"], right=("op", *numbers))
    render.echo()
    if result.whole is None:
        render.echo(f"the whole model could not be timed: {result.whole_reason}")
    else:
        whole = result.whole
        render.echo(
            f"whole model: {_us(whole.value)} us ({_us(whole.low)} to {_us(whole.high)}), "
            f"of which {_us(result.call.value)} us are the call overhead"
        )
    for line in _checks(result):
        render.echo(line)
    for operator in result.operators:
        if operator.reason:
            render.echo(f"operator {operator.index}, {operator.name}, has no time: {operator.reason}")
    for note in result.notes:
        render.echo(f"note: {note}")
    if result.disturbed.turns:
        kinds = ", ".join(f"{kind} ({count})" for kind, count in result.disturbed.kinds.items())
        render.echo(f"{result.disturbed.turns} of {result.disturbed.of_turns} turns were disturbed: {kinds}")
    used = dict.fromkeys(operator.limit for operator in result.operators if operator.limit)
    for limit in used:
        render.echo(f"limited by {limit}: {_LIMITS[limit]}")


def _checks(result: ProfileResult) -> Iterator[str]:
    for check in result.checks:
        yield _check(check)
    last = result.check
    if len(result.checks) > 1:
        yield (
            "operators take other times alone than in the whole model: the table shows differences of prefixes, which "
            "add up to the whole by construction"
        )
    if last is not None and not last.holds and not last.missing:
        yield "the times do not add up: measure again on a quieter machine, with more --rounds or with another --method"


def _check(check: SumCheck) -> str:
    what = "sum of the operators" if check.method == "operators" else "sum of the differences of prefixes"
    off = 100 * (check.of_whole.value - 1)
    low, high = 100 * (check.of_whole.low - 1), 100 * (check.of_whole.high - 1)
    text = f"{what}, with the call: {_us(check.sum.value)} us, {off:+.1f} % off the whole ({low:+.1f} to {high:+.1f} %)"
    if check.missing:
        return f"{text}; {len(check.missing)} operators have no time"
    return f"{text}; {'within 10 %' if check.holds else 'MORE THAN 10 % OFF'}"


def _row(operator: ProfiledOperator) -> list[str]:
    time, size = operator.time, operator.weight_bytes + operator.activation_bytes
    return [
        str(operator.index),
        operator.name,
        _short(operator.layer),
        _us(time.value) if time else "failed",
        f"{_us(time.low)} to {_us(time.high)}" if time else "",
        "" if operator.share is None else f"{100 * operator.share:.1f} %",
        f"{operator.macs:,}" if operator.macs else "",
        f"{size:,}",
        _rate(operator.gmac_per_s),
        "" if operator.peak_share is None else f"{100 * operator.peak_share:.0f} %",
        _rate(operator.gb_per_s),
        operator.limit or ("not resolved" if time else ""),
    ]


def _us(nanoseconds: float) -> str:
    return f"{nanoseconds / 1000:,.{2 if abs(nanoseconds) < 99_995 else 1}f}"


def _rate(value: float | None) -> str:
    return "" if value is None else f"{value:,.1f}"


def _short(name: str) -> str:
    return name if len(name) <= 26 else f"…{name[-25:]}"
