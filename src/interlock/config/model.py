"""The configuration as frozen values. Each one is documented with its unit, default and limit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from interlock.exchange import Resource

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA")
"""What may sign a JWT: public-key signatures only. `none` and HMAC cannot be configured."""

RESERVED: Final = "interlock"
"""The gateway's own principal and resource; no configured one may take the name."""


def _bounded(default: int, low: int, high: int, unit: str) -> Any:
    """A whole number with a default, its limits and its unit, which the reader below enforces."""
    return field(default=default, metadata={"low": low, "high": high, "unit": unit})


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """PEM files of a listener: the certificate chain and its private key. With `client_ca` (postgres only) a client may
    show a certificate that this CA signed; it must where `client_certificate` is `required`. `principal_from` says where
    it names the principal: its common name (`cn`), an alternative name of kind `email`, or `uri`."""

    certificate: Path
    key: Path
    client_ca: Path | None = None
    client_certificate: Literal["optional", "required"] = "optional"
    principal_from: Literal["cn", "email", "uri"] = "cn"


@dataclass(frozen=True, slots=True)
class ListenerConfig:
    """Where to listen. `port` 0 lets the system choose. `public_url` (http only) is what links are made
    of; default: the listener's own address, empty while the port is not known. `auth` (postgres only) says how clients
    prove who they are: by `token` (default), by `scram` (connection secrets; unknown names look the same), or `both`: by
    SCRAM whoever has a connection secret, others by token, which tells anybody who has one. `scram_without_tls` (default
    false) lets clients in that use no TLS, to log in by SCRAM: their secret stays safe, their data does not."""

    host: str
    port: int
    tls: TlsConfig | None = None
    public_url: str = ""
    auth: Literal["token", "scram", "both"] = "token"
    scram_without_tls: bool = False


@dataclass(frozen=True, slots=True)
class IssuerConfig:
    """Whose JWTs are accepted: exact `iss` and `aud`, keys from a JWKS file, an explicit list of algorithms.
    `principal_claim` (default `sub`) names the principal. With `groups_claim` (default none) its groups
    come from the token too, and principals that are not configured are accepted as users."""

    issuer: str
    audience: str
    jwks: Path
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    principal_claim: str = "sub"
    groups_claim: str = ""


@dataclass(frozen=True, slots=True)
class PrincipalConfig:
    """A local principal. An agent has an owner, who is a configured user. Disabled: refused at once, and
    so are the agents it owns."""

    id: str
    kind: Literal["user", "agent", "workload"] = "user"
    groups: frozenset[str] = frozenset()
    owner: str = ""
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class MaskingSettings:
    """`transforms`: data class (or `*`) → transform name; `detectors`: detector ids, None for all."""

    transforms: Mapping[str, str] = field(default_factory=dict)
    detectors: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class ApprovalConfig:
    """`timeout_s`: how long a held operation waits, and how long an approval stays usable. `contact`:
    whom to ask, as shown to people who are refused (default: nobody)."""

    timeout_s: int = _bounded(300, 1, 86_400, "seconds")
    contact: str = ""


@dataclass(frozen=True, slots=True)
class LimitsConfig:
    """Hard limits: what is over is refused."""

    sessions_per_principal: int = _bounded(50, 1, 100_000, "open sessions; an agent's count for its owner too")
    operations_per_minute: int = _bounded(600_000, 1, 60_000_000, "operations per principal")
    message_bytes: int = _bounded(16 * 1024 * 1024, 64 * 1024, 1024 * 1024 * 1024, "bytes of one protocol message")
    statement_bytes: int = _bounded(1024 * 1024, 1024, 16 * 1024 * 1024, "bytes of one statement")
    session_hours: int = _bounded(12, 1, 168, "hours until a session ends")
    connections: int = _bounded(1000, 1, 100_000, "client connections in all")
    login_s: int = _bounded(15, 1, 300, "seconds to finish a login")


@dataclass(frozen=True, slots=True)
class Config:
    """One gateway. `data` holds all state; `policy` is a `.cedar` file or a folder of them.
    `plaintext_loopback` (default false) accepts tokens without TLS, on loopback listeners only: a demo."""

    file: Path
    data: Path
    policy: Path
    postgres: ListenerConfig
    http: ListenerConfig
    plaintext_loopback: bool = False
    issuers: tuple[IssuerConfig, ...] = ()
    principals: tuple[PrincipalConfig, ...] = ()
    resources: tuple[Resource, ...] = ()
    masking: MaskingSettings = MaskingSettings()
    approval: ApprovalConfig = ApprovalConfig()
    limits: LimitsConfig = LimitsConfig()
