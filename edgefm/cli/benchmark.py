"""`edgefm benchmark`: measure quality, latency, size and memory of TFLite files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgefm.cli import render
from edgefm.cli.exit_codes import exit_codes
from edgefm.cli.measured_now import measuring_arguments
from edgefm.core.progress import Progress, shown
from edgefm.core.task_names import TASKS

if TYPE_CHECKING:
    from edgefm.comparison.shipping.verdict import Verdict
    from edgefm.jobs.benchmark import BenchmarkRecord
    from edgefm.recipes import BenchmarkProtocol


@click.command(
    epilog=exit_codes(
        "every model was measured", "a model failed; the others were measured", "nothing could be measured"
    )
)
@click.argument("what", nargs=-1, type=click.Path(path_type=Path), metavar="[RUN | FILES.tflite …]")
@click.option("--target", default="host", show_default=True, help="Where to measure, see: edgefm doctor.")
@click.option(
    "--runtime", default="", help="Runtime, e.g. litert:reference; see: edgefm doctor.  [default: the target's]"
)
@click.option("--threads", type=int, default=1, show_default=True, help="Threads of the runtime.")
@click.option(
    "--rounds",
    type=int,
    default=None,
    help="Minimum number of rounds; more follow until p50 is known to 1 %.  [default: 15]",
)
@click.option("--rounds-at-most", type=int, default=None, help="Maximum number of rounds.  [default: 45]")
@click.option(
    "--budget-seconds", type=float, default=None, help="Time limit: no round starts after it.  [default: 600]"
)
@click.option("--data-dir", type=click.Path(path_type=Path), default=None, help="Folder of the Fashion-MNIST files.")
@click.option(
    "--data",
    "where",
    metavar="DATA",
    help="Model files: test data: .npz, class folders, TFRecords, or module:function.",
)
@click.option("--spec", type=click.Path(path_type=Path), default=None, help="JSON that describes the TFRecord files.")
@click.option(
    "--task",
    type=click.Choice(TASKS),
    default=None,
    help="With --data: task of the models.  [default: from the labels]",
)
@click.option(
    "--quality", metavar="NAME", default=None, help="Quality measure: accuracy, map, f1, mse, ... or module:function."
)
@click.option("--labels", type=click.Path(path_type=Path), default=None, help="With --data: class names, one per line.")
@click.option("--mean", type=float, default=None, help="Files without a contract: input = (pixel - mean) / std.")
@click.option("--std", type=float, default=None, help="See --mean.")
@click.option("--latency-only", is_flag=True, help="Model files: measure no accuracy; needs no data.")
@click.option("--out", type=click.Path(path_type=Path), default=None, help="Model files: folder for the record.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole record as JSON.")
def command(
    what: tuple[Path, ...],
    target: str,
    runtime: str,
    threads: int,
    rounds: int | None,
    rounds_at_most: int | None,
    budget_seconds: float | None,
    data_dir: Path | None,
    where: str | None,
    spec: Path | None,
    task: str | None,
    quality: str | None,
    labels: Path | None,
    mean: float | None,
    std: float | None,
    latency_only: bool,
    out: Path | None,
    as_json: bool,
) -> int:
    """Measure latency, quality, size and memory of TFLite files: those of RUN (by default the latest run), or FILES.

    In each round every model runs once, in a new process; if one crashes or hangs, the others are still measured.
    Measurements that other programs disturbed are flagged and repeated. TARGET is this machine (host), a board
    (ssh://pi@board), a phone (adb), an emulator (qemu-aarch64:cortex-a72, cortex-m), a browser, or an estimator
    (vela:ethos-u55-128). Accuracy is measured on the 10,000 test images of Fashion-MNIST, or quality on the test
    samples of DATA (a tenth of each class, where DATA has no test samples). For a run, the record is a new step of it
    and the report is written anew.
    """
    from edgefm.benchmarking import record
    from edgefm.comparison.subjects import is_model
    from edgefm.jobs.benchmark import benchmark, benchmark_protocol

    files = [path for path in what if not path.is_dir() or is_model(str(path))]
    if files and len(files) < len(what):
        raise click.UsageError("both a run folder and model files were given; give one run folder, or model files")
    if len(what) > 1 and not files:
        raise click.UsageError(f"{len(what)} run folders were given; give one")
    given = {
        "data": where,
        "spec": spec,
        "task": task,
        "quality": quality,
        "labels": labels,
        "mean": mean,
        "std": std,
        "out": out,
        "latency-only": latency_only or None,
    }
    with shown(True) as progress:
        if files:
            options = {**given, "where": where, "latency_only": latency_only, "data_dir": data_dir}
            options |= {"target": target, "runtime": runtime, "threads": threads}
            options |= {"rounds": rounds, "rounds_at_most": rounds_at_most, "budget_seconds": budget_seconds}
            measured = benchmark(files, **measuring_arguments(options, progress))
            ends = [] if out is None else [f"record: {out / record.FILE_NAME}"]
        else:
            refused = [f"--{name}" for name, value in given.items() if value is not None]
            if refused:
                raise click.UsageError(
                    f"{', '.join(refused)} {'applies' if len(refused) == 1 else 'apply'} to model files only; "
                    "a run has its own data and preprocessing: leave out the option, or give model files"
                )
            protocol = benchmark_protocol(
                target=target,
                runtime=runtime,
                threads=threads,
                rounds=rounds,
                rounds_at_most=rounds_at_most,
                budget_seconds=budget_seconds,
            )
            measured, ends = _run(what[0] if what else None, protocol, data_dir, progress)
    verdict = measured.verdict
    if as_json:
        click.echo(record.dumps({**measured.record, "verdict": verdict.to_json()}), nl=False)
    else:
        show(measured.record)
        show_verdict(verdict)
        for line in ends:
            click.echo(line)
    succeeded = [model["status"] == "ok" for model in measured.record["models"]]
    return 0 if all(succeeded) else 1 if any(succeeded) else 2


def _run(
    path: Path | None, protocol: BenchmarkProtocol, data_dir: Path | None, progress: Progress
) -> tuple[BenchmarkRecord, list[str]]:
    """Measure a run; return its record and what to say at the end."""
    from edgefm.cli.given_run import named_run
    from edgefm.core.errors import RuntimeUnavailableError

    run = named_run(path)
    benchmarked = run.benchmark(protocol=protocol, data_dir=data_dir, progress=progress)
    ends = [f"record: {benchmarked.path}"]
    try:
        ends.append(f"report: {run.report(data_dir=data_dir, progress=progress)}")
    except RuntimeUnavailableError as error:
        ends.append(f"no report: {error}")
    return benchmarked, ends


def show(record: Mapping[str, Any]) -> None:
    """Print a record as a table of at most 100 columns, and the reasons of what failed below it."""
    models = record["models"]
    reference = next((m["against_reference"]["reference"] for m in models if m["against_reference"]), None)
    click.echo(_measured_on(record))
    if reference is not None:
        click.echo(f"ratio: p50 relative to {reference}, from paired rounds")
    click.echo()
    measure = next((model["quality"] for model in models if model["quality"]), None)
    name = measure["name"] if measure else "accuracy"
    rows = [_row(model, reference) for model in models]
    quality = f"{name} %" if measure is None or measure["unit"] == "%" else name
    headers = ["model", quality, "p50 us", "ratio", "KB", "gzip KB", "status"]
    render.table(rows, headers=headers, right=("ratio", "KB", "gzip KB"))
    click.echo()
    _show_starts(models)
    _show_figures(models)
    for note in record["session"]["left_out"]:
        click.echo(note)
    for note in record["session"]["disturbed"]:
        click.secho("disturbed: ", fg="yellow", nl=False)
        click.echo(note)
    for model in models:
        if model["status"] != "ok":
            click.secho(f"{model['name']} failed: ", fg="red", nl=False)
            click.echo(model["reason"])
        elif model["quality"] is None:
            click.echo(f"{model['name']} has no accuracy: {model['accuracy']['reason']}")
        elif model["quality"]["value"] is None:
            click.echo(f"{model['name']} has no {name}: {model['quality']['reason']}")
        elif model["quality"]["reason"]:
            click.echo(f"{model['name']}, {name}: {model['quality']['reason']}")


def show_verdict(verdict: Verdict) -> None:
    """Print which file to ship for what, and why; of files that were not judged equal, why not."""
    from edgefm.comparison.shipping.verdict import NOT_RECOMMENDED, NOTHING

    click.secho(f"\n{verdict.headline}", bold=verdict.state != NOTHING)
    for choice in verdict.choices:
        if choice.file is not None:
            click.echo(f"  {choice.target}: {choice.file}: {choice.reason}")
        elif choice.reason != verdict.headline:
            click.echo(f"  {choice.target}: none: {choice.reason}")
    for file in verdict.files:
        if file.state in NOT_RECOMMENDED and file.reason not in verdict.headline:
            click.echo(f"  {file.name} is not recommended: {file.reason}")
    click.echo()


def _measured_on(record: Mapping[str, Any]) -> str:
    """Return one line on the machine, the runtime and the rounds."""
    models, target = record["models"], record["target"]
    runtime = next((m["runtime"] for m in models if m["input"]), models[0]["runtime"])
    options, parts = runtime["options"], [record["environment"]["cpu"]]
    if target["name"] != "host":
        parts = [f"{target['name']} ({target['mode']})", *parts]
    if options["module"] is None:
        return f"{target['name']}: {target['mode']}; no model is run"
    kernels = f":{options['kernels']}" if options["kernels"] else ""
    threads, rounds = options["threads"], len({turn["index"] for m in models for turn in m["rounds"]})
    parts.append(f"{runtime['name']}{kernels} {runtime['version']}, {threads} thread{'s' * (threads != 1)}")
    if rounds:
        parts.append(f"{rounds} round{'s' * (rounds != 1)} ({record['session']['stopped']})")
    return f"{'; '.join(parts)}; batch 1, 95 % intervals"


def _show_starts(models: Sequence[Mapping[str, Any]]) -> None:
    """Print cold start times, memory, and the verdict of the test against the reference."""
    timed = [model for model in models if model["cold_start_ns"] is not None]
    if not timed:
        return
    rows = []
    for model in timed:
        start, memory = model["cold_start_ns"], model["memory"]
        test = (model["against_reference"] or {}).get("latency_test")
        rows.append(
            [
                model["name"],
                *(f"{start[part]['value'] / 1e6:.1f}" for part in ("total", "load", "first_invoke")),
                f"{memory['above_bare_bytes'] / 1e6:.1f}" if memory else "-",
                "-" if model["energy_j"]["value"] is None else f"{1e6 * model['energy_j']['value']:.0f}",
                "" if test is None else _verdict(test),
                f"{100 * test['smallest_difference']:.1f}" if test and test["smallest_difference"] else "",
            ]
        )
    headers = ["model", "cold start", "load", "first run", "peak MB", "uJ", "latency", "MDE %"]
    render.table(rows, headers=headers, right=("cold start", "load", "first run", "peak MB", "uJ", "MDE %"))
    click.echo("cold start, load and first run in ms; MDE: minimum detectable effect on latency at 80 % power\n")


def _verdict(test: Mapping[str, Any]) -> str:
    from edgefm.comparison.shipping.words import EQUAL_TIME

    p = test["p"]
    if test["verdict"] in ("faster", "slower") and abs(test["round_ratio"]["value"] - 1) <= EQUAL_TIME:
        return f"equal within {100 * EQUAL_TIME:.0f} %"
    return f"{test['verdict']}, p {'< 0.001' if p < 0.001 else f'{p:.3f}'}"


def _show_figures(models: Sequence[Mapping[str, Any]]) -> None:
    """Print what the target and the runtime report beside times."""
    rows = [
        [model["name"], figure["name"], _plain(figure["value"]), figure["mode"], figure["reason"] or ""]
        for model in models
        for figure in model["figures"]
    ]
    rows += [
        [model["name"], name, f"{value:,}", "measured", ""]
        for model in models
        for name, value in model["facts"].items()
        if isinstance(value, int) and not isinstance(value, bool)
    ]
    if rows:
        headers = ["model", "metric", "value", "mode", "reason"]
        render.table(rows, headers=headers, right=("value",), widths=[None, None, None, None, 40])
        click.echo()


def _plain(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.6g}"


def _row(model: Mapping[str, Any], reference: str | None) -> list[str]:
    latency, against = model["latency_ns"], model["against_reference"]
    if model["name"] == reference:
        ratio = "1"
    elif against:
        test = against["latency_test"]  # the ratio that its verdict goes by, where there is one
        ratio = _figure(test["round_ratio"] if test else against["latency_ratio"], 1, "{:.3f}", interval=False)
    else:
        ratio = "-"
    return [
        model["name"],
        _quality(model["quality"]),
        _figure(latency["p50"], 1e-3, "{:.1f}") if latency else "-",
        ratio,
        f"{model['size_bytes'] / 1000:,.1f}",
        f"{model['size_gzip_bytes'] / 1000:,.1f}",
        model["status"],
    ]


def _quality(quality: Mapping[str, Any] | None) -> str:
    if quality is None:
        return "-"
    factor, form = (100, "{:.2f}") if quality["unit"] == "%" else (1, "{:.4g}")
    return _figure(quality, factor, form, interval=quality["low"] is not None)


def _figure(estimate: Mapping[str, Any], factor: float, form: str, *, interval: bool = True) -> str:
    if estimate["value"] is None:
        return "-"
    value, *ends = (form.format(factor * estimate[name]) for name in ("value", *("low", "high") * interval))
    return f"{value} ({ends[0]}-{ends[1]})" if interval else value
