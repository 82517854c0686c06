"""Proofs: what kind a text is, and that one kind never passes for another."""

from __future__ import annotations

import base64
import ssl
import time
from pathlib import Path

from interlock.identity import Proof
from tests.identity.test_identity import House, run
from tests.tls_front import make_certificates, make_client_certificate


def test_the_kind_of_a_password() -> None:
    assert Proof.of("ilk_x", "postgres").kind == "token"
    assert Proof.of("eyJ.x.y", "postgres").kind == "jwt"
    assert Proof.of("ilc_x", "postgres").kind == "jwt"  # a connection secret is never taken as a password
    assert "ilk_x" not in repr(Proof.of("ilk_x", "postgres"))


def test_a_connection_secret_is_proved_and_never_shown(tmp_path: Path) -> None:
    async def story(one: House) -> None:
        text, info = await one.identity.issue("alice", ["postgres"], scram=True)
        assert text.startswith("ilc_") and info.scram and info.proof == f"scram:{info.id}"
        principal = await one.identity.verify(Proof("scram", info.id, "postgres", "alice"))
        assert principal.id == "alice" and principal.proof == info.proof
        await one.why_not(text)
        await one.why_not(text.replace("ilc_", "ilk_"))
        await one.why_not(info.id)  # remembered under its kind: the id alone, as a password, opens nothing
        await one.why_not(info.id, claimed="alice")

    run(tmp_path, story)


def test_one_secret_at_a_time(tmp_path: Path) -> None:
    async def story(one: House) -> None:
        _, first = await one.identity.issue("alice", ["postgres"], scram=True)
        old = await one.identity.verify(Proof("scram", first.id, "postgres", "alice"))
        one.clock.now += 1
        _, second = await one.identity.issue("alice", ["postgres"], scram=True)
        assert one.standing(old)
        assert (await one.identity.scram("alice", "postgres", None)).id == second.id
        token = await one.token("alice")
        assert not one.standing(await one.verify(token))  # tokens stay
        await one.identity.revoke_token(second.id)
        assert (await one.identity.scram("alice", "postgres", None)).id is None
        for name in ("bob", "mallory"):
            assert (await one.identity.scram(name, "postgres", None)).id is None

    run(tmp_path, story)


def test_an_expired_secret(tmp_path: Path) -> None:
    async def story(one: House) -> None:
        await one.identity.issue("alice", ["postgres"], 60, scram=True)
        assert (await one.identity.scram("alice", "postgres", None)).id
        assert (await one.identity.scram("alice", "mcp", None)).id is None
        one.clock.now += 61
        assert (await one.identity.scram("alice", "postgres", None)).id is None

    run(tmp_path, story)


def test_a_certificate_is_a_proof_of_its_kind_only(tmp_path: Path) -> None:
    made = make_client_certificate(make_certificates(tmp_path), tmp_path, "alice")
    der = ssl.PEM_cert_to_DER_cert(made.certificate.read_text())

    async def story(one: House) -> None:
        one.clock.now = time.time()
        proof = Proof.of_certificate(der, "cn", "postgres", "alice")
        assert proof.names_claimed and not Proof.of_certificate(der, "cn", "postgres", "bob").names_claimed
        principal = await one.identity.verify(proof)
        assert principal.proof.startswith("cert:")
        await one.why_not(base64.b64encode(der).decode(), claimed="alice")
        await one.identity.revoke_token(principal.proof)
        assert one.standing(principal)

    run(tmp_path, story)
