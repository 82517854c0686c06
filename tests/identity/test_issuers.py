"""JWTs: what is accepted, and the known ways to fool a verifier (RFC 8725)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from interlock.config import IssuerConfig
from interlock.errors import ConfigError, IdentityError
from interlock.identity.issuers import LEEWAY_S, MAX_GROUPS, REFUSED, Issuers

NOW = 1_000_000.0
ISSUER = "https://idp.example"
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
EC = ECKey.generate_key("P-256", {"kid": "ec"})
ED = OKPKey.generate_key("Ed25519", {"kid": "ed"})
STRANGER = RSAKey.generate_key(2048, {"kid": "rsa"})
CLAIMS = {"iss": ISSUER, "aud": "interlock", "sub": "alice", "iat": int(NOW), "exp": int(NOW) + 60, "groups": ["dba"]}


def issuers(folder: Path, keys: list[dict[str, Any]] | None = None, **settings: Any) -> Issuers:
    path = folder / "jwks.json"
    public = [key.as_dict(private=False) for key in (RSA, EC, ED)] if keys is None else keys
    path.write_text(json.dumps({"keys": public}))
    return Issuers(
        [IssuerConfig(ISSUER, "interlock", path, **({"algorithms": ("RS256", "ES256", "Ed25519"), "groups_claim": "groups"} | settings))]
    )


def encode(data: object) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def rsa(claims: dict[str, Any] | None = None, **header: Any) -> str:
    return jwt.encode({"alg": "RS256", "kid": "rsa"} | header, CLAIMS | (claims or {}), RSA)


def reason(made: Issuers, text: str, now: float = NOW) -> str:
    with pytest.raises(IdentityError) as caught:
        made.verify(text, now)
    assert caught.value.message == REFUSED
    return caught.value.reason


@pytest.mark.parametrize(("alg", "key"), [("RS256", RSA), ("ES256", EC), ("Ed25519", ED)])
def test_a_good_jwt(tmp_path: Path, alg: str, key: Any) -> None:
    text = jwt.encode({"alg": alg, "kid": key.kid}, CLAIMS, key, algorithms=[alg])
    claims = issuers(tmp_path).verify(text, NOW)
    assert (claims.principal, claims.groups, claims.issued_at, claims.expires_at) == ("alice", frozenset({"dba"}), NOW, NOW + 60)


def test_no_key_id_is_needed(tmp_path: Path) -> None:
    text = jwt.encode({"alg": "RS256"}, CLAIMS, RSA)
    assert issuers(tmp_path, [RSA.as_dict(private=False)]).verify(text, NOW).principal == "alice"


def test_groups_are_taken_only_where_configured(tmp_path: Path) -> None:
    assert issuers(tmp_path, groups_claim="").verify(rsa(), NOW).groups is None


def test_another_claim_may_name_the_principal(tmp_path: Path) -> None:
    assert issuers(tmp_path, principal_claim="email").verify(rsa({"email": "a@b"}), NOW).principal == "a@b"


def test_alg_none_is_refused(tmp_path: Path) -> None:
    made = issuers(tmp_path)
    for alg in ("none", "None", "NONE", "nOnE"):
        for signature in ("", encode(b"x")):
            assert "does not verify" in reason(made, f"{encode({'alg': alg})}.{encode(CLAIMS)}.{signature}")


@pytest.mark.parametrize("secret", [RSA.as_pem(private=False), RSA.as_der(private=False), json.dumps(RSA.as_dict(private=False)).encode()])
def test_a_public_key_is_no_hmac_secret(tmp_path: Path, secret: bytes) -> None:
    made = issuers(tmp_path)
    for header in ({"alg": "HS256"}, {"alg": "HS256", "kid": "rsa"}):
        body = f"{encode(header)}.{encode(CLAIMS)}"
        assert "does not verify" in reason(made, f"{body}.{encode(hmac.digest(secret, body.encode(), hashlib.sha256))}")


def test_an_algorithm_that_is_not_listed_is_refused(tmp_path: Path) -> None:
    text = jwt.encode({"alg": "PS256", "kid": "rsa"}, CLAIMS, RSA, algorithms=["PS256"])
    assert "does not verify" in reason(issuers(tmp_path), text)


def test_keys_that_the_token_brings_along_are_ignored(tmp_path: Path) -> None:
    header = {"alg": "RS256", "jwk": STRANGER.as_dict(private=False), "jku": "https://evil.example/jwks.json"}
    made = issuers(tmp_path)
    for kid in ({}, {"kid": "rsa"}):
        assert "does not verify" in reason(made, jwt.encode(header | kid, CLAIMS, STRANGER))


def test_a_changed_payload_is_refused(tmp_path: Path) -> None:
    head, _, tail = rsa().split(".")
    assert "does not verify" in reason(issuers(tmp_path), f"{head}.{encode(CLAIMS | {'sub': 'bob'})}.{tail}")


def test_critical_headers_that_nobody_understands_are_refused(tmp_path: Path) -> None:
    body = f"{encode({'alg': 'ES256', 'kid': 'ec', 'crit': ['x'], 'x': 1})}.{encode(CLAIMS)}"
    signature = JWSRegistry.algorithms["ES256"].sign(body.encode(), EC)
    assert "does not verify" in reason(issuers(tmp_path), f"{body}.{encode(signature)}")


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"iss": "https://other.example"}, "no configured issuer"),
        ({"iss": None}, "no configured issuer"),
        ({"aud": "other"}, "another audience"),
        ({"aud": None}, "another audience"),
        ({"aud": ["other"]}, "another audience"),
        ({"aud": {"interlock": 1}}, "another audience"),
        ({"exp": None}, "exp is absent"),
        ({"exp": "9999999"}, "exp is absent or no time"),
        ({"exp": True}, "exp is absent or no time"),
        ({"exp": 1e300}, "exp is absent or no time"),
        ({"exp": int(NOW) - LEEWAY_S}, "expired"),
        ({"nbf": int(NOW) + LEEWAY_S + 1}, "not valid yet"),
        ({"iat": int(NOW) + LEEWAY_S + 1}, "not valid yet"),
        ({"sub": ""}, "no claim sub"),
        ({"sub": 7}, "no claim sub"),
        ({"sub": None}, "no claim sub"),
        ({"groups": "dba"}, "no short list"),
        ({"groups": [1]}, "no short list"),
        ({"groups": ["g"] * (MAX_GROUPS + 1)}, "no short list"),
    ],
)
def test_a_claim_that_does_not_fit(tmp_path: Path, claims: dict[str, Any], words: str) -> None:
    body = {name: value for name, value in (CLAIMS | claims).items() if value is not None}
    assert words in reason(issuers(tmp_path), jwt.encode({"alg": "RS256", "kid": "rsa"}, body, RSA))


def test_clocks_may_differ_a_little(tmp_path: Path) -> None:
    made = issuers(tmp_path)
    assert (
        made.verify(rsa({"exp": int(NOW) - LEEWAY_S + 1, "nbf": int(NOW) + LEEWAY_S, "aud": ["x", "interlock"]}), NOW).principal == "alice"
    )


@pytest.mark.parametrize(
    "text",
    ["", "a", "a.b", "a.b.c", "a.b.c.d.e", f"{encode({})}.{encode([])}.x", f"{encode({})}.{encode(b'[' * 4000)}.x", "é.é.é", "x" * 9000],
)
def test_what_is_no_jwt(tmp_path: Path, text: str) -> None:
    assert reason(issuers(tmp_path), text)


@pytest.mark.parametrize(
    "keys",
    [[], [OctKey.generate_key(256).as_dict(private=True)], [RSA.as_dict(private=True)], [{"kty": "XX"}], [{}]],
)
def test_only_public_keys_are_taken(tmp_path: Path, keys: list[dict[str, Any]]) -> None:
    with pytest.raises(ConfigError) as caught:
        issuers(tmp_path, keys)
    assert str(RSA.as_dict(private=True)["d"]) not in str(caught.value)


def test_a_key_file_that_is_absent_or_no_json(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path / "text.json"):
        (tmp_path / "text.json").write_text("hello")
        with pytest.raises(ConfigError, match="not a usable JWKS file"):
            Issuers([IssuerConfig(ISSUER, "interlock", path)])
