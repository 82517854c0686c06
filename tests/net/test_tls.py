"""TLS contexts: what the configuration says, and no older TLS than 1.2."""

from __future__ import annotations

import hashlib
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from interlock.config import TlsConfig
from interlock.errors import ConfigError, ResourceError
from interlock.exchange import Credential, Resource
from interlock.net.tls import end_point_binding, leg, server_binding, server_context, upstream_context
from interlock.protocols.stream import Leg
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


def test_what_a_resource_demands() -> None:
    assert leg(resource(tls="disable")) == Leg()
    assert leg(resource()) == Leg(tls=True, verified=True)
    assert leg(resource(tls="require", tls_negotiation="direct")) == Leg(tls=True, direct=True)
    assert leg(resource(channel_binding="require")).bound


def test_a_client_certificate_that_cannot_be_used(tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    good = Credential("u", "", made.certificate.read_text(), made.key.read_text())
    assert upstream_context(resource(tls="require"), credential=good) is not None
    for bad in (Credential("u", "", good.certificate, "no key"), Credential("u", "", "ümlaut", good.key)):
        with pytest.raises(ResourceError, match="cannot be used"):
            upstream_context(resource(tls="require"), credential=bad)


@pytest.mark.parametrize(("algorithm", "used"), [(hashes.SHA256(), "sha256"), (hashes.SHA512(), "sha512")])
def test_binding_by_the_hash_of_the_signature(algorithm: hashes.HashAlgorithm, used: str) -> None:
    der = certificate(rsa.generate_private_key(65537, 2048), algorithm)
    assert end_point_binding(der) == hashlib.new(used, der).digest()


def test_no_binding_where_the_signature_names_no_hash() -> None:
    assert end_point_binding(certificate(ed25519.Ed25519PrivateKey.generate(), None)) is None
    assert end_point_binding(b"nonsense") is None


def test_a_listeners_own_binding(tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    der = ssl.PEM_cert_to_DER_cert(made.certificate.read_text())
    assert server_binding(TlsConfig(made.certificate, made.key)) == hashlib.sha256(der).digest()


def test_client_certificates(tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    assert server_context(TlsConfig(made.certificate, made.key)).verify_mode is ssl.CERT_NONE
    assert server_context(TlsConfig(made.certificate, made.key, made.ca)).verify_mode is ssl.CERT_OPTIONAL
    assert server_context(TlsConfig(made.certificate, made.key, made.ca, "required")).verify_mode is ssl.CERT_REQUIRED
    with pytest.raises(ConfigError, match="client certificates"):
        server_context(TlsConfig(made.certificate, made.key, made.key))


def certificate(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey, algorithm: hashes.HashAlgorithm | None) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    signed = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1)).sign(key, algorithm)  # type: ignore[arg-type]
    return signed.public_bytes(serialization.Encoding.DER)


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
