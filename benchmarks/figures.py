"""Writes the figures of README.md and of figures, models, best, reliability, zoo, over-time in docs/ from the results.

Run: make figures. A test checks that the pages say what the results say.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmarks import (
    best_page,
    bundle_figures,
    forecast_figures,
    harness_figures,
    models_page,
    over_time,
    reliability_page,
    scale_page,
    search_figures,
    training_figures,
    zoo_page,
)
from benchmarks.recorded import disturbed, names, provenance, result, row_disturbed
from edgefm.core import artefacts
from edgefm.core.environment import multiplies_bytes

ROOT = Path(__file__).parent.parent
DISTURBED = (
    "**The machine was disturbed while this was measured** ({}): differences in speed within the intervals of p50 "
    "mean nothing."
)
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def main() -> None:
    """Rewrite the pages."""
    readme = ROOT / "README.md"
    artefacts.write_text(readme, with_block(readme.read_text(encoding="utf-8"), readme_block()))
    artefacts.write_text(ROOT / "docs" / "figures.md", figures_page())
    artefacts.write_text(models_page.PAGE, models_page.page())
    artefacts.write_text(best_page.PAGE, best_page.page())
    artefacts.write_text(reliability_page.PAGE, reliability_page.page())
    artefacts.write_text(zoo_page.PAGE, zoo_page.page())
    artefacts.write_text(scale_page.PAGE, with_block(scale_page.PAGE.read_text(encoding="utf-8"), scale_page.block()))
    if scale_page.NAME in names():
        artefacts.write_bytes(scale_page.PICTURE, scale_page.picture())
    over_time.write()


def with_block(page: str, block: str) -> str:
    """Return a page with the text between its marks replaced."""
    pattern = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    assert pattern.search(page), f"the page has no {BEGIN}"
    return pattern.sub(lambda _: f"{BEGIN}\n{block}\n{END}", page)


def readme_block() -> str:
    """Return the README's table of the main job."""
    job = result("main_job")
    training, standard = (job[name]["summary"] for name in ("training", "standard"))
    return (
        f"Enhanced CNN, `{job['preset']}` preset: validation accuracy {percent(training['validation_accuracy'])} "
        f"after {duration(job['train_seconds'])} of training; `standard`, the default: "
        f"{percent(standard['validation_accuracy'])} after {duration(job['standard_seconds'])}. {models_table(job)}\n\n"
        f"{provenance(job)} Latency is one inference, batch 1, "
        f"{job['protocol']['params']['threads']} thread, p50 with its 95 % interval over rounds; accuracy is on all "
        f"{job['dataset']['images']:,} test images with its 95 % interval. Written by `make figures` from "
        f"`benchmarks/results/main_job.json`; measure again with `make record`.\n\n{int8_instructions()}"
    )


def int8_instructions() -> str:
    """Return how fast variants are on a processor of the other kind: with or without instructions for int8 products."""
    here = multiplies_bytes(result("main_job")["environment"])
    name = "main_job_no_vnni" if here else "main_job_vnni"
    job = result(name)
    named = ("int8_w8a8", "slim50_qat_int8", "slim25_qat_int8")
    ratios = {model["name"]: 1 / model["against_reference"]["latency_ratio"]["value"] for model in job["models"][1:]}
    told = ", ".join(f"`{variant}` {ratios[variant]:.2f}x" for variant in named)
    has, other = ("has", "without") if here else ("has no", "with")
    return (
        f"How much int8 gains is the processor's doing: that of the table {has} instructions for int8 products (VNNI). "
        f"On one {other} them a record of the same job (`standard` preset) says: {told} as fast as float32. "
        f"{provenance(job)} `benchmarks/results/{name}.json`."
    )


