"""What turns a candidate into a finding: checksums, ranges, neighbours.

A validator is `check(data, start, end, strict) -> list[(start, end)]`: `data` is the scanned buffer,
`start:end` the candidate that the detector's pattern found in it; the result are the spans which hold.
`strict` is False for binary cells: there the bytes beside a text are lengths and flags, which may look
like letters or digits, so that neighbours say nothing.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable

Span = tuple[int, int]
Check = Callable[[bytes, int, int, bool], list[Span]]

_WORD = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_DIGIT = frozenset(b"0123456789")
_DIGITS = re.compile(rb"\d+")
_NOT_DIGIT = re.compile(rb"\D")
_WINDOW_DIGITS_MAX = 256


def whole(data: bytes, start: int, end: int, strict: bool) -> list[Span]:
    """The pattern alone is proof."""
    return [(start, end)]


def alone(data: bytes, start: int, end: int) -> bool:
    """True unless the span is part of a longer word, decimal number or chain of numbers."""
    before, after = data[max(0, start - 2) : start], data[end : end + 2]
    if before and before[-1] in _WORD:
        return False
    if after and after[0] in _WORD:
        return False
    if len(before) == 2 and before[1] in b".-" and before[0] in _DIGIT:
        return False
    return not (len(after) == 2 and after[0] in b".-" and after[1] in _DIGIT)


def luhn(digits: bytes) -> bool:
    """ISO/IEC 7812-1, annex B."""
    total = 0
    for position, byte in enumerate(reversed(digits)):
        value = byte - 48
        if position & 1:
            value = value * 2 - 9 if value > 4 else value * 2
        total += value
    return total % 10 == 0


def issuer(digits: bytes) -> bool:
    """True if a card scheme issues numbers with this prefix in this length."""
    length = len(digits)
    four, three, two = int(digits[:4]), int(digits[:3]), int(digits[:2])
    if digits[:1] == b"4":
        return length in (13, 16, 19)  # Visa
    if 51 <= two <= 55 or 2221 <= four <= 2720 or 2200 <= four <= 2204:
        return length == 16  # Mastercard, Mir
    if two in (34, 37):
        return length == 15  # American Express
    if 300 <= three <= 305 or two in (36, 38, 39):
        return length == 14  # Diners Club
    if four == 6011 or 644 <= three <= 649 or two in (62, 65) or 3528 <= four <= 3589:
        return 16 <= length <= 19  # Discover, UnionPay, JCB
    return (two in (50, 56, 57, 58) or four in (6304, 6759) or three == 676) and 16 <= length <= 19  # Maestro


# How card numbers are printed, by digits per group.
_LAYOUTS = frozenset({(4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 5), (4, 4, 4, 1), (4, 4, 4, 4, 2), (4, 4, 4, 4, 3), (6, 13)})


def card(data: bytes, start: int, end: int, strict: bool) -> list[Span]:
    """Card numbers inside a run of digits with single separators: in one piece, in printed groups, or with
    each digit alone."""
    if not strict:
        return _card_anywhere(data, start, end)
    groups = [match.span() for match in _DIGITS.finditer(data, start, end)]
    sizes = [last - first for first, last in groups]
    spans: list[Span] = []
    first = 0
    while first < len(groups):
        count = _singles(sizes, first) if sizes[first] == 1 else _layout(data, groups, sizes, first)
        begin, finish = groups[first][0], groups[first + count - 1][1]
        if _card_number(data, begin, finish):
            spans.append((begin, finish))
        first += count
    return spans


def _singles(sizes: list[int], first: int) -> int:
    last = first
    while last < len(sizes) and sizes[last] == 1:
        last += 1
    return last - first


def _layout(data: bytes, groups: list[Span], sizes: list[int], first: int) -> int:
    """How many groups from `first` on make a card number; 1 if none do."""
    for count in (5, 4, 3, 2):
        layout = tuple(sizes[first : first + count])
        if len(layout) == count and layout in _LAYOUTS and _card_number(data, groups[first][0], groups[first + count - 1][1]):
            return count
    return 1


def _card_number(data: bytes, start: int, end: int) -> bool:
    if end - start > 2 * 19:
        return False
    digits = _NOT_DIGIT.sub(b"", data[start:end])
    return 13 <= len(digits) <= 19 and issuer(digits) and luhn(digits) and alone_card(data, start, end)


def alone_card(data: bytes, start: int, end: int) -> bool:
    """Neighbouring groups of a chain do not speak against a card (`12 4111 1111 1111 1111`), a word or a
    decimal point does."""
    before, after = data[max(0, start - 2) : start], data[end : end + 2]
    if (before and before[-1] in _WORD) or (after and after[0] in _WORD):
        return False
    if len(before) == 2 and before[1:] == b"." and before[0] in _DIGIT:
        return False
    return not (len(after) == 2 and after[:1] == b"." and after[1] in _DIGIT)


def _card_anywhere(data: bytes, start: int, end: int) -> list[Span]:
    digits = _NOT_DIGIT.sub(b"", data[start:end])
    if len(digits) > _WINDOW_DIGITS_MAX:
        return [(start, end)]  # too long to try every window: take it for one
    for begin in range(len(digits) - 12):
        for length in range(13, min(19, len(digits) - begin) + 1):
            window = digits[begin : begin + length]
            if issuer(window) and luhn(window):
                return [(start, end)]
    return []


def ssn(data: bytes, start: int, end: int, strict: bool) -> list[Span]:
    """US Social Security numbers. Never issued: area 000, 666, 900–999, group 00, serial 0000 (SSA, 2011)."""
    digits = _NOT_DIGIT.sub(b"", data[start:end])
    separators = {byte for byte in data[start:end] if byte not in _DIGIT}
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    issued = area not in (b"000", b"666") and area[:1] != b"9" and group != b"00" and serial != b"0000"
    return [(start, end)] if issued and len(separators) <= 1 and (not strict or alone(data, start, end)) else []


def phone(data: bytes, start: int, end: int, strict: bool) -> list[Span]:
    """Numbers with a country code (ITU-T E.164: at most 15 digits), or in North American form."""
    text = data[start:end]
    digits = _NOT_DIGIT.sub(b"", text)
    if strict:
        before, after = data[start - 1 : start] if start else b"", data[end : end + 2]
        if (before and before[0] in _WORD) or (after and after[0] in _DIGIT):
            return []
        if text[:1] != b"+" and not alone(data, start, end):
            return []
        if len(after) == 2 and after[:1] in (b".", b"-") and after[1] in _DIGIT:
            return []
    if text[:1] == b"+":
        if digits[:1] == b"1" and (len(digits) != 11 or digits[1] < 50):
            return []  # North America: country code 1, area codes from 2
        decimal = text.count(b".") == 1 and text[1:].replace(b".", b"").isdigit()
        return [] if decimal or not 8 <= len(digits) <= 15 else [(start, end)]
    return [(start, end)]


# ISO 13616: the length of an IBAN by country (SWIFT IBAN registry, release 99).
_IBAN_LENGTHS = {
    country: int(length)
    for length, countries in (
        ("15", "NO"),
        ("16", "BE"),
        ("18", "DK FI FK FO GL NL SD"),
        ("19", "MK SI"),
        ("20", "AT BA EE KZ LT LU MN XK"),
        ("21", "CH HR LI LV"),
        ("22", "BG BH CR DE GB GE IE ME RS VA"),
        ("23", "AE GI IL IQ OM SO TL"),
        ("24", "AD CZ ES MD PK RO SA SE SK TN VG"),
        ("25", "LY PT ST"),
        ("26", "IS TR"),
        ("27", "BI DJ FR GR IT MC MR SM"),
        ("28", "AL AZ BY CY DO GT HN HU LB NI PL SV"),
        ("29", "BR EG PS QA UA"),
        ("30", "JO KW MU YE"),
        ("31", "MT SC"),
        ("32", "LC"),
        ("33", "RU"),
    )
    for country in countries.split()
}


def iban(data: bytes, start: int, end: int, strict: bool) -> list[Span]:
    """ISO 13616: the country's length, then mod 97 = 1. The candidate may run on into words behind it."""
    length = _IBAN_LENGTHS.get(data[start : start + 2].decode("latin-1").upper())
    if length is None:
        return []
    compact = data[start:end].replace(b" ", b"")[:length]
    if len(compact) < length or int("".join(str(int(char, 36)) for char in (compact[4:] + compact[:4]).decode("ascii"))) % 97 != 1:
        return []
    finish = start
    for _ in range(length):
        finish += 2 if data[finish : finish + 1] == b" " else 1
    stands_alone = not strict or finish == len(data) or data[finish] not in _WORD
    return [(start, finish)] if stands_alone else []


