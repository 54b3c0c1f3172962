"""How far right runtimes lie apart in deep int8 networks, whole and operator by operator.

The figures behind `edgefm.agreement.rounding`. Run: python -m benchmarks.rounding_depth (10 min).
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import deep_models
from edgefm.agreement import arithmetic
from edgefm.agreement.arithmetic import ModelTensors
from edgefm.agreement.asking import ask
from edgefm.agreement.cells import AgreementCell, cells
from edgefm.agreement.comparison import Outputs, checked, compare
from edgefm.core import artefacts, runs
from edgefm.core.environment import environment
from edgefm.core.errors import EdgefmError
from edgefm.profiling.cutting import Cutter
from edgefm.tflite.inspection import inspect

RESULT = Path(__file__).parent / "results" / "rounding_depth.json"
NETWORKS = {"ResNet-8": deep_models.resnet8, "MobileNetV1 0.25": deep_models.mobilenet, "plain-20": deep_models.plain20}
TRAINING_IMAGES = {"MobileNetV1 0.25": 2000}
SAMPLES, SAMPLES_OF_PART = 100, 20
# Of the parts: the kernel sets of LiteRT and the runtimes that read .tflite and take any part.
OF_PARTS = ("litert:xnnpack", "litert:builtin", "litert:reference", "tflm", "openvino")
PARTS = 12
SEED = 1


def main() -> None:
    """Build, run and write the result."""
    from edgefm.keras_graph.backend import use_backend

    use_backend("tensorflow")
    models = []
    with tempfile.TemporaryDirectory() as folder:
        for (name, build), kind in itertools.product(NETWORKS.items(), ("random", "trained")):
            path = Path(folder) / "model.tflite"
            path.write_bytes(network(name, build, kind))
            models.append({"network": name, "weights": kind, **measured(path, kind)})
            print(name, kind, models[-1]["largest"], flush=True)
    artefacts.write_json(
        RESULT,
        {
            "what": f"largest difference of right runtimes in levels: int8 models on {SAMPLES} samples, and their "
            f"parts on {SAMPLES_OF_PART} (random inputs for random weights, else images of Fashion-MNIST)",
            "command": "python -m benchmarks.rounding_depth",
            "created": runs.now(),
            "environment": environment(),
            "models": models,
        },
    )


def network(name: str, build: deep_models.Network, kind: str) -> bytes:
    """Return the int8 file of a network with random weights, or trained for two epochs."""
    import keras

    keras.utils.set_random_seed(SEED)
    model = build()
    if kind == "random":
        deep_models.randomise(model, seed=SEED)
    else:
        deep_models.train(model, TRAINING_IMAGES.get(name, 4000), epochs=2, seed=SEED)
    return deep_models.int8(model, seed=SEED + 1)


def measured(path: Path, kind: str) -> dict[str, Any]:
    """Return what is known of a model: its rounding, and the differences of whole and parts."""
    inspection = inspect(path)
    ends = arithmetic.ends(inspection)
    inputs = _inputs(ends, kind)
    whole = differences(path, inputs, ends, [cell.runtime for cell in cells()[0]])
    live = [one for one in inspection.operators if not set(one.outputs) <= arithmetic.constants(inspection)]
    cutter, parts = Cutter(path.read_bytes()), []
    for operator in live[:: max(1, len(live) // PARTS)]:
        part = path.with_name("part.tflite")
        part.write_bytes(cutter.prefix(operator.index))
        of_part = arithmetic.ends(inspect(part))
        largest = differences(part, inputs[:SAMPLES_OF_PART], of_part, OF_PARTS)
        parts.append({"operator": operator.name, "depth": of_part.rounding.depth, "largest": largest})
    return {"depth": ends.rounding.depth, "gain": ends.rounding.gain, "largest": whole, "parts": parts}


def differences(
    path: Path, inputs: NDArray[np.int8], ends: ModelTensors, names: Sequence[str]
) -> dict[str, tuple[float, float]]:
    """Return the largest difference in levels, and the share of values that differ, of each two runtimes that ran."""
    answers: dict[str, Outputs] = {}
    for name in names:
        try:
            outputs = ask(AgreementCell(runtime=name, target="host"), path, inputs).outputs
            answers[name] = checked(outputs, ends=ends, samples=len(inputs))
        except EdgefmError as error:
            print(f"  {name}: {error.message}")
    found = {}
    for first, second in itertools.combinations(answers, 2):
        comparison = compare(answers[second], answers[first], ends=ends)
        share = 1 - comparison.equal_values / comparison.values
        found[f"{first} and {second}"] = (comparison.largest or 0.0, round(share, 4))
    return found


def _inputs(ends: ModelTensors, kind: str) -> NDArray[np.int8]:
    source = ends.source
    if kind == "random":
        return np.random.default_rng(SEED).integers(-128, 128, (SAMPLES, *source.shape[1:])).astype(np.int8)
    images, _ = deep_models.pictures(source.shape[1], SAMPLES, seed=SEED + 2)
    assert source.scale is not None and source.zero_point is not None
    return np.clip(np.round(images / source.scale) + source.zero_point, -128, 127).astype(np.int8)


if __name__ == "__main__":
    main()
