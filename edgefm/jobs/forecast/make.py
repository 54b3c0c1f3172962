"""Makes a forecast: every variant without its training, looked at as a finished one is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from edgefm.core import scratch
from edgefm.core.errors import EdgefmError, ModelError
from edgefm.core.progress import Progress, StepsOnly
from edgefm.jobs.forecast import expected
from edgefm.jobs.forecast.expected import Untrained
from edgefm.jobs.forecast.reasons import notes, of_branches
from edgefm.jobs.forecast.result import ForecastResult, Interval, VariantForecast
from edgefm.profiling.cost_model import CostModel
from edgefm.profiling.cost_model.kept import machine, version_here
from edgefm.recipes import Quantization, Variant, variant_named
from edgefm.tflite.inspection import operator_names

_REFERENCE = "float32"
_NO_DATA = "no data were given: the loss cannot be measured"
_NO_RUN = "no recorded run has these passes"
_AT_CHANCE = "the given model's answers are not better than chance: what training makes of it is not known"
# Measures that are a share of right answers: how many answers changed tells how sure a loss is.
_OF_ANSWERS = ("accuracy", "label_accuracy")
# What recorded runs tell of.
_RECORDED = "accuracy"
_USELESS = ("chance_level", "constant_output")


def forecast_source(
    source: Any, recipe: Quantization, *, cost_model: Callable[[], CostModel], arena: bool = True, progress: Progress
) -> ForecastResult:
    """Return what each variant of a source will be like.

    Args:
      source: an `edgefm.quantization.source.Source`.
      recipe: its variants, with their training, which is left out here.
      cost_model: returns what predicts times; it may have to be measured, which is done once the files are made.
      arena: load each file in TensorFlow Lite Micro, for its arena.
      progress: receives progress.
    Raises:
      ModelError: the model cannot be converted, or no variant can be made of it.
    """
    from edgefm.quantization.checks.findings import GIVEN_MODEL
    from edgefm.quantization.export import export_variants
    from edgefm.quantization.feasibility import feasible

    feasible(source, recipe)  # where nothing that was asked for can be made, the float32 file alone is no answer
    asked = {variant.name: variant for variant in recipe.variants}
    looked = asked if _REFERENCE in asked else {_REFERENCE: variant_named(_REFERENCE), **asked}
    untrained = replace(recipe, variants=tuple(map(without_training, looked.values())))
    with scratch.folder("forecast") as folder:
        files, kept = folder / "files", folder / "passes"
        for path in (files, kept):
            path.mkdir()
        report = export_variants(source, files, recipe=untrained, kept=kept, progress=StepsOnly(progress)).to_json()
        entries = {entry["variant"]: entry for entry in report["variants"]}
        skipped = {entry["variant"]: entry["reason"] for entry in report["skipped"]}
        if _REFERENCE in skipped or asked.keys() <= skipped.keys():
            raise ModelError("no variant can be made: " + "; ".join(f"{name}: {why}" for name, why in skipped.items()))
        given = [one for one in report["findings"] if one["where"] == GIVEN_MODEL]
        useless = any(one["code"] in _USELESS for one in given)
        train = 0 if source.task is None else len(source.task.dataset.train)
        model = cost_model()
        reference = _facts(files, entries[_REFERENCE], model)
        created = datetime.now(UTC).isoformat(timespec="seconds")
        rows = []
        for place, (name, variant) in enumerate(asked.items()):
            if name in entries:
                progress.step("forecast", place, len(asked), {"now": name})
                path = files / entries[name]["file"]
                before = _untrained(entries[name], compared=report["parity"]["images"], training_samples=train)
                loss = _loss(variant, before, entries[name]["validation"], useless=useless)
                rows.append(_row(variant, entries[name], path, reference, model, before, loss, created, arena=arena))
        progress.step("forecast", len(asked), len(asked))
    return ForecastResult(
        model={"name": source.name, "file": source.file, "sha256": source.sha256},
        created=created,
        variants=tuple(rows),
        skipped={name: why for name, why in skipped.items() if name in asked},
        quality=_quality(report["given"]),
        cost_model=_about(model),
        notes=(*_notes(model), *(f"given model: {one['message']}" for one in given), *_zero_biases(source.model)),
    )


def without_training(variant: Variant) -> Variant:
    """Return a variant whose passes change the model and train nothing."""
    return replace(
        variant,
        passes=tuple(
            replace(done, fine_tuning=replace(done.fine_tuning, epochs=0, distillation=None)) for done in variant.passes
        ),
    )


def _facts(files: Path, entry: Mapping[str, Any], model: CostModel) -> Mapping[str, float]:
    content = (files / entry["file"]).read_bytes()
    return {"size_bytes": len(content), "p50_ns": model.latency(content).p50_ns, "macs": entry["macs"]}


def _untrained(entry: Mapping[str, Any], *, compared: int, training_samples: int) -> Untrained:
    """Return what was measured on a file, whose answers were held against the given model's on `compared` samples."""
    validation = entry["validation"]
    same = entry["same_labels"] if entry["same_top1"] is None else entry["same_top1"]
    of_answers = validation is not None and validation["quality"] in _OF_ANSWERS
    return Untrained(
        loss=0.0 if validation is None else validation["loss"],
        gzip_bytes=entry["gzip_bytes"],
        samples=1 if validation is None else validation["samples"],
        right=validation["given"] if of_answers else 0.0,
        training_samples=training_samples,
        changed=max(1 - same, 1 / compared) if of_answers and same is not None else None,
    )