_VERSION = re.compile(rb"(?:version|release|build|ver|\bv)[\s:=\"'/]*$", re.IGNORECASE)


def ipv4(data: bytes, start: int, end: int, strict: bool) -> list[Span]:
    """Addresses that may point at somebody: not 0/8, 127/8, 255/8, nor what is called a version."""
    octets = data[start:end].split(b".")
    if any(int(octet) > 255 or (len(octet) > 1 and octet[:1] == b"0") for octet in octets) or octets[0] in (b"0", b"127", b"255"):
        return []
    if strict and (not alone(data, start, end) or _VERSION.search(data[max(0, start - 16) : start])):
        return []
    return [(start, end)]


_TLD = re.compile(rb"(?:[A-Za-z]|[\x80-\xff]){2,}|xn--[A-Za-z0-9-]+")
_FILE_ENDINGS = frozenset({b"png", b"jpg", b"jpeg", b"gif", b"webp", b"svg"})


def email(data: bytes, start: int, end: int, strict: bool) -> list[Span]:
    """RFC 5321 §4.1.2 without quoted local parts and address literals; `icon@2x.png` is a file."""
    at = data.rindex(b"@", start, end)
    domain = data[at + 1 : end].rstrip(b".-")
    labels = domain.split(b".")
    if not all(labels) or len(domain) > 255:
        labels = _longest_domain(labels)
    if not labels or labels[-1].lower() in _FILE_ENDINGS:
        return []
    while len(labels) >= 2 and not _TLD.fullmatch(labels[-1]):
        labels.pop()  # `bob@example.com.5 items`
    if len(labels) < 2:
        return []
    domain = b".".join(labels)
    while start < at and data[start] in b".-'":
        start += 1
    return [(start, at + 1 + len(domain))] if start < at else []


