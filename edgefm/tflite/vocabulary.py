"""How many different whole numbers an input can hold: the rows of the tables that it holds places of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgefm.tflite import tflite_file

# Operators whose result holds values of an input, by the places of that input. SELECT: converters write a place
# below 0 as the one from the end of the table, and take the other branch for all others.
_PASSED_ON: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(
        ("CAST", "EXPAND_DIMS", "RESHAPE", "SLICE", "SQUEEZE", "STRIDED_SLICE", "TRANSPOSE", "UNPACK"), (0,)
    ),
    **dict.fromkeys(("SELECT", "SELECT_V2"), (1, 2)),
}
# Operators that take rows out of a table: the places of the table and of what says which.
_TABLES = {"GATHER": (0, 1), "EMBEDDING_LOOKUP": (1, 0)}


def table_rows(model: Path) -> dict[int, int]:
    """Return the rows of the smallest table that each input of the main graph holds places of, by tensor.

    An input that no operator takes as places, directly or through operators that pass values on, is left out.

    Raises:
      ModelError: the file is missing, no TFLite file, cut off or damaged.
    """
    from edgefm.tflite.flatbuffer import indices, operator_name, read

    parsed = read(tflite_file.content_of(model))
    graph = parsed.subgraphs[0]
    origin = {index: index for index in indices(graph.inputs)}
    rows: dict[int, int] = {}
    for operator in graph.operators or []:
        name, inputs = operator_name(parsed, operator), indices(operator.inputs)
        if name in _TABLES:
            table, places = (inputs[place] for place in _TABLES[name])
            if places in origin:
                length = indices(graph.tensors[table].shape)[_axis(operator)]
                rows[origin[places]] = min(length, rows.get(origin[places], length))
        passed = [inputs[place] for place in _PASSED_ON.get(name, ()) if place < len(inputs)]
        came = next((origin[index] for index in passed if index in origin), None)
        if came is not None:
            origin.update(dict.fromkeys(indices(operator.outputs), came))
    return rows


def _axis(operator: Any) -> int:
    """Return the axis of the table along which rows lie: GATHER says it, where it is not 0."""
    return int(getattr(operator.builtinOptions, "axis", 0) or 0)
