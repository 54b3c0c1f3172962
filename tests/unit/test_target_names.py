"""Names that people type for a target, and the address with which edgefm answers."""

from __future__ import annotations

import doctest

import pytest

from edgefm import targets
from edgefm.core.errors import RecipeError


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("pi@board", "ssh://pi@board"),
        ("root@192.168.0.7", "ssh://root@192.168.0.7"),
        ("pi@board:2222", "ssh://pi@board:2222"),
        ("rpi", "ssh://pi@board"),
        ("android", "adb"),
        ("Chrome", "browser"),
        ("localhost", "host"),
        ("arm64", "qemu-aarch64"),
        ("cortexm", "cortex-m"),
        ("ssh:pi@board", "ssh://pi@board"),
        ("ssh:/pi@board", "ssh://pi@board"),
    ],
)
def test_near_miss_of_a_target_is_answered_with_the_address(typed: str, meant: str) -> None:
    with pytest.raises(RecipeError) as caught:
        targets.target(typed)
    assert f"did you mean '{meant}'?" in caught.value.message
    assert typed.partition(":")[0] in caught.value.message


@pytest.mark.parametrize("typed", ["ssh", "ssh:", "ssh://"])
def test_ssh_without_a_board_is_answered_with_an_example(typed: str) -> None:
    with pytest.raises(RecipeError) as caught:
        targets.target(typed)
    assert "ssh://pi@board" in str(caught.value.hint)


def test_each_address_that_is_suggested_is_of_a_known_kind() -> None:
    for address in targets._OTHER_NAMES.values():
        assert address.partition(":")[0] in targets.TARGETS


def test_worked_examples_hold() -> None:
    assert doctest.testmod(targets).failed == 0
