"""What `edgefm benchmark` prints of a record: verdict, quality and latency, cold starts, other figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgefm.cli import render

if TYPE_CHECKING:
    from edgefm.comparison.shipping.verdict import Verdict


def show(record: Mapping[str, Any]) -> None:
    """Print a record as a table of at most 100 columns, and the reasons of what failed below it."""
    models = record["models"]
    reference = next((m["against_reference"]["reference"] for m in models if m["against_reference"]), None)
    render.echo(_measured_on(record))
    if reference is not None:
        render.echo(f"ratio: time relative to {reference}, from paired rounds")
    render.echo()
    measure = next((model["quality"] for model in models if model["quality"]), None)
    name = measure["name"] if measure else "accuracy"
    base = next((model for model in models if model["name"] == reference), None)
    rows = [_row(model, base) for model in models]
    quality = f"{name} %" if measure is None or measure["unit"] == "%" else name
    headers = ["model", quality, "p50 us", "ratio", "KB", "gzip KB", "status"]
    render.table(rows, headers=headers, right=("ratio", "KB", "gzip KB"))
    render.echo()
    _show_starts(models)
    _show_figures(models)
    for note in record["session"]["left_out"]:
        render.echo(note)
    for note in record["session"]["disturbed"]:
        render.echo("disturbed: ", fg="yellow", nl=False)
        render.echo(note)
    for model in models:
        if model["status"] != "ok":
            render.echo(f"{model['name']} failed: ", fg="red", nl=False)
            render.echo(model["reason"])
        elif model["quality"] is None:
            render.echo(f"{model['name']} has no accuracy: {model['accuracy']['reason']}")
        elif model["quality"]["value"] is None:
            render.echo(f"{model['name']} has no {name}: {model['quality']['reason']}")
        elif model["quality"]["reason"]:
            render.echo(f"{model['name']}, {name}: {model['quality']['reason']}")


def show_verdict(verdict: Verdict) -> None:
    """Print which file to ship for what, and why; of files that were not judged equal, why not."""
    from edgefm.comparison.shipping.verdict import NOT_RECOMMENDED, NOTHING

    render.echo()
    render.echo(verdict.headline, bold=verdict.state != NOTHING)
    for choice in verdict.choices:
        if choice.file is not None:
            render.echo(f"  {choice.target}: {choice.file}: {choice.reason}")
        elif choice.reason != verdict.headline:
            render.echo(f"  {choice.target}: none: {choice.reason}")
    for file in verdict.files:
        if file.state in NOT_RECOMMENDED and file.reason not in verdict.headline:
            render.echo(f"  {file.name} is not recommended: {file.reason}")
    render.echo()


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
    render.echo("cold start, load and first run in ms; MDE: minimum detectable effect on latency at 80 % power")
    render.echo()


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
        render.echo()


def _plain(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.6g}"


def _row(model: Mapping[str, Any], base: Mapping[str, Any] | None) -> list[str]:
    from edgefm.statistics.round_comparison import time_ratio

    latency = model["latency_ns"]
    if model is base:
        ratio = "1"
    else:
        found = time_ratio(model, base) if base is not None else None
        ratio = "-" if found is None else f"{found.value:.3f}"
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
