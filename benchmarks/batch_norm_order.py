"""Which reading of the Enhanced CNN is better: Conv -> BN -> ReLU or Conv(relu) -> BN?

Trains both over three seeds with the standard preset, shortened to six epochs, and records the validation figures.
The test set is not touched. Run: python -m benchmarks.batch_norm_order [--runs FOLDER]. A stopped series goes on.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
from pathlib import Path
from typing import Any

from edgefm.core import artefacts, runs
from edgefm.core.environment import environment
from edgefm.core.runs import RunDirectory
from edgefm.jobs.run import Run
from edgefm.recipes import preset

RESULT = Path(__file__).parent / "results" / "batch_norm_order.json"
SEEDS = (0, 1, 2)
READINGS = ("before_relu", "after_relu")
RECIPE = dataclasses.replace(preset("standard"), epochs=6)


def main() -> None:
    """Train what is not trained yet and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs/batch-norm-order"))
    folder: Path = parser.parse_args().runs
    entries: list[dict[str, Any]] = []
    for seed in SEEDS:
        for reading in READINGS:
            recipe = dataclasses.replace(RECIPE, model_options={"batch_norm": reading}, seed=seed)
            path = folder / f"{reading}-seed{seed}"
            stopped = (path / "manifest.json").exists() and RunDirectory.open(path).partial("train").exists()
            run = Run(path)
            run.train(recipe, resume=stopped, progress=True)
            step = run.steps[-1]
            entries.append(
                {
                    "batch_norm": reading,
                    "seed": seed,
                    "validation_accuracy": step.summary["validation_accuracy"],
                    "validation_loss": step.summary["validation_loss"],
                    "verdict": step.summary["verdict"],
                    "device": step.summary["device"],
                    "seconds": step.seconds,
                    "created": step.created,
                }
            )
    means = {
        reading: statistics.mean(entry["validation_accuracy"] for entry in entries if entry["batch_norm"] == reading)
        for reading in READINGS
    }
    artefacts.write_json(
        RESULT,
        {
            "what": "validation accuracy (12,000 images) of the last of six epochs, otherwise the standard preset",
            "command": "python -m benchmarks.batch_norm_order",
            "created": runs.now(),
            "recipe": RECIPE.to_json(),
            "environment": environment(),
            "entries": entries,
            "mean_validation_accuracy": means,
            "better": max(means, key=means.__getitem__),
        },
    )
    print(f"{RESULT}: {means}")


if __name__ == "__main__":
    main()
