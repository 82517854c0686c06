"""`interlock connect`: psql on a resource, or what an MCP client must be told."""

from __future__ import annotations

import os
import shlex
import shutil
from typing import Annotated
from urllib.parse import urlsplit

import typer

from interlock.cli.failures import Refused
from interlock.cli.gateway import Gateway
from interlock.cli.options import AsJson, ConfigPath, TokenFile, Url, address, found_config, need_token
from interlock.cli.show import clean, remark, say, say_json
from interlock.config import Config
from interlock.errors import ConfigError

Print = Annotated[bool, typer.Option("--print", help="Print the command instead of running it.")]
As = Annotated[str, typer.Option("--as", metavar="PRINCIPAL", help="Your name (default: asked from the gateway).", show_default=False)]


def connect(
    resource: Annotated[str, typer.Argument(help="The resource, or RESOURCE/DATABASE.")],
    psql_arguments: Annotated[list[str] | None, typer.Argument(metavar="[PSQL ARGUMENTS]", help="Passed on to psql, after --.")] = None,
    principal: As = "",
    only_print: Print = False,
    config: ConfigPath = None,
    url: Url = "",
    token_file: TokenFile = None,
    json: AsJson = False,
) -> None:
    """Connect to a resource: runs psql for a database, prints URL and header for an MCP server.

    The token travels in psql's environment (PGPASSWORD), never on its command line.
    """
    settings = found_config(config)
    token = need_token(token_file)
    where = address(url, settings)
    kind, name = _kind(resource, settings), principal
    if not kind or (kind == "postgres" and not name):
        gateway = Gateway(where, token)
        name = name or _whoami(gateway)
        kind = kind or _kind_at(gateway, resource)
    if kind != "postgres":
        _print_mcp(f"{where}/mcp", resource, as_json=json)
        return
    environment = _postgres(resource, name, where, settings) | {"PGAPPNAME": "interlock connect"}
    if json:
        say_json({"kind": kind, "environment": environment})
    elif only_print:
        words = [f"{key}={shlex.quote(value)}" for key, value in environment.items() if key != "PGAPPNAME"]
        say(clean(" ".join([*words, 'PGPASSWORD="$INTERLOCK_TOKEN"', "psql", *map(shlex.quote, psql_arguments or [])])))
    else:
        _run(environment | {"PGPASSWORD": token}, psql_arguments or [])


def _run(environment: dict[str, str], arguments: list[str]) -> None:
    psql = shutil.which("psql")
    if psql is None:
        raise ConfigError("psql is not installed here", hint="see what any other client needs with --print")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PG") and name != "INTERLOCK_TOKEN"}
    os.execve(psql, ["psql", *arguments], inherited | environment)  # noqa: S606 - psql takes over this process


def _postgres(resource: str, principal: str, url: str, config: Config | None) -> dict[str, str]:
    """libpq's environment. With TLS the certificate is checked, name and all."""
    host, port, tls = urlsplit(url).hostname or "127.0.0.1", 6432, url.startswith("https:")
    if config is not None:
        port, tls = config.postgres.port, config.postgres.tls is not None
        if config.postgres.host not in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
            host = config.postgres.host
    environment = {"PGHOST": host, "PGPORT": str(port), "PGUSER": principal, "PGDATABASE": resource}
    if not tls:
        return environment | {"PGSSLMODE": "disable"}
    return environment | {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": os.environ.get("INTERLOCK_CA") or "system"}


def _whoami(gateway: Gateway) -> str:
    try:
        return str(gateway.get("whoami")["principal"])
    except Refused as error:
        raise Refused(error.message, code=error.code, hint="name yourself with --as PRINCIPAL") from error


def _kind(resource: str, config: Config | None) -> str:
    name = resource.partition("/")[0]
    return next((each.kind for each in config.resources if each.name == name), "") if config else ""


def _kind_at(gateway: Gateway, resource: str) -> str:
    name = resource.partition("/")[0]
    for each in gateway.get("resources")["resources"]:
        if each["name"] == name:
            return str(each["kind"])
    raise Refused(f"there is no resource {name}, or no right to use it", hint="ask for the resource's exact name")


def _print_mcp(url: str, resource: str, *, as_json: bool) -> None:
    header = "Authorization: Bearer $INTERLOCK_TOKEN"
    if as_json:
        say_json({"kind": "mcp", "url": url, "header": header, "resource": resource})
        return
    say(f"url     {url}")
    say(f"header  {header}")
    remark(f"streamable HTTP; the tools of {clean(resource)} are among those that the gateway lists")