def figures_page() -> str:
    """Return docs/figures.md: each target of the project with what was measured."""
    rows = [(target, wanted, found, "reached" if held else "**missed**") for target, wanted, found, held in targets()]
    sources = "\n".join(f"- {name}: {provenance(value)} Again: `{value['command']}`." for name, value in recorded())
    return (
        "# Figures\n\n"
        "Written by `make figures` from the recorded results in `benchmarks/results/`. Targets are set before they are "
        "measured; one that was missed stays here with its number. `*`: the machine was disturbed meanwhile.\n\n"
        f"{tabulate(rows, headers=('figure', 'target', 'measured', ''), tablefmt='github', disable_numparse=True)}\n\n"
        f"{training_figures.section()}\n\n"
        f"{harness_figures.section()}\n\n"
        f"{bundle_figures.section()}\n\n"
        f"{forecast_figures.section()}\n\n"
        f"{search_figures.section()}\n\n"
        f"## The main job\n\n{models_table(result('main_job'))}\n\n"
        f"## Compression\n\n{compression_text(result('main_job'))}\n\n"
        f"## Where the ReLU stands\n\n{reading_table()}\n\n"
        f"## Fused batch normalisation\n\n{step_sentence()}\n\n"
        f"## Recorded runs\n\n{sources}\n"
    )


def targets() -> list[tuple[str, str, str, bool]]:
    """Return (figure, target, measured, held) of each target that a result was recorded for."""
    job, fold = result("main_job"), result("fold")
    start, mark = result("startup")["seconds"]["p50"], " *" if disturbed(result("startup")) else ""
    models = {model["name"]: model for model in job["models"]}
    accuracy = job["standard"]["summary"]["validation_accuracy"]
    int8, fc4, float32 = models["int8_w8a8"], models["int8_w8a8_fc4"], models["float32"]
    lost = 100 * (float32["accuracy"]["value"] - int8["accuracy"]["value"])
    ratio = fold["latency_ratio"]["value"]
    fc4_ratio = time_over_int8(fc4, int8)
    return [
        ("`edgefm --help`, p50", "<= 0.06 s", f"{start:.3f} s{mark}", start <= 0.06),
        *_import_time(),
        ("`standard` validation accuracy", ">= 93.3 %", percent(accuracy), accuracy >= 0.933),
        ("`standard` training time", "<= 3 min", duration(job["standard_seconds"]), job["standard_seconds"] <= 180),
        (
            "int8_w8a8 folded / unfolded, Conv(relu) -> BN, quick preset, p50 in one run",
            "<= 0.80",
            f"{ratio:.3f}",
            ratio <= 0.80,
        ),
        ("int8_w8a8 accuracy below float32", "<= 0.3 points", f"{lost:.2f} points", lost <= 0.3),
        (
            "int8_w8a8_fc4 size",
            "<= 285 KB",
            f"{fc4['size_bytes'] / 1000:.1f} KB",
            fc4["size_bytes"] <= 285_000,
        ),
        *_rewritten(job),
        ("int8_w8a8_fc4 / int8_w8a8, p50 in one run", "<= 1.00", f"{fc4_ratio:.3f}", fc4_ratio <= 1.0),
        (
            "`edgefm quantize --quick`, five variants",
            "<= 45 s",
            f"{job['quick_seconds']:.1f} s",
            job["quick_seconds"] <= 45,
        ),
        (
            f"`edgefm benchmark`, {len(job['models'])} models, a model",
            "<= 15 s",
            f"{job['benchmark_seconds'] / len(job['models']):.1f} s",
            job["benchmark_seconds"] / len(job["models"]) <= 15,
        ),
        *compression_targets(job),
    ]


def _import_time() -> list[tuple[str, str, str, bool]]:
    if "import_time" not in names():
        return []
    value = result("import_time")
    p50, mark = value["seconds"]["p50"], " *" if disturbed(value) else ""
    return [("`import edgefm`, p50", "<= 0.1 s", f"{p50:.3f} s{mark}", p50 <= 0.1)]


def _rewritten(job: dict[str, Any]) -> list[tuple[str, str, str, bool]]:
    """Return the target of the file that is rewritten for XNNPACK, where the processor multiplies bytes (ADR 0030)."""
    if not multiplies_bytes(job["environment"]):
        return []
    models = {model["name"]: model for model in job["models"]}
    ratio = models["int8_w8a8_xnnpack"]["against_reference"]["latency_ratio"]["value"]
    wanted = 0.28
    return [("int8_w8a8_xnnpack / float32, p50 in one run", f"<= {wanted}", f"{ratio:.3f}", ratio <= wanted)]


