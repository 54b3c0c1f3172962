"""How far sums of operators are off the whole, on models made to be hard: fused ones, and large dense layers.

Run: python -m benchmarks.profile_cases. It prints a line a model, method by method. The large
ones need 2 GB of memory and a quiet machine.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from edgefm.profiling.profile import profile
from tests.fixtures import cut_models

SHIPPED = Path(__file__).parent.parent / "android_demo_assets" / "int8" / "model.tflite"


def cases(folder: Path) -> Iterator[tuple[str, str, Path]]:
    """Yield name, runtime and file of each model; the files are made in a folder."""
    for runtime in ("litert:reference", "tflm"):
        yield "int8 CNN", runtime, SHIPPED
    made = {
        "4 dense layers of 1 MB": cut_models.dense_layers(4, width=512),
        "4 x PAD, CONV_2D, RELU": cut_models.fused_convolutions(count=4),
        "4 dense layers of 17 MB": cut_models.dense_layers(4, width=2048),
        "12 dense layers of 17 MB": cut_models.dense_layers(12, width=2048),
    }
    for name, content in made.items():
        path = folder / f"{name.replace(' ', '-').replace(',', '')}.tflite"
        path.write_bytes(content)
        yield name, "litert:xnnpack", path


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        for what, runtime, path in cases(Path(name)):
            found = profile(path, runtime=runtime, method="operators")
            assert found.check is not None and found.whole is not None, found.whole_reason
            off = 100 * (found.check.of_whole.value - 1)
            low, high = 100 * (found.check.of_whole.low - 1), 100 * (found.check.of_whole.high - 1)
            print(
                f"{what}, {runtime} {found.version}: whole {found.whole.value / 1000:,.1f} us, operators in turn "
                f"{off:+.1f} % ({low:+.1f} to {high:+.1f} %), {found.disturbed.turns} of {found.disturbed.of_turns} "
                "turns disturbed",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
