"""Deep models: sound runtimes raise no alarm, and faults planted in each layer do.

LiteRT's interpreter itself answers; the faulty model stands for a runtime with that fault.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgefm.agreement import arithmetic
from edgefm.agreement.cells import AgreementCell
from edgefm.agreement.verdicts import Row, judge
from edgefm.jobs.agree import agree
from edgefm.tflite.inspection import inspect
from tests.fixtures import deep_models, faults_in_kernels

pytest.importorskip("tensorflow")

SAMPLES = 40
# The ones that may differ least and most, with the kernels of LiteRT that they answer most alike.
OTHERS = {"tflm": "BUILTIN_REF", "openvino": "AUTO"}


@pytest.fixture(scope="module", params=[1, 3], ids=["ResNet-8", "ResNet-20"])
def deep(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("deep") / "deep.tflite"
    path.write_bytes(deep_models.residual(request.param))
    return path


def _answers(content: bytes, inputs: NDArray[np.int8], resolver: str) -> NDArray[np.int8]:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(model_content=content, experimental_op_resolver_type=OpResolverType[resolver])
    interpreter.allocate_tensors()
    (source,), (sink,) = interpreter.get_input_details(), interpreter.get_output_details()
    answers = []
    for values in inputs:
        interpreter.set_tensor(source["index"], values[np.newaxis])
        interpreter.invoke()
        answers.append(interpreter.get_tensor(sink["index"])[0].copy())
    return np.array(answers)


_RESOLVERS = {
    "litert:xnnpack": "AUTO",
    "litert:builtin": "BUILTIN_WITHOUT_DEFAULT_DELEGATES",
    "litert:reference": "BUILTIN_REF",
}


def _verdicts(
    deep: Path, faulty: bytes, known: dict[str, NDArray[np.int8]], inputs: NDArray[np.int8]
) -> dict[str, str]:
    """Return the verdict on each runtime, if it had the fault."""
    verdicts = {}
    ends = arithmetic.ends(inspect(deep))
    for runtime, resolver in OTHERS.items():
        answers = {**known, runtime: _answers(faulty, inputs, resolver)}
        outputs = {AgreementCell(runtime=name, target="host"): (values,) for name, values in answers.items()}
        rows, _ = judge([Row(cell=cell) for cell in outputs], outputs, ends)
        (verdicts[runtime],) = (str(row.verdict) for row in rows if row.cell.runtime == runtime)
    return verdicts


def _faults() -> list[Any]:
    return [pytest.param(plant, id=name) for name, plant in faults_in_kernels.FAULTS.items()]


@pytest.mark.parametrize("plant", _faults())
def test_fault_in_any_layer_is_an_alarm_though_the_tolerance_grew(
    deep: Path, plant: Callable[[bytes, int], bytes]
) -> None:
    content = deep.read_bytes()
    inputs = deep_models.encoded(SAMPLES, seed=1)
    known = {name: _answers(content, inputs, resolver) for name, resolver in _RESOLVERS.items()}
    assert _verdicts(deep, content, known, inputs) == dict.fromkeys(OTHERS, "within")
    layers = range(faults_in_kernels.weighted_layers(content))
    assert len(layers) >= 9
    unseen = {
        (layer, runtime)
        for layer in layers
        for runtime, verdict in _verdicts(deep, plant(content, layer), known, inputs).items()
        if verdict != "alarm"
    }
    # A branch that the training has left next to nothing to do can hide a fault in OpenVINO's wide tolerance.
    assert [place for place in unseen if place[1] != "openvino"] == []
    assert len(unseen) <= len(layers) // 20


def test_sound_runtimes_raise_no_alarm_on_deep_models(deep: Path) -> None:
    images, labels = deep_models.images(SAMPLES, seed=1)
    pixels = np.round(images * 255).astype(np.uint8)
    parts = {f"x_{part}": pixels for part in ("train", "test")} | {f"y_{part}": labels for part in ("train", "test")}
    np.savez(deep.with_name("own.npz"), **parts)
    result = agree(deep, samples=SAMPLES, data=deep.with_name("own.npz"), mean=0, std=255, progress=False)
    assert result.held, result.verdict
    assert sum(cell["status"] == "ran" for cell in result.document["cells"]) >= 3
    rounding = result.document["model"]["rounding"]
    additions, convolutions = (3, 7) if rounding["depth"] < 20 else (9, 19)
    assert rounding["depth"] == convolutions + additions + len(("MEAN", "FULLY_CONNECTED", "SOFTMAX"))
