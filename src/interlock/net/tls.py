"""TLS contexts: TLS 1.2 or newer on both legs; upstream certificates are verified unless the resource says `require`."""

from __future__ import annotations

import hashlib
import ssl
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from interlock.config import TlsConfig
from interlock.errors import ConfigError, ResourceError
from interlock.exchange import Credential, Resource
from interlock.protocols.stream import Leg


def server_context(config: TlsConfig, alpn: tuple[str, ...] = ()) -> ssl.SSLContext:
    """For a listener. Raises `ConfigError` when the files cannot be used."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(config.certificate, config.key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"the TLS certificate or key cannot be used: {error}", place=str(config.certificate)) from error
    if config.client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED if config.client_certificate == "required" else ssl.CERT_OPTIONAL
        try:
            context.load_verify_locations(config.client_ca)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"the CA of client certificates cannot be used: {error}", place=str(config.client_ca)) from error
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def end_point_binding(der: bytes) -> bytes | None:
    """`tls-server-end-point` channel binding (RFC 5929, section 4.1): the hash of a server's certificate, by the hash of its
    signature, SHA-256 in place of MD5 and SHA-1. None where the signature names no hash (Ed25519), or cannot be read."""
    try:
        algorithm = x509.load_der_x509_certificate(der).signature_hash_algorithm
    except (ValueError, UnsupportedAlgorithm):
        return None
    if algorithm is None:
        return None
    return hashlib.new("sha256" if algorithm.name in ("md5", "sha1") else algorithm.name, der).digest()


def server_binding(config: TlsConfig) -> bytes | None:
    """The channel binding of a listener's own certificate, the first one in its file."""
    try:
        leaf = x509.load_pem_x509_certificates(Path(config.certificate).read_bytes())[0]
    except (OSError, ValueError) as error:
        raise ConfigError(f"the TLS certificate cannot be read: {error}", place=str(config.certificate)) from error
    return end_point_binding(leaf.public_bytes(Encoding.DER))


def leg(resource: Resource) -> Leg:
    """What the resource demands of its connections."""
    mode = str(resource.settings.get("tls", "verify"))
    if mode == "disable":
        return Leg()
    direct = resource.settings.get("tls_negotiation") == "direct"
    return Leg(tls=True, direct=direct, verified=mode == "verify", bound=resource.settings.get("channel_binding") == "require")


def upstream_context(resource: Resource, alpn: str = "", credential: Credential | None = None) -> ssl.SSLContext | None:
    """For a resource: None for `tls: disable`; `verify` checks chain and name; `require` encrypts only. With a
    `credential` that has a client certificate, that is shown to upstream if it asks."""
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
    if alpn:
        context.set_alpn_protocols([alpn])
    if credential is not None and credential.certificate:
        _show(context, credential, resource)
    return context


def _show(context: ssl.SSLContext, credential: Credential, resource: Resource) -> None:
    """OpenSSL reads files only: a file that nobody else can read, and that is gone at once."""
    try:
        with tempfile.NamedTemporaryFile("w", encoding="ascii") as file:
            Path(file.name).write_text(f"{credential.certificate}\n{credential.key}\n", encoding="ascii")
            context.load_cert_chain(file.name, password=lambda: b"")
    except (OSError, ValueError) as error:
        kind = type(error).__name__
        raise ResourceError(f"client_certificate or client_key of {resource.name} cannot be used ({kind})", hint="both are PEM") from None