def _longest_domain(labels: list[bytes]) -> list[bytes]:
    """The labels before an empty one (`a.com..`) or beyond the 255 bytes a name may have."""
    kept: list[bytes] = []
    for label in labels:
        if not label or sum(map(len, kept)) + len(kept) + len(label) > 255:
            break
        kept.append(label)
    return kept


def jwt(data: bytes, start: int, end: int, strict: bool) -> list[Span]:
    """RFC 7519: the first part is base64url of a JSON header with `alg`."""
    first = data[start:end].partition(b".")[0][:4096]
    try:
        header = base64.urlsafe_b64decode(first + b"=" * (-len(first) % 4))
    except (binascii.Error, ValueError):
        return []
    return [(start, end)] if b'"alg"' in header else []


def mixed(data: bytes, start: int, end: int, strict: bool) -> list[Span]:
    """Random text has letters and digits; `sk-learn-some-long-name` has not."""
    text = data[start:end]
    return [(start, end)] if any(b in _DIGIT for b in text) and any(chr(b).isalpha() for b in text) else []


def last_40(data: bytes, start: int, end: int, strict: bool) -> list[Span]:
    """The secret behind the name that announces it."""
    return [(end - 40, end)]


_PEM_END = re.compile(rb"-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----")


def pem(data: bytes, start: int, end: int, strict: bool) -> list[Span]:
    """RFC 7468: to the END line; a key that is cut off hides all that follows."""
    closing = _PEM_END.search(data, start, end)
    return [(start, closing.end() if closing else end)]
