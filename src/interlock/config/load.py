"""Reading the file: from `Table`s to one `Config`, with every check that needs no other station."""

from __future__ import annotations

import ipaddress
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, cast
from urllib.parse import urlsplit

from interlock.config.kinds import HOST, KINDS
from interlock.config.model import (
    ALGORITHMS,
    RESERVED,
    ApprovalConfig,
    Config,
    IssuerConfig,
    LimitsConfig,
    ListenerConfig,
    MaskingSettings,
    PrincipalConfig,
    TlsConfig,
)
from interlock.config.yaml_file import Table, read_yaml
from interlock.exchange import Durability, Resource

_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
_PRINCIPAL: Final = r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}"
_WORD: Final = r"[A-Za-z0-9*][A-Za-z0-9._:/-]{0,127}"


def load(path: Path) -> Config:
    """Read and check a configuration file. Raises `ConfigError`; touches nothing but files it names."""
    top = read_yaml(path)
    config = Config(
        file=path.absolute(),
        data=top.path("data", "./data", exists=False),
        policy=top.path("policy", "./policy"),
        postgres=_listener(top, "postgres", 6432),
        http=_listener(top, "http", 7080),
        plaintext_loopback=top.flag("plaintext_loopback", False),
        issuers=tuple(_issuer(table) for table in top.tables("issuers")),
        principals=_principals(top),
        resources=_resources(top),
        masking=_masking(top.table("masking")),
        approval=_approval(top.table("approval")),
        limits=_numbers(LimitsConfig, top.table("limits")),
    )
    top.finish()
    _check_plaintext(top, config)
    return config


def _listener(top: Table, key: str, port: int) -> ListenerConfig:
    table = top.table(key)
    if table is None:
        return ListenerConfig("127.0.0.1", port, public_url=f"http://127.0.0.1:{port}" if key == "http" else "")
    host = table.text("host", "127.0.0.1", pattern=HOST, hint="give an address to listen on")
    number = table.number("port", port, 0, 65535)
    tls = None
    if (part := table.table("tls")) is not None:
        tls = _tls(part, clients=key == "postgres")
        part.finish()
    url = ""
    if key == "http":
        url = table.text(
            "public_url", f"http{'s' if tls else ''}://{f'[{host}]' if ':' in host else host}:{number}" if number else ""
        ).rstrip("/")
        if url and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
            raise table.error("http.public_url is not an http(s) address", key="public_url", hint="for example https://gateway.example")
    auth, in_clear = "token", False
    if key == "postgres":
        auth = table.text("auth", "token", choices=("token", "scram", "both"))
        in_clear = table.flag("scram_without_tls", False)
        if in_clear and auth == "token":
            raise table.error("postgres.scram_without_tls has no effect with auth: token", key="scram_without_tls", hint="set auth: scram")
    table.finish()
    return ListenerConfig(host, number, tls, url, cast(Literal["token", "scram", "both"], auth), in_clear)


def _tls(table: Table, *, clients: bool) -> TlsConfig:
    certificate, key = table.path("certificate"), table.path("key")
    if not clients or "client_ca" not in table:
        return TlsConfig(certificate, key)
    return TlsConfig(
        certificate,
        key,
        table.path("client_ca"),
        cast(Literal["optional", "required"], table.text("client_certificate", "optional", choices=("optional", "required"))),
        cast(Literal["cn", "email", "uri"], table.text("principal_from", "cn", choices=("cn", "email", "uri"))),
    )


def _issuer(table: Table) -> IssuerConfig:
    issuer = IssuerConfig(
        issuer=table.text("issuer"),
        audience=table.text("audience", pattern=r".+", hint="name the audience that tokens for this gateway carry"),
        jwks=table.path("jwks"),
        algorithms=table.texts("algorithms", ("RS256", "ES256"), choices=ALGORITHMS),
        principal_claim=table.text("principal_claim", "sub", pattern=r".+"),
        groups_claim=table.text("groups_claim", ""),
    )
    table.finish()
    if not issuer.algorithms:
        raise table.error(
            f"{table.name}.algorithms is empty", key="algorithms", hint="list what the issuer signs with, for example [RS256]"
        )
    return issuer


