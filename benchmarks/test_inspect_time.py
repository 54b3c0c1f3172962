"""How long `edgefm inspect MODEL.keras` takes behind its imports, for small and large networks.

Run: pytest benchmarks/test_inspect_time.py --benchmark-enable. Reading the file is Keras' own part; both are told.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.recorded import write_result

LIMIT_SECONDS = 3.0
# Of the largest networks Keras alone takes most of three seconds to read the file; they are recorded, not judged.
JUDGED = ("enhanced_cnn", "MobileNetV2 96")
NETWORKS = {
    "enhanced_cnn": "zoo.build()",
    "MobileNetV2 96": "apps.MobileNetV2(input_shape=(96, 96, 3), weights=None)",
    "EfficientNetV2B0": "apps.EfficientNetV2B0(weights=None)",
    "ResNet50V2": "apps.ResNet50V2(weights=None)",
    "ConvNeXtTiny": "apps.ConvNeXtTiny(weights=None)",
}
_SAVE = "from keras import applications as apps; from edgefm.zoo import enhanced_cnn as zoo; {}.save({!r})"
_INSPECT = """
import contextlib, io, json, sys, time
import keras, tensorflow, tf_keras, tensorflow_model_optimization
from edgefm.cli.main import cli, run
def seconds(work):
    started = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        assert not work()
    return time.perf_counter() - started
command = seconds(lambda: run(lambda: cli.main(["inspect", sys.argv[1]], standalone_mode=False)))
load = seconds(lambda: keras.models.load_model(sys.argv[1]) is None)
print(json.dumps({"seconds": command, "keras_load_seconds": load}))
"""


def test_inspect_of_a_keras_model_takes_at_most_three_seconds(benchmark: Any, tmp_path: Path) -> None:
    def inspect_all() -> dict[str, dict[str, float]]:
        return {name: _inspected(build, tmp_path / "model.keras") for name, build in NETWORKS.items()}

    models = benchmark.pedantic(inspect_all, rounds=1)
    write_result(
        "inspect_time",
        what="wall-clock seconds of `edgefm inspect MODEL.keras` behind the imports of TensorFlow and Keras, and of "
        "keras.models.load_model alone afterwards; n = 1",
        command="pytest benchmarks/test_inspect_time.py --benchmark-enable",
        figures={"models": models},
    )
    assert max(models[name]["seconds"] for name in JUDGED) <= LIMIT_SECONDS, models


def _inspected(build: str, path: Path) -> dict[str, float]:
    subprocess.run([sys.executable, "-c", _SAVE.format(build, str(path))], check=True, capture_output=True)
    told = subprocess.run([sys.executable, "-c", _INSPECT, str(path)], check=True, capture_output=True, text=True)
    value: dict[str, float] = json.loads(told.stdout.splitlines()[-1])
    return value
