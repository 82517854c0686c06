"""The nouns hold: proofs come from the mint alone, values are frozen, secrets do not show."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import FrozenInstanceError

import pytest

import interlock.gate  # noqa: F401 - takes the mint, as it does in the gateway
from interlock.exchange import Cleared, Credential, Decision, Effect, Mint, Operation, Principal, Resource, Verdict, claim_mint


def test_the_mint_is_taken_by_the_gate() -> None:
    with pytest.raises(RuntimeError, match="the mint is taken"):
        claim_mint()


def test_a_mint_of_ones_own_clears_nothing() -> None:
    with pytest.raises(RuntimeError, match="only the gate"):
        Cleared(Mint(), b"SELECT 1")


def test_nothing_is_cleared_before_the_mint_is_claimed() -> None:
    code = "from interlock.exchange import Cleared, Mint\ntry:\n    Cleared(Mint(), b'x')\nexcept RuntimeError as error:\n    print(error)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "only the gate clears bytes", done.stderr


def test_the_mint_is_handed_out_once() -> None:
    code = "from interlock.exchange import Cleared, claim_mint\nprint(Cleared(claim_mint(), b'x').data)\nclaim_mint()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "b'x'"
    assert "the mint is taken" in done.stderr


def test_a_credential_shows_nothing_of_itself() -> None:
    shown = f"{Credential('app', 'hunter2')!r} {Credential('app', 'hunter2')}"
    assert "hunter2" not in shown
    assert "app" not in shown


def test_an_agent_is_named_with_its_owner() -> None:
    owner = Principal("alice")
    assert str(Principal("claude", kind="agent", on_behalf_of=owner)) == "claude for alice"
    assert str(owner) == "alice"


def test_what_was_decided_cannot_be_changed() -> None:
    resource = Resource("orders-db", "postgres")
    operation = Operation("query", resource, (Effect("sql.select", "Table", "public.customers"),), {}, b"SELECT 1", "SELECT ?")
    decision = Decision(Verdict.DENY)
    for value, name in ((resource, "name"), (operation, "content"), (decision, "verdict"), (operation.effects[0], "action")):
        with pytest.raises(FrozenInstanceError):
            setattr(value, name, "other")
