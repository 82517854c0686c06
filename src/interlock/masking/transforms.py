"""How a value is masked: `redact`, `partial`, `hash`, `null`. Pure functions from text to text.

Masking what is masked already changes nothing: labels stay labels, a partial form shows the same
characters again, a hash carries a tag that only the key's owner can make. No form is recognised by its
look alone: else whoever writes the statement could dress a value up as masked.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping

TRANSFORMS = frozenset({"redact", "partial", "hash", "null"})

_DIGEST_BYTES = 10
_TAG_BYTES = 5
_TOKEN = re.compile(r"(.+)_([a-z2-7]{16})([a-z2-7]{8})", re.DOTALL)


class Transforms:
    """The operator's choice of transform per class, with the key of `hash`.

    Hashes are keyed BLAKE2b (RFC 7693) over class and normalised value: equal values stay equal across
    columns, resources and time, and nobody without the key can try values out. The key never shows.
    """

    __slots__ = ("_names", "_key")

    def __init__(self, names: Mapping[str, str], key: bytes) -> None:
        self._names = dict(names)
        self._key = hashlib.blake2b(key, digest_size=32, person=b"interlock mask").digest()

    def name(self, data_class: str) -> str:
        """The transform of a class; what is not said is `redact`."""
        return self._names.get(data_class) or self._names.get("*") or "redact"

    def mask(self, data_class: str, text: str) -> str | None:
        """A value of the class, masked; None means NULL."""
        match self.name(data_class):
            case "null":
                return None
            case "partial":
                return partial(data_class, text)
            case "hash":
                return self._hash(data_class, text)
            case _:
                return label(data_class)

    def _hash(self, data_class: str, text: str) -> str:
        token = _TOKEN.fullmatch(text)
        if token is not None and token[1] == data_class and hmac.compare_digest(self._tag(data_class, token[2]), token[3]):
            return text
        body = _base32(self._digest(b"value", data_class, _normalise(data_class, text), _DIGEST_BYTES))
        return f"{data_class}_{body}{self._tag(data_class, body)}"

    def _tag(self, data_class: str, body: str) -> str:
        return _base32(self._digest(b"tag", data_class, body, _TAG_BYTES))

    def _digest(self, purpose: bytes, data_class: str, text: str, size: int) -> bytes:
        message = data_class.encode() + b"\x00" + text.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(message, digest_size=size, key=self._key, person=purpose).digest()


def label(data_class: str) -> str:
    """`[email]`: says what was there and nothing else."""
    return f"[{data_class}]"


def partial(data_class: str, text: str) -> str:
    """What helps to recognise a value without giving it away; a label where the text is no such value."""
    form = _PARTIAL.get(data_class)
    if form is None or text == label(data_class):
        return label(data_class)
    return form(text) or label(data_class)


def _base32(digest: bytes) -> str:
    return base64.b32encode(digest).decode().lower()


def _normalise(data_class: str, text: str) -> str:
    if data_class == "email":
        return text.strip().casefold()
    if data_class in ("card", "ssn", "phone", "iban"):
        return re.sub(r"[\s().-]", "", text).upper()
    return text.strip()


def _email(text: str) -> str | None:
    """First characters and top-level domain: `j***@e***.com`."""
    local, at, domain = text.strip().rpartition("@")
    host, dot, top = domain.rpartition(".")
    if not (local and at and host and dot) or "@" in local or any(char.isspace() for char in local + domain):
        return None
    top = top if re.fullmatch(r"[A-Za-z]{2,6}", top) else "***"
    return f"{local[0]}***@{host[0]}***.{top}"


def _card(text: str) -> str | None:
    """The last four digits, as receipts show them (PCI DSS 4.0 §3.4.1 allows more)."""
    digits = re.sub(r"[ -]", "", text.strip())
    return "************" + digits[-4:] if re.fullmatch(r"[0-9*]{12,19}", digits) else None


def _ssn(text: str) -> str | None:
    digits = re.sub(r"[ -]", "", text.strip())
    return "***-**-" + digits[-4:] if re.fullmatch(r"[0-9*]{9}", digits) else None


def _phone(text: str) -> str | None:
    digits = re.sub(r"[\s()./+-]", "", text)
    return "********" + digits[-2:] if re.fullmatch(r"[0-9*]{7,15}", digits) else None


def _iban(text: str) -> str | None:
    compact = re.sub(r"[ -]", "", text.strip()).upper()
    return f"{compact[:2]}**************{compact[-4:]}" if re.fullmatch(r"[A-Z]{2}[A-Z0-9*]{13,32}", compact) else None


def _ipv4(text: str) -> str | None:
    match = re.fullmatch(r"(\d{1,3})((?:\.(?:\d{1,3}|\*)){3})", text.strip())
    return f"{match[1]}.*.*.*" if match else None


def _name(text: str) -> str | None:
    """An initial, where a name is long enough that one letter is no name."""
    stripped = text.strip()
    return f"{stripped[0]}***" if len(stripped) >= 4 else None


_PARTIAL: Mapping[str, Callable[[str], str | None]] = {
    "email": _email,
    "card": _card,
    "ssn": _ssn,
    "phone": _phone,
    "iban": _iban,
    "ipv4": _ipv4,
    "name": _name,
}