def _loss(
    variant: Variant, untrained: Untrained, validation: Mapping[str, Any] | None, *, useless: bool
) -> tuple[Interval | None, str | None]:
    """Return the expected loss, or None and why it is not known."""
    if validation is None:
        return None, _NO_DATA
    if expected.trains(variant):
        if validation["quality"] != _RECORDED:
            return None, f"recorded runs tell of {_RECORDED}, not of {validation['quality']}"
        if useless:
            return None, _AT_CHANCE
    loss = expected.loss(variant, untrained)
    return loss, _NO_RUN if loss is None else None


def _row(
    variant: Variant,
    entry: Mapping[str, Any],
    path: Path,
    reference: Mapping[str, float],
    model: CostModel,
    untrained: Untrained,
    loss: tuple[Interval | None, str | None],
    created: str,
    *,
    arena: bool,
) -> VariantForecast:
    latency = model.latency(path.read_bytes())
    arena_bytes, arena_reason = _arena(path) if arena else (None, "it was not asked for")
    validation = entry["validation"]
    return VariantForecast(
        variant=variant.name,
        description=variant.description,
        size_bytes=entry["size_bytes"],
        download_bytes=expected.download(variant, untrained),
        macs=entry["macs"],
        latency=latency,
        of_float32=latency.p50_ns / reference["p50_ns"],
        arena_bytes=arena_bytes,
        arena_reason=arena_reason,
        loss=loss[0],
        loss_reason=loss[1],
        untrained_loss=None if validation is None else validation["loss"],
        untrained_gzip_bytes=entry["gzip_bytes"],
        notes=(
            *notes(
                variant,
                size_bytes=entry["size_bytes"],
                p50_ns=latency.p50_ns,
                macs=entry["macs"],
                float32=reference,
                given_macs=int(reference["macs"]),
                environment=model.environment,
            ),
            *(of_branches(variant, operator_names(path)) if expected.trains(variant) else ()),
        ),
        created=created,
    )


def _arena(path: Path) -> tuple[int | None, str | None]:
    """Return what TensorFlow Lite Micro takes of its arena for a file, or why that is not known."""
    from edgefm import targets
    from edgefm.targets.raw_outputs import loaded

    try:
        with (
            scratch.folder("arena") as folder,
            targets.target("host").open("tflm") as place,
            loaded(path, place=place, folder=folder, runtime="tflm") as (_, told),
        ):
            return int(told["facts"]["arena_bytes"]), None
    except EdgefmError as error:
        return None, error.message.replace(str(path), "the file")


def _quality(given: Mapping[str, Any]) -> dict[str, Any] | None:
    if given.get("quality") is None:
        return None
    return {name: given.get(name) for name in ("name", "unit", "quality", "samples")}


def _about(model: CostModel) -> dict[str, Any]:
    held_out = model.held_out
    return {
        "runtime": model.runtime,
        "version": model.version,
        "cpu": model.environment.get("cpu", "an unknown processor"),
        "cpu_features": list(model.environment.get("cpu_features") or ()),
        "created": model.created,
        "median": held_out.median,
        "p90": held_out.p90,
        "networks": len(held_out.names),
    }


def _zero_biases(model: Any) -> list[str]:
    """Return a note where biases are all zero: the converter leaves them out until they are trained."""
    by_layer: dict[str, dict[str, bool]] = {}
    for one in () if model is None else model.weights:
        layer, _, name = str(one.path).rpartition("/")
        by_layer.setdefault(layer, {})[name] = not np.any(np.asarray(one))
    # A normalisation becomes a scale and a bias, which is zero where its beta and its mean are.
    shifts = ("beta", "moving_mean")
    zero = [
        layer.rpartition("/")[2]
        for layer, zeros in by_layer.items()
        if zeros.get("bias") or (zeros.keys() & set(shifts) and all(zeros.get(name, True) for name in shifts))
    ]
    if not zero:
        return []
    return [
        f"the biases of {', '.join(zero)} are all zero, as before a first training, and are left out of files: trained "
        "files are some hundred bytes larger"
    ]


def _notes(model: CostModel) -> list[str]:
    from edgefm.core.environment import environment

    found = [
        f"the cost model was disturbed when it was built: {reason}; build it again on a quiet machine"
        for reason in model.disturbed
    ]
    if machine(model.environment) != machine(environment()):
        cpu = model.environment.get("cpu", "an unknown processor")
        found.append(f"times are those of the machine that the cost model was built on ({cpu}), not of this one")
    elif (now := version_here(model.runtime)) != model.version:
        what = f"{model.runtime} {model.version}"
        found.append(f"times are those of {what}; {now or 'none'} is installed here: build it again")
    return found
