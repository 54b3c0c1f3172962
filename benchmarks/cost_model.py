"""What the cost model's predictions are worth: thirty networks that it never saw, measured in one session.

Run on a quiet machine: python -m benchmarks.cost_model [--model FILE] [--files FOLDER]. It builds the cost model of the
machine, predicts each file, and then measures all of them in interleaved rounds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import held_out_networks
from benchmarks.recorded import write_result
from edgefm.profiling.cost_model import CostModel, LatencyForecast, build
from edgefm.profiling.timing import Timed, Turns, lower_decile, time_models

NAME = "cost_model"
# Targets on the held-out networks: |predicted / measured - 1|.
MEDIAN, P90 = 0.05, 0.12
_TURNS = Turns(rounds=15, turn_seconds=0.03, least_invokes=10, most_invokes=500, warmup_invokes=5)


def main() -> int:
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{NAME}", description=__doc__)
    parser.add_argument("--model", type=Path, help="cost model to take instead of building one now")
    parser.add_argument("--files", type=Path, help="folder of the networks' files, which are written where missing")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = held_out_networks.write(options.files or Path(folder) / "networks")
        started = time.perf_counter()
        model = CostModel.load(options.model) if options.model else build()
        seconds = time.perf_counter() - started
        timed = [Timed(name=name, path=path) for name, path in files.items()]
        version = time_models(timed, runtime=model.runtime, turns=_TURNS, folder=Path(folder), label="networks")
        assert version == model.version, f"the cost model is of {model.version}, measured was {version}"
        forecasts = {name: model.latency(path.read_bytes()) for name, path in files.items()}
    rows = [_row(one, forecasts[one.name]) for one in timed]
    figures = _figures(model, rows, seconds=seconds)
    write_result(
        NAME,
        what="times that the cost model predicts of networks it never saw, against their measured times",
        command=f"python -m benchmarks.{NAME}",
        figures={**figures, "session": {"disturbed": _disturbed(timed)}, "networks": rows},
    )
    for row in rows:
        print(
            f"{row['name']:32s} {row['predicted_ns'] / 1000:8.1f} {row['measured_ns'] / 1000:8.1f} {row['error']:+.3f}"
        )
    print({name: value for name, value in figures.items() if not isinstance(value, dict)})
    return 0 if figures["median"] <= MEDIAN and figures["p90"] <= P90 else 1


def _row(timed: Timed, forecast: LatencyForecast) -> dict[str, Any]:
    measured = float(np.median([lower_decile(samples) for samples in timed.rounds]))
    return {
        "name": timed.name,
        "predicted_ns": forecast.p50_ns,
        "low_ns": forecast.low_ns,
        "high_ns": forecast.high_ns,
        "extrapolated": list(forecast.extrapolated),
        "measured_ns": measured,
        "measured_p50_ns": float(np.median([np.median(samples) for samples in timed.rounds])),
        "error": forecast.p50_ns / measured - 1,
        "rounds_ns": [lower_decile(samples) for samples in timed.rounds],
    }


def _figures(model: CostModel, rows: list[dict[str, Any]], *, seconds: float) -> dict[str, Any]:
    errors = np.array([abs(row["error"]) for row in rows])
    inside = [row["low_ns"] <= row["measured_ns"] <= row["high_ns"] for row in rows]
    by_dtype = {
        variant: float(np.median([abs(row["error"]) for row in rows if row["name"].endswith(variant)]))
        for variant in ("float32", "int8_w8a8")
    }
    return {
        "runtime": {"name": model.runtime, "version": model.version},
        "built": {
            "created": model.created,
            "operators": len(model.operators),
            "median": model.held_out.median,
            "p90": model.held_out.p90,
            "networks": len(model.held_out.names),
            "disturbed": list(model.disturbed),
        },
        "seconds": seconds,
        "files": len(rows),
        "median": float(np.median(errors)),
        "p90": float(np.quantile(errors, 0.9)),
        "greatest": float(errors.max()),
        "inside": float(np.mean(inside)),
        "by_dtype": by_dtype,
    }


def _disturbed(timed: list[Timed]) -> list[str]:
    turns = [turn for one in timed for turn in one.disturbed]
    kinds = Counter(kind.split(" used ")[0] for turn in turns for kind in set(turn))
    return [f"{kind}: {count} of {len(turns)} turns" for kind, count in kinds.items() if 10 * count > len(turns)]


if __name__ == "__main__":
    sys.exit(main())