# Points of test accuracy that a variant may lose, and what else it must be.
LOSSES = {
    "qat_int8": 0.1,
    "pruned80_qat_int8": 0.3,
    "pruned90_qat_int8": 0.6,
    "pruned80_clustered16_qat_int8": 0.5,
    "slim50_qat_int8": 0.5,
    "slim25_qat_int8": 1.5,
}
GZIP_BYTES = {"pruned80_qat_int8": 135_000, "pruned90_qat_int8": 90_000, "pruned80_clustered16_qat_int8": 90_000}
RAW_BYTES = {"slim50_qat_int8": 125_000, "slim25_qat_int8": 40_000}
P50_RATIOS = {"slim50_qat_int8": 0.38, "slim25_qat_int8": 0.23}
AGREEMENT = 0.997
POST_TRAINING_SECONDS = 20


def compression_targets(job: dict[str, Any]) -> list[tuple[str, str, str, bool]]:
    """Return the targets of the compressed variants, measured on their files."""
    models = {model["name"]: model for model in job["models"]}
    variants = job["variants"]
    reference = models["float32"]["accuracy"]["value"]
    rows = []
    for name, limit in LOSSES.items():
        lost = 100 * (reference - models[name]["accuracy"]["value"])
        rows.append(
            (f"{name} accuracy below float32", f"<= {limit} points", f"{lost:.2f} points", lost <= limit + 1e-9)
        )
        for sizes, what, given in (
            (GZIP_BYTES, "gzip", variants[name]["gzip_bytes"]),
            (RAW_BYTES, "size", variants[name]["size_bytes"]),
        ):
            if name in sizes:
                wanted = sizes[name]
                rows.append((f"{name} {what}", f"<= {wanted // 1000} KB", f"{given / 1000:.1f} KB", given <= wanted))
        if name in P50_RATIOS:
            ratio = time_over_int8(models[name], models["int8_w8a8"])
            wanted_ratio = P50_RATIOS[name]
            rows.append(
                (f"{name} / int8_w8a8, p50 in one run", f"<= {wanted_ratio}", f"{ratio:.3f}", ratio <= wanted_ratio)
            )
    agreement = variants["qat_int8"]["passes"][-1]["parity"]["argmax_agreement"]
    rows.append(
        (
            "qat_int8, fake-quant graph and file agree on the class",
            f">= {100 * AGREEMENT:.1f} %",
            percent(agreement),
            agreement >= AGREEMENT,
        )
    )
    slowest = max(variant["seconds"] for variant in variants.values() if not variant["passes"])
    rows.append(
        (
            "a post-training variant of a trained model, the slowest",
            f"<= {POST_TRAINING_SECONDS} s",
            f"{slowest:.1f} s",
            slowest <= POST_TRAINING_SECONDS,
        )
    )
    ratio = result("fine_tuning_epoch")["slowest"]
    rows.append(
        (
            f"training steps of a fine-tuning epoch ({ratio['pass']}, no teacher) / of a plain epoch, same backend",
            "<= 1.6",
            f"{ratio['ratio']:.2f}",
            ratio["ratio"] <= 1.6,
        )
    )
    return rows


def time_over_int8(model: dict[str, Any], int8: dict[str, Any]) -> float:
    """Return the ratio of times that was recorded; of an older result, which has no rounds, that of p50."""
    recorded = model.get("time_over_int8")
    if recorded is not None:
        return float(recorded["value"])
    return float(model["latency_ns"]["p50"]["value"] / int8["latency_ns"]["p50"]["value"])


