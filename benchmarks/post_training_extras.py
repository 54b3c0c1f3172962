"""Do cross-layer equalisation and bias correction help? Validation figures with and without, on real int8 files.

Takes the trained model of a run as it is, and once more with the channels of its convolutions badly scaled (the same
function in float32: each channel times a power of two, the next layer's weights divided by it). The test set is not
touched. Run: python -m benchmarks.post_training_extras RUN [--images N].
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from edgefm.core import artefacts, runs
from edgefm.core.environment import environment
from edgefm.core.progress import Bars
from edgefm.core.runs import RunDirectory
from edgefm.recipes import Quantization

RESULT = Path(__file__).parent / "results" / "post_training_extras.json"
SCHEMES = ("int8_w8a8", "int8_w8a8_fc4")
EXTRAS = ((), ("equalize",), ("correct_bias",), ("equalize", "correct_bias"))
_DOUBLINGS = 6


def main() -> None:
    """Measure every combination and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--images", type=int, default=6000)
    options = parser.parse_args()
    from edgefm.data.source import dataset_of
    from edgefm.keras_graph.folding import fold
    from edgefm.quantization.source import open_source

    bars = Bars()
    run = RunDirectory.open(options.run)
    recipe = Quantization(calibration_images=256)
    source = open_source(run, recipe=recipe, dataset=dataset_of(run), progress=bars)
    model, _ = fold(source.model)
    entries = []
    for scaling, given in (("as trained", model), ("badly scaled", badly_scaled(model))):
        entries += measure(scaling, given, source, images=options.images, bars=bars)
    bars.close()
    artefacts.write_json(
        RESULT,
        {
            "what": f"{options.images:,} validation images in LiteRT; loss in points against float32, error of the "
            "probabilities as a share of their standard deviation",
            "command": "python -m benchmarks.post_training_extras RUN",
            "created": runs.now(),
            "calibration_images": 256,
            "environment": environment(),
            "entries": entries,
        },
    )
    for entry in entries:
        print(entry)


def measure(scaling: str, model: Any, source: Any, *, images: int, bars: Bars) -> list[dict[str, Any]]:
    """Return one entry a combination of scheme and extras."""
    from edgefm.compression.post_training.bias_correction import correct_bias
    from edgefm.compression.post_training.equalization import equalize
    from edgefm.quantization.analysis.sensitivity import compared
    from edgefm_converters.tflite.keras_to_tflite import float32_tflite
    from edgefm_converters.tflite.quantizing import calibrate, quantize_tflite
    from edgefm_converters.tflite.tflite_outputs import tflite_outputs

    validation = source.task.dataset.validation
    inputs, targets = source.task.inputs(validation.images[:images]), validation.labels[:images]
    quality = source.task.quality
    reference = tflite_outputs(float32_tflite(model), inputs, label="float32", progress=bars)
    best = quality.function(reference, targets)
    entries = []
    for scheme in SCHEMES:
        for extras in EXTRAS:
            made = model
            if "equalize" in extras:
                made, _ = equalize(made)
            if "correct_bias" in extras:
                made, _ = correct_bias(made, source.compared.inputs, dense_bits=4 if scheme.endswith("fc4") else 8)
            float32 = float32_tflite(made)
            ranges = calibrate(float32, source.compared.inputs, value_range=source.encoding.value_range)
            content = quantize_tflite(float32, scheme, calibration=ranges)
            outputs = tflite_outputs(content, inputs, label=f"{scheme} {' '.join(extras)}", progress=bars)
            found = compared(outputs, reference, targets, quality=quality, best=best)
            entries.append(
                {
                    "model": scaling,
                    "scheme": scheme,
                    "extras": list(extras),
                    "float32": best,
                    "validation_accuracy": found.quality,
                    "loss": found.loss,
                    "output_error": found.output_error,
                }
            )
    return entries


def badly_scaled(model: Any) -> Any:
    """Return the same function in float32 with channels of the convolutions up to 64 times larger or smaller."""
    import keras

    from edgefm.compression.post_training.equalization import equalize

    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    random = np.random.default_rng(0)
    _, report = equalize(model)
    for pair in report["pairs"]:
        first, second = copy.get_layer(pair["first"]), copy.get_layer(pair["second"])
        kernel, bias = first.get_weights()
        taking, *rest = second.get_weights()
        if kernel.ndim != 4 or taking.ndim != 4:
            continue
        scale = (2.0 ** random.integers(-_DOUBLINGS, _DOUBLINGS + 1, kernel.shape[-1])).astype(np.float32)
        first.set_weights([kernel * scale, bias * scale])
        second.set_weights([taking / scale[:, None], *rest])
        for shift in _between(copy, pair["first"], pair["second"]):
            shift.set_weights([value * scale for value in shift.get_weights()])
    return copy


def _between(model: Any, first: str, second: str) -> list[Any]:
    names = [layer.name for layer in model.layers]
    inner = model.layers[names.index(first) + 1 : names.index(second)]
    return [layer for layer in inner if layer.weights]


if __name__ == "__main__":
    main()
