"""What each kind of resource may have in its own part of the configuration: one row per kind.

A reader takes what only its kind knows out of the resource's table and returns `Resource.settings`:
plain values (str, int, tuple of str, mapping of str). Secrets appear as references (`env:NAME`,
`file:/path`), never as values. A new protocol adds one reader and one line to `KINDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

from interlock.config.yaml_file import Table

HOST: Final = r"[A-Za-z0-9._:-]{1,253}"
"""A DNS name, IPv4 or IPv6 address."""


def _postgres(table: Table) -> Mapping[str, object]:
    """host · port (5432) · database · username · password (reference) · tls: disable, require (encrypted,
    certificate not checked) or verify (default; chain and name, against `ca` or the system's store) · tls_negotiation:
    postgres (default: ask first) or direct (PostgreSQL 17 or newer) · channel_binding: prefer (default) or require ·
    client_certificate and client_key (references to PEM texts)."""
    tls = table.text("tls", "verify", choices=("verify", "require", "disable"))
    settings: dict[str, object] = {
        "host": table.text("host", pattern=HOST, hint="give a host name or an address"),
        "port": table.number("port", 5432, 1, 65535),
        "database": table.text("database", pattern=r"[^\x00]{1,63}", hint="a PostgreSQL database name, at most 63 bytes"),
        "username": table.text("username", pattern=r"[^\x00]{1,63}", hint="a PostgreSQL role name, at most 63 bytes"),
        "password": table.reference("password", ""),
        "tls": tls,
    }
    if "ca" in table:
        settings["ca"] = str(table.path("ca"))
        if tls != "verify":
            raise table.error(f"{table.name}.ca has no effect with tls: {tls}", key="ca", hint="set tls: verify, or drop ca")
    for key, choices in (("tls_negotiation", ("postgres", "direct")), ("channel_binding", ("prefer", "require"))):
        value = table.text(key, choices[0], choices=choices)
        if key in table:
            settings[key] = value
    for key, other in (("client_certificate", "client_key"), ("client_key", "client_certificate")):
        if key in table:
            settings[key] = table.reference(key)
            if other not in table:
                raise table.error(f"{table.name}.{key} needs {other}", key=key, hint=f"give {other} too")
    for key in ("tls_negotiation", "channel_binding", "client_certificate"):
        if tls == "disable" and key in table:
            raise table.error(f"{table.name}.{key} has no effect with tls: disable", key=key, hint=f"use TLS, or drop {key}")
    return settings


def _mcp(table: Table) -> Mapping[str, object]:
    """Either command (program and arguments, run over stdio) with environment (KEY: env:…, file:… or
    plain:…) and folder (working folder, default that of the file), or url (http or https) with token
    (reference to a bearer token)."""
    if ("command" in table) == ("url" in table):
        raise table.error(f"{table.name} needs either command or url", hint="give a command for a local server, or a url for a remote one")
    if "url" in table:
        url = table.text("url")
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise table.error(f"{table.name}.url is not an http(s) address", key="url", hint="for example https://mcp.example/mcp")
        return {"url": url, "token": table.reference("token", "")}
    command = table.texts("command", None)
    if not command:
        raise table.error(f"{table.name}.command is empty", key="command", hint="for example [python, -m, my_server]")
    environment = table.table("environment")
    return {
        "command": command,
        "folder": str(table.path("folder", ".")),
        "environment": {key: environment.reference(key, plain=True) for key in environment} if environment else {},
    }


KINDS: Final[Mapping[str, Callable[[Table], Mapping[str, object]]]] = {
    "postgres": _postgres,
    "mcp": _mcp,
}
