"""What `edgefm.search` refuses before it loads a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import edgefm
from edgefm.core import manifest
from edgefm.core.errors import EdgefmError, RecipeError

BUDGET = {"a": {"max_macs": 1}}


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"data": "x.npz"}, "data"),
        ({"quality": "auc"}, "quality"),
        ({"labels": ["a", "b"], "value_range": (0, 1)}, "labels, value_range"),
        ({"head": "logits"}, "head"),
        ({"trust": True}, "trust"),
    ],
)
def test_what_a_run_has_of_its_own_is_refused_beside_it(given: dict[str, Any], named: str, tmp_path: Path) -> None:
    (tmp_path / manifest.FILE_NAME).write_text("{}")
    with pytest.raises(RecipeError, match=f"^{named} given beside a run, which has its own"):
        edgefm.search(tmp_path, BUDGET, **given)


def test_seeds_of_finalists_must_be_numbers_that_frameworks_take(tmp_path: Path) -> None:
    largest = 2**32 - 1
    for seed, seeds in ((largest, 1), (largest - 2, 3)):
        with pytest.raises(RecipeError, match=f"seed {seed} is not allowed: it must be at most {largest - seeds}"):
            edgefm.search(tmp_path / "m.keras", BUDGET, seed=seed, seeds=seeds)
    for seed, seeds in ((largest, 0), (largest - 3, 3)):
        with pytest.raises(EdgefmError, match="data is None"):
            edgefm.search(tmp_path / "m.keras", BUDGET, seed=seed, seeds=seeds)
