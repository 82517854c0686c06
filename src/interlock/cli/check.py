"""`interlock check`: everything that can be known before the gateway is started."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Annotated

import typer

from interlock.cli.failures import FAILED
from interlock.cli.options import AsJson, ConfigPath, read_config
from interlock.cli.show import count, say, say_json, table, warn, working
from interlock.config import Config
from interlock.errors import ResourceError

Reach = Annotated[bool, typer.Option("--reach", help="Also open a connection to each resource's address.")]


def check(config: ConfigPath = None, reach: Reach = False, json: AsJson = False) -> None:
    """Check configuration, policy, TLS files and secrets. Nothing is started or changed.

    A mistake in configuration or policy is named with file, line and remedy (exit code 2). A secret that is not set here is a
    warning: the gateway may be started elsewhere.
    """
    from interlock.policy import Policy, read_sources

    settings = read_config(config)
    policy = Policy.load(read_sources(settings.policy))
    _check_tls(settings)
    warnings = [*_secrets(settings), *_loose_ends(settings)]
    unreachable = _reach(settings) if reach else {}
    if json:
        say_json(
            {
                "ok": not any(unreachable.values()),
                "config": str(settings.file),
                "policy": policy.version,
                "rules": len(policy.rules),
                "resources": [resource.name for resource in settings.resources],
                "principals": [principal.id for principal in settings.principals],
                "warnings": warnings,
                "unreachable": {name: why for name, why in unreachable.items() if why},
            }
        )
    else:
        say(f"configuration  {settings.file}")
        say(
            f"               {count(len(settings.principals), 'principal')}, {count(len(settings.resources), 'resource')}, "
            f"{count(len(settings.issuers), 'issuer')}"
        )
        say(f"policy         {settings.policy} (version {policy.version}, {count(len(policy.rules), 'rule')})")
        if unreachable:
            table(["resource", "reachable"], [[name, why or "yes"] for name, why in unreachable.items()])
        for warning in warnings:
            warn(warning)
        say("all is well" if not any(unreachable.values()) else "not every resource can be reached", "bold")
    if any(unreachable.values()):
        raise typer.Exit(FAILED)


def _check_tls(config: Config) -> None:
    """The certificates load and fit their keys. Raises `ConfigError`."""
    import ssl

    from interlock.errors import ConfigError

    for name, listener in (("postgres", config.postgres), ("http", config.http)):
        if listener.tls is None:
            continue
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(listener.tls.certificate, listener.tls.key)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"{name}.tls: certificate and key cannot be used ({error.strerror or error})",
                place=str(config.file),
                hint="name PEM files that exist and belong together",
            ) from error


def _secrets(config: Config) -> Iterator[str]:
    from interlock.resources import Registry

    registry = Registry(config.resources)
    for resource in config.resources:
        try:
            registry.credential(resource)
            registry.environment(resource)
        except ResourceError as error:
            yield f"{resource.name}: {error.message}"


def _loose_ends(config: Config) -> Iterator[str]:
    if not config.resources:
        yield "no resource is configured: there is nothing to connect to"
    if not config.principals and not config.issuers:
        yield "neither principals nor issuers are configured: nobody can connect"
    if config.plaintext_loopback:
        yield "plaintext_loopback is on: tokens cross this machine's loopback unencrypted; keep it to demos"


def _reach(config: Config) -> dict[str, str]:
    """Resource → why its address does not take a connection, empty if it does."""
    from interlock.net.probe import reachable

    found = {}
    for resource in config.resources:
        with working(f"connecting to {resource.name}"):
            found[resource.name] = asyncio.run(reachable(resource))
    return found
