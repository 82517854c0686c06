"""The whole file, read once completely; and every way to get it wrong, with the line and the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.config import ListenerConfig, load
from interlock.errors import ConfigError
from interlock.exchange import Durability

FULL = """\
data: ./data
postgres: {host: 127.0.0.1, port: 6432, tls: {certificate: cert.pem, key: key.pem}}
http: {host: "::1", port: 7080, tls: {certificate: cert.pem, key: key.pem}}
policy: ./policy
issuers:
  - issuer: https://idp.example
    audience: interlock
    jwks: ./jwks.json
    algorithms: [RS256, ES256]
    principal_claim: sub
    groups_claim: groups
principals:
  - {id: alice, kind: user, groups: [engineering]}
  - {id: claude, kind: agent, owner: alice, groups: [agents]}
resources:
  - name: orders-db
    kind: postgres
    labels: {env: dev, team: shop}
    host: 127.0.0.1
    port: 5432
    database: shop
    tls: verify
    ca: cert.pem
    username: interlock
    password: env:ORDERS_DB_PASSWORD
    classes: {customers.email: email, public.customers.card: card}
    durability: strict
  - name: tickets
    kind: mcp
    command: [python, -m, something]
    environment: {KEY: env:TICKETS_KEY, OTHER: file:secret.txt, MODE: "plain:quiet"}
  - {name: remote, kind: mcp, url: "https://mcp.example/mcp", token: env:REMOTE_TOKEN}
