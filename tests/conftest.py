"""What all tests share: a test that needs a program or library which is not here says so and is left out."""

from __future__ import annotations

import importlib.util
import shutil

import pytest

_NEEDS = {
    "browser": (lambda: shutil.which("chromium") is not None, "Chromium is not installed"),
    "torch": (lambda: importlib.util.find_spec("torch") is not None, "PyTorch is not installed"),
    "jax": (lambda: importlib.util.find_spec("jax") is not None, "JAX is not installed"),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out the tests whose mark names something that is not installed."""
    for mark, (installed, reason) in _NEEDS.items():
        marked = [item for item in items if item.get_closest_marker(mark)]
        if marked and not installed():
            for item in marked:
                item.add_marker(pytest.mark.skip(reason=reason))
