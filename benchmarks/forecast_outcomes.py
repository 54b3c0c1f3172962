"""What fine-tuning makes of untrained files: forecasts against outcomes, and the table that later forecasts learn from.

Run: python -m benchmarks.forecast_outcomes [--cost-model FILE] [--models NAME ...]. Each model learns 12,000 pictures
of Fashion-MNIST, is forecast, and then compressed; a model that is recorded already is kept. At the end it writes
edgefm/jobs/forecast/recorded.py and results/forecast_outcomes.json, with the errors of leaving each model out.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

import edgefm
from benchmarks import recorded
from edgefm.jobs.forecast import expected
from edgefm.jobs.forecast.recorded import Outcome
from edgefm.profiling.cost_model import CostModel
from edgefm.recipes import variant_named

NAME = "forecast_outcomes"
MODELS = (
    "strided_cnn",
    "separable_tiny",
    "lenet5",
    "ann",
    "tiny_vgg",
    "kadam_arch3",
    "two_conv_cnn",
    "small_residual",
    "enhanced_cnn",
)
VARIANTS = (
    "qat_int8",
    "pruned80_qat_int8",
    "clustered16_qat_int8",
    "pruned80_clustered16_qat_int8",
    "slim50_qat_int8",
    "pruned90_qat_int8",
    "slim25_qat_int8",
)
_TRAIN, _VALIDATION, _EPOCHS = 12_000, 4_000, 6
_TABLE = Path(__file__).parent.parent / "edgefm" / "jobs" / "forecast" / "recorded.py"
_MARK = "OUTCOMES: tuple[Outcome, ...] = ("


def main() -> int:
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{NAME}", description=__doc__)
    parser.add_argument("--cost-model", type=Path, help="cost model to take instead of this machine's")
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=MODELS)
    options = parser.parse_args()
    known = recorded.result(NAME)["rows"] if NAME in recorded.names() else []
    known = [row for row in known if row["model"] not in options.models]
    if not options.models:  # nothing to train: the figures anew, by the code as it is
        _write(known)
    model = CostModel.load(options.cost_model) if options.cost_model else None
    for name in options.models:
        known += _outcomes(name, model)
        _write(known)
    return 0


def _outcomes(name: str, cost_model: CostModel | None) -> list[dict[str, Any]]:
    data = _data()
    trained = edgefm.train(name, data=data, recipe="standard", epochs=_EPOCHS, progress=True)
    before = edgefm.forecast(trained, VARIANTS, data=data, cost_model=cost_model, progress=True)
    after = edgefm.quantize(trained, VARIANTS, data=data, progress=True)
    rows = []
    for file in after.files:
        told, report = before[file.name], file.report
        assert told.untrained_loss is not None, "there are data"
        rows.append(
            {
                "model": name,
                "variant": file.name,
                "forecast_bytes": told.size_bytes,
                "size_bytes": file.size_bytes,
                "untrained_loss": round(told.untrained_loss, 3),
                "loss": round(report["validation"]["loss"], 3),
                "untrained_gzip_bytes": round(told.untrained_gzip_bytes),
                "gzip_bytes": report["gzip_bytes"],
            }
        )
        print(rows[-1], flush=True)
    return rows


def _data() -> Any:
    whole = edgefm.data.fashion_mnist()
    train, validation, test = whole.train, whole.validation, whole.test
    return edgefm.data.from_arrays(
        train.images[:_TRAIN],
        train.labels[:_TRAIN],
        validation=(validation.images[:_VALIDATION], validation.labels[:_VALIDATION]),
        test=(test.images, test.labels),
        class_names=whole.labels,
        flippable=True,
        name="a fifth of fashion-mnist",
    )


def _write(rows: list[dict[str, Any]]) -> None:
    order = {name: place for place, name in enumerate(MODELS)}
    rows.sort(key=lambda row: (order[row["model"]], VARIANTS.index(row["variant"])))
    text = _TABLE.read_text(encoding="utf-8").split(_MARK)[0].rstrip()
    lines = [f"    Outcome({', '.join(_literal(row[field]) for field in Outcome._fields)})," for row in rows]
    _TABLE.write_text("\n".join([text, "", "", _MARK, *lines, ")", ""]), encoding="utf-8")
    recorded.write_result(
        NAME,
        what="files forecast before their training, and what the training made of them",
        command=f"python -m benchmarks.{NAME}",
        figures={"train": _TRAIN, "validation": _VALIDATION, "epochs": _EPOCHS, **_figures(rows), "rows": rows},
    )


def _literal(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _figures(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the errors of forecasts, each model forecast from the others."""
    outcomes = [Outcome(**{field: row[field] for field in Outcome._fields}) for row in rows]
    losses, inside, downloads, held = [], [], [], []
    for one in outcomes:
        others = tuple(other for other in outcomes if other.model != one.model)
        variant = variant_named(one.variant)
        untrained = expected.Untrained(
            loss=one.untrained_loss,
            gzip_bytes=one.untrained_gzip_bytes,
            samples=_VALIDATION,
            right=1.0,
            training_samples=_TRAIN,
            changed=None,
        )
        loss = expected.loss(variant, untrained, outcomes=others)
        size = expected.download(variant, untrained, outcomes=others)
        if loss is not None:
            losses.append(abs(loss.value - one.loss))
            inside.append(loss.low <= one.loss <= loss.high)
        downloads.append(abs(size.value / one.gzip_bytes - 1))
        held.append(size.low <= one.gzip_bytes <= size.high)
    figures: dict[str, Any] = {
        "models": len({one.model for one in outcomes}),
        "files": len(outcomes),
        "exact_bytes": sum(row["forecast_bytes"] == row["size_bytes"] for row in rows),
        "download": {"median": float(np.median(downloads)), "greatest": max(downloads), "inside": float(np.mean(held))},
    }
    if losses:
        figures["loss"] = {
            "files": len(losses),
            "median": float(np.median(losses)),
            "greatest": max(losses),
            "inside": float(np.mean(inside)),
        }
    return figures


if __name__ == "__main__":
    sys.exit(main())
