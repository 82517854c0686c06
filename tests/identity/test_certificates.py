"""Whom a certificate names."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from interlock.errors import IdentityError
from interlock.identity.certificates import read_certificate
from tests.tls_front import make_certificates, make_client_certificate


def test_the_name_stands_where_the_operator_says(tmp_path: Path) -> None:
    made = make_client_certificate(make_certificates(tmp_path), tmp_path, "alice", "a@shop.example")
    der = ssl.PEM_cert_to_DER_cert(made.certificate.read_text())
    assert read_certificate(der, "cn").names == {"alice"}
    assert read_certificate(der, "email").names == {"a@shop.example"}
    assert read_certificate(der, "uri").names == {"spiffe://test/a@shop.example"}
    shown = read_certificate(der, "cn")
    assert shown.proof.startswith("cert:") and len(shown.proof) == 21
    assert shown.valid_from < shown.expires_at


def test_without_alternative_names_nobody_is_named_by_them(tmp_path: Path) -> None:
    made = make_client_certificate(make_certificates(tmp_path), tmp_path, "alice")
    der = ssl.PEM_cert_to_DER_cert(made.certificate.read_text())
    assert read_certificate(der, "email").names == read_certificate(der, "uri").names == frozenset()


@pytest.mark.parametrize("der", [b"", b"0", b"\x30\x80" + bytes(40)])
def test_what_is_no_certificate(der: bytes) -> None:
    with pytest.raises(IdentityError):
        read_certificate(der, "cn")
