"""Every golden case in tests/cases/policy, through the real engine: the verdict, the rules and the reasons."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.policy.cases import Case, read_cases

CASES = read_cases(Path(__file__).parents[1] / "cases" / "policy")


def test_there_are_cases() -> None:
    assert len(CASES) >= 60


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case) -> None:
    assert case.played() == case.expected
