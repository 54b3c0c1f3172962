"""A folder that an app embeds: one model, its contract, its labels and how to use them."""

from __future__ import annotations

from pathlib import Path

from edgefm import artefacts, contract
from edgefm.contract import Contract
from edgefm.errors import ModelError, RunError, unknown_name
from edgefm.progress import SILENT, Progress
from edgefm.runs import RunDirectory

MODEL_FILE = "model.tflite"
LABELS_FILE = "labels.txt"


def write_assets(
    run: RunDirectory, out: Path, *, variant: str = "int8_w8a8", progress: Progress = SILENT
) -> tuple[Path, ...]:
    """Write model.tflite, contract.json, labels.txt and README.md of a run's variant into `out`.

    Args:
      run: a run with a quantize step.
      out: folder; files of these names in it are replaced, others are left alone.
      variant: which of the run's variants.
      progress: receives progress.
    Returns:
      paths of the four files.
    Raises:
      RunError: the run has no quantize step.
      RecipeError: the step has no such variant.
      ModelError: the model is not the one its contract was written for.
    """
    step = run.require("quantize")
    folder = run.folder(step)
    variants = sorted(path.parent.name for path in folder.glob(f"*/{MODEL_FILE}"))
    if variant not in variants:
        raise unknown_name("variant of this run", variant, variants)
    model = folder / variant / MODEL_FILE
    found = contract.read(model)
    if found is None:
        raise ModelError(f"{model} has no contract", hint="Write it again with: edgefm quantize")
    if found.input.dtype == "float32" or found.output.dtype == "float32":
        progress.note(f"{variant} takes or gives float32; the README of the assets is written for it")
    written = [
        artefacts.write_bytes(out / MODEL_FILE, model.read_bytes()),
        found.write(out),
        artefacts.write_text(out / LABELS_FILE, "\n".join(found.labels) + "\n"),
        artefacts.write_text(out / "README.md", readme(found, accuracy=_accuracy(run, variant))),
    ]
    return tuple(written)


def readme(model: Contract, *, accuracy: str | None) -> str:
    """Return how to embed a model in an app, in Markdown, from its contract alone."""
    _, height, width, channels = model.input.shape
    colour = "grey" if channels == 1 else "RGB"
    measured = f"\n{accuracy}\n" if accuracy else ""
    quantised = model.output.scale is not None
    probability = (
        f"((out[0][i].toInt() and 0xFF) - {model.output.zero_point}) * {model.output.scale!r}f" if quantised else "out[0][i]"
    )
    put = "input.put(level.toByte())" if model.input.dtype == "uint8" else "input.putFloat(real(level))"
    element = "Byte" if quantised else "Float"
    return f"""# {model.name}, {model.variant}: files for an app

| file | what it is |
|---|---|
| `{MODEL_FILE}` | the model, {model.size_bytes / 1000:,.1f} KB, sha256 `{model.sha256}` |
| `contract.json` | what goes in, what comes out, how it was made |
| `{LABELS_FILE}` | class names, in the order of the output |
{measured}
## What goes in and what comes out

| | shape | dtype | formula |
|---|---|---|---|
| input `{model.input.name}` | {list(model.input.shape)} | {model.input.dtype} | `{model.input_formula()}` |
| output `{model.output.name}` | {list(model.output.shape)} | {model.output.dtype} | `{model.output_formula()}` |

A pixel is a {colour} level, 0 to 255, row by row from the top left. The pictures of Fashion-MNIST are bright
objects on a black background, {width} x {height} pixels: turn a dark object on a light background round with
`255 - pixel`, and keep the object's shape when you scale. Don't divide by 255: the model does what scaling it needs.

## Android (Kotlin, LiteRT)

1. Put `{MODEL_FILE}` and `{LABELS_FILE}` into `app/src/main/assets/`.
2. Add `implementation("com.google.ai.edge.litert:litert:1.0.1")` (or newer) to the dependencies, and
   `androidResources {{ noCompress += "tflite" }}` so that the file can be mapped into memory.
3. Classify:

```kotlin
class Classifier(context: Context) : AutoCloseable {{
    private val labels = context.assets.open("{LABELS_FILE}").bufferedReader().readLines()
    private val interpreter = context.assets.openFd("{MODEL_FILE}").use {{ file ->
        val model = FileInputStream(file.fileDescriptor).channel
            .map(FileChannel.MapMode.READ_ONLY, file.startOffset, file.declaredLength)
        Interpreter(model, Interpreter.Options().setNumThreads(1))
    }}

    /** Returns the label and its probability. `levels`: {height * width * channels} {colour} levels, 0 to 255, row by row. */
    fun classify(levels: IntArray): Pair<String, Float> {{
        require(levels.size == {height * width * channels}) {{ "{height * width * channels} levels are expected, got ${{levels.size}}" }}
        val input = ByteBuffer.allocateDirect({height * width * channels}{"" if model.input.dtype == "uint8" else " * 4"}).order(ByteOrder.nativeOrder())
        for (level in levels) {put}
        val out = Array(1) {{ {element}Array(labels.size) }}
        interpreter.run(input.rewind(), out)
        val best = labels.indices.maxByOrNull {{ i -> {"out[0][i].toInt() and 0xFF" if quantised else "out[0][i]"} }}!!
        val i = best
        return labels[i] to {probability}
    }}

    override fun close() = interpreter.close()
}}
```

Make one `Classifier` and keep it: loading costs far more than one picture.

## Python (a board, a test)

```python
import numpy as np
from ai_edge_litert.interpreter import Interpreter

interpreter = Interpreter("{MODEL_FILE}", num_threads=1)
interpreter.allocate_tensors()
levels = np.zeros({tuple(model.input.shape)}, np.uint8)  # your picture
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], levels{"" if model.input.dtype == "uint8" else ".astype(np.float32)"})
interpreter.invoke()
print(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
```

These files were written by `make assets`. The Kotlin above has not been run on a phone.
"""


def _accuracy(run: RunDirectory, variant: str) -> str | None:
    """Return a sentence on the measured accuracy of a variant, or None where the run has no benchmark."""
    import json

    step = run.last("benchmark")
    if step is None:
        return None
    path = run.folder(step) / "record.json"
    if not path.is_file():
        raise RunError(f"{path} is missing", hint="Measure again with: edgefm benchmark")
    record = json.loads(path.read_text(encoding="utf-8"))
    for row in record["models"]:
        if row["name"] == variant and row["accuracy"]["value"] is not None:
            value, low, high = (100 * row["accuracy"][key] for key in ("value", "low", "high"))
            images = record["dataset"]["images"]
            return (
                f"Measured: {value:.2f} % of {images:,} test images right (95 % interval {low:.2f} to {high:.2f}), "
                f"{record['created'][:10]}, {row['runtime']['name']} {row['runtime']['version']}."
            )
    return None
