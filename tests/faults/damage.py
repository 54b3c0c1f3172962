"""Damage: to bytes, to values in JSON, and to the graph of a whole .tflite file."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Iterator
from random import Random
from typing import Any

_BYTES = (0, 1, 0x7F, 0x80, 0xFF)
_WORDS = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFF0, 0x40000000, 0x10000, 0xFFFE)
_WAYS = (
    "bits", "bits", "bytes", "word", "word", "early", "early", "cut", "head", "splice", "insert", "delete", "zeros",
    "repeat",
)  # fmt: skip
_VALUES = (
    "null", "true", "false", "0", "-1", "1", "2.5", "-0.0", "1e308", "1e999", "-1e999", "NaN", "9" * 30, "9" * 400,
    "9" * 5000, "4294967296", "9223372036854775808", "-9223372036854775809", '""', '"x"', '"1"', '"int8_w8a8"',
    '"\\u0000"', '"\\ud800"', '"../../../etc/passwd"', '"' + "A" * 100_000 + '"', "[]", "{}", "[null]", "[[]]",
    '[1,"a",null]', '{"a":1}', '{"kind":1}', "[" * 900 + "]" * 900, "[" * 100_000 + "]" * 100_000,
    '{"a":' * 50_000 + "1" + "}" * 50_000,
)  # fmt: skip
_SHAPES = (0, 1, 2, 3, 7, 28, -1, 1000, 1 << 16, 1 << 20, (1 << 31) - 1, -(1 << 31))
_GRAPH = (
    "shape",
    "shape",
    "rank",
    "type",
    "buffer",
    "inputs",
    "outputs",
    "code",
    "option",
    "scale",
    "cut buffer",
    "ends",
)


def bytes_damaged(content: bytes, r: Random, other: bytes = b"") -> tuple[bytes, str]:
    """Return bytes damaged in one of the usual ways, and which; `other` gives the second half of a splice."""
    data, size, how = bytearray(content), len(content), r.choice(_WAYS)
    place, few = r.randrange(size), r.choice((1, 4, 100))
    if how == "bits":
        for _ in range(r.choice((1, 1, 2, 8, 64))):
            data[r.randrange(size)] ^= 1 << r.randrange(8)
    elif how == "bytes":
        for _ in range(r.choice((1, 4, 32))):
            data[r.randrange(size)] = r.choice(_BYTES)
    elif how in ("word", "early"):  # headers and tables stand early
        reach = max(1, min(size - 4, 4096 if how == "early" else size))
        for _ in range(r.choice((1, 1, 3))):
            at = r.randrange(reach) & ~3
            value = r.choice((r.choice(_WORDS), r.choice(_WORDS), r.getrandbits(32), r.randrange(4096)))
            data[at : at + 4] = value.to_bytes(4, r.choice(("little", "big")))
    elif how == "cut":
        del data[r.choice((place, size - 1, size // 2, r.randrange(min(size, 64)))) :]
    elif how == "head":
        del data[: r.randrange(1, max(2, min(size, 1000)))]
    elif how == "splice":
        other = other or content
        data = bytearray(content[:place] + other[r.randrange(len(other)) :])
    elif how == "insert":
        data[place:place] = r.randbytes(few)
    elif how == "delete":
        del data[place : place + few]
    elif how == "zeros":
        data[place : place + 256] = bytes(min(256, size - place))
    else:
        data[place:place] = data[place : place + r.choice((16, 1000))]
    return bytes(data), how


def json_damaged(value: Any, r: Random) -> tuple[str, str]:
    """Return JSON text in which one or two places hold something else, are renamed or are gone, and which."""
    whole, raws, hows = copy.deepcopy(value), {}, []
    paths = list(_paths(value))
    for _ in range(r.choice((1, 1, 1, 2))):
        path, raw = r.choice(paths), r.choice(_VALUES)
        if not path:
            return raw, f"all is {raw[:20]}"
        how, mark = r.choice(("set", "set", "set", "delete", "rename", "extra")), f"@@{len(raws)}@@"
        with contextlib.suppress(KeyError, IndexError, TypeError):  # the first change has taken its place away
            holder = whole
            for step in path[:-1]:
                holder = holder[step]
            if how == "delete":
                del holder[path[-1]]
            elif how == "rename" and isinstance(holder, dict):
                holder[r.choice(("x", "__class__", "", "kind"))] = holder.pop(path[-1])
            else:
                holder["unknown" if how == "extra" and isinstance(holder, dict) else path[-1]] = mark
                raws[mark] = raw
            hows.append(f"{how} {'.'.join(map(str, path))}={raw[:20]}")
    text = json.dumps(whole)
    for mark, raw in raws.items():
        text = text.replace(f'"{mark}"', raw)
    return text, "; ".join(hows)


def document_damaged(value: Any, r: Random) -> tuple[bytes, str]:
    """Return the bytes of a JSON document: mostly with other values, sometimes with other bytes."""
    if r.random() < 0.15:
        return bytes_damaged(json.dumps(value).encode(), r)
    text, how = json_damaged(value, r)
    return text.encode("utf-8", "surrogatepass"), how


def _paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from _paths(value[key], (*path, key))
    elif isinstance(value, list):
        for place in range(min(len(value), 3)):
            yield from _paths(value[place], (*path, place))


def graph_damaged(content: bytes, r: Random) -> tuple[bytes, str]:
    """Return a .tflite file whose FlatBuffer is whole and whose graph is wrong in one to three places, and which."""
    from edgefm.tflite import flatbuffer

    while True:
        model = flatbuffer.editable(content)
        hows = [how for how in r.choices(_GRAPH, k=r.choice((1, 1, 2, 3))) if _change(model, how, r)]
        with contextlib.suppress(Exception):  # what no file can hold
            if hows:
                return flatbuffer.write(model), "graph: " + ", ".join(hows)


def _change(model: Any, how: str, r: Random) -> bool:
    """Change one place of a graph; return False where there is none of that kind."""
    graph = model.subgraphs[0]
    tensor, operator, buffer = r.choice(graph.tensors), r.choice(graph.operators), r.choice(model.buffers)
    shape = [int(extent) for extent in (tensor.shape if tensor.shape is not None else [])]
    if how == "shape" and shape:
        shape[r.randrange(len(shape))] = r.choice(_SHAPES)
        tensor.shape = shape
    elif how == "rank":
        tensor.shape = shape[: r.randrange(4)] + [1] * r.choice((0, 1, 5))
    elif how == "type":
        tensor.type = r.randrange(20)
    elif how == "buffer":
        tensor.buffer = r.randrange(len(model.buffers))
    elif how in ("inputs", "outputs") and len(getattr(operator, how)):
        ends = [int(end) for end in getattr(operator, how)]
        ends[r.randrange(len(ends))] = r.choice((-1, 0, r.randrange(len(graph.tensors)), len(graph.tensors) + 5, 10**6))
        setattr(operator, how, ends)
    elif how == "code":
        code = r.choice(model.operatorCodes)
        code.builtinCode = code.deprecatedBuiltinCode = r.randrange(127)
    elif how == "option" and operator.builtinOptions is not None:
        names = [name for name, value in vars(operator.builtinOptions).items() if type(value) is int]
        if not names:
            return False
        setattr(operator.builtinOptions, r.choice(names), r.choice((0, -1, 2, 100, (1 << 31) - 1)))
    elif how == "scale" and tensor.quantization is not None and tensor.quantization.scale is not None:
        name, values = r.choice(
            (("scale", (0.0, float("nan"), float("inf"), -1.0, 1e-45)), ("zeroPoint", (10**12, -1000, 300)))
        )
        setattr(tensor.quantization, name, r.choice((None, [r.choice(values)])))
        tensor.quantization.quantizedDimension = r.choice((0, 0, -1, 9, 1000))
    elif how == "cut buffer" and buffer.data is not None and len(buffer.data) > 1:
        buffer.data = buffer.data[: r.randrange(1, len(buffer.data))]
    elif how == "ends":
        setattr(graph, r.choice(("inputs", "outputs")), [r.choice((-1, 0, r.randrange(len(graph.tensors)), 10**6))])
    else:
        return False
    return True
