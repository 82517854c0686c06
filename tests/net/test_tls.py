"""TLS contexts: what the configuration says, and no older TLS than 1.2."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from interlock.config import TlsConfig
from interlock.errors import ConfigError
from interlock.exchange import Resource
from interlock.net.tls import server_context, upstream_context
from tests.tls_front import make_certificates


def resource(**settings: object) -> Resource:
    return Resource("orders-db", "postgres", settings=settings)


def test_a_listener_has_a_certificate(tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    assert server_context(TlsConfig(made.certificate, made.key)).minimum_version is ssl.TLSVersion.TLSv1_2
    with pytest.raises(ConfigError):
        server_context(TlsConfig(made.certificate, made.ca))
    with pytest.raises(ConfigError):
        server_context(TlsConfig(tmp_path / "missing.pem", made.key))


def test_upstream_is_verified_unless_told_otherwise(tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    for verified in (upstream_context(resource()), upstream_context(resource(tls="verify", ca=str(made.ca)))):
        assert verified is not None and verified.check_hostname and verified.verify_mode is ssl.CERT_REQUIRED
        assert verified.minimum_version is ssl.TLSVersion.TLSv1_2
    encrypted = upstream_context(resource(tls="require"))
    assert encrypted is not None and not encrypted.check_hostname and encrypted.verify_mode is ssl.CERT_NONE
    assert upstream_context(resource(tls="disable")) is None
    with pytest.raises(ConfigError):
        upstream_context(resource(tls="verify", ca=str(tmp_path / "missing.pem")))
