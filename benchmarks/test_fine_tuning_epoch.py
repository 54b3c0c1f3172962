"""A fine-tuning epoch of each pass against a plain training epoch, in turns: Enhanced CNN, TensorFlow, batch 64.

The plain epoch is that of `edgefm train`, the pass's that of its fine-tuning without a teacher. Times are those of the
training steps alone, without compiling and evaluating. Run: pytest benchmarks/test_fine_tuning_epoch.py -s.
"""

from __future__ import annotations

import dataclasses
import statistics
from pathlib import Path
from typing import Any

from benchmarks.recorded import write_result
from edgefm.data.dataset import Dataset, Split
from edgefm.data.preprocessing import PIXELS, preprocessing
from edgefm.data.reference.fashion_mnist import load_fashion_mnist
from edgefm.keras_graph.backend import use_backend
from edgefm.recipes import Cluster, FineTuning, Prune, Qat, Training

IMAGES = 9_600
BATCH = 64
TURNS = 3
# The first epoch compiles; the second is timed.
EPOCHS = 2


def test_fine_tuning_epochs_against_plain_training(tmp_path: Path) -> None:
    device = use_backend("tensorflow")
    from edgefm import zoo
    from edgefm.compression.fine_tuning.task import Task
    from edgefm.compression.qat.qat import quantization_aware_train
    from edgefm.compression.weights.clustering import cluster
    from edgefm.compression.weights.pruning import prune
    from edgefm.data.quality import quality
    from edgefm.keras_graph.folding import fold
    from edgefm.training.fit import fit

    dataset = _part(load_fashion_mnist())
    task = Task(dataset=dataset, encoding=preprocessing(PIXELS), quality=quality("accuracy", task="classification"))
    folded, _ = fold(zoo.build("enhanced_cnn"), rescaling=False)
    tuning = FineTuning(epochs=EPOCHS, batch_size=BATCH)
    passes: dict[str, tuple[Any, Any]] = {
        "prune": (prune, Prune(fine_tuning=tuning)),
        "cluster": (cluster, Cluster(preserve_sparsity=False, fine_tuning=tuning)),
        "qat": (quantization_aware_train, Qat(fine_tuning=tuning)),
    }
    recipe = Training(epochs=EPOCHS, batch_size=BATCH)
    seconds: dict[str, list[float]] = {name: [] for name in ("train", *passes)}
    for turn in range(TURNS):
        trained = fit(dataset, recipe, device=device, folder=_folder(tmp_path, turn))
        seconds["train"].append(IMAGES / trained.epochs[-1]["images_per_second"])
        for name, (function, wanted) in passes.items():
            history = function(folded, wanted, task, seed=0).history
            seconds[name].append(IMAGES / history[-1]["images_per_second"])
    ratios = {
        name: [tuned / plain for tuned, plain in zip(seconds[name], seconds["train"], strict=True)] for name in passes
    }
    medians = {name: statistics.median(values) for name, values in ratios.items()}
    slowest = max(medians, key=lambda name: medians[name])
    print("\n" + ", ".join(f"{name} {ratio:.2f}" for name, ratio in medians.items()))
    write_result(
        "fine_tuning_epoch",
        what="time of a fine-tuning epoch over that of a plain training epoch, Enhanced CNN, no teacher",
        command="pytest benchmarks/test_fine_tuning_epoch.py",
        figures={
            "device": device.to_json(),
            "images": IMAGES,
            "batch": BATCH,
            "turns": TURNS,
            "seconds": seconds,
            "ratios": ratios,
            "slowest": {"pass": slowest, "ratio": medians[slowest]},
        },
    )
    assert all(ratio > 0 for ratio in medians.values())


def _part(whole: Dataset) -> Dataset:
    def first(split: Split, count: int) -> Split:
        return dataclasses.replace(split, images=split.images[:count], labels=split.labels[:count])

    return dataclasses.replace(whole, train=first(whole.train, IMAGES), validation=first(whole.validation, 1_000))


def _folder(tmp_path: Path, turn: int) -> Path:
    folder = tmp_path / str(turn)
    folder.mkdir()
    return folder
