"""SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, the server's part: a client proves that it knows its connection secret, and
sends neither the secret nor anything from which it could be used again.

A connection secret is `ilc_<id>_<secret>`, written like a token. The store keeps a verifier of it (salt, iterations,
StoredKey, ServerKey): whoever reads the store can log in nowhere with it. Sources: RFC 5802 and RFC 7677 (SCRAM),
RFC 5929 section 4 (`tls-server-end-point`), PostgreSQL documentation, "SASL Authentication". SASLprep does not matter:
our secrets are ASCII. The user name inside SCRAM is ignored, as PostgreSQL does: the one that opened the session counts.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from typing import Final, Self

from interlock.identity.issuers import refused

ITERATIONS: Final = 4096
"""PBKDF2 rounds: RFC 7677's minimum. The secrets have 256 random bits, so more would slow down only honest clients."""
SALT_BYTES: Final = 16
PLAIN: Final = "SCRAM-SHA-256"
PLUS: Final = "SCRAM-SHA-256-PLUS"

_FIRST: Final = re.compile(r"((n|y|p=tls-server-end-point),,)(n=[^,]*,r=([\x21-\x2b\x2d-\x7e]{1,512}))")
_FINAL: Final = re.compile(r"(c=([A-Za-z0-9+/=]{1,1024}),r=([\x21-\x2b\x2d-\x7e]{1,1024})),p=([A-Za-z0-9+/=]{44})")
_VERIFIER: Final = re.compile(r"SCRAM-SHA-256\$([0-9]{4,7}):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)")


@dataclass(frozen=True, slots=True)
class Verifier:
    """What a server keeps of a secret. `text` is PostgreSQL's own spelling (`pg_authid.rolpassword`)."""

    salt: bytes = field(repr=False)
    iterations: int
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)

    @classmethod
    def of(cls, secret: str, salt: bytes, iterations: int = ITERATIONS) -> Self:
        """Derive the verifier of an ASCII secret."""
        salted = hashlib.pbkdf2_hmac("sha256", secret.encode("ascii"), salt, iterations)
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        return cls(salt, iterations, hashlib.sha256(client_key).digest(), hmac.digest(salted, b"Server Key", "sha256"))

    @classmethod
    def read(cls, text: str) -> Self:
        """The reverse of `text`. Raises `ValueError`."""
        match = _VERIFIER.fullmatch(text)
        if match is None:
            raise ValueError("not written like a SCRAM verifier")
        salt, stored, server = (base64.b64decode(match[at], validate=True) for at in (2, 3, 4))
        return cls(salt, int(match[1]), stored, server)

    @property
    def text(self) -> str:
        return f"SCRAM-SHA-256${self.iterations}:{_b64(self.salt)}${_b64(self.stored_key)}:{_b64(self.server_key)}"


def stand_in(user: str, key: bytes) -> Verifier:
    """What stands in for a secret that is not there: it looks the same each time, and nothing fits it. The salt
    depends on the name and a secret `key` (16 to 64 bytes), so that a client cannot tell it from a real one."""
    salt = hashlib.blake2b(user.encode("utf-8", "surrogatepass"), key=key, digest_size=SALT_BYTES, person=b"ilk-scram-salt").digest()
    return Verifier(salt, ITERATIONS, secrets.token_bytes(32), secrets.token_bytes(32))


class ScramLogin:
    """One login: `first`, then `final`, each once, in this order. `id` names the connection secret; None: nothing
    can be proved here, which comes out at the end only. `binding` is the hash of our certificate (RFC 5929), None
    without TLS. Raises `IdentityError` with the one public sentence for whatever is not good."""

    def __init__(self, id: str | None, verifier: Verifier, binding: bytes | None) -> None:
        self.id = id
        self._verifier = verifier
        self._binding = binding
        self._header = b""
        self._said = ""
        self._nonce = ""

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """What to offer, the best first."""
        return (PLUS, PLAIN) if self._binding is not None else (PLAIN,)

    def first(self, mechanism: str, message: bytes) -> bytes:
        """The client-first-message; returns the server-first-message."""
        if self._said or mechanism not in self.mechanisms:
            raise refused(f"SCRAM: {mechanism!r} was not offered")
        match = _FIRST.fullmatch(_text(message))
        if match is None:
            raise refused("SCRAM: the first message is not written as expected")
        if (mechanism == PLUS) != match[2].startswith("p="):
            raise refused("SCRAM: the mechanism and the channel binding flag do not fit")
        if match[2] == "y" and self._binding is not None:
            raise refused("SCRAM: the client was told that we know no channel binding: somebody stands between")
        self._header = match[1].encode()
        self._nonce = match[4] + secrets.token_urlsafe(24)
        reply = f"r={self._nonce},s={_b64(self._verifier.salt)},i={self._verifier.iterations}"
        self._said = f"{match[3]},{reply}"
        return reply.encode()

    def final(self, message: bytes) -> bytes:
        """The client-final-message; returns the server-final-message, which proves that we know the verifier."""
        said, self._said = self._said, ""
        match = _FINAL.fullmatch(_text(message))
        if not said or match is None:
            raise refused("SCRAM: the final message is not written as expected")
        bound = self._header + (self._binding or b"" if self._header.startswith(b"p") else b"")
        if not hmac.compare_digest(_decode(match[2]), bound):
            raise refused("SCRAM: the channel binding does not fit: the client sees another certificate than ours")
        if not hmac.compare_digest(match[3], self._nonce):
            raise refused("SCRAM: the nonce is not ours")
        agreed = f"{said},{match[1]}".encode()
        signature = hmac.digest(self._verifier.stored_key, agreed, "sha256")
        client_key = bytes(a ^ b for a, b in zip(_decode(match[4]), signature, strict=True))
        good = hmac.compare_digest(hashlib.sha256(client_key).digest(), self._verifier.stored_key)
        if not good or self.id is None:
            raise refused("SCRAM: the proof does not fit" if self.id else "SCRAM: no connection secret of that name is good")
        return f"v={_b64(hmac.digest(self._verifier.server_key, agreed, 'sha256'))}".encode()


def _text(message: bytes) -> str:
    try:
        return message.decode()
    except UnicodeDecodeError:
        raise refused("SCRAM: a message is not UTF-8") from None


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise refused("SCRAM: base64 is expected") from None


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
