"""What somebody shows at a door, before it is known whether it is good."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Literal

from interlock.identity.certificates import read_certificate


@dataclass(frozen=True, slots=True)
class Proof:
    """What somebody shows at a door. `audience` is the door (`postgres`, `mcp`, `console`); `claimed` is the
    name they typed, which must be the principal's (empty: none was asked for). `secret` is the text of a `token`
    or `jwt`; the id of the connection secret that a finished `ScramLogin` has proved (`scram`); or the certificate of a
    verified TLS client in base64 (`certificate`), of which `source` says where the principal stands."""

    kind: Literal["token", "jwt", "scram", "certificate"]
    secret: str = field(repr=False)
    audience: str
    claimed: str = ""
    source: str = ""

    @classmethod
    def of(cls, secret: str, audience: str, claimed: str = "") -> Proof:
        """For doors that take either, such as a password or a bearer header."""
        return cls("token" if secret.startswith("ilk_") else "jwt", secret, audience, claimed)

    @classmethod
    def of_certificate(cls, der: bytes, source: str, audience: str, claimed: str) -> Proof:
        """For a client that proved in a TLS handshake that it holds the certificate's key."""
        return cls("certificate", base64.b64encode(der).decode(), audience, claimed, source)

    @property
    def names_claimed(self) -> bool:
        """Whether a certificate names the principal that is claimed. Raises `IdentityError` when it cannot be read."""
        return bool(self.claimed) and self.claimed in read_certificate(base64.b64decode(self.secret), self.source).names
