"""The documented numbers: each has a unit, and a default within its limits."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields

import pytest

from interlock.config import ALGORITHMS, ApprovalConfig, LimitsConfig


@pytest.mark.parametrize("kind", [ApprovalConfig, LimitsConfig])
def test_defaults_lie_within_their_limits(kind: type[ApprovalConfig | LimitsConfig]) -> None:
    numbers = [item for item in fields(kind) if item.type == "int"]
    assert numbers
    for item in numbers:
        assert item.metadata["low"] <= item.default <= item.metadata["high"], item.name
        assert item.metadata["unit"]


def test_the_configuration_cannot_be_changed_afterwards() -> None:
    with pytest.raises(FrozenInstanceError):
        LimitsConfig().session_hours = 1  # type: ignore[misc]


def test_no_shared_secret_can_sign_a_token() -> None:
    assert not [name for name in ALGORITHMS if name.startswith("HS") or name == "none"]
