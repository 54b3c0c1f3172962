"""Does the verdict keep its word? Records are made up of models whose true loss is known, and decided.

Each record has a float32 file and three to five compressed ones that answer the same n samples: n is 18 to 10,000, the
share that float32 has right 0.6 to 0.98, the true loss of a file 0 to 28 points, or a slight gain. Answers are drawn
sample by sample; what a row says of them is what `edgefm benchmark` writes. A recommendation is wrong where a file that
is recommended for anything truly loses the margin of one point or more. Counted beside it: records whose files all lose
exactly the margin, the hardest case; records with so few samples that the margin is less than one, which cannot be
decided unless every file is shown to be worse; and how often a recommendation comes where it should. The measure is the
accuracy; others are not in this study.

Run: python -m benchmarks.verdict_study [--records 500] [--seed 0]; a minute of one core.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import recorded
from edgefm.benchmarking.measured import MeasuredModel, Round
from edgefm.benchmarking.record_rows import row
from edgefm.comparison.shipping.rule import decide
from edgefm.comparison.shipping.verdict import KEEP, SHIP, UNDECIDED, WORSE, Verdict
from edgefm.data.dataset import Dataset, Split
from edgefm.data.quality import quality
from edgefm.recipes import BenchmarkProtocol
from edgefm.statistics.estimates import proportion

MARGIN = 0.01
SAMPLES = (18, 40, 60, 200, 381, 1000, 3000, 10_000)
LOSSES = (-0.005, 0.0, 0.0, 0.001, 0.003, 0.006, 0.01, 0.012, 0.02, 0.05, 0.28)
WRONG_ALLOWED = 0.05
UNDECIDED_WANTED = 0.99
_CLASSES = 4
_ROUNDS = 8
_ACCURACY = quality("accuracy", task="classification")


def main() -> int:
    """Record the rates; 1 where one is not what it must be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=500, help="of each of the two kinds")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    started = time.perf_counter()
    generator = np.random.default_rng(given.seed)
    mixed = [_outcome(*_mixed(generator)) for _ in range(given.records)]
    hardest = [_outcome(*_hardest(generator)) for _ in range(given.records)]
    figures = {
        "margin": MARGIN,
        "seed": given.seed,
        "wrong": _share(mixed, lambda one: True, lambda one: one["wrong"]),
        "wrong_where_all_lose_the_margin": _share(hardest, lambda one: True, lambda one: one["wrong"]),
        "undecided_where_samples_are_too_few": _share(mixed, _too_few, lambda one: one["state"] == UNDECIDED),
        "decided_where_samples_suffice": _share(mixed, _enough, lambda one: one["state"] == SHIP),
        "kept_the_reference": sum(one["state"] == KEEP for one in mixed),
        "seconds": round(time.perf_counter() - started, 1),
        "records": mixed,
    }
    recorded.write_result(
        "verdict_study",
        what="how often the verdict recommended a file that truly loses the margin or more, and how often it said "
        "that it cannot decide where the samples are too few",
        command="python -m benchmarks.verdict_study",
        figures=figures,
    )
    for name, value in figures.items():
        if isinstance(value, dict):
            print(f"{name}: {value['count']} of {value['of']} ({100 * value['value']:.1f} %)")
    held = figures["wrong"]["value"] <= WRONG_ALLOWED  # type: ignore[index]  # a mapping
    undecided = figures["undecided_where_samples_are_too_few"]["value"] >= UNDECIDED_WANTED  # type: ignore[index]
    return 0 if held and undecided else 1


def _share(outcomes: Sequence[Mapping[str, Any]], among: Any, what: Any) -> dict[str, Any]:
    """Return a count with its share and Wilson's interval."""
    chosen = [one for one in outcomes if among(one)]
    count = sum(bool(what(one)) for one in chosen)
    return {"count": count, "of": len(chosen), **proportion(count, len(chosen)).to_json()}


def _too_few(one: Mapping[str, Any]) -> bool:
    """Return whether the margin is less than one sample, and not every file is shown to be worse."""
    return one["samples"] * MARGIN < 1 and not one["all_shown_worse"]


