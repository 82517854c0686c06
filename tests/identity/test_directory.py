"""Configured principals and their versions."""

from __future__ import annotations

from dataclasses import replace

from interlock.config import PrincipalConfig
from interlock.identity import Directory

ALICE = PrincipalConfig("alice", "user", frozenset({"engineering"}))
CLAUDE = PrincipalConfig("claude", "agent", frozenset({"agents"}), owner="alice")


def test_an_agent_comes_with_its_owner() -> None:
    claude = Directory([ALICE, CLAUDE]).principal("claude")
    assert claude is not None and claude.on_behalf_of is not None
    assert (claude.groups, claude.on_behalf_of.groups) == (frozenset({"agents"}), frozenset({"engineering"}))


def test_nobody_comes_without_a_good_owner() -> None:
    assert Directory([CLAUDE]).principal("claude") is None
    assert Directory([replace(ALICE, disabled=True), CLAUDE]).principal("claude") is None
    assert Directory([replace(ALICE, kind="workload"), CLAUDE]).principal("claude") is None


def test_the_unknown_and_the_disabled_are_nobody() -> None:
    directory = Directory([replace(ALICE, disabled=True)])
    assert directory.principal("alice") is None
    assert directory.principal("bob") is None


def test_what_stays_the_same_keeps_its_version() -> None:
    directory = Directory([ALICE, CLAUDE])
    alice, claude = directory.principal("alice"), directory.principal("claude")
    assert alice is not None and claude is not None
    assert directory.replace([ALICE, replace(CLAUDE, groups=frozenset())]) == {"claude"}
    assert directory.why_not(alice) == ""
    assert directory.why_not(claude) == "the rights of claude were changed or revoked"


def test_who_comes_back_is_not_who_was_there() -> None:
    directory = Directory([ALICE])
    alice = directory.principal("alice")
    assert alice is not None
    directory.replace([])
    directory.replace([ALICE])
    assert directory.why_not(alice)
