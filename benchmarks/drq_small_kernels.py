"""Should drq_w8 quantise kernels of fewer than 1,024 weights? Validation figures for both rules, on trained models.

TensorFlow's converter leaves such kernels in float32; litert-quantizer's default recipe makes all of them int8. Trained
briefly on some Fashion-MNIST training images; the test set is not touched. Run: python -m benchmarks.drq_small_kernels.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from edgefm.core import artefacts, runs
from edgefm.core.environment import environment

RESULT = Path(__file__).parent / "results" / "drq_small_kernels.json"
RULES = {"all kernels int8": 0, "kernels of 1,024 weights and more int8": 1024}


def main() -> None:
    """Train, quantise by both rules, measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=8000)
    parser.add_argument("--validation", type=int, default=4000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    from edgefm.data.reference.fashion_mnist import load_fashion_mnist
    from edgefm.keras_graph.backend import use_backend

    use_backend("tensorflow")
    data = load_fashion_mnist(download=False)
    entries = []
    for seed in range(options.seeds):
        for name, build in {"enhanced_cnn": enhanced, "depthwise_cnn": depthwise, "tiny_cnn": tiny}.items():
            model = trained(build, data.train, seed=seed, images=options.images, epochs=options.epochs)
            entries += measured(model, data.validation, images=options.validation, name=name, seed=seed)
            print(*entries[-len(RULES) :], sep="\n", flush=True)
    artefacts.write_json(
        RESULT,
        {
            "what": f"{options.validation:,} validation images in LiteRT; models trained on {options.images:,} images "
            f"for {options.epochs} epochs; agreement: the same best class as the float32 file",
            "command": "python -m benchmarks.drq_small_kernels",
            "created": runs.now(),
            "environment": environment(),
            "entries": entries,
        },
    )


def enhanced() -> Any:
    """Return the zoo's Enhanced CNN: one kernel of fewer than 1,024 weights, the first convolution's."""
    from edgefm.zoo.enhanced_cnn import build

    return build()


def depthwise() -> Any:
    """Return a network of five depthwise separable blocks, whose depthwise kernels hold 144 to 576 weights."""
    import keras
    from keras import layers

    source = keras.Input((28, 28, 1))
    x = layers.Rescaling(1 / 255)(source)
    x = layers.Conv2D(16, 3, padding="same", use_bias=False)(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.9)(x))
    for filters, strides in ((32, 2), (32, 1), (64, 2), (64, 1), (96, 1)):
        x = layers.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False)(x)
        x = layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.9)(x))
        x = layers.Conv2D(filters, 1, use_bias=False)(x)
        x = layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.9)(x))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(source, layers.Dense(10, activation="softmax")(x), name="depthwise_cnn")


def tiny() -> Any:
    """Return a network all of whose kernels are small but one."""
    import keras
    from keras import layers

    source = keras.Input((28, 28, 1))
    x = layers.Rescaling(1 / 255)(source)
    for filters in (8, 12):
        x = layers.MaxPooling2D(2)(layers.Conv2D(filters, 3, padding="same", activation="relu")(x))
    x = layers.Flatten()(x)
    x = layers.Dense(24, activation="relu")(x)
    return keras.Model(source, layers.Dense(10, activation="softmax")(x), name="tiny_cnn")


def trained(build: Any, split: Any, *, seed: int, images: int, epochs: int) -> Any:
    """Return a network after some epochs."""
    import keras

    keras.utils.set_random_seed(seed)
    model = build()
    model.compile(keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy")
    x = split.images[:images].astype(np.float32)
    model.fit(x, split.labels[:images], batch_size=64, epochs=epochs, verbose=0)
    return model


def measured(model: Any, split: Any, *, images: int, name: str, seed: int) -> list[dict[str, Any]]:
    """Return one entry a rule."""
    from litert_quantizer import quantizer, recipe

    from edgefm.core.silence import silenced
    from edgefm.keras_graph.folding import fold
    from edgefm.tflite.weights import stored_kernels
    from edgefm_converters.tflite.float_file import float_file
    from edgefm_converters.tflite.keras_to_tflite import float32_tflite
    from edgefm_converters.tflite.tflite_outputs import tflite_outputs

    float32 = float_file(float32_tflite(fold(model)[0]))
    x, y = split.images[:images].astype(np.float32), split.labels[:images]
    wanted = tflite_outputs(float32, x)[0]
    entries = []
    for rule, least in RULES.items():
        with silenced():
            rules = recipe.dynamic_wi8_afp32()
            rules[0]["op_config"]["min_weight_elements"] = least
            configured = quantizer.Quantizer(bytearray(float32), rules)
            content = bytes(configured.quantize(None).quantized_model)
        kernels = stored_kernels(content)
        answer = tflite_outputs(content, x)[0]
        entries.append(
            {
                "model": name,
                "seed": seed,
                "rule": rule,
                "int8_kernels": sum(kernel.dtype == "int8" for kernel in kernels),
                "kernels": len(kernels),
                "size_bytes": len(content),
                "accuracy": round(float((answer.argmax(1) == y).mean()), 4),
                "float32_accuracy": round(float((wanted.argmax(1) == y).mean()), 4),
                "agreement": round(float((answer.argmax(1) == wanted.argmax(1)).mean()), 4),
                "mean_abs_difference": float(np.abs(answer - wanted).mean()),
            }
        )
    return entries


if __name__ == "__main__":
    main()