def _enough(one: Mapping[str, Any]) -> bool:
    """Return whether the best file loses nothing, and 10,000 samples were there to show it."""
    return one["samples"] >= 10_000 and min(one["losses"]) <= 0


def _mixed(generator: np.random.Generator) -> tuple[np.random.Generator, int, float, list[float]]:
    losses = generator.choice(LOSSES, size=generator.integers(3, 6)).tolist()
    return generator, int(generator.choice(SAMPLES)), float(generator.uniform(0.6, 0.98)), losses


def _hardest(generator: np.random.Generator) -> tuple[np.random.Generator, int, float, list[float]]:
    samples = int(generator.choice([n for n in SAMPLES if n * MARGIN > 1]))
    return generator, samples, float(generator.uniform(0.6, 0.98)), [MARGIN] * int(generator.integers(3, 6))


def _outcome(generator: np.random.Generator, samples: int, right: float, losses: list[float]) -> dict[str, Any]:
    """Return what the verdict says of one record, and whether that is wrong."""
    verdict = _decided(generator, samples, right, losses)
    truth = {f"file{index}": loss for index, loss in enumerate(losses)}
    recommended = {choice.file for choice in verdict.choices if choice.file is not None}
    return {
        "samples": samples,
        "losses": losses,
        "state": verdict.state,
        "file": verdict.file,
        "needed_samples": verdict.needed_samples,
        "wrong": any(truth.get(str(name), 0.0) >= MARGIN for name in recommended),
        "all_shown_worse": all(file.state == WORSE for file in verdict.files if file.name in truth),
    }


def _decided(generator: np.random.Generator, samples: int, right: float, losses: Sequence[float]) -> Verdict:
    """Return the verdict on a record whose answers and times are drawn."""
    truth = generator.integers(0, _CLASSES, samples)
    images = np.zeros((samples, 1), np.float32)
    split = Split(name="test", images=images, labels=truth)
    data = Dataset(
        name="made up", labels=tuple("abcd"), test=split, train=split, validation=split, sha256="0" * 64,
    )  # fmt: skip
    hit = generator.random(samples) < right
    base = _model("float32", truth, hit, us=100.0, size=1_000_000, generator=generator)
    models = [base]
    for index, loss in enumerate(losses):
        # What a file gets wrong that float32 had right, and the other way round: p_lost - p_won is the loss.
        won = float(generator.uniform(0.0, 0.01))
        p_lost, p_won = max(loss, 0.0) + won, won - min(loss, 0.0)
        drawn = generator.random(samples)
        lost = hit & (drawn < min(1.0, p_lost / right))
        gained = ~hit & (drawn < min(1.0, p_won / (1 - right)))
        us, size = float(generator.uniform(20, 60)), int(generator.integers(100_000, 500_000))
        models.append(_model(f"file{index}", truth, (hit & ~lost) | gained, us=us, size=size, generator=generator))
    protocol = BenchmarkProtocol(runtime="litert")
    rows = [row(model, base, dataset=data, quality=_ACCURACY, protocol=protocol) for model in models]
    record = {
        "target": {"name": "host"},
        "dataset": {"images": samples, "labels": list(data.labels)},
        "models": rows,
    }
    return decide(record, {})


def _model(name: str, truth: Any, hit: Any, *, us: float, size: int, generator: np.random.Generator) -> MeasuredModel:
    rounds = [
        Round(
            index=index,
            position=0,
            warmup_ns=[],
            invoke_ns=[int(1000 * us * one) for one in generator.lognormal(0, 0.01, 3)],
            end_to_end_ns=[],
        )
        for index in range(_ROUNDS)
    ]
    return MeasuredModel(
        name=name,
        path=Path(f"{name}.tflite"),
        sha256="0" * 64,
        size_bytes=size,
        size_gzip_bytes=size - 1000,
        loaded={"runtime": "litert", "version": "made up"},
        rounds=rounds,
        predicted=np.where(hit, truth, (truth + 1) % _CLASSES).astype(np.int32),
    )


if __name__ == "__main__":
    raise SystemExit(main())
