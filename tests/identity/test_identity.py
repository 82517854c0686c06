"""Proofs, standing and revocation, on a real store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import structlog
from joserfc import jwt
from joserfc.jwk import ECKey
from sqlalchemy.ext.asyncio import AsyncConnection

from interlock.config import IssuerConfig, PrincipalConfig
from interlock.errors import IdentityError
from interlock.exchange import Principal
from interlock.identity import Directory, Identity, Proof
from interlock.identity.issuers import REFUSED
from interlock.store import Bus, Store
from interlock.store.bus import SILENCE_S

PEOPLE = (
    PrincipalConfig("alice", "user", frozenset({"engineering"})),
    PrincipalConfig("bob", "user", frozenset({"dba"})),
    PrincipalConfig("claude", "agent", frozenset({"agents"}), owner="alice"),
)
ISSUER = "https://idp.example"
SIGNER = ECKey.generate_key("P-256", {"kid": "one"})


@dataclass
class Clock:
    now: float = 1_000_000.0
    monotonic: float = 0.0


@dataclass
class House:
    """One process: its own connections to the store, its own bus and identity."""

    store: Store
    bus: Bus
    identity: Identity
    clock: Clock
    ended: list[str] = field(default_factory=list)

    async def token(self, principal: str, *audiences: str, ttl_s: float = 3600, parent: str = "") -> str:
        text, _ = await self.identity.issue(principal, audiences or ("postgres",), ttl_s, parent=parent)
        self.clock.now += 1
        return text

    async def verify(self, secret: str, audience: str = "postgres", claimed: str = "") -> Principal:
        return await self.identity.verify(Proof.of(secret, audience, claimed))

    async def why_not(self, secret: str, audience: str = "postgres", claimed: str = "") -> str:
        """The private reason of a refusal; the public words are always the same."""
        with pytest.raises(IdentityError) as caught:
            await self.verify(secret, audience, claimed)
        assert caught.value.message == REFUSED
        assert "ilk_" not in repr(caught.value) + caught.value.hint + caught.value.reason
        return caught.value.reason

    def standing(self, principal: Principal) -> str:
        return self.identity.standing(principal, self.clock.now)


@asynccontextmanager
async def house(folder: Path, clock: Clock | None = None, kind: type[Store] = Store) -> AsyncIterator[House]:
    clock = clock or Clock()
    keys = folder / "jwks.json"
    keys.write_text(json.dumps({"keys": [SIGNER.as_dict(private=False)]}))
    store = await kind.open(folder / "data")
    bus = Bus(store, clock=lambda: clock.now, monotonic=lambda: clock.monotonic)
    await bus.start()
    issuers = [IssuerConfig(ISSUER, "interlock", keys, ("ES256",), groups_claim="groups")]
    identity = Identity(store, bus, Directory(PEOPLE), issuers, key=b"k" * 32, clock=lambda: clock.now)
    await identity.load()
    made = House(store, bus, identity, clock)
    identity.on_revoked(made.ended.append)
    try:
        yield made
    finally:
        await bus.stop()
        await store.close()


def run(folder: Path, story: Callable[[House], Coroutine[None, None, None]]) -> None:
    async def play() -> None:
        async with house(folder) as made:
            await story(made)

    asyncio.run(play())


def signed(clock: Clock, subject: str, **claims: object) -> str:
    body = {"iss": ISSUER, "aud": "interlock", "sub": subject, "iat": int(clock.now), "exp": int(clock.now) + 600, **claims}
    return jwt.encode({"alg": "ES256", "kid": "one"}, body, SIGNER)


def test_a_token_becomes_its_principal(tmp_path: Path) -> None:
    async def story(at: House) -> None:
        token = await at.token("claude", "postgres", "mcp")
        for _ in range(2):  # from the store, then from memory
            principal = await at.verify(token, "mcp", claimed="claude")
            assert (principal.id, principal.kind, principal.groups) == ("claude", "agent", frozenset({"agents"}))
            assert principal.on_behalf_of is not None and principal.on_behalf_of.id == "alice"
            assert principal.on_behalf_of.groups == {"engineering"}
            assert principal.proof == f"token:{token[4:16]}"
            assert principal.expires_at == 1_000_000 + 3600
            assert at.standing(principal) == ""

    run(tmp_path, story)


def test_a_bad_token_is_refused_in_the_same_words(tmp_path: Path) -> None:
    async def story(at: House) -> None:
        token = await at.token("alice")
        other = await at.token("bob")
        assert "not for mcp" in await at.why_not(token, "mcp")
        assert "claimed" in await at.why_not(token, claimed="bob")
        assert "claimed" in await at.why_not(token, claimed="ALICE")
        assert "no such token" in await at.why_not(token[:17] + other[17:])
        assert "no such token" in await at.why_not(f"ilk_{'a' * 12}_{'a' * 52}")
        for text in ("ilk_", token.upper(), token + "a", f" {token}", "", "alice", "\ud800", "ilk_\ud800"):
            assert await at.why_not(text)
        at.clock.now += 3600
        assert "has expired" in await at.why_not(token)

    run(tmp_path, story)


def test_expiry_is_noticed_in_memory_too(tmp_path: Path) -> None:
    async def story(at: House) -> None:
        token = await at.token("alice", ttl_s=10)
        principal = await at.verify(token)
        at.clock.now += 9
        assert "has expired" in await at.why_not(token)
        assert at.standing(principal) == "", "an open session ends at its own maximum, not with the token"

    run(tmp_path, story)


def test_a_revoked_token_ends_at_once_with_all_derived_from_it(tmp_path: Path) -> None:
    async def story(at: House) -> None:
        first = await at.token("alice", "console")
        one = await at.verify(first, "console")
        second = await at.token("alice", "console", parent=one.proof)
        two = await at.verify(second, "console")
        third = await at.token("alice", "console", parent=two.proof)
        three = await at.verify(third, "console")
        unrelated = await at.verify(await at.token("alice"))

        await at.identity.revoke_token(first[4:16])

        assert [at.standing(each) for each in (one, two, three)] == ["the token of alice is revoked"] * 3
        assert at.standing(unrelated) == ""
        for token in (first, second, third):
            assert "revoked" in await at.why_not(token, "console")
        assert at.ended == [f"proof:{one.proof}", f"proof:{two.proof}", f"proof:{three.proof}"]
        assert [info.revoked_at is not None for info in await at.identity.tokens()] == [False, True, True, True]

    run(tmp_path, story)


def test_revoking_a_principal_ends_everything_shown_before_and_nothing_after(tmp_path: Path) -> None:
    async def story(at: House) -> None:
        token, text = await at.token("alice"), signed(at.clock, "alice")
        agent_token = await at.token("claude")
        alice, by_jwt, claude, bob = [await at.verify(each) for each in (token, text, agent_token, await at.token("bob"))]

        await at.identity.revoke_principal("alice")
        at.clock.now += 1

        assert all(at.standing(each) for each in (alice, by_jwt, claude))
        assert at.standing(bob) == ""
        assert "revoked" in await at.why_not(token)
        assert "showed before" in await at.why_not(text)
        assert at.standing(await at.verify(await at.token("alice"))) == ""
        assert at.standing(await at.verify(signed(at.clock, "alice"))) == ""
        assert at.standing(await at.verify(agent_token)) == "", "the agent's own token was not revoked"

    run(tmp_path, story)


class SlowStore(Store):
    """Does `meanwhile`, once, between reading and handing on what was read."""

    meanwhile: Callable[[], Coroutine[None, None, None]] | None = None

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        async with super().read() as connection:
            yield connection
        story, self.meanwhile = self.meanwhile, None
        if story is not None:
            await story()


def test_a_revocation_wins_over_a_look_up_that_is_under_way(tmp_path: Path) -> None:
    async def play() -> None:
        async with house(tmp_path, kind=SlowStore) as at:
            assert isinstance(at.store, SlowStore)
            token = await at.token("alice")
            at.store.meanwhile = lambda: at.identity.revoke_token(token[4:16])
            assert "revoked" in await at.why_not(token)
            token = await at.token("alice")
            at.store.meanwhile = lambda: at.identity.revoke_principal("alice")
            assert "revoked" in await at.why_not(token)
            assert at.store.meanwhile is None, "the look-up was not interrupted"

    asyncio.run(play())


def test_revocations_outlive_a_restart(tmp_path: Path) -> None:
    async def play() -> None:
        clock = Clock()
        async with house(tmp_path, clock) as at:
            text = signed(clock, "alice")
            principal = await at.verify(text)
            token = await at.token("bob")
            await at.identity.revoke_token(principal.proof)
            await at.identity.revoke_principal("bob")
        async with house(tmp_path, clock) as at:
            assert await at.why_not(text)
            assert await at.why_not(token)

    asyncio.run(play())


def test_another_process_revokes(tmp_path: Path) -> None:
    async def play() -> None:
        clock = Clock()
        async with house(tmp_path, clock) as here, house(tmp_path, clock) as there:
            ended = asyncio.Event()
            here.identity.on_revoked(lambda _: ended.set())
            token = await here.token("alice")
            principal = await here.verify(token)
            await there.identity.revoke_token(token[4:16])
            async with asyncio.timeout(20):
                await ended.wait()
            assert here.standing(principal) == "the token of alice is revoked"
            assert await here.why_not(token)

    asyncio.run(play())


@pytest.mark.parametrize(
    ("change", "who", "words"),
    [
        ({"alice": {"disabled": True}}, "alice", "alice is disabled"),
        ({"alice": {"disabled": True}}, "claude", "alice is disabled"),
        ({"alice": {"groups": frozenset({"dba"})}}, "alice", "were changed"),
        ({"alice": {"groups": frozenset({"dba"})}}, "claude", "alice were changed"),
        ({"claude": {"owner": "bob"}}, "claude", "claude were changed"),
        ({"claude": None}, "claude", "claude were changed"),
    ],
)
def test_a_changed_configuration_ends_trust(tmp_path: Path, change: dict[str, dict[str, object] | None], who: str, words: str) -> None:
    async def story(at: House) -> None:
        token = await at.token(who)
        principal, bystander = await at.verify(token), await at.verify(await at.token("bob"))
        changed = {each.id: each for each in PEOPLE}
        for name, values in change.items():
            if values is None:
                del changed[name]
            else:
                changed[name] = replace(changed[name], **values)  # type: ignore[arg-type]

        assert at.identity.directory.replace(changed.values()) == set(change)

        assert words in at.standing(principal)
        assert at.standing(bystander) == ""
        if "disabled" in words or change.get(who, {}) is None:
            assert await at.why_not(token)
        else:
            assert at.standing(await at.verify(token)) == "", "the token itself is still good, with the new rights"

    run(tmp_path, story)


def test_jwts_bring_configured_principals_or_groups(tmp_path: Path) -> None:
    async def story(at: House) -> None:
        alice = await at.verify(signed(at.clock, "alice", groups=["oncall"]), "mcp", "alice")
        assert (alice.kind, alice.groups) == ("user", frozenset({"engineering", "oncall"}))
        claude = await at.verify(signed(at.clock, "claude"))
        assert claude.on_behalf_of is not None and claude.on_behalf_of.id == "alice"
        carol = await at.verify(signed(at.clock, "carol", groups=["dba"]))
        assert (carol.kind, carol.groups, at.standing(carol)) == ("user", frozenset({"dba"}), "")
        assert "nobody else" in await at.why_not(signed(at.clock, "interlock", groups=["dba"]))
        await at.identity.revoke_principal("carol")
        assert at.standing(carol)

    run(tmp_path, story)


def test_a_jwt_expires_in_memory_too(tmp_path: Path) -> None:
    async def story(at: House) -> None:
        text = signed(at.clock, "alice", exp=int(at.clock.now) + 20)
        await at.verify(text)
        at.clock.now += 20 + 31
        assert "expired" in await at.why_not(text)

    run(tmp_path, story)


def test_a_silent_link_ends_trust(tmp_path: Path) -> None:
    async def story(at: House) -> None:
        token = await at.token("alice")
        principal = await at.verify(token)
        await at.bus.stop()
        at.clock.monotonic += SILENCE_S + 1
        assert at.standing(principal) == "the control state is not reachable"
        assert await at.why_not(token)

    run(tmp_path, story)


def test_nobody_is_verified_before_the_revocations_are_read(tmp_path: Path) -> None:
    async def story(at: House) -> None:
        token = await at.token("alice")
        fresh = Identity(at.store, at.bus, Directory(PEOPLE), (), key=b"k" * 32)
        with pytest.raises(IdentityError):
            await fresh.verify(Proof.of(token, "postgres"))

    run(tmp_path, story)


def test_only_the_gateway_itself_is_the_gateway(tmp_path: Path) -> None:
    async def story(at: House) -> None:
        own = at.identity.own()
        assert (own.id, own.kind, at.standing(own)) == ("interlock", "workload", "")
        assert at.standing(replace(own)) == "nobody else is the gateway"

    run(tmp_path, story)


@pytest.mark.parametrize(
    ("principal", "audiences", "ttl_s"),
    [("nobody", ["mcp"], 1), ("alice", [], 1), ("alice", ["ssh"], 1), ("alice", ["mcp"], 0), ("alice", ["mcp"], 1e9)],
)
def test_what_cannot_be_issued(tmp_path: Path, principal: str, audiences: list[str], ttl_s: float) -> None:
    async def story(at: House) -> None:
        with pytest.raises(IdentityError):
            await at.identity.issue(principal, audiences, ttl_s)
        assert await at.identity.tokens() == []

    run(tmp_path, story)


def test_secrets_are_nowhere_to_be_read(tmp_path: Path) -> None:
    async def story(at: House) -> None:
        with structlog.testing.capture_logs() as logs:
            text, info = await at.identity.issue("alice", ["postgres"])
            proof = Proof.of(text, "postgres")
            await at.identity.verify(proof)
            await at.why_not(text, "mcp")
        secret = text.rsplit("_", 1)[1]
        stored = b"".join(path.read_bytes() for path in (tmp_path / "data").iterdir())
        assert secret not in f"{proof!r} {info!r} {logs!r} {vars(at.identity)!r}"
        assert secret.encode() not in stored
        assert info.id.encode() in stored, "the file was not looked at"

    run(tmp_path, story)
