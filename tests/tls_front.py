"""TLS for a PostgreSQL server that has none: answers SSLRequest with `S`, ends TLS, passes the rest on as it is.

The wheel's server is built without TLS. What a client meets here is real: the negotiation of the PostgreSQL docs
("SSL Session Encryption"), a real handshake, a certificate for `localhost` signed by a CA of its own. A client that does
not ask for TLS is hung up on, as a server with `hostssl` only would do.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

SSL_REQUEST = bytes.fromhex("0000000804d2162f")


@dataclass(frozen=True)
class TlsFront:
    """Where it listens, and the PEM file of the CA to trust."""

    host: str
    port: int
    ca: Path


@dataclass(frozen=True)
class Certificates:
    ca: Path
    certificate: Path
    key: Path
    ca_key: Path


def make_certificates(folder: Path) -> Certificates:
    """A CA and a server certificate for `localhost` and 127.0.0.1 signed by it, as PEM files in `folder`."""
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Interlock test CA")])
    ca = (
        _certificate(ca_name, ca_name, ca_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .add_extension(_usage(certificates=True), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
    server = (
        _certificate(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")]), ca_name, key)
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .add_extension(_usage(certificates=False), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    made = Certificates(folder / "ca.pem", folder / "server.pem", folder / "server.key", folder / "ca.key")
    made.ca.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    made.certificate.write_bytes(server.public_bytes(serialization.Encoding.PEM))
    _write_key(made.key, key)
    _write_key(made.ca_key, ca_key)
    return made


def make_client_certificate(signer: Certificates, folder: Path, name: str, email: str = "", days: int = 2) -> Certificates:
    """A client's certificate with that common name (and e-mail), signed by the same CA. Over after `days`."""
    key = ec.generate_private_key(ec.SECP256R1())
    ca = x509.load_pem_x509_certificate(signer.ca.read_bytes())
    ca_key = serialization.load_pem_private_key(signer.ca_key.read_bytes(), None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    builder = _certificate(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]), ca.subject, key, days)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True).add_extension(
        _usage(certificates=False), critical=True
    )
    if email:
        names: list[x509.GeneralName] = [x509.RFC822Name(email), x509.UniformResourceIdentifier(f"spiffe://test/{email}")]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    made = Certificates(signer.ca, folder / f"{name}.pem", folder / f"{name}.key", signer.ca_key)
    made.certificate.write_bytes(builder.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    _write_key(made.key, key)
    return made


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    path.chmod(0o600)


@contextmanager
def tls_front(host: str, port: int, certificates: Certificates) -> Iterator[TlsFront]:
    """Listen on a free port of the loopback, in a thread, in front of the plain server at `host:port`."""
    yield from _front(host, port, certificates, None)


@contextmanager
def direct_front(host: str, port: int, certificates: Certificates, alpn: str = "postgresql") -> Iterator[TlsFront]:
    """As `tls_front`, for clients that begin with TLS at once, and for these only (PostgreSQL 17 and newer)."""
    yield from _front(host, port, certificates, None, alpn)


@contextmanager
def tls_between(host: str, port: int, ca: Path, certificates: Certificates) -> Iterator[TlsFront]:
    """Somebody in the middle: ends TLS with a certificate of its own, and begins TLS with the server behind (direct)."""
    behind = ssl.create_default_context(cafile=str(ca))
    behind.set_alpn_protocols(["postgresql"])
    yield from _front(host, port, certificates, behind)


def _front(host: str, port: int, certificates: Certificates, behind: ssl.SSLContext | None, direct: str = "") -> Iterator[TlsFront]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.certificate, certificates.key)
    if direct:
        context.set_alpn_protocols([direct])
    loop = asyncio.new_event_loop()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if not direct:
                if await reader.readexactly(8) != SSL_REQUEST:
                    return
                writer.write(b"S")
                await writer.start_tls(context)
            upstream_reader, upstream_writer = await asyncio.open_connection(host, port, ssl=behind)
            await asyncio.gather(_carry(reader, upstream_writer), _carry(upstream_reader, writer))
        except (OSError, asyncio.IncompleteReadError):
            pass  # either side hung up: what a test sees is the closed connection
        finally:
            writer.close()

    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0, ssl=context if direct else None))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield TlsFront("127.0.0.1", server.sockets[0].getsockname()[1], certificates.ca)
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


def _certificate(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int = 2) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=certificates,
        encipher_only=False,
        decipher_only=False,
    )