def _principals(top: Table) -> tuple[PrincipalConfig, ...]:
    found: dict[str, tuple[Table, PrincipalConfig]] = {}
    for table in top.tables("principals"):
        principal = PrincipalConfig(
            id=table.text("id", pattern=_PRINCIPAL, hint="letters, digits and . _ @ + -, at most 128"),
            kind=cast(Literal["user", "agent", "workload"], table.text("kind", "user", choices=("user", "agent", "workload"))),
            groups=frozenset(table.texts("groups")),
            owner=table.text("owner", ""),
            disabled=table.flag("disabled", False),
        )
        table.finish()
        if principal.id in found or principal.id == RESERVED:
            raise table.error(
                f"the principal {principal.id} is taken", key="id", hint="give every principal its own id (interlock is the gateway's)"
            )
        found[principal.id] = (table, principal)
    for table, principal in found.values():
        if (principal.kind == "agent") != bool(principal.owner):
            raise table.error(f"{principal.id}: agents have an owner, others have none", hint="set kind: agent and owner: ID together")
        if principal.owner and (principal.owner not in found or found[principal.owner][1].kind != "user"):
            raise table.error(
                f"the owner of {principal.id} is not a configured user", key="owner", hint="add the owner to principals with kind: user"
            )
    return tuple(principal for _, principal in found.values())


def _resources(top: Table) -> tuple[Resource, ...]:
    found: dict[str, Resource] = {}
    for table in top.tables("resources"):
        resource = _resource(table)
        if resource.name in found or resource.name == RESERVED:
            raise table.error(
                f"the resource {resource.name} is taken", key="name", hint="give every resource its own name (interlock is the gateway's)"
            )
        found[resource.name] = resource
    return tuple(found.values())


def _resource(table: Table) -> Resource:
    kind = table.text("kind", choices=KINDS)
    labels = table.words("labels", pattern=_WORD, hint="a word such as dev")
    resource = Resource(
        name=table.text("name", pattern=_NAME, hint="letters, digits and . _ -, at most 63"),
        kind=kind,
        labels=frozenset(f"{key}:{value}" for key, value in labels.items()),
        classes=table.words("classes", pattern=r"[a-z][a-z0-9_-]{0,62}", hint="a data class such as email"),
        durability=Durability(table.text("durability", Durability.STRICT_REQUEST, choices=tuple(Durability))),
        settings=KINDS[kind](table),
    )
    table.finish()
    return resource


def _masking(table: Table | None) -> MaskingSettings:
    if table is None:
        return MaskingSettings()
    transforms = table.words("transforms", pattern=_WORD, hint="a transform such as redact, partial or hash")
    detectors = None if "detectors" not in table or table.is_text("detectors") else table.texts("detectors")
    if detectors is None:
        table.text("detectors", "all", choices=("all",))
    table.finish()
    return MaskingSettings(transforms, detectors)


def _approval(table: Table | None) -> ApprovalConfig:
    if table is None:
        return ApprovalConfig()
    contact = table.text("contact", "", pattern=r"[^\r\n\x00]{0,200}", hint="one line, at most 200 characters")
    return _numbers(ApprovalConfig, table, contact=contact)


_T = TypeVar("_T", ApprovalConfig, LimitsConfig)


def _numbers(kind: type[_T], table: Table | None, **others: str) -> _T:
    """Fill a dataclass whose numbers are declared with `_bounded`."""
    if table is None:
        return kind()
    values: dict[str, Any] = dict(others)
    for item in fields(kind):
        if item.metadata:
            values[item.name] = table.number(
                item.name, cast(int, item.default), item.metadata["low"], item.metadata["high"], item.metadata["unit"]
            )
    table.finish()
    return kind(**values)


def _check_plaintext(top: Table, config: Config) -> None:
    """No token travels in clear: TLS everywhere, or loopback listeners and the flag that says so; SCRAM shows none."""
    for key, listener in (("postgres", config.postgres), ("http", config.http)):
        if config.plaintext_loopback and not is_loopback(listener.host):
            raise top.error(
                f"plaintext_loopback is set, but {key} listens on {listener.host}",
                key="plaintext_loopback",
                hint="listen on 127.0.0.1, or give TLS files and drop the flag",
            )
        if listener.tls is None and not (config.plaintext_loopback or listener.scram_without_tls):
            raise top.error(
                f"{key} has no TLS",
                key=key,
                hint=f"set {key}.tls with certificate and key (or, for a demo on loopback, plaintext_loopback: true)",
            )


def is_loopback(host: str) -> bool:
    """Whether a listener's host is reachable from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
