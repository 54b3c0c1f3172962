"""Passwords in addresses of databases and stores: none is in what a fault leaves behind."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgefm.cli.main import run

URLS = [
    "postgresql://me:secret@db.lab/searches",
    "postgresql://me:s p'ec\"i/al@secret@db.lab/searches",
    "mysql://db.lab/searches?password=secret",
    "sftp://me:secret@db.lab/data",
]


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("apart", [True, False])
def test_details_of_a_fault_hold_no_password_of_an_address(
    apart: bool, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    words = ["--storage", url] if apart else [f"--storage={url}"]
    monkeypatch.setattr(sys, "argv", ["edgefm", "search", "model.keras", *words])

    def fail() -> None:
        raise KeyError(f"no driver for {url}")

    assert run(fail) == 70
    (path,) = tmp_path.rglob("fault-*.txt")
    details, printed = path.read_text(encoding="utf-8"), capsys.readouterr().err
    for text in (details, printed):
        assert "secret" not in text and "s p'ec" not in text
        assert "db.lab/" in text, "where the database is may be seen"
    assert "'search', 'model.keras', '--storage" in details
