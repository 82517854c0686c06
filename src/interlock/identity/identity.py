"""Who is asking: proofs become principals, and stay trusted only while nothing has changed.

`verify` opens a session or serves one request; `standing` is asked before each operation and each piece of
a reply, and is dictionary look-ups only. Revocations are stored, and pushed to every process by the bus.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal

from sqlalchemy import delete, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from interlock.config import RESERVED, IssuerConfig
from interlock.errors import IdentityError
from interlock.exchange import Principal
from interlock.identity.certificates import read_certificate
from interlock.identity.directory import Directory, proven
from interlock.identity.issuers import Claims, Issuers, refused
from interlock.identity.proof import Proof
from interlock.identity.scram import SALT_BYTES, ScramLogin, Verifier, stand_in
from interlock.identity.tokens import AUDIENCES, SCRAM_AUDIENCES, TokenInfo, hash_secret, new_connection_secret, new_token, read_token
from interlock.store import Bus, Change, Store, Topic
from interlock.store.tables import REVOCATIONS, TOKENS

TOKEN_TTL_S: Final = 12 * 3600
"""How long a token is good unless told otherwise, in seconds."""
MAX_TTL_S: Final = 90 * 86_400
"""The longest life of a token, in seconds."""
CACHE_S: Final = 60.0
"""For how long a verified proof is remembered. Revocation does not wait for it."""
CACHE_SIZE: Final = 4096
MAX_LISTED: Final = 1000
KEEP_S: Final = 30 * 86_400.0
"""How long an expired token stays listed."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A proof that was verified: remembered under the hash of its text."""

    principal: Principal
    audiences: frozenset[str] | None  # None: the JWT's own audience was checked
    until: float


