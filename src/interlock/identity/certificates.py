"""Client certificates: whom a certificate names. The TLS library has verified its chain against the operator's CA
before anything here is asked; the names are bound to the holder's key by that handshake.

Sources: RFC 5280 (subject, subjectAltName), RFC 6125 appendix B.2 (one common name, not several).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cryptography import x509

from interlock.identity.issuers import refused


@dataclass(frozen=True, slots=True)
class Shown:
    """A certificate as a proof: `names` of principals, and its validity in UTC seconds. `proof` names it in lists and logs."""

    names: frozenset[str]
    proof: str
    valid_from: float
    expires_at: float


def read_certificate(der: bytes, source: str) -> Shown:
    """Whom a certificate names in `source`: `cn` (its one common name), `email` or `uri` (each of its alternative
    names of that kind). Raises `IdentityError` when it cannot be read."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        names = _names(certificate, source)
    except ValueError:
        raise refused("the client certificate cannot be read") from None
    proof = f"cert:{hashlib.sha256(der).hexdigest()[:16]}"
    start, end = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    return Shown(names, proof, start, end)


def _names(certificate: x509.Certificate, source: str) -> frozenset[str]:
    if source == "cn":
        found = [str(name.value) for name in certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
        return frozenset(found) if len(found) == 1 else frozenset()
    try:
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    kind = x509.RFC822Name if source == "email" else x509.UniformResourceIdentifier
    return frozenset(alternative.get_values_for_type(kind))
