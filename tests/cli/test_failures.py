"""A failure's exit code."""

from __future__ import annotations

import pytest

from interlock.cli.failures import Refused, Unreachable, Waiting, exit_code
from interlock.errors import ConfigError, EvidenceError, InterlockError, PolicyError, VerificationError


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InterlockError("x"), 1),
        (Refused("x", code="denied"), 1),
        (EvidenceError("x"), 1),
        (ConfigError("x"), 2),
        (PolicyError("x"), 2),
        (Unreachable("x"), 3),
        (VerificationError("x"), 4),
        (Waiting("x"), 5),
    ],
)
def test_each_has_its_own(error: InterlockError, code: int) -> None:
    assert exit_code(error) == code