masking: {transforms: {email: partial, "*": redact}, detectors: [email, card]}
approval: {timeout_s: 60, contact: "#dba in chat"}
limits: {sessions_per_principal: 5, message_bytes: 65536}
"""

DEMO = "plaintext_loopback: true\n"


def write(folder: Path, text: str) -> Path:
    (folder / "policy").mkdir(exist_ok=True)
    for name in ("cert.pem", "key.pem", "jwks.json", "secret.txt"):
        (folder / name).touch()
    path = folder / "interlock.yaml"
    path.write_text(text)
    return path


def test_a_full_file_becomes_typed_values(tmp_path: Path) -> None:
    config = load(write(tmp_path, FULL))

    assert config.data == tmp_path / "data"
    assert config.policy == tmp_path / "policy"
    assert config.postgres.tls is not None and config.postgres.tls.key == tmp_path / "key.pem"
    assert config.http.public_url == "https://[::1]:7080"
    assert config.issuers[0].algorithms == ("RS256", "ES256")
    assert [(each.id, each.kind, each.owner) for each in config.principals] == [("alice", "user", ""), ("claude", "agent", "alice")]
    orders, tickets, remote = config.resources
    assert orders.labels == {"env:dev", "team:shop"}
    assert orders.classes == {"customers.email": "email", "public.customers.card": "card"}
    assert orders.durability is Durability.STRICT
    assert orders.settings == {
        "host": "127.0.0.1",
        "port": 5432,
        "database": "shop",
        "tls": "verify",
        "ca": str(tmp_path / "cert.pem"),
        "username": "interlock",
        "password": "env:ORDERS_DB_PASSWORD",
    }
    assert tickets.settings["command"] == ("python", "-m", "something")
    assert tickets.settings["environment"] == {"KEY": "env:TICKETS_KEY", "OTHER": f"file:{tmp_path / 'secret.txt'}", "MODE": "plain:quiet"}
    assert tickets.settings["folder"] == str(tmp_path)
    assert remote.settings == {"url": "https://mcp.example/mcp", "token": "env:REMOTE_TOKEN"}
    assert config.masking.transforms == {"email": "partial", "*": "redact"}
    assert config.masking.detectors == ("email", "card")
    assert (config.approval.timeout_s, config.approval.contact) == (60, "#dba in chat")
    assert (config.limits.sessions_per_principal, config.limits.message_bytes, config.limits.session_hours) == (5, 65536, 12)


def test_the_smallest_file_has_defaults(tmp_path: Path) -> None:
    config = load(write(tmp_path, DEMO))

    assert (config.postgres.host, config.postgres.port, config.http.public_url) == ("127.0.0.1", 6432, "http://127.0.0.1:7080")
    assert config.masking.detectors is None
    assert config.approval.timeout_s == 300
    assert config.limits.statement_bytes == 1024 * 1024


def test_a_port_that_the_system_chooses_has_no_public_url_yet(tmp_path: Path) -> None:
    config = load(write(tmp_path, DEMO + "http: {port: 0}\nmasking: {detectors: all}\n"))

    assert (config.http.port, config.http.public_url) == (0, "")
    assert config.masking.detectors is None


POSTGRES = "  - {name: db, kind: postgres, host: h, database: d, username: u"
ISSUER = "  - {issuer: https://idp.example, audience: a, jwks: jwks.json"


@pytest.mark.parametrize(
    ("text", "line", "message", "hint"),
    [
        ("polcy: x\n", 2, "polcy is not a known key", "did you mean policy?"),
        ("limits:\n  sessions_per_principle: 3\n", 3, "limits.sessions_per_principle", "did you mean sessions_per_principal?"),
        ("limits:\n  session_hours: 1000\n", 3, "limits.session_hours is 1000", "from 1 to 168"),
        ('postgres: {port: "6432"}\n', 2, "postgres.port must be a whole number", "without quotes"),
        ("postgres: {port: 0x10}\n", 2, "not a plain decimal number", "from 0 to 65535"),
        ("postgres: {port: true}\n", 2, "must be a whole number", ""),
        ("http: 7080\n", 2, "http must hold keys and values", ""),
        ("http: {public_url: ftp://x}\n", 2, "http.public_url", "https://"),
        ("postgres: {tls: {certificate: absent.pem, key: key.pem}}\n", 2, "does not exist", "relative to this file"),
        ("postgres: {host: 0.0.0.0}\n", 1, "postgres listens on 0.0.0.0", "127.0.0.1"),
        ("policy: ./nowhere\n", 2, "does not exist", "create it"),
        ("data: a\ndata: b\n", 3, "data is given twice", "keep one"),
        ("data: [a\n", 3, "not valid YAML", "mend"),
        ("12: x\n", 2, "not plain text", ""),
        ("principals:\n  - {id: bob}\n  - {id: bob}\n", 4, "bob is taken", "its own id"),
        ("principals:\n  - {id: interlock}\n", 3, "interlock is taken", ""),
        ("principals:\n  - {id: claude, kind: agent}\n", 3, "agents have an owner", "owner"),
        ("principals:\n  - {id: bob, owner: alice}\n", 3, "agents have an owner", ""),
        ("principals:\n  - {id: x, kind: agent, owner: y}\n  - {id: y, kind: workload}\n", 3, "not a configured user", ""),
        ("principals:\n  - {id: bob, kind: robot}\n", 3, "must be one of", "for example user"),
        ("principals:\n  - {id: bob, groups: dba}\n", 3, "must be a list", "[a, b]"),
        ("principals:\n  - {id: bob, disabled: yes}\n", 3, "must be true or false", ""),
        (f"issuers:\n{ISSUER}, algorithms: [HS256]}}\n", 3, "holds something unknown", "RS256"),
        (f"issuers:\n{ISSUER}, algorithms: [none]}}\n", 3, "holds something unknown", ""),
        (f"issuers:\n{ISSUER}, algorithms: []}}\n", 3, "is empty", ""),
        ("issuers:\n  - {issuer: i, jwks: jwks.json}\n", 3, "issuers[0].audience is missing", "audience: …"),
        ("resources:\n  - {name: db, kind: oracle}\n", 3, "resources[0].kind must be one of: postgres, mcp", ""),
        (f"resources:\n{POSTGRES}}}\n{POSTGRES}}}\n", 4, "db is taken", ""),
        (f"resources:\n{POSTGRES}, durability: none}}\n", 3, "must be one of", "strict"),
        (f"resources:\n{POSTGRES}, labels: {{env: [a]}}}}\n", 3, "labels.env must be text", ""),
        (f"resources:\n{POSTGRES}, classes: {{a.b: 'E mail'}}}}\n", 3, "classes.a.b", "a data class such as email"),
        ("masking: {detectors: some}\n", 2, "must be one of: all", ""),
    ],
)
def test_a_mistake_is_named_with_its_line_and_remedy(tmp_path: Path, text: str, line: int, message: str, hint: str) -> None:
    path = write(tmp_path, DEMO + text)

    with pytest.raises(ConfigError) as caught:
        load(path)

    assert caught.value.place == f"{path}:{line}"
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize("flag", ["", "plaintext_loopback: false\n"])
def test_no_tls_needs_the_flag(tmp_path: Path, flag: str) -> None:
    with pytest.raises(ConfigError, match="postgres has no TLS") as caught:
        load(write(tmp_path, f"data: x\n{flag}"))

    assert "plaintext_loopback" in caught.value.hint


def test_the_flag_is_refused_beside_a_public_listener_even_with_tls(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"http listens on 10\.0\.0\.1"):
        load(write(tmp_path, DEMO + "http: {host: 10.0.0.1, tls: {certificate: cert.pem, key: key.pem}}\n"))


TLS = "certificate: cert.pem, key: key.pem"


def door(folder: Path, postgres: str) -> ListenerConfig:
    return load(write(folder, f"policy: ./policy\npostgres: {{{postgres}}}\nhttp: {{tls: {{{TLS}}}}}\n")).postgres


def test_how_clients_prove_who_they_are(tmp_path: Path) -> None:
    plain = door(tmp_path, f"tls: {{{TLS}}}")
    assert (plain.auth, plain.scram_without_tls) == ("token", False)
    assert plain.tls is not None and plain.tls.client_ca is None
    assert door(tmp_path, "auth: scram, scram_without_tls: true").tls is None
    tls = door(tmp_path, f"auth: both, tls: {{{TLS}, client_ca: cert.pem, client_certificate: required, principal_from: email}}").tls
    assert tls is not None and tls.client_ca is not None
    assert (tls.client_ca.name, tls.client_certificate, tls.principal_from) == ("cert.pem", "required", "email")


@pytest.mark.parametrize(
    "postgres",
    [
        "auth: scram",  # no TLS, and nobody said that this is meant
        f"tls: {{{TLS}}}, scram_without_tls: true",  # tokens would need TLS still
        f"tls: {{{TLS}}}, auth: md5",
        f"tls: {{{TLS}, client_certificate: required}}",  # of which CA?
        f"tls: {{{TLS}, client_ca: missing.pem}}",
    ],
)
def test_doors_that_make_no_sense(tmp_path: Path, postgres: str) -> None:
    with pytest.raises(ConfigError):
        door(tmp_path, postgres)


def test_client_certificates_are_for_postgres_only(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="client_ca"):
        load(write(tmp_path, f"policy: ./policy\npostgres: {{tls: {{{TLS}}}}}\nhttp: {{tls: {{{TLS}, client_ca: cert.pem}}}}\n"))
