"""What a bundle for C holds beside the model: the network as C99 that needs no interpreter, and vela's file of it."""

from __future__ import annotations

import json
from pathlib import Path

from edgefm.core.artefacts import finite
from edgefm.targets import target
from edgefm.targets.vela import Vela

FOLDER = "npu"
MODEL_FILE = f"{FOLDER}/model_vela.tflite"
ESTIMATE_FILE = f"{FOLDER}/estimate.json"
_KERNELS = ("edgefm_firmware.h", "edgefm_kernels.c", "edgefm_kernels.h")


def network(model: Path) -> dict[str, str]:
    """Return an int8 model as C99 for any compiler, as the cortex-m target generates it, with kernels, by file name.

    Raises:
      ModelError: an operator, or how it is used, is not among what the kernels do.
    """
    from edgefm.targets.cortex_m import graph
    from edgefm.targets.cortex_m.boards import FIRMWARE
    from edgefm.targets.cortex_m.source import source_of

    kernels = {name: (FIRMWARE / name).read_text(encoding="utf-8") for name in _KERNELS}
    return {**source_of(graph.read(model)).portable(), **kernels}


def accelerator_of(name: str) -> Vela:
    """Return the accelerator of a name, e.g. 'ethos-u55-128'.

    Raises:
      RecipeError: no such accelerator; the nearest one is named.
      TargetError: vela is not installed, or does not know the configuration.
    """
    found = target(f"vela:{name}")
    assert isinstance(found, Vela), "the target is of this kind"
    found.check()
    return found


def npu_files(model: Path, accelerator: Vela) -> dict[str, bytes]:
    """Return the compiled file of a .tflite model and vela's estimate of it, by path in a bundle.

    Raises:
      ModelError: vela cannot compile the model, or it has a dynamic shape.
    """
    content, figures = accelerator.compiled(model)
    estimate = {
        "kind": "npu-estimate",
        "accelerator": accelerator.accelerator,
        "mode": accelerator.mode,
        "figures": [figure.to_json() for figure in figures],
    }
    text = json.dumps(finite(estimate), indent=2, sort_keys=True, ensure_ascii=True) + "\n"
    return {MODEL_FILE: content, ESTIMATE_FILE: text.encode()}
