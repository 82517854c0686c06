r"""The detectors, as data. Each finds one kind of value in text and proves it.

Patterns are bytes over UTF-8 in the subset that RE2 and Python's `re` read alike: no look-around, no
back-references, no captures; `\d`, `\w`, `\b` mean ASCII. None may match `SEPARATOR`, which stands between
the cells of a scanned batch, and each begins with something rare, so that a clean batch costs one pass.
Boundaries stay out of the pattern (`word` asks for them), because binary cells have none.

`examples` and `counter_examples` are the tests of a detector, and tests read them from here. Secrets among
them are put together from parts, so that no scanner takes this file for a leak.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from interlock.masking import validators
from interlock.masking.validators import Check, whole

SEPARATOR = b"\x1e"


class Proof(IntEnum):
    """How sure a finding is. Where findings overlap, the surer one names the class."""

    SHAPE = 1
    CONTEXT = 2
    PREFIX = 3
    CHECKSUM = 4


@dataclass(frozen=True, slots=True)
class Detector:
    """One kind of value. `context`: a pattern (any case) of which one match must stand within 40 bytes of
    the candidate in the same cell, or in the column's name. `word`: the pattern stands between word
    boundaries. `retry`: the pattern is short, and after a refuted candidate the search goes on one byte
    further instead of behind it."""

    id: str
    data_class: str
    pattern: bytes
    proof: Proof
    check: Check = whole
    context: bytes = b""
    word: bool = False
    retry: bool = False
    examples: tuple[str, ...] = ()
    counter_examples: tuple[str, ...] = ()


def _key(
    identifier: str, pattern: bytes, *examples: str, check: Check = whole, word: bool = False, counter: tuple[str, ...] = ()
) -> Detector:
    """A credential with a prefix that nothing else has."""
    return Detector(identifier, "api_key", pattern, Proof.PREFIX, check, word=word, examples=examples, counter_examples=counter)


_R = "a1B2c3D4e5"

DETECTORS: tuple[Detector, ...] = (
    Detector(
        "email",
        "email",
        rb"[A-Za-z0-9.!#$%&'+/=?^_`{|}~\x80-\xff-]{1,64}@[A-Za-z0-9.\x80-\xff-]+",
        Proof.SHAPE,
        validators.email,
        examples=(
            "jane.doe@example.com",
            "write to <o'neil+tag@mail.example.co.uk>, please",
            "mailto:a@b.de",
            "jörg@müller.de",
            '{"mail": "x_y@example.org"}',
            "bob@example.com.5 items",
            "postgres://app:hunter2@db.example.com/x",
            "user@xn--bcher-kva.example",
        ),
        counter_examples=("user@localhost", "@handle", "a @ b.com", "icon@2x.png", "pkg@1.2.3", "a***@e***.com", "me@", "@example.com"),
    ),
    Detector(
        "card",
        "card",
        rb"\d(?:[ -]?\d){12,}",
        Proof.CHECKSUM,
        validators.card,
        word=True,
        examples=(
            "4111111111111111",
            "4111 1111 1111 1111",
            "5500-0055-5555-5559",
            "3782 822463 10005",
            "Order 12 4111 1111 1111 1111, paid",
            "6011000990139424",
            "30569309025904",
            "card=4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
        ),
        counter_examples=(
            "4111111111111112",
            "1763815200000",
            "1763815200000000",
            "2024-01-01 00:00:01",
            "0.4111111111111111",
            "4111111111111111.5",
            "x4111111111111111",
            "550e8400-e29b-41d4-a716-446655440000",
            "************1111",
            "12 34 56 78 90 12 34 56",
            "4 " * 40,
            "60194 4589 7333 716 9290",
        ),
    ),
    Detector(
        "us-ssn",
        "ssn",
        rb"\d{3}-\d{2}-\d{4}",
        Proof.SHAPE,
        validators.ssn,
        word=True,
        retry=True,
        examples=("123-45-6789", "SSN: 536-90-4399.", "SSN-536-90-4399"),
        counter_examples=(
            "000-12-3456",
            "666-12-3456",
            "912-12-3456",
            "123-00-4567",
            "123-45-0000",
            "1-123-45-6789",
            "123-45-67890",
            "***-**-6789",
        ),
    ),
    Detector(
        "us-ssn-context",
        "ssn",
        rb"\d{3}[ ]?\d{2}[ ]?\d{4}",
        Proof.CONTEXT,
        validators.ssn,
        context=rb"\bssn|social.?security",
        word=True,
        retry=True,
        examples=("ssn 536904399", "Social Security number: 536 90 4399"),
        counter_examples=("536904399", "536 90 4399", "ssn 000904399"),
    ),
    Detector(
        "phone",
        "phone",
        rb"\+[1-9](?:[ .()/-]{0,2}\d){6,14}|(?:1[-. ])?(?:\([2-9]\d{2}\)[ .-]?|[2-9]\d{2}[-.])\d{3}[-. ]\d{4}",
        Proof.SHAPE,
        validators.phone,
        retry=True,
        examples=(
            "+14155552671",
            "+1 (415) 555-2671",
            "+49 30 901820",
            "+44 (0)20 7946 0018",
            "(415) 555-2671",
            "415-555-2671",
            "call 1-415-555-2671 now",
            "415.555.2671",
        ),
        counter_examples=(
            "4155552671",
            "2024-01-01 00:00:01.123456+00",
            "2024-01-01 00:00:01+10 2024-01-02 11",
            "550e8400-e29b-41d4-a716-446655440000",
            "+12345678.90",
            "+1234567.8",
            "415555.2671",
            "192.168.100.2001",
            "+15552671",
            "********71",
            "a=+5",
        ),
    ),
    Detector(
        "phone-context",
        "phone",
        rb"(?:\(?0\d{1,5}\)?|\(?[2-9]\d{2}\)?)(?:[ /.-]?\d){6,9}",
        Proof.CONTEXT,
        validators.phone,
        context=rb"\b(?:tele)?(?:phone|fon|fax)|\b(?:tel|mobile?|cell|call|whatsapp|sms)\b",
        retry=True,
        examples=("phone: 415 555 2671", "Tel. 030 901820", "mobile 07700 900123", "fax 4155552671"),
        counter_examples=("030 901820", "hotel 415 555 2671", "200 300 4000"),
    ),
    Detector(
        "iban",
        "iban",
        rb"[A-Za-z]{2}\d{2}(?: ?[A-Za-z0-9]){11,40}",
        Proof.CHECKSUM,
        validators.iban,
        word=True,
        retry=True,
        examples=(
            "DE89370400440532013000",
            "DE89 3704 0044 0532 0130 00 IS MY IBAN",
            "gb82 west 1234 5698 7654 32",
            "NL91ABNA0417164300",
            "pay AB12 DE89 3704 0044 0532 0130 00",
        ),
        counter_examples=(
            "DE88370400440532013000",
            "ZZ89370400440532013000",
            "DE89 3704",
            "XDE89370400440532013000",
            "DE**************3000",
            "ba56ffe8-0336-421c-9947-1df17b9c1f2d",
        ),
    ),
    Detector(
        "ipv4",
        "ipv4",
        rb"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}",
        Proof.SHAPE,
        validators.ipv4,
        word=True,
        retry=True,
        examples=("203.0.113.7", "from 10.1.2.3:5432", "192.168.1.0/24", "host=198.51.100.23."),
        counter_examples=(
            "256.1.1.1",
            "1.2.3",
            "1.3.6.1.4.1",
            "version 12.1.0.2",
            "v1.2.3.4",
            "127.0.0.1",
            "0.0.0.7",
            "01.2.3.4",
            "203.*.*.*",
        ),
    ),
    Detector(
        "jwt",
        "jwt",
        rb"eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){2,4}",
        Proof.PREFIX,
        validators.jwt,
        examples=("Bearer eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiJqYW5lIn0.c2lnbmF0dXJl", "eyJhbGciOiJub25lIn0." + "eyJzdWIiOiIxIn0."),
        counter_examples=("eyJhbGciOiJIUzI1NiJ9", "eyJzdWIiOiJqYW5lIn0.eyJzdWIiOiJqYW5lIn0.c2lnbmF0dXJl", "eyJ.eyJ.x"),
    ),
    _key(
        "aws-access-key",
        rb"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}",
        "AKIA" + "IOSFODNN7EXAMPLE",
        word=True,
        counter=("AKIAIOSFODNN7", "xAKIAIOSFODNN7EXAMPLE"),
    ),
    _key(
        "aws-secret-key",
        rb"(?i:secret_?access_?key|aws_?secret)[ \t\"'=:>\\]{1,8}[A-Za-z0-9/+]{40}",
        "aws_secret_access_key = " + _R * 4,
        check=validators.last_40,
        counter=("secret_access_key = " + _R, _R * 4),
    ),
    _key(
        "github-token",
        rb"gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,}",
        "ghp_" + _R * 4,
        "github_pat_" + _R * 4,
        counter=("ghp_" + _R,),
    ),
    _key(
        "slack-token",
        rb"xox[abeoprs]-[A-Za-z0-9-]{10,}|hooks\.slack\.com/services/[A-Za-z0-9/]{20,}",
        "xoxb-" + "1234567890-" + _R,
        "https://hooks.slack.com/" + "services/T0/B0/" + _R * 2,
        counter=("xoxb-1",),
    ),
    _key("stripe-key", rb"(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,}", "sk_live_" + _R * 3, "rk_test_" + _R * 2, counter=("sk_live_short",)),
    _key("google-api-key", rb"AIza[A-Za-z0-9_-]{35}", "AIza" + _R * 3 + "fghij", counter=("AIza" + _R,)),
    _key("anthropic-key", rb"sk-ant-[A-Za-z0-9_-]{20,}", "sk-ant-" + "api03-" + _R * 4, counter=("sk-ant-short",)),
    _key(
        "openai-key",
        rb"sk-[A-Za-z0-9_-]{20,}",
        "sk-" + _R * 4,
        "OPENAI=sk-" + "proj-" + _R * 4,
        check=validators.mixed,
        word=True,
        counter=("sk-learn-with-some-long-name", "task-" + _R * 4),
    ),
    _key("gitlab-token", rb"gl(?:pat|ptt|dt|rt|cbt)-[A-Za-z0-9_-]{20,}", "glpat-" + _R * 2, counter=("glpat-" + _R,)),
    _key("npm-token", rb"npm_[A-Za-z0-9]{36}", "npm_" + _R * 3 + "fghijk", counter=("npm_config_registry",)),
    _key("pypi-token", rb"pypi-AgE[A-Za-z0-9_-]{50,}", "pypi-" + "AgE" + _R * 6, counter=("pypi-AgE" + _R,)),
    _key("huggingface-token", rb"hf_[A-Za-z0-9]{34,}", "hf_" + _R * 4, counter=("hf_" + _R,)),
    _key("sendgrid-key", rb"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{32,64}", "SG." + _R * 2 + "." + _R * 4, counter=("SG.1.2",)),
    _key(
        "private-key",
        rb"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----[^\x1e]*",
        "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIEow==\n-----END RSA " + "PRIVATE KEY-----",
        "-----BEGIN " + "PRIVATE KEY-----\nMIIEow",
        check=validators.pem,
        counter=("-----BEGIN PUBLIC KEY-----\nMIIEow==\n-----END PUBLIC KEY-----",),
    ),
)
