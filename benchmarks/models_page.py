"""Writes docs/models.md from the recorded table of models and variants."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmarks.models import AS_GOOD, FLOAT32_AT_MOST, HALF_AT_MOST, VARIANTS, as_good, builders, held
from benchmarks.recorded import provenance, result

PAGE = Path(__file__).parent.parent / "docs" / "models.md"
_WORKS = "works"
# Reasons that go on with names of layers.
_SHORT = {
    "has nothing to cluster": "no kernel holds more than the 16 values that clustering would leave",
    "no channel of .* can be removed": "no channel can be removed: each meets a layer that slimming does not know, an "
    "input or an output of the model; `edgefm inspect` names them",
}
_HEADS = {
    "float32": "fp32",
    "float16": "fp16",
    "drq_w8": "drq",
    "int8_w8a8": "int8",
    "int8_w8a8_fc4": "fc4",
    "int16x8": "16x8",
    "qat_int8": "QAT",
    "pruned80_qat_int8": "prune",
    "clustered16_qat_int8": "cluster",
    "pruned80_clustered16_qat_int8": "both",
    "slim50_qat_int8": "slim",
}


def page() -> str:
    """Return the page in Markdown."""
    value = result("models")
    rows: Mapping[str, Mapping[str, Any]] = value["rows"]
    reasons = list(dict.fromkeys(_reason(cell) for row in rows.values() for cell in row["cells"].values()))
    reasons = [reason for reason in reasons if reason != _WORKS]
    kept = sum(held(row) for row in rows.values())
    return (
        "# Which models work\n\n"
        f"{len(rows)} models of the kinds that people bring, and every variant of each: {kept} hold what is "
        f"promised (no traceback; the float32 file within {FLOAT32_AT_MOST:g} of Keras; int8 at most {AS_GOOD:g} times "
        "as far from Keras as the stock converter's file).\n\n"
        f"{_not_recorded(rows)}"
        "Each model is trained for a few steps on made-up data and given to `edgefm.quantize` with all variants; 60 "
        "test samples go through LiteRT's own Interpreter.\n\n"
        "- `float32`: greatest difference from Keras's `predict`, over the output's greatest value where above 1. "
        f"Of a model that itself computes in bfloat16, {HALF_AT_MOST:g} is allowed.\n"
        "- `int8`: root mean square of the difference from Keras over the standard deviation of Keras's values, the "
        "worst output's, of edgefm's `int8_w8a8` file.\n"
        "- `stock`: the same of the file that `tf.lite.TFLiteConverter` makes with the same 256 calibration samples.\n"
        "  Where edgefm's is the greater by more than a tenth, both are means over four seeds (*).\n"
        "- `same`: samples with the same greatest value as Keras, edgefm / stock.\n"
        "- `s`: seconds of all variants together on two cores, with other work beside them.\n\n"
        "Models of more than a million weights see 8 steps of training, the others 40: what int8 costs them here says "
        "how the two converters compare, not what a trained model loses.\n\n"
        f"{_answers(rows)}\n\n"
        "## Which variants there are\n\n"
        "`✓` works; a number: refused, for the reason below.\n\n"
        f"{_variants(rows, reasons)}\n\n"
        "## Why a variant is refused\n\n"
        + "".join(f"{number}. {reason}\n" for number, reason in enumerate(reasons, 1))
        + "\n## Where the stock converter gives no int8 file\n\n"
        + _without_stock(rows)
        + f"\n{provenance(value)} Again: `{value['command']}`, then `python -m benchmarks.figures`.\n"
    )


def _not_recorded(rows: Mapping[str, Mapping[str, Any]]) -> str:
    missing = [name for name in builders() if name not in rows]
    return f"Not recorded yet: {', '.join(missing)}.\n\n" if missing else ""


def _answers(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the table of what the files answer."""
    table = []
    for name, row in rows.items():
        ours, stock = row["int8"], row["stock"]
        better = ("*" if row.get("seeds") else "") + ("" if as_good(row) else " **worse**")
        float32 = "-" if row["float32"] is None else f"{row['float32']:.1e}"
        same = f"{_same(ours)} / {_same(stock)}"
        seconds = f"{row['seconds']:.0f}"
        table.append([name, f"{row['parameters']:,}", float32, _error(ours) + better, _error(stock), same, seconds])
    heads = ["model", "weights", "float32", "int8", "stock", "same %", "s"]
    return tabulate(table, headers=heads, tablefmt="github", disable_numparse=True)


def _variants(rows: Mapping[str, Mapping[str, Any]], reasons: list[str]) -> str:
    """Return the table of which variants there are."""
    table = [[name, *(_cell(row["cells"][variant], reasons) for variant in VARIANTS)] for name, row in rows.items()]
    heads = ["model", *(_HEADS[variant] for variant in VARIANTS)]
    return tabulate(table, headers=heads, tablefmt="github", disable_numparse=True)


def _cell(said: str, reasons: list[str]) -> str:
    reason = _reason(said)
    return "✓" if reason == _WORKS else str(reasons.index(reason) + 1)


def _reason(said: str) -> str:
    """Return a reason without what is different from variant to variant and from model to model: names of layers."""
    for pattern, short in _SHORT.items():
        if re.search(pattern, said):
            return short
    for variant in sorted(VARIANTS, key=len, reverse=True):
        said = said.replace(f"'{variant}' ", "it ").replace(f"{variant} would", "it would")
    return said


def _error(compared: Mapping[str, Any] | None) -> str:
    if compared is None or compared["greatest"] is None:
        return "-"
    return f"{compared['error']:.4f}"


def _same(compared: Mapping[str, Any] | None) -> str:
    return "-" if compared is None or compared["same"] is None else f"{100 * compared['same']:.0f}"


def _without_stock(rows: Mapping[str, Mapping[str, Any]]) -> str:
    reasons: dict[str, list[str]] = {}
    for name, row in rows.items():
        if row["stock"] is None:
            reasons.setdefault(_of_converter(row["stock_reason"]), []).append(name)
        elif row["stock"]["greatest"] is None:
            reasons.setdefault(f"LiteRT does not run its file: {row['stock']['reason']}", []).append(name)
    lines = [f"- {', '.join(names)}: {reason}\n" for reason, names in reasons.items()]
    return "".join(lines) or "It gives one of each.\n"


def _of_converter(said: str) -> str:
    """Return which operator the converter stumbled over, where its message names one; else the message."""
    operator = re.search(r'fused\["(\w+):', said)
    if operator is None:
        return said
    return f"it cannot translate TensorFlow's `{operator.group(1)}`"
