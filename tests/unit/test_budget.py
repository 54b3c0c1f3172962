from __future__ import annotations

from pathlib import Path

import pytest

from edgefm.comparison.budget import KEYS, BudgetError, GateBudget, Limit, read


def _read(folder: Path, text: str) -> GateBudget:
    path = folder / "budget.toml"
    path.write_text(text, encoding="utf-8")
    return read(path)


def test_read_budget_with_patterns_and_all_keys(tmp_path: Path) -> None:
    values = {key: 0.5 if not found.whole else 1000 for key, found in KEYS.items()}
    lines = "\n".join(f"{key} = {value}" for key, value in values.items())
    found = _read(
        tmp_path, f'baseline = "float32"\nstrict = true\n[models."int8_*"]\n{lines}\n[models.x]\naccuracy = 1\n'
    )
    assert (found.baseline, found.strict) == ("float32", True)
    assert found.limits[:-1] == tuple(
        Limit(models="int8_*", key=key, value=float(value)) for key, value in values.items()
    )
    assert found.limits[-1] == Limit(models="x", key="accuracy", value=1.0)


@pytest.mark.parametrize(
    ("text", "words", "hint"),
    [
        pytest.param("[models.a]\naccuracyy = 0.9", "'accuracyy'; did you mean 'accuracy'", "p50_ratio", id="key"),
        pytest.param("[models.a]\nsize_byte = 9", "did you mean 'size_bytes'", "size_gzip_bytes", id="near-key"),
        pytest.param("[models.a]\nzzz = 9", "unknown key 'zzz'", "Allowed: accuracy", id="far-key"),
        pytest.param("basline = 'a'\n[models.a]\naccuracy = 0.9", "did you mean 'baseline'", "Allowed", id="top-key"),
        pytest.param("accuracy = 0.9", "unknown key 'accuracy'", 'below [models."NAME"]', id="limit-at-the-top"),
        pytest.param("[model.a]\naccuracy = 0.9", "did you mean 'models'", "Allowed", id="table"),
        pytest.param("[models.a]\naccuracy = '0.9'", "must be a number, not '0.9'", "fraction from 0 to 1", id="text"),
        pytest.param("[models.a]\naccuracy = true", "must be a number, not True", "", id="bool"),
        pytest.param("[models.a]\naccuracy = 92", "it must be at most 1", "0.92, not 92", id="percent"),
        pytest.param("[models.a]\nsize_bytes = -1", "it must be 0 or more", "size of the file", id="negative"),
        pytest.param("[models.a]\nsize_bytes = 10.5", "must be a whole number", "", id="fraction"),
        pytest.param("[models.a]\nsize_bytes = nan", "0 or more|whole number", "", id="nan"),
        pytest.param("[models.a]\np50_ratio = inf", "0 or more", "", id="inf"),
        pytest.param("[models.a]\nsize_bytes = inf", "0 or more|whole number", "", id="whole-inf"),
        pytest.param("[models.a]\naccuracy = ", "is not valid TOML", "Write a table such as", id="broken"),
        pytest.param("", "sets no limit", "Write a table such as", id="empty"),
        pytest.param("[models.a]", "sets no limit", "", id="empty-table"),
        pytest.param("models = 3", "must be in tables", "", id="no-table"),
        pytest.param("[models]\naccuracy = 0.9", "must be in tables", "", id="no-model"),
        pytest.param("strict = 1\n[models.a]\naccuracy = 0.9", "strict must be true or false", "", id="strict"),
        pytest.param("baseline = 1\n[models.a]\naccuracy = 0.9", "baseline must be a model's name", "", id="baseline"),
    ],
)  # fmt: skip
def test_read_bad_budget_says_what_is_wrong_and_what_is_allowed(
    tmp_path: Path, text: str, words: str, hint: str
) -> None:
    with pytest.raises(BudgetError, match=words) as caught:
        _read(tmp_path, text)
    assert hint in (caught.value.hint or "")
    assert "budget.toml" in caught.value.message


def test_budget_of_thousands_of_patterns_is_refused(tmp_path: Path) -> None:
    text = "\n".join(f'[models."*{index}*a*b*c*"]\naccuracy = 0.5' for index in range(501))
    with pytest.raises(BudgetError, match="has 501 tables of limits; 500 are allowed"):
        _read(tmp_path, text)


def test_read_missing_budget_and_one_that_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match="no budget at"):
        read(tmp_path / "nowhere.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BudgetError, match="not UTF-8 text"):
        read(tmp_path / "binary.toml")
