"""TLS contexts: TLS 1.2 or newer on both legs; upstream certificates are verified unless the resource says `require`."""

from __future__ import annotations

import ssl
from pathlib import Path

from interlock.config import TlsConfig
from interlock.errors import ConfigError
from interlock.exchange import Resource


def server_context(config: TlsConfig, alpn: tuple[str, ...] = ()) -> ssl.SSLContext:
    """For a listener. Raises `ConfigError` when the files cannot be used."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(config.certificate, config.key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"the TLS certificate or key cannot be used: {error}", place=str(config.certificate)) from error
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def upstream_context(resource: Resource) -> ssl.SSLContext | None:
    """For a resource: None for `tls: disable`; `verify` checks chain and name; `require` encrypts only."""
    mode = str(resource.settings.get("tls", "verify"))
    if mode == "disable":
        return None
    ca = resource.settings.get("ca")
    try:
        context = ssl.create_default_context(cafile=str(Path(str(ca))) if ca else None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"the CA file of {resource.name} cannot be used: {error}", place=str(ca)) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if mode == "require":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