class Identity:
    """The identity station. `key` (16 to 64 bytes) keys the hashes of token secrets; `clock` is UTC seconds.
    Call `load` once, after the bus has started."""

    def __init__(
        self,
        store: Store,
        bus: Bus,
        directory: Directory,
        issuers: Iterable[IssuerConfig],
        key: bytes,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.directory = directory
        self._store = store
        self._bus = bus
        self._issuers = Issuers(issuers)
        self._key = key
        self._clock = clock
        self._own = Principal(RESERVED, "workload", proof="own")
        self._revoked: set[str] = set()
        self._cuts: dict[str, float] = {}
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._callbacks: list[Callable[[str], None]] = []
        self._listening = False

    async def load(self) -> None:
        """Read what is revoked. Nobody is verified before this has worked."""
        if not self._listening:
            self._bus.listen(Topic.REVOKED, self._on_change)
        async with self._store.read() as connection:
            rows = (await connection.execute(select(REVOCATIONS))).all()
        self._revoked.update(row.subject for row in rows if row.kind == "proof")
        self._cuts.update((row.subject, row.at) for row in rows if row.kind == "principal")
        self._listening = True

    async def verify(self, proof: Proof) -> Principal:
        """The principal behind a proof. Raises `IdentityError`, whose text never says what was wrong (its
        `reason` does, for the log), and `StoreError`."""
        if not self._listening or self._bus.silent:
            raise refused("the control state is not reachable")
        now = self._clock()
        # The kind is part of the name: a certificate or the id of a secret is public, and must be of no use as a password.
        text = f"{proof.kind}\0{proof.source}\0{proof.claimed if proof.kind == 'certificate' else ''}\0{proof.secret}"
        name = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), key=self._key, digest_size=32, person=b"ilk-cache").digest()
        known = self._known.get(name)
        if known is None or now >= known.until or self.standing(known.principal, now):
            known = await self._verify(proof, now)
            self._remember(name, known)
        if known.audiences is not None and proof.audience not in known.audiences:
            raise refused(f"{known.principal.proof} is not for {proof.audience}")
        if proof.claimed and not hmac.compare_digest(proof.claimed.encode("utf-8", "surrogatepass"), known.principal.id.encode()):
            raise refused(f"{known.principal.proof} is not of the claimed principal")
        if ended := self.standing(known.principal, now):  # revoked while it was being verified
            raise refused(ended)
        return known.principal

    async def scram(self, claimed: str, audience: str, binding: bytes | None) -> ScramLogin:
        """Begin a SCRAM login. It goes the same way whether or not there is such a principal with such a secret;
        its `id` is None if not. At its end show `Proof("scram", id, …)`. Raises `IdentityError` and `StoreError`."""
        if not self._listening or self._bus.silent:
            raise refused("the control state is not reachable")
        now = self._clock()
        good = (TOKENS.c.principal == claimed) & (TOKENS.c.verifier != "") & TOKENS.c.revoked_at.is_(None) & (TOKENS.c.expires_at > now)
        async with self._store.read() as connection:
            row = (await connection.execute(select(TOKENS).where(good).order_by(TOKENS.c.issued_at.desc()).limit(1))).one_or_none()
        fits = row is not None and audience in row.audiences.split() and self.directory.principal(claimed) is not None
        if row is None or not fits:
            return ScramLogin(None, stand_in(claimed, self._key), binding)
        return ScramLogin(row.id, Verifier.read(row.verifier), binding)

    def standing(self, principal: Principal, now: float) -> str:
        """Empty while the principal may be trusted, else why not any more. Never waits. The expiry of what
        was shown at login ends no session: that is the session's own maximum."""
        if self._bus.silent:
            return "the control state is not reachable"
        if principal is self._own:
            return ""
        if principal.id == RESERVED:
            return "nobody else is the gateway"
        if principal.proof in self._revoked:
            return f"the token of {principal.id} is revoked"
        return self.directory.why_not(principal)

    def own(self) -> Principal:
        """The gateway itself, for its own questions. Only this very object is trusted as such."""
        return self._own

    async def issue(
        self, principal: str, audiences: Iterable[str], ttl_s: float = TOKEN_TTL_S, *, parent: str = "", scram: bool = False
    ) -> tuple[str, TokenInfo]:
        """A new token and what may be known about it; the text is not kept. A token with a `parent` (the
        `proof` of a principal) is revoked together with it. `scram` makes a connection secret instead; a principal
        has one at a time (SCRAM shows no id, only a name), so it revokes the one before. Raises `IdentityError` on
        unusable arguments."""
        wanted = frozenset(audiences)
        if self.directory.principal(principal) is None:
            raise IdentityError(f"{principal} is not a configured, enabled principal", hint="add it to `principals` in the configuration")
        if not wanted or not wanted <= AUDIENCES:
            raise IdentityError(f"audiences must be among: {', '.join(sorted(AUDIENCES))}")
        if scram and not wanted <= SCRAM_AUDIENCES:
            raise IdentityError(f"a connection secret opens these doors only: {', '.join(sorted(SCRAM_AUDIENCES))}")
        if not 0 < ttl_s <= MAX_TTL_S:
            raise IdentityError(f"a token lives at most {MAX_TTL_S // 86_400} days")
        if scram:
            text, name = new_connection_secret()
            stored = {"id": name, "secret_hash": b"", "verifier": Verifier.of(text, secrets.token_bytes(SALT_BYTES)).text}
        else:
            text, parts = new_token()
            name, stored = parts.id, {"id": parts.id, "secret_hash": hash_secret(parts, self._key), "verifier": ""}
        async with self._store.write() as connection:
            now = self._clock()  # under the write lock: later than every revocation before it
            info = TokenInfo(name, principal, wanted, now, now + ttl_s, parent, scram=scram)
            await connection.execute(delete(TOKENS).where(TOKENS.c.expires_at < now - KEEP_S))
            if scram:
                await self._replace_secret(connection, principal, now)
            row = {**stored, "principal": principal, "audiences": " ".join(sorted(wanted))}
            await connection.execute(insert(TOKENS).values(**row, issued_at=now, expires_at=info.expires_at, parent=parent))
        if scram:
            await self._bus.pull()
        return text, info

    async def revoke_token(self, token: str) -> None:
        """End a token (by id, or by a principal's `proof`), all that was derived from it, and their sessions."""
        async with self._store.write() as connection:
            now = self._clock()
            first = token
            if ":" not in token:
                row = (await connection.execute(select(TOKENS).where(TOKENS.c.id == token))).one_or_none()
                first = _info(row).proof if row is not None else f"token:{token}"
            for proof in await self._revoke_rows(connection, first, now):
                await self._announce(connection, "proof", proof, now)
        await self._bus.pull()

    async def revoke_principal(self, principal: str) -> None:
        """End everything that the principal has shown so far: tokens, JWTs issued until now, open sessions,
        and the sessions of the agents it owns. New tokens may be issued; to shut it out, disable it."""
        async with self._store.write() as connection:
            now = self._clock()
            await connection.execute(
                update(TOKENS).where(TOKENS.c.principal == principal, TOKENS.c.revoked_at.is_(None)).values(revoked_at=now)
            )
            await self._announce(connection, "principal", principal, now)
        await self._bus.pull()

    async def tokens(self) -> list[TokenInfo]:
        """The newest tokens first, at most `MAX_LISTED`, expired and revoked ones included."""
        async with self._store.read() as connection:
            rows = (await connection.execute(select(TOKENS).order_by(TOKENS.c.issued_at.desc()).limit(MAX_LISTED))).all()
        return [_info(row) for row in rows]

    def on_revoked(self, callback: Callable[[str], None]) -> None:
        """Call back with `proof:…` or `principal:…` as soon as trust ends; then ask `standing` again."""
        self._callbacks.append(callback)

    async def _verify(self, proof: Proof, now: float) -> _Known:
        match proof.kind:
            case "token":
                return await self._verify_token(proof.secret, now)
            case "jwt":
                return await self._verify_jwt(proof.secret, now)
            case "scram":
                return await self._verify_scram(proof.secret, now)
            case "certificate":
                return self._verify_certificate(proof, now)

    async def _verify_scram(self, name: str, now: float) -> _Known:
        async with self._store.read() as connection:
            row = (await connection.execute(select(TOKENS).where((TOKENS.c.id == name) & (TOKENS.c.verifier != "")))).one_or_none()
        if row is None:
            raise refused("no such connection secret")
        return self._known_row(_info(row), now)

    def _verify_certificate(self, proof: Proof, now: float) -> _Known:
        shown = read_certificate(base64.b64decode(proof.secret), proof.source)
        if not proof.claimed or proof.claimed not in shown.names:
            raise refused(f"{shown.proof} does not name the claimed principal")
        if not shown.valid_from <= now < shown.expires_at:
            raise refused(f"{shown.proof} is not valid now")
        if shown.valid_from <= self._cuts.get(proof.claimed, -1.0):
            raise refused(f"everything that {proof.claimed} showed before is revoked")
        principal = self.directory.principal(proof.claimed)
        if principal is None:
            raise refused(f"{proof.claimed} or its owner is unknown or disabled")
        return _Known(proven(principal, shown.proof, shown.expires_at), None, min(shown.expires_at, now + CACHE_S))

    async def _verify_token(self, text: str, now: float) -> _Known:
        parts = read_token(text)
        if parts is None:
            raise refused("not written like a token")
        async with self._store.read() as connection:
            row = (await connection.execute(select(TOKENS).where(TOKENS.c.id == parts.id))).one_or_none()
        stored = row.secret_hash if row is not None else bytes(32)
        if not hmac.compare_digest(hash_secret(parts, self._key), stored) or row is None or row.verifier:
            raise refused(f"no such token: {parts.id}")
        return self._known_row(_info(row), now)

    def _known_row(self, info: TokenInfo, now: float) -> _Known:
        cut = info.issued_at <= self._cuts.get(info.principal, -1.0)  # the row may be older than a revocation that is just being made
        if info.revoked_at is not None or cut or info.parent in self._revoked:
            raise refused(f"{info.proof} is revoked")
        if now >= info.expires_at:
            raise refused(f"{info.proof} has expired")
        principal = self.directory.principal(info.principal)
        if principal is None:
            raise refused(f"{info.principal} or its owner is unknown or disabled")
        return _Known(proven(principal, info.proof, info.expires_at), info.audiences, min(info.expires_at, now + CACHE_S))

    async def _verify_jwt(self, text: str, now: float) -> _Known:
        # Public-key operations take about 0.2 ms: on a thread they do not hold up open sessions.
        claims = await asyncio.to_thread(self._issuers.verify, text, now)
        if claims.issued_at <= self._cuts.get(claims.principal, -1.0):
            raise refused(f"everything that {claims.principal} showed before is revoked")
        name = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        return _Known(proven(self._jwt_principal(claims), f"jwt:{name}", claims.expires_at), None, min(claims.expires_at, now + CACHE_S))

    def _jwt_principal(self, claims: Claims) -> Principal:
        if claims.principal == RESERVED:
            raise refused("nobody else is the gateway")
        if self.directory.find(claims.principal) is None and claims.groups is not None:
            return Principal(claims.principal, "user", claims.groups, version=self.directory.version(claims.principal))
        principal = self.directory.principal(claims.principal, claims.groups or frozenset())
        if principal is None:
            raise refused(f"{claims.principal} or its owner is unknown or disabled")
        return principal

    def _remember(self, name: bytes, known: _Known) -> None:
        self._known[name] = known
        self._known.move_to_end(name)
        while len(self._known) > CACHE_SIZE:
            self._known.popitem(last=False)

    async def _replace_secret(self, connection: AsyncConnection, principal: str, now: float) -> None:
        """End the connection secrets that a principal had so far, and their sessions."""
        old = (TOKENS.c.principal == principal) & (TOKENS.c.verifier != "") & TOKENS.c.revoked_at.is_(None)
        for row in (await connection.execute(select(TOKENS).where(old))).all():
            for proof in await self._revoke_rows(connection, _info(row).proof, now):
                await self._announce(connection, "proof", proof, now)

    async def _revoke_rows(self, connection: AsyncConnection, proof: str, now: float) -> list[str]:
        """Mark a token and all that was derived from it, to any depth; returns the proofs that fall."""
        fallen, fresh = [proof], [proof]
        while fresh:
            ids = [each.partition(":")[2] for each in fresh if each.startswith(("token:", "scram:"))]
            hit = TOKENS.c.revoked_at.is_(None) & (TOKENS.c.id.in_(ids) | TOKENS.c.parent.in_(fresh))
            rows = await connection.execute(update(TOKENS).where(hit).values(revoked_at=now).returning(*TOKENS.c))
            fresh = [name for name in (_info(row).proof for row in rows) if name not in fallen]
            fallen += fresh
        return fallen

    async def _announce(self, connection: AsyncConnection, kind: Literal["proof", "principal"], subject: str, now: float) -> None:
        row = upsert(REVOCATIONS).values(kind=kind, subject=subject, at=now)
        await connection.execute(row.on_conflict_do_update(index_elements=["kind", "subject"], set_={"at": now}))
        await self._bus.announce(connection, Topic.REVOKED, f"{kind}:{subject}")

    def _on_change(self, change: Change) -> None:
        kind, _, subject = change.subject.partition(":")
        if kind == "proof":
            self._revoked.add(subject)
        else:
            self._cuts[subject] = max(self._cuts.get(subject, 0.0), change.at)
            self.directory.bump(subject)
        for callback in self._callbacks:
            callback(change.subject)


def _info(row: Row[tuple[object, ...]]) -> TokenInfo:
    audiences = frozenset(row.audiences.split())
    return TokenInfo(row.id, row.principal, audiences, row.issued_at, row.expires_at, row.parent, row.revoked_at, scram=bool(row.verifier))
