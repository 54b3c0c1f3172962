"""The bundle for Python: modules on numpy and LiteRT, a camera loop and a unit of systemd."""

from __future__ import annotations

from importlib import resources

from edgefm_converters.bundles.parts import BundleParts
from edgefm_converters.bundles.sbom import Needed

KIND = "python"
NEEDS = (
    Needed(name="numpy", version="", purl="pkg:pypi/numpy", licence="BSD-3-Clause"),
    Needed(name="ai-edge-litert", version="", purl="pkg:pypi/ai-edge-litert", licence="Apache-2.0"),
    Needed(name="pillow", version="", purl="pkg:pypi/pillow", licence="MIT-CMU"),
)
USE = """\
| file | what it is |
|---|---|
| `edge_model.py` | feeds the model, runs it, says the most probable classes: start here |
| `picture_steps.py` | makes the model's pixels of a picture file |
| `self_test.py` | what `edge_model.py --self-test` holds against `golden/` |
| `camera.py` | answers what a camera sees |
| `edge-model.service` | a unit of systemd that keeps the camera loop running |
| `requirements.txt` | what they need |
| `contract.json`, `labels.txt` | what goes in and comes out |
| `golden/` | golden vectors |
| `sbom.cdx.json`, `NOTICE`, `manifest.json` | what it is made of, licences, sums |

```bash
python -m venv venv && venv/bin/pip install -r requirements.txt
venv/bin/python edge_model.py --self-test
venv/bin/python edge_model.py photo.jpg
```"""
_FILES = ("edge_model.py", "picture_steps.py", "self_test.py", "camera.py", "edge-model.service")


def files(parts: BundleParts) -> dict[str, bytes]:
    """Return the files of the bundle that are of this kind alone, by path."""
    folder = resources.files("edgefm_converters.bundles").joinpath("python_files")
    own = {name: folder.joinpath(name).read_bytes() for name in _FILES}
    return {**own, "requirements.txt": "".join(f"{need.name}\n" for need in NEEDS).encode()}
