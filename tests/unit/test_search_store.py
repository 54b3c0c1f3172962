"""The store that the machines of a search share: bytes by their sha256, and finished passes."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgefm.core import artefacts
from edgefm.searching.executors.store import Store, StoreError


@pytest.mark.parametrize("url", ["{folder}", "file://{folder}", "memory://searches/{folder}"])
def test_store_gives_back_what_was_put_and_writes_it_once(tmp_path: Path, url: str) -> None:
    pytest.importorskip("fsspec")
    store = Store(url.format(folder=tmp_path))
    sha256 = store.put(b"model")
    assert sha256 == store.put(b"model") == artefacts.sha256_bytes(b"model")
    assert Store(url.format(folder=tmp_path)).get(sha256) == b"model"
    with pytest.raises(StoreError, match="holds no 0000"):
        store.get("0" * 64)


def test_store_refuses_what_was_damaged_and_does_such_a_pass_again(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    done, elsewhere = tmp_path / "a" / "slim-0123", tmp_path / "b" / "slim-0123"
    with store.shelf(done):
        artefacts.write_text(done / "pass.json", "{}")
        artefacts.write_bytes(done / "model.keras", b"weights")
    with store.shelf(elsewhere):
        assert (elsewhere / "model.keras").read_bytes() == b"weights"
    sha256 = artefacts.sha256_bytes(b"weights")
    path = tmp_path / "store" / "sha256" / sha256[:2] / sha256
    path.write_bytes(b"weighty")
    with pytest.raises(StoreError, match=f"{sha256} is damaged"):
        store.get(sha256)
    third = tmp_path / "c" / "slim-0123"
    with store.shelf(third):
        assert not third.exists()


def test_store_of_an_unknown_kind_is_refused() -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(StoreError, match="cannot be used as a store"):
        Store("nothing://bucket")
