"""PostgreSQL's dates and times, in ISO text and in binary (days or microseconds since 2000-01-01).

Source: PostgreSQL's `date.c` and `timestamp.c`.
"""

from __future__ import annotations

import datetime
import re
import struct

from interlock.protocols.postgres.codec import Scalar

_EPOCH_DAYS = 730120  # 2000-01-01, PostgreSQL's epoch, as a proleptic Gregorian ordinal
_DAY_US = 86_400_000_000


def _date_text(days: int) -> tuple[str, str]:
    """The date of a day counted from 2000-01-01, and the era suffix (years before 1 and after 9999 happen)."""
    # Days to civil date, after H. Hinnant, "chrono-Compatible Low-Level Date Algorithms".
    shifted = days + _EPOCH_DAYS + 305
    era, day_of_era = divmod(shifted, 146097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_of_year = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month_of_year + 2) // 5 + 1
    month = month_of_year + 3 if month_of_year < 10 else month_of_year - 9
    year = year_of_era + era * 400 + (month <= 2)
    return (f"{year:04d}-{month:02d}-{day:02d}", "") if year > 0 else (f"{1 - year:04d}-{month:02d}-{day:02d}", " BC")


def _clock_text(microseconds: int) -> str:
    seconds, fraction = divmod(microseconds, 1_000_000)
    text = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return f"{text}.{fraction:06d}".rstrip("0") if fraction else text


def _clock_us(text: str) -> int | None:
    found = re.fullmatch(r"([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,6}))?)?", text)
    if not found:
        return None
    hours, minutes, seconds, part = int(found[1]), int(found[2]), int(found[3] or 0), int((found[4] or "").ljust(6, "0"))
    microseconds = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + part
    return microseconds if minutes < 60 and seconds < 60 and microseconds <= _DAY_US else None


_TIMESTAMP = re.compile(r"([0-9-]{10})(?:[ T]([0-9:.]+?))?(Z|[+-][0-9]{2}(?::?[0-5][0-9]){0,2})?")


def _offset_us(text: str) -> int:
    """The offset from UTC of `Z`, `+02`, `-03:30` or `+00:53:28`."""
    if text == "Z":
        return 0
    digits = text[1:].replace(":", "").ljust(6, "0")
    seconds = (int(digits[:2]) * 60 + int(digits[2:4])) * 60 + int(digits[4:])
    return (-seconds if text[0] == "-" else seconds) * 1_000_000


def _days(text: str) -> int | None:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        return None
    try:
        return datetime.date.fromisoformat(text).toordinal() - _EPOCH_DAYS
    except ValueError:
        return None


def _endless(text: str) -> str | None:
    return text.lower() if text.lower() in ("infinity", "-infinity") else None


def date() -> Scalar:
    packer, first, last = struct.Struct("!i"), -(2**31), 2**31 - 1

    def valid(text: str) -> str | None:
        return _endless(text) or (text if _days(text) is not None else None)

    def pack(text: str) -> bytes:
        return packer.pack(last if text == "infinity" else first if text == "-infinity" else _days(text))

    def unpack(data: bytes) -> str:
        (days,) = packer.unpack(data)
        return "infinity" if days == last else "-infinity" if days == first else "".join(_date_text(days))

    return Scalar(valid, pack, unpack)


def time() -> Scalar:
    packer = struct.Struct("!q")

    def valid(text: str) -> str | None:
        microseconds = _clock_us(text)
        return None if microseconds is None else _clock_text(microseconds)

    def unpack(data: bytes) -> str:
        (microseconds,) = packer.unpack(data)
        if not 0 <= microseconds <= _DAY_US:
            raise ValueError("not a time of day")
        return _clock_text(microseconds)

    return Scalar(valid, lambda text: packer.pack(_clock_us(text)), unpack)


def timestamp(zone: str) -> Scalar:
    """`zone` is "" or "+00": with a zone, text may name its offset and is given in UTC."""
    packer, first, last = struct.Struct("!q"), -(2**63), 2**63 - 1

    def instant(text: str) -> int | None:
        found = _TIMESTAMP.fullmatch(text)
        if not found or (found[3] and not zone):
            return None
        days, microseconds = _days(found[1]), _clock_us(found[2] or "00:00")
        return None if days is None or microseconds is None else days * _DAY_US + microseconds - _offset_us(found[3] or "Z")

    def written(microseconds: int) -> str:
        days, rest = divmod(microseconds, _DAY_US)
        day, era = _date_text(days)
        return f"{day} {_clock_text(rest)}{zone}{era}"

    def valid(text: str) -> str | None:
        if endless := _endless(text):
            return endless
        microseconds = instant(text)
        if microseconds is None:
            return None
        canonical = written(microseconds)
        # An offset can carry the instant out of the years that `instant` reads.
        return canonical if instant(canonical) == microseconds else None

    def pack(text: str) -> bytes:
        return packer.pack(last if text == "infinity" else first if text == "-infinity" else instant(text))

    def unpack(data: bytes) -> str:
        (microseconds,) = packer.unpack(data)
        return "infinity" if microseconds == last else "-infinity" if microseconds == first else written(microseconds)

    return Scalar(valid, pack, unpack)