def compression_text(job: dict[str, Any]) -> str:
    """Return what each fine-tuned variant cost to make, and what it lost on validation and test, in Markdown."""
    models = {model["name"]: model for model in job["models"]}
    reference = models["float32"]
    rows = []
    for name, variant in job["variants"].items():
        if not variant["passes"]:
            continue
        model, validation = models[name], variant["validation"]
        difference = model["against_reference"]["accuracy_difference"] if model["against_reference"] else None
        rows.append(
            (
                f"`{name}`",
                " > ".join(done["kind"] for done in variant["passes"]),
                str(sum(len(done["history"]) for done in variant["passes"])),
                f"{-validation['loss']:+.2f}",
                f"{100 * (model['accuracy']['value'] - reference['accuracy']['value']):+.2f}"
                + (f" ({interval(difference, 100, 2)})" if difference else ""),
                f"{variant['macs'] / 1e6:.2f} M",
                f"{variant['size_bytes'] / 1000:,.0f} / {variant['gzip_bytes'] / 1000:,.0f} / "
                f"{variant['zstd_bytes'] / 1000:,.0f} KB",
            )
        )
    headers = ("variant", "passes", "epochs", "validation", "test (95 %)", "MACs", "raw / gzip / zstd")
    return (
        "Points of accuracy against the float32 file, on the validation images, by which recipes were chosen, and on "
        "the test images. Epochs are those of fine-tuning.\n\n"
        + tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)
        + f"\n\nAll {len(job['variants'])} variants together took {duration(job['quantize_seconds'])}, measuring them "
        f"{duration(job['benchmark_seconds'])}."
    )


def models_table(job: dict[str, Any]) -> str:
    """Return the table of the models of a main job, in Markdown."""
    rows = []
    for model in job["models"]:
        p50, against = model["latency_ns"]["p50"], model["against_reference"]
        rows.append(
            (
                f"`{model['name']}`",
                f"{percent(model['accuracy']['value'])} ({interval(model['accuracy'], 100, 2)})",
                f"{p50['value'] / 1000:.1f} us ({interval(p50, 1e-3, 1)})",
                f"{1 / against['latency_ratio']['value'] if against else 1:.2f}x",
                f"{model['size_bytes'] / 1000:,.0f} KB",
                f"{model['size_gzip_bytes'] / 1000:,.0f} KB",
            )
        )
    headers = ("variant", "test accuracy", "p50", "speed", "size", "gzip")
    table = "\n\n" + tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)
    rows_disturbed = [f"`{model['name']}`" for model in job["models"] if row_disturbed(model)]
    return table + (f"\n\n{DISTURBED.format(', '.join(rows_disturbed))}" if rows_disturbed else "")


def reading_table() -> str:
    """Return the comparison of the two readings of the Enhanced CNN, in Markdown."""
    order = result("batch_norm_order")
    seeds = sorted({entry["seed"] for entry in order["entries"]})
    rows = []
    for reading, mean in order["mean_validation_accuracy"].items():
        found = {
            entry["seed"]: entry["validation_accuracy"] for entry in order["entries"] if entry["batch_norm"] == reading
        }
        rows.append((f"`{reading}`", *(percent(found[seed]) for seed in seeds), percent(mean)))
    headers = ("batch_norm", *(f"seed {seed}" for seed in seeds), "mean")
    return (
        "The source does not say whether the ReLU stands before or after the batch normalisation. Validation accuracy "
        "of the last of six epochs, otherwise the `standard` preset:\n\n"
        + tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)
        + f"\n\nThe default is `{order['better']}`."
    )


def step_sentence() -> str:
    """Return what the fused batch normalisation buys, in a sentence."""
    step = result("training_step")
    turns = step["speed_up"]["turns"]
    return (
        f"On TensorFlow it makes a training step of the Enhanced CNN at batch {step['batch']} "
        f"{step['speed_up']['p50']:.2f} times faster (median of {len(turns)} turns; {min(turns):.2f} to "
        f"{max(turns):.2f})."
    )


def recorded() -> list[tuple[str, dict[str, Any]]]:
    """Return (name, result) of each recorded result."""
    return [(name, result(name)) for name in names()]


def percent(share: float) -> str:
    """Return a share as a percentage with two decimals."""
    return f"{100 * share:.2f} %"


def interval(estimate: dict[str, float], factor: float, digits: int) -> str:
    """Return the interval of an estimate, scaled."""
    return f"{estimate['low'] * factor:.{digits}f} to {estimate['high'] * factor:.{digits}f}"


def duration(seconds: float) -> str:
    """Return seconds as minutes and seconds."""
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"


if __name__ == "__main__":
    main()
