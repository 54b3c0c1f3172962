"""Holds a model's answers against the golden vectors of its folder: `python edge_model.py --self-test`.

Kernels of different families round differently, and both are right: answers must be those of one family.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def hold_against_golden(folder: Path, contract: Any, invoke: Callable[[Any], list[Any]]) -> tuple[bool, str]:
    """Return (held, sentence) for a function that gives the output tensors of an input tensor."""
    if hashlib.sha256((folder / contract["file"]).read_bytes()).hexdigest() != contract["sha256"]:
        return False, f"{contract['file']} is not the file of the contract: it was changed"
    golden = json.loads((folder / "golden" / "golden.json").read_text(encoding="utf-8"))
    if golden["model_sha256"] != contract["sha256"]:
        return False, "the golden vectors are of another model"
    answers = []
    for vector in golden["vectors"]:
        given = np.frombuffer((folder / vector["input"]).read_bytes(), golden["input"]["dtype"])
        outputs = invoke(given.reshape(1, *golden["input"]["shape"]))
        answers.append(b"".join(output.tobytes() for output in outputs))
    best: Any = None
    for family in golden["families"]:
        wanted = [(folder / vector["answers"][family["name"]]).read_bytes() for vector in golden["vectors"]]
        apart, share = differences(answers, wanted, golden["outputs"])
        tolerance = family["tolerance"]
        allowed = tolerance.get("outputs") or [tolerance["largest"]] * len(apart)  # one of each output, or of all
        near = all(found <= most for found, most in zip(apart, allowed, strict=True))
        held = near and share <= tolerance["share"]
        if best is None or (held, -share) > best[:2]:
            best = (held, -share, family["title"], max(apart))
    held, share, title, apart = best
    how = "bit for bit" if not share else f"off by at most {apart:.3g} in {-100 * share:.1f} % of the values"
    told = f"{len(answers)} golden vectors, {title}: {how}"
    return held, told if held else f"{told}, which is more than these kernels may differ"


def differences(answers: list[bytes], wanted: list[bytes], outputs: Any) -> tuple[list[float], float]:
    """Return the largest difference of each output and the share of values that differ, over all outputs.

    In levels of an output of whole numbers, else as a share of its greatest magnitude.
    """
    largest: list[float] = []
    other, total, start = 0, 0, 0
    for end in outputs:
        size = np.dtype(end["dtype"]).itemsize * int(np.prod(end["shape"]))
        one, two = (
            np.frombuffer(b"".join(each[start : start + size] for each in side), end["dtype"]).astype(np.float64)
            for side in (answers, wanted)
        )
        step = 1.0 if end["scale"] is not None else max(float(np.abs(two).max(initial=0.0)), 1e-30)
        difference = np.abs(one - two)
        difference[np.isnan(difference) & ~(np.isnan(one) & np.isnan(two))] = np.inf
        largest.append(float(np.nan_to_num(difference, nan=0.0, posinf=np.inf).max(initial=0.0)) / step)
        other, total, start = other + int((one != two).sum()), total + one.size, start + size
    return largest, other / max(total, 1)
